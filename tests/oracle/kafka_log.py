"""Reads whole topics with the stock confluent-kafka consumer, committed records only."""

from __future__ import annotations

import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from oracle.epochs import domain_of
from oracle.log import LIVE, Record

HISTORY = "telemetry.history."


def input_topics(bootstrap: str) -> list[str]:
    """The live topic, those after it, and every history topic of the cluster."""
    consumer = _consumer(bootstrap)
    try:
        names = consumer.list_topics(timeout=15).topics
        return sorted(n for n in names if domain_of(n) == LIVE or n.startswith(HISTORY))
    finally:
        consumer.close()


def read(
    bootstrap: str, topics: list[str], deadline_s: float = 60
) -> dict[tuple[str, int], list[Record]]:
    """All committed records of `topics`, by (topic, partition), up to their present ends."""
    consumer = _consumer(bootstrap)
    until = time.monotonic() + deadline_s
    try:
        known = consumer.list_topics(timeout=15).topics
        if missing := [topic for topic in topics if topic not in known]:
            raise KafkaException(f"no such topic: {', '.join(missing)}")
        log = {(topic, p): [] for topic in topics for p in known[topic].partitions}
        open_ends = set(log)
        consumer.assign([TopicPartition(t, p, OFFSET_BEGINNING) for t, p in log])
        while open_ends:
            if time.monotonic() > until:
                raise TimeoutError(f"still reading {sorted(open_ends)} after {deadline_s} s")
            for message in consumer.consume(10_000, timeout=0.5):
                place = message.topic(), message.partition()
                error = message.error()
                if error is None:
                    headers = {name: value or b"" for name, value in message.headers() or []}
                    value, key = message.value() or b"", message.key() or b""
                    log[place].append(Record(message.offset(), headers, value, key))
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_ends.discard(place)
                elif not error.retriable():
                    raise KafkaException(error)
        return log
    finally:
        consumer.close()


def _consumer(bootstrap: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "tidemill-oracle",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 100,
        }
    )
