"""Compacted topics as two clients see them, while they are being cleaned.

TIDEMILL_KILLS sets how often the broker is killed with kill -9.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as Place
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

SECONDS = 60
STARTED_MS = time.time() * 1000
KILLS = int(os.environ.get("TIDEMILL_KILLS", "2"))
SETTINGS = {
    "cleanup.policy": "compact",
    "segment.bytes": "20000",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "600",
}


@pytest.fixture
def broker(start_broker):
    return start_broker("--cleaner-interval", "50")


def make_topic(broker, **settings: str) -> str:
    name = f"c-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": broker.address})
    config = SETTINGS | {key.replace("_", "."): value for key, value in settings.items()}
    admin.create_topics([NewTopic(name, 1, 1, config=config)])[name].result(10)
    return name


class Writer:
    """Committed, aborted, plain and compressed records of few keys, and what is true of them."""

    def __init__(self, broker, topic: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.topic = topic
        self.truth: dict[bytes, bytes] = {}
        common = {"bootstrap.servers": broker.address, "linger.ms": 2}
        self.plain = [
            Producer({**common, "compression.type": codec})
            for codec in ("none", "gzip", "snappy", "lz4", "zstd")
        ]
        self.owner = Producer({**common, "transactional.id": f"{topic}-owner"})
        self.owner.init_transactions(SECONDS)

    def records(self) -> Iterator[tuple[bytes, bytes | None]]:
        for _ in range(self.random.randint(1, 30)):
            key = b"key-%d" % self.random.randrange(40)
            value = b"%032x" % self.random.getrandbits(128)
            yield key, None if self.random.random() < 0.1 else value * self.random.randint(1, 4)

    def write(self) -> None:
        if self.random.random() < 0.5:
            producer, counts = self.random.choice(self.plain), True
        else:
            producer, counts = self.owner, self.random.random() < 0.6
            producer.begin_transaction()
        for key, value in self.records():
            producer.produce(self.topic, value, key)
            if not counts:
                continue
            if value is None:
                self.truth.pop(key, None)
            else:
                self.truth[key] = value
        assert producer.flush(SECONDS) == 0
        if producer is self.owner:
            if counts:
                producer.commit_transaction(SECONDS)
            else:
                producer.abort_transaction(SECONDS)


def log_bytes(broker) -> int:
    while True:
        try:
            return sum(path.stat().st_size for path in Path(broker.data).glob("logs/c-*/*/*.log"))
        except FileNotFoundError:  # a segment that was cleaned away just now
            continue


def wait_for_a_cleaning(broker) -> None:
    deadline = time.monotonic() + SECONDS
    while "cleaned up to offset" not in broker.errors.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def read_with_confluent(broker, topic: str, isolation: str) -> tuple[dict[bytes, bytes], list[int]]:
    """The state at the end, and the offsets that were read."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.address,
            "group.id": "g",
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "check.crcs": True,
        }
    )
    state: dict[bytes, bytes] = {}
    offsets: list[int] = []
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), SECONDS)
        consumer.assign([TopicPartition(topic, 0, 0)])
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for message in consumer.consume(500, 0.1):
                assert message.error() is None, message.error()
                offsets.append(message.offset())
                apply(state, message.key(), message.value(), message.timestamp()[1])
            if consumer.position([TopicPartition(topic, 0)])[0].offset >= end:
                return state, offsets
        raise AssertionError(f"a reader stands still below {end}: {offsets[-3:]}")
    finally:
        consumer.close()


def apply(state: dict[bytes, bytes], key: bytes, value: bytes | None, time_ms: int) -> None:
    assert STARTED_MS - 1000 < time_ms < time.time() * 1000 + 1000
    if value is None:
        state.pop(key, None)
    else:
        state[key] = value


def read_with_aiokafka(broker, topic: str, isolation: str) -> tuple[dict[bytes, bytes], list[int]]:
    async def read() -> tuple[dict[bytes, bytes], list[int]]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=broker.address, isolation_level=isolation, enable_auto_commit=False
        )
        await consumer.start()
        state: dict[bytes, bytes] = {}
        offsets: list[int] = []
        place = Place(topic, 0)
        try:
            consumer.assign([place])
            end = (await consumer.end_offsets([place]))[place]
            consumer.seek(place, 0)
            async with asyncio.timeout(SECONDS):
                while await consumer.position(place) < end:
                    got = await consumer.getmany(place, timeout_ms=100)
                    for record in got.get(place, []):
                        offsets.append(record.offset)
                        apply(state, record.key, record.value, record.timestamp)
            return state, offsets
        finally:
            await consumer.stop()

    return asyncio.run(read())


def test_both_clients_read_the_latest_values_while_the_log_is_cleaned(broker):
    topic = make_topic(broker, delete_retention_ms="86400000")
    writer = Writer(broker, topic, seed=1)
    done = threading.Event()
    readings: list[list[int]] = []

    def read_meanwhile() -> None:
        while not done.is_set():
            for read in (read_with_confluent, read_with_aiokafka):
                readings.append(read(broker, topic, "read_committed")[1])
                readings.append(read(broker, topic, "read_uncommitted")[1])

    reader = threading.Thread(target=read_meanwhile)
    reader.start()
    written = 0
    try:
        for _ in range(250):
            writer.write()
            written = max(written, log_bytes(broker))
    finally:
        done.set()
        reader.join()
    assert readings
    for offsets in readings:
        assert offsets == sorted(set(offsets))
    for read in (read_with_confluent, read_with_aiokafka):
        assert read(broker, topic, "read_committed")[0] == writer.truth
    wait_for_a_cleaning(broker)
    broker.kill()
    broker.start()
    for read in (read_with_confluent, read_with_aiokafka):
        assert read(broker, topic, "read_committed")[0] == writer.truth


def test_tombstones_aborted_records_and_markers_go_in_the_end_and_readers_still_arrive(broker):
    topic = make_topic(broker, max_compaction_lag_ms="300")
    writer = Writer(broker, topic, seed=2)
    for _ in range(30):
        writer.write()
    writer.owner.begin_transaction()
    writer.owner.produce(topic, b"never", b"key-1")
    writer.owner.flush(SECONDS)
    writer.owner.abort_transaction(SECONDS)
    before = log_bytes(broker)
    deadline = time.monotonic() + SECONDS
    while True:
        _, everything = read_with_confluent(broker, topic, "read_uncommitted")
        for read in (read_with_confluent, read_with_aiokafka):
            state, offsets = read(broker, topic, "read_committed")
            assert state == writer.truth
        if len(everything) == len(offsets) == len(writer.truth):
            break
        assert time.monotonic() < deadline, (everything, offsets)
    assert log_bytes(broker) < before


def test_nothing_is_lost_when_the_broker_is_killed_again_and_again_while_it_cleans(broker):
    topic = make_topic(broker, delete_retention_ms="86400000")
    chance = random.Random(3)
    producer = Producer(
        {
            "bootstrap.servers": broker.address,
            "enable.idempotence": True,
            "linger.ms": 1,
            "reconnect.backoff.max.ms": 200,
        }
    )
    truth: dict[bytes, bytes] = {}
    for round_ in range(KILLS):
        for number in range(chance.randint(1500, 4000)):
            key = b"key-%d" % chance.randrange(60)
            truth[key] = b"%d-%d-" % (round_, number) + b"x" * 50
            producer.produce(topic, truth[key], key)
            producer.poll(0)
            if number % 200 == 0:
                time.sleep(chance.random() / 50)
        broker.kill()
        broker.start()
        assert producer.flush(SECONDS) == 0
        assert read_with_confluent(broker, topic, "read_uncommitted")[0] == truth
    wait_for_a_cleaning(broker)
    assert read_with_aiokafka(broker, topic, "read_committed")[0] == truth


def test_a_record_without_key_is_refused_and_the_producer_goes_on(broker):
    topic = make_topic(broker)
    told: list[str | None] = []
    producer = Producer({"bootstrap.servers": broker.address, "enable.idempotence": True})
    for key in (b"a", None, b"b"):
        producer.produce(
            topic, b"v", key, on_delivery=lambda error, _: told.append(error and error.name())
        )
        assert producer.flush(SECONDS) == 0
    assert told == [None, "INVALID_RECORD", None]
    assert read_with_confluent(broker, topic, "read_uncommitted")[0] == {b"a": b"v", b"b": b"v"}


def test_settings_of_compaction_are_told_checked_and_changed(broker):
    topic = make_topic(broker)
    admin = AdminClient({"bootstrap.servers": broker.address})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    told = admin.describe_configs([resource])[resource].result(10)
    assert {name: told[name].value for name in SETTINGS} == SETTINGS
    assert told["min.compaction.lag.ms"].value == "0"
    refused = (
        {"min.cleanable.dirty.ratio": "2"},
        {"min.compaction.lag.ms": "x"},
        {"min.compaction.lag.ms": "2000", "max.compaction.lag.ms": "1000"},
    )
    for settings in refused:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in settings.items()
        ]
        bad = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        with pytest.raises(KafkaException, match="INVALID_CONFIG"):
            admin.incremental_alter_configs([bad])[bad].result(10)
    place = TopicPartition(topic, 0, 0)
    with pytest.raises(KafkaException, match="POLICY_VIOLATION"):
        admin.delete_records([place])[place].result(10)
