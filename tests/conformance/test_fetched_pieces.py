"""Pieces of a log with aborted transactions, whatever is sought between and during two polls."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.config import WorkerConfig
from streams.worker.pieces import FollowingConsumer, OffsetsGone, Piece

PARTITIONS = 3
SEED = 20261122

Content = dict[int, dict[int, bytes]]
"""By partition, offset -> value of what is committed."""


async def write(address: str, topic: str, chance: random.Random, rounds: int) -> Content:
    """Plain batches, transactions, and transactions that come to nothing, in turn."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()
    plain = AIOKafkaProducer(bootstrap_servers=address, compression_type="lz4")
    atomic = AIOKafkaProducer(
        bootstrap_servers=address, compression_type="zstd", transactional_id="writer"
    )
    await plain.start()
    await atomic.start()
    content: Content = {number: {} for number in range(PARTITIONS)}
    for _ in range(rounds):
        how = chance.choice(("plain", "committed", "aborted"))
        producer = plain if how == "plain" else atomic
        values = [chance.randbytes(chance.randrange(400)) for _ in range(chance.randrange(1, 40))]
        if how != "plain":
            await producer.begin_transaction()
        sent = [
            await producer.send(topic, value, partition=chance.randrange(PARTITIONS))
            for value in values
        ]
        written = await asyncio.gather(*sent)
        if how == "committed":
            await producer.commit_transaction()
        elif how == "aborted":
            await producer.abort_transaction()
            continue
        for value, at in zip(values, written, strict=True):
            content[at.partition][at.offset] = value
    await plain.stop()
    await atomic.stop()
    return content


class Reader:
    """Follows what a consumer hands out, and checks it against what was written."""

    def __init__(self, consumer: FollowingConsumer, topic: str, content: Content) -> None:
        self.consumer = consumer
        self.content = content
        self.places = [(topic, number) for number in range(PARTITIONS)]
        self.next = dict.fromkeys(self.places, 0)
        self.records = 0

    def seek(self, at: tuple[str, int], offset: int) -> None:
        self.consumer.fetch_from(at, offset)
        self.next[at] = offset

    def check(self, at: tuple[str, int], piece: Piece) -> None:
        assert piece.offset == self.next[at], "a hole, or a record twice"
        assert piece.next_offset >= piece.offset
        wanted = {
            offset: value
            for offset, value in self.content[at[1]].items()
            if piece.offset <= offset < piece.next_offset
        }
        assert {record.offset: record.value for record in piece.records} == wanted
        assert [record.offset for record in piece.records] == sorted(wanted)
        self.next[at] = piece.next_offset
        self.records += len(piece.records)

    async def read_all(self) -> None:
        """Up to what was written last."""
        async with asyncio.timeout(30):
            while any(self.next[at] <= max(self.content[at[1]]) for at in self.places):
                for at, piece in (await self.consumer.poll(self.places, 50)).items():
                    self.check(at, piece)


def test_pieces_follow_each_other_without_a_hole_whatever_is_sought_meanwhile(
    broker_process: str,
) -> None:
    async def work() -> None:
        chance = random.Random(SEED)
        content = await write(broker_process, "history", chance, 60)
        config = WorkerConfig("pieces", broker_process, None, partition_fetch_bytes=3_000)
        with ThreadPoolExecutor(2) as codec:
            consumer = FollowingConsumer(config, codec)
            await consumer.start()
            reader = Reader(consumer, "history", content)
            consumer.choose(reader.places)
            for at in reader.places:
                reader.seek(at, 0)
            during = 0
            for _ in range(300):
                polling = asyncio.ensure_future(
                    consumer.poll(chance.sample(reader.places, chance.randint(1, 3)), 20)
                )
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                if chance.random() < 0.4 and not polling.done():
                    during += 1
                    at = chance.choice(reader.places)
                    ends = max(content[at[1]]) + 1
                    reader.seek(at, chance.choice((0, chance.randrange(ends), ends)))
                for at, piece in (await polling).items():
                    reader.check(at, piece)
            assert during > 20
            assert reader.records > 100
            for at in reader.places:
                reader.seek(at, 0)
            await reader.read_all()
            reader.seek(reader.places[0], 0)
            reader.seek(reader.places[1], 10**9)
            with pytest.raises(OffsetsGone) as gone:
                await reader.read_all()
            assert gone.value.partitions == [reader.places[1]]
            await consumer.stop(3.0)

    asyncio.run(work())
