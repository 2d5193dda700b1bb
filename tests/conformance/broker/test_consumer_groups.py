"""Consumer groups of the two clients against a broker process."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

SECONDS = 30


@pytest.fixture
def topic(broker) -> str:
    """Four partitions, ten records in each."""
    name = f"g-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.create_topics([NewTopic(name, 4, 1)])[name].result(10)
    fill(broker, name)
    return name


def fill(broker, topic: str, tag: str = "first") -> None:
    producer = Producer({"bootstrap.servers": broker.address})
    for number in range(40):
        producer.produce(topic, f"{tag}-{number}".encode(), partition=number % 4)
    assert producer.flush(10) == 0


@contextmanager
def member(broker, topic: str, group: str, **settings) -> Iterator[Consumer]:
    consumer = Consumer(
        {
            "bootstrap.servers": broker.address,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 3_000,
            "heartbeat.interval.ms": 300,
            **{name.replace("_", "."): value for name, value in settings.items()},
        }
    )
    changes: list[str] = []
    consumer.subscribe(
        [topic],
        on_assign=lambda _, given: changes.append(f"+{len(given)}"),
        on_revoke=lambda _, taken: changes.append(f"-{len(taken)}"),
    )
    MEMBERS[consumer] = changes
    try:
        yield consumer
    finally:
        del MEMBERS[consumer]
        consumer.close()


MEMBERS: dict[Consumer, list[str]] = {}


def poll_until(done: Callable[[], bool], *consumers: Consumer) -> list[str]:
    """Poll all consumers until it is done; what they read."""
    read: list[str] = []
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline, "it never came to be"
        for consumer in consumers:
            message = consumer.poll(0.02)
            if message is not None and message.error() is None:
                read.append(message.value().decode())
    return read


def shares(*consumers: Consumer) -> list[int]:
    return sorted(len(consumer.assignment()) for consumer in consumers)


@pytest.mark.parametrize("assignor", ["range", "roundrobin", "cooperative-sticky"])
def test_two_members_share_the_partitions_and_the_rest_inherits(broker, topic, assignor):
    group = f"group-{topic}"
    settings = {"partition_assignment_strategy": assignor}
    with member(broker, topic, group, **settings) as one:
        poll_until(lambda: shares(one) == [4], one)
        with member(broker, topic, group, **settings) as two:
            poll_until(lambda: shares(one, two) == [2, 2], one, two)
            held = {p.partition for c in (one, two) for p in c.assignment()}
            assert held == {0, 1, 2, 3}
        poll_until(lambda: shares(one) == [4], one)


def test_a_group_goes_on_where_it_committed(broker, topic):
    group, read = f"group-{topic}", []
    with member(broker, topic, group) as first:
        while len(read) < 40:
            message = first.poll(5)
            assert message is not None
            read.append(message.value().decode())
        first.commit(asynchronous=False)
    fill(broker, topic, "second")
    again: list[str] = []
    with member(broker, topic, group) as second:
        while len(again) < 40:
            message = second.poll(5)
            assert message is not None
            again.append(message.value().decode())
    assert {value.split("-")[0] for value in again} == {"second"}


KILLED = """
import sys
from confluent_kafka import Consumer
address, topic, group = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": address, "group.id": group,
                     "session.timeout.ms": 2000, "heartbeat.interval.ms": 300})
consumer.subscribe([topic], on_assign=lambda c, given: print(len(given), flush=True))
while True:
    consumer.poll(0.1)
"""


def test_the_partitions_of_a_killed_member_go_to_the_living(broker, topic):
    group = f"group-{topic}"
    with member(broker, topic, group) as living:
        poll_until(lambda: shares(living) == [4], living)
        command = [sys.executable, "-c", KILLED, broker.address, topic, group]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
            try:
                poll_until(lambda: shares(living) == [2], living)
                assert other.stdout is not None
                assert other.stdout.readline().strip() == b"2"
                started = time.monotonic()
                other.send_signal(signal.SIGKILL)
                poll_until(lambda: shares(living) == [4], living)
                assert time.monotonic() - started > 1, "its session was waited for"
            finally:
                other.kill()


def test_a_static_member_that_restarts_disturbs_nobody(broker, topic):
    group = f"group-{topic}"
    with member(broker, topic, group, group_instance_id="a") as stays:
        with member(broker, topic, group, group_instance_id="b") as goes:
            poll_until(lambda: shares(stays, goes) == [2, 2], stays, goes)
            held = {p.partition for p in goes.assignment()}
        before = list(MEMBERS[stays])
        with member(broker, topic, group, group_instance_id="b") as back:
            poll_until(lambda: shares(back) == [2], back, stays)
            assert {p.partition for p in back.assignment()} == held
            assert MEMBERS[stays] == before, "no rebalance"


def test_of_two_members_with_one_instance_id_the_older_is_fenced(broker, topic):
    group = f"group-{topic}"
    with member(broker, topic, group, group_instance_id="a") as old:
        poll_until(lambda: shares(old) == [4], old)
        with member(broker, topic, group, group_instance_id="a") as new:
            poll_until(lambda: shares(new) == [4], new)
            deadline, seen = time.monotonic() + SECONDS, None
            while seen != KafkaError._FATAL and time.monotonic() < deadline:
                message = old.poll(0.1)
                error = None if message is None else message.error()
                seen = None if error is None else error.code()
            assert seen == KafkaError._FATAL
            assert "fenced" in error.str().lower()


async def assigned(consumers: list[AIOKafkaConsumer], wanted: list[int]) -> None:
    async with asyncio.timeout(SECONDS):
        while sorted(len(c.assignment()) for c in consumers) != wanted:
            for consumer in consumers:
                await consumer.getmany(timeout_ms=50)


def test_aiokafka_members_share_and_inherit(broker, topic):
    async def work() -> None:
        def consumer() -> AIOKafkaConsumer:
            return AIOKafkaConsumer(
                topic,
                bootstrap_servers=broker.address,
                group_id=f"group-{topic}",
                heartbeat_interval_ms=200,
                session_timeout_ms=3_000,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
            )

        one, two = consumer(), consumer()
        await asyncio.gather(one.start(), two.start())
        await assigned([one, two], [2, 2])
        await two.stop()
        await assigned([one], [4])
        place = next(iter(one.assignment()))
        await one.commit({place: 7})
        assert await one.committed(place) == 7
        await one.stop()

    asyncio.run(work())


def test_an_aiokafka_static_member_comes_back_to_its_partitions(broker, topic):
    async def work() -> None:
        def consumer() -> AIOKafkaConsumer:
            return AIOKafkaConsumer(
                topic,
                bootstrap_servers=broker.address,
                group_id=f"group-{topic}",
                group_instance_id="a",
                session_timeout_ms=30_000,
            )

        first, second = consumer(), consumer()
        await first.start()
        await assigned([first], [4])
        await first.stop()
        started = time.monotonic()
        await second.start()
        await assigned([second], [4])
        assert time.monotonic() - started < 10, "nobody's session was waited for"
        await second.stop()

    asyncio.run(work())


def test_groups_and_members_survive_kill_9_of_the_broker(start_broker):
    broker = start_broker()
    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.create_topics([NewTopic("t", 4, 1)])["t"].result(10)
    fill(broker, "t")
    with member(broker, "t", "g", session_timeout_ms=15_000) as one:
        poll_until(lambda: shares(one) == [4], one)
        place = TopicPartition("t", 2, 7, metadata="note")
        one.commit(offsets=[place], asynchronous=False)
        changes = list(MEMBERS[one])
        broker.kill()
        broker.start()
        (found,) = one.committed([TopicPartition("t", 2)], timeout=SECONDS)
        assert (found.offset, found.metadata) == (7, "note")
        one.commit(offsets=[TopicPartition("t", 2, 8)], asynchronous=False)
        assert MEMBERS[one] == changes, "the member kept its generation"
    assert json.dumps(changes) == '["+4"]'


def test_groups_are_administered(broker, topic):
    admin, group = AdminClient({"bootstrap.servers": broker.address}), f"group-{topic}"
    position = TopicPartition(topic, 1, 5)
    moved = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [position])])
    assert moved[group].result(10).topic_partitions[0].error is None
    with member(broker, topic, group) as one:
        poll_until(lambda: shares(one) == [4], one)
        (described,) = admin.describe_consumer_groups([group]).values()
        description = described.result(10)
        assert description.state.name == "STABLE"
        assert len(description.members[0].assignment.topic_partitions) == 4
        listed = admin.list_consumer_groups().result(10).valid
        assert group in {each.group_id for each in listed}
        with pytest.raises(KafkaException) as refused:
            admin.delete_consumer_groups([group])[group].result(10)
        assert refused.value.args[0].code() == KafkaError.NON_EMPTY_GROUP
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
    (found,) = asked[group].result(10).topic_partitions
    assert (found.partition, found.offset) == (1, 5)
    admin.delete_consumer_groups([group])[group].result(10)
    assert group not in {each.group_id for each in admin.list_consumer_groups().result(10).valid}
