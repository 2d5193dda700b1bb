"""Writes the histories of stories to topics of their own, with markers, as a loader would."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from oracle.definitions import SECOND
from real.stories import Story, body

from topologies.edge.cut import partition_of
from topologies.identity.split import canonical_resource_key, split_by_resource

TENANT = "default"
TOGETHER = 4
PATIENCE_S = 240


def write_histories(
    bootstrap: str, partitions: int, stories: list[Story], begin: int, seed: int
) -> None:
    """All of them; each topic ends with a marker in every partition. Outlives a broker's death."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": "zstd",
            "linger.ms": 5,
            "message.timeout.ms": PATIENCE_S * 1000,
        }
    )
    for number in range(0, len(stories), TOGETHER):
        together = stories[number : number + TOGETHER]
        topic = f"telemetry.history.stories-{seed}-{number}"
        _create(bootstrap, topic, partitions)
        _write(producer, topic, partitions, together, begin)
    if left := producer.flush(PATIENCE_S):
        raise TimeoutError(f"{left} records of histories were not taken")


def _create(bootstrap: str, topic: str, partitions: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        admin = AdminClient({"bootstrap.servers": bootstrap})
        made = admin.create_topics([NewTopic(topic, partitions, 1)], operation_timeout=10)
        try:
            made[topic].result(20)
        except KafkaException as error:
            if error.args[0].name() == "TOPIC_ALREADY_EXISTS":
                return
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
        else:
            return


def _write(
    producer: Producer, topic: str, partitions: int, stories: list[Story], begin: int
) -> None:
    def mark(moment: int, end: bool) -> None:
        for partition in range(partitions):
            value = json.dumps({"time": moment, "end": end}).encode()
            _produce(producer, topic, partition, b"", value, {"control": b"marker"})

    for told in stories:
        for item in told.loaded:
            if isinstance(item, float):
                mark(begin + round(item * SECOND), False)
                continue
            value = body(item, begin)
            ((resource, _),) = split_by_resource(value)
            key = canonical_resource_key(TENANT, resource)
            digest = hashlib.blake2b(TENANT.encode() + b"\0" + value, digest_size=16).digest()
            headers = {"encoding": b"otlp", "digest": digest}
            _produce(producer, topic, partition_of(key, partitions), key, value, headers)
    mark(begin, True)


def _produce(
    producer: Producer, topic: str, partition: int, key: bytes, value: bytes, headers: dict
) -> None:
    about = headers | {"tenant": TENANT.encode(), "received": str(time.time_ns()).encode()}
    asked: Callable[..., None] = producer.produce
    asked(topic, value, key, partition, headers=list(about.items()))
    producer.poll(0)
