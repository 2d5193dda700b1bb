"""What of a load is on the log already (S)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, cast

import aiokafka  # pyright: ignore[reportMissingTypeStubs]
import aiokafka.admin  # pyright: ignore[reportMissingTypeStubs]

from topologies.load.plan import digest_of

_aiokafka = cast(Any, aiokafka)
_admin = cast(Any, aiokafka.admin)
_POLL_MS = 1000


def _no_bytes() -> set[bytes]:
    return set()


def _no_marks() -> dict[int, int]:
    return {}


def _no_partitions() -> set[int]:
    return set()


@dataclass(slots=True)
class Existing:
    """The records of a history topic: digests of the data, how far markers say it is complete.

    `marked` maps a partition to the greatest event time (unix ns) of its markers; `closed` holds
    the partitions whose end marker is there; `fingerprints` those of the loads that wrote them.
    """

    digests: set[bytes] = field(default_factory=_no_bytes)
    marked: dict[int, int] = field(default_factory=_no_marks)
    closed: set[int] = field(default_factory=_no_partitions)
    fingerprints: set[bytes] = field(default_factory=_no_bytes)
    records: int = 0


async def partition_counts(bootstrap: str, topics: list[str], timeout: float) -> dict[str, int]:
    """Partition counts of those of the topics that exist. Raises OSError or KafkaError."""
    admin = _admin.AIOKafkaAdminClient(
        bootstrap_servers=bootstrap, request_timeout_ms=int(timeout * 1000)
    )
    try:
        await admin.start()
        there = set(await admin.list_topics())
        wanted = [topic for topic in topics if topic in there]
        if not wanted:
            return {}
        described = cast("list[dict[str, Any]]", await admin.describe_topics(wanted))
        return {each["topic"]: len(each["partitions"]) for each in described}
    finally:
        await admin.close()


async def read_existing(bootstrap: str, topic: str, partitions: int, timeout: float) -> Existing:
    """Read a history topic from its beginning to its end as it is now."""
    found = Existing()
    consumer = _aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=int(timeout * 1000),
    )
    await consumer.start()
    try:
        assigned = [_aiokafka.TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(assigned)
        ends = await consumer.end_offsets(assigned)
        await consumer.seek_to_beginning(*assigned)
        while [tp for tp in assigned if await consumer.position(tp) < ends[tp]]:
            batches = await consumer.getmany(timeout_ms=_POLL_MS)
            for partition, messages in batches.items():
                for message in messages:
                    _note(found, partition.partition, message)
    finally:
        await consumer.stop()
    return found


def _note(found: Existing, partition: int, message: Any) -> None:
    headers = dict(cast("list[tuple[str, bytes]]", message.headers))
    found.records += 1
    if "load" in headers:
        found.fingerprints.add(headers["load"])
    if headers.get("control") == b"marker":
        mark = json.loads(message.value)
        found.marked[partition] = max(found.marked.get(partition, 0), int(mark["time"]))
        if mark["end"]:
            found.closed.add(partition)
    elif (digest := digest_of(tuple(headers.items()))) is not None:
        found.digests.add(digest)
