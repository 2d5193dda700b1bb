"""Transactions of the two clients against a broker process."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from collections import Counter
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as Place
from aiokafka.errors import ProducerFenced
from aiokafka.structs import OffsetAndMetadata
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

SECONDS = 30


def make_topic(broker, partitions: int = 2) -> str:
    name = f"x-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(10)
    return name


@pytest.fixture
def topic(broker) -> str:
    return make_topic(broker)


def owner(broker, name: str, timeout_ms: int = 60_000) -> Producer:
    """A confluent producer that owns the transactional id."""
    producer = Producer(
        {
            "bootstrap.servers": broker.address,
            "transactional.id": name,
            "transaction.timeout.ms": timeout_ms,
            "linger.ms": 0,
        }
    )
    producer.init_transactions(SECONDS)
    return producer


def send(producer: Producer, topic: str, *values: str) -> None:
    for number, value in enumerate(values):
        producer.produce(topic, value.encode(), partition=number % 2)
    assert producer.flush(SECONDS) == 0


def read(broker, topic: str, *, committed: bool = True, partitions: int = 2) -> list[str]:
    """Everything that a reader sees between start and end; each client's own idea of the end."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.address,
            "group.id": "none",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed" if committed else "read_uncommitted",
        }
    )
    consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    values: list[str] = []
    ended: set[int] = set()
    deadline = time.monotonic() + SECONDS
    while len(ended) < partitions:
        assert time.monotonic() < deadline
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error() is None:
            values.append(message.value().decode())
        else:
            assert message.error().code() == KafkaError._PARTITION_EOF
            ended.add(message.partition())
    consumer.close()
    return sorted(values)


def test_readers_of_committed_see_exactly_what_was_committed(broker, topic):
    producer = owner(broker, f"id-{topic}")
    for values, commit in [("ab", True), ("cd", False), ("ef", True), ("gh", False)]:
        producer.begin_transaction()
        send(producer, topic, *values)
        if commit:
            producer.commit_transaction(SECONDS)
        else:
            producer.abort_transaction(SECONDS)
    assert read(broker, topic) == list("abef")
    assert read(broker, topic, committed=False) == list("abcdefgh")


def test_an_open_transaction_holds_back_what_comes_after_it(broker, topic):
    producer, plain = owner(broker, f"id-{topic}"), Producer({"bootstrap.servers": broker.address})
    send(plain, topic, "before")
    producer.begin_transaction()
    send(producer, topic, "open")
    send(plain, topic, "after")
    assert read(broker, topic) == ["before"]
    assert read(broker, topic, committed=False) == ["after", "before", "open"]
    producer.abort_transaction(SECONDS)
    assert read(broker, topic) == ["after", "before"]


def test_the_next_owner_aborts_what_is_open_and_fences_the_zombie(broker, topic):
    zombie = owner(broker, f"id-{topic}")
    zombie.begin_transaction()
    send(zombie, topic, "zombie")
    living = owner(broker, f"id-{topic}")
    living.begin_transaction()
    send(living, topic, "living")
    with pytest.raises(KafkaException) as fenced:
        zombie.commit_transaction(SECONDS)
    error = fenced.value.args[0]
    assert error.fatal()
    assert error.code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED)
    living.commit_transaction(SECONDS)
    assert read(broker, topic) == ["living"]


def test_a_transaction_that_takes_too_long_is_aborted_by_the_broker(broker, topic):
    slow = owner(broker, f"id-{topic}", timeout_ms=1_000)
    slow.begin_transaction()
    send(slow, topic, "slow")
    plain = Producer({"bootstrap.servers": broker.address})
    send(plain, topic, "after")
    deadline = time.monotonic() + SECONDS
    while read(broker, topic) != ["after"]:
        assert time.monotonic() < deadline
    with pytest.raises(KafkaException):
        slow.commit_transaction(SECONDS)
    again = owner(broker, f"id-{topic}")
    again.begin_transaction()
    send(again, topic, "again")
    again.commit_transaction(SECONDS)
    assert read(broker, topic) == ["after", "again"]


def test_positions_travel_with_the_transaction(broker, topic):
    group = f"group-{topic}"
    consumer = Consumer(
        {
            "bootstrap.servers": broker.address,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    send(Producer({"bootstrap.servers": broker.address}), topic, "1", "2", "3", "4")
    out = make_topic(broker)
    consumer.subscribe([topic])
    read_in = [message for message in consumer.consume(4, SECONDS) if message.error() is None]
    assert len(read_in) == 4
    producer = owner(broker, f"id-{topic}")
    for commit in (False, True):
        producer.begin_transaction()
        send(producer, out, *(message.value().decode() * 2 for message in read_in))
        producer.send_offsets_to_transaction(
            consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), SECONDS
        )
        if commit:
            producer.commit_transaction(SECONDS)
        else:
            producer.abort_transaction(SECONDS)
        places = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
        found = [place.offset for place in consumer.committed(places, SECONDS)]
        assert found == ([2, 2] if commit else [-1001, -1001])
    consumer.close()
    assert read(broker, out) == ["11", "22", "33", "44"]


def test_positions_of_a_member_that_was_left_behind_are_refused(broker, topic):
    settings = {"bootstrap.servers": broker.address, "group.id": f"group-{topic}"}
    left = Consumer({**settings, "session.timeout.ms": 2_000})
    left.subscribe([topic])
    deadline = time.monotonic() + SECONDS
    while not left.assignment():
        assert time.monotonic() < deadline
        left.poll(0.1)
    metadata = left.consumer_group_metadata()
    left.close()
    producer = owner(broker, f"id-{topic}")
    producer.begin_transaction()
    send(producer, topic, "x")
    with pytest.raises(KafkaException) as refused:
        producer.send_offsets_to_transaction([TopicPartition(topic, 0, 1)], metadata, SECONDS)
    assert refused.value.args[0].txn_requires_abort()
    producer.abort_transaction(SECONDS)


# --- aiokafka: the client that the workers use ---


def aio_owner(broker, name: str, **settings: Any) -> AIOKafkaProducer:
    return AIOKafkaProducer(bootstrap_servers=broker.address, transactional_id=name, **settings)


def test_aiokafka_commits_aborts_and_moves_positions(broker, topic):
    async def work() -> None:
        producer = aio_owner(broker, f"id-{topic}")
        await producer.start()
        place = Place("in", 0)
        for values, commit in [("ab", True), ("cd", False), ("ef", True)]:
            await producer.begin_transaction()
            for number, value in enumerate(values):
                await producer.send_and_wait(topic, value.encode(), partition=number)
            await producer.send_offsets_to_transaction(
                {place: OffsetAndMetadata(ord(values[0]), "")}, f"group-{topic}"
            )
            await (producer.commit_transaction() if commit else producer.abort_transaction())
        await producer.stop()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=broker.address,
            group_id=f"group-{topic}",
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        consumer.assign([Place(topic, 0), Place(topic, 1)])
        found: list[str] = []
        async with asyncio.timeout(SECONDS):
            while len(found) < 4:
                for messages in (await consumer.getmany(timeout_ms=200)).values():
                    found += [message.value.decode() for message in messages]
        assert sorted(found) == list("abef")
        assert await consumer.committed(place) == ord("e")
        await consumer.stop()

    asyncio.run(work())


def test_an_aiokafka_zombie_is_fenced(broker, topic):
    async def work() -> None:
        zombie, living = (aio_owner(broker, f"id-{topic}") for _ in range(2))
        await zombie.start()
        await zombie.begin_transaction()
        await zombie.send_and_wait(topic, b"zombie", partition=0)
        await living.start()
        async with living.transaction():
            await living.send_and_wait(topic, b"living", partition=0)
        with pytest.raises(ProducerFenced):
            await zombie.commit_transaction()
        await zombie.stop()
        await living.stop()

    asyncio.run(work())
    assert read(broker, topic) == ["living"]


# --- kill -9 ---


def test_an_open_transaction_lives_through_kill_9_and_can_still_be_committed(start_broker):
    broker = start_broker()
    topic = make_topic(broker)
    producer = owner(broker, "id")
    producer.begin_transaction()
    send(producer, topic, "one")
    broker.kill()
    broker.start()
    send(producer, topic, "two")
    producer.commit_transaction(SECONDS)
    assert read(broker, topic) == ["one", "two"]


def test_an_open_transaction_is_aborted_for_the_next_owner_after_kill_9(start_broker):
    broker = start_broker()
    topic = make_topic(broker)
    producer = owner(broker, "id")
    producer.begin_transaction()
    send(producer, topic, "one")
    broker.kill()
    broker.start()
    owner(broker, "id")
    assert read(broker, topic) == []


class Copier:
    """Copies numbers from one topic to another, exactly once, whoever dies.

    The position is part of the transaction. An error means: throw the producer away, begin again
    with a new one (which ends what was open) at the committed position.
    """

    def __init__(self, broker, source: str, target: str, count: int) -> None:
        self.broker, self.source, self.target, self.count = broker, source, target, count
        self.transactions = 0
        self.failures = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            asyncio.run(asyncio.wait_for(self._run(), 120))
        except BaseException as error:
            self.error = error

    async def _run(self) -> None:
        while not await self._life():
            self.failures += 1
            await asyncio.sleep(0.05)

    async def _life(self) -> bool:
        producer = aio_owner(self.broker, "copier", request_timeout_ms=2_000)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.broker.address,
            group_id="copier",
            enable_auto_commit=False,
            request_timeout_ms=2_000,
        )
        place = Place(self.source, 0)
        try:
            async with asyncio.timeout(10):
                await producer.start()
                await consumer.start()
            consumer.assign([place])
            async with asyncio.timeout(5):
                position = await consumer.committed(place) or 0
            consumer.seek(place, position)
            while position < self.count:
                position = await self._copy(producer, consumer, place, position)
            return True
        except Exception:
            return False
        finally:
            for client in (producer, consumer):
                with_deadline = asyncio.wait_for(client.stop(), 2)
                await asyncio.gather(with_deadline, return_exceptions=True)

    async def _copy(
        self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, place: Place, position: int
    ) -> int:
        async with asyncio.timeout(5):
            batch = await consumer.getmany(timeout_ms=500, max_records=25)
            messages = batch.get(place, [])
            if not messages:
                return position
            assert messages[0].offset == position
            await producer.begin_transaction()
            sent = [
                await producer.send(self.target, message.value, partition=message.offset % 2)
                for message in messages
            ]
            await asyncio.gather(*sent)
            following = messages[-1].offset + 1
            offsets = {place: OffsetAndMetadata(following, "")}
            await producer.send_offsets_to_transaction(offsets, "copier")
            await producer.commit_transaction()
        self.transactions += 1
        return following


def test_copying_is_exactly_once_while_the_broker_is_killed_again_and_again(start_broker):
    broker = start_broker()
    source, target = make_topic(broker, 1), make_topic(broker)
    count = 3_000
    producer = Producer({"bootstrap.servers": broker.address})
    for number in range(count):
        producer.produce(source, str(number).encode(), partition=0)
    assert producer.flush(SECONDS) == 0
    copier = Copier(broker, source, target, count)
    thread = threading.Thread(target=copier.run)
    thread.start()
    seed = random.randrange(1 << 30)
    chance, kills = random.Random(seed), 0
    while thread.is_alive() and kills < 6:
        thread.join(chance.uniform(0.1, 0.6))
        broker.kill()
        broker.start()
        kills += 1
    thread.join()
    assert copier.error is None, f"seed {seed}"
    copied = Counter(read(broker, target))
    assert copied == Counter(str(number) for number in range(count)), f"seed {seed}"
    assert copier.transactions > 0
