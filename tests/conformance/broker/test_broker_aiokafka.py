"""aiokafka against the broker: the client that workers use."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import OutOfOrderSequenceNumber, TopicAlreadyExistsError
from aiokafka.structs import OffsetAndTimestamp


async def make_topic(broker, partitions: int = 2) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    name = f"a-{uuid.uuid4().hex[:8]}"
    await admin.create_topics([NewTopic(name, partitions, 1)])
    answer = await admin.create_topics([NewTopic(name, partitions, 1)])
    assert answer.topic_errors[0][1] == TopicAlreadyExistsError.errno
    await admin.close()
    return name


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_comes_back_in_order(broker, codec):
    async def work():
        topic = await make_topic(broker)
        async with AIOKafkaProducer(
            bootstrap_servers=broker.address, compression_type=codec, enable_idempotence=True
        ) as producer:
            sent = [
                await producer.send(topic, b"%d" % i * 9, partition=i % 2, headers=[("h", b"x")])
                for i in range(400)
            ]
            offsets = [(await future).offset for future in sent]
        assert offsets == [i // 2 for i in range(400)]
        async with AIOKafkaConsumer(
            bootstrap_servers=broker.address, auto_offset_reset="earliest"
        ) as consumer:
            places = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
            consumer.assign(places)
            found: dict[TopicPartition, list[bytes]] = {place: [] for place in places}
            async with asyncio.timeout(20):
                while sum(map(len, found.values())) < 400:
                    for place, messages in (await consumer.getmany(timeout_ms=500)).items():
                        found[place] += [message.value for message in messages]
            for place in places:
                assert found[place] == [b"%d" % i * 9 for i in range(place.partition, 400, 2)]
            assert set((await consumer.end_offsets(places)).values()) == {200}
            assert set((await consumer.beginning_offsets(places)).values()) == {0}
            times = await consumer.offsets_for_times({places[0]: 0})
            assert isinstance(times[places[0]], OffsetAndTimestamp)
            assert times[places[0]].offset == 0

    asyncio.run(work())


def test_a_sequence_gap_is_refused(broker):
    async def work():
        topic = await make_topic(broker, 1)
        producer = AIOKafkaProducer(bootstrap_servers=broker.address, enable_idempotence=True)
        await producer.start()
        await producer.send_and_wait(topic, b"a")
        producer._txn_manager.increment_sequence_number(TopicPartition(topic, 0), 5)
        with pytest.raises(OutOfOrderSequenceNumber):
            async with asyncio.timeout(5):
                await producer.send_and_wait(topic, b"b")
        await producer.stop()

    asyncio.run(work())


def test_a_reader_at_the_end_gets_a_message_soon_after_it_was_sent(broker):
    async def work():
        topic = await make_topic(broker, 1)
        async with (
            AIOKafkaProducer(bootstrap_servers=broker.address) as producer,
            AIOKafkaConsumer(bootstrap_servers=broker.address, fetch_max_wait_ms=5000) as consumer,
        ):
            consumer.assign([TopicPartition(topic, 0)])
            await consumer.seek_to_end()
            await consumer.getmany(timeout_ms=50)
            loop = asyncio.get_running_loop()
            delays: list[float] = []
            for i in range(30):
                started = loop.time()
                await producer.send_and_wait(topic, b"%d" % i)
                async with asyncio.timeout(5):
                    message = await consumer.getone()
                assert message.value == b"%d" % i
                delays.append(loop.time() - started)
            assert sorted(delays)[15] < 0.25, "the long poll was not woken"

    asyncio.run(work())
