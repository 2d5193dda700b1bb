"""OTLP metric requests from a topic of a Kafka broker, up to a bound."""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tidemill.probe import Unreachable

_POLL_MS = 500


class Request(NamedTuple):
    """Where a record is (`topic/partition@offset`), its value, whose it is, and when it came, as
    its headers say; else `default`, and the record's own time (unix ns). idle: it is the mark of an
    idle partition, and no request.
    """

    where: str
    value: bytes
    tenant: str
    received: int
    idle: bool = False


class NoSuchTopic(LookupError):
    """The broker has no topic of that name."""


class Stalled(TimeoutError):
    """Nothing more came, before the bound."""


async def read_topic(
    bootstrap: str,
    topic: str,
    records: int | None,
    timeout: float = 30.0,
    since_ms: int | None = None,
    marks: bool = False,
) -> AsyncIterator[Request]:
    """The committed records.

    Reads from the beginning, or from the first record that is no older than `since_ms` (unix ms),
    each partition in its order, to where the topic ends now, or to `records` records, waiting for
    new ones. Control records (header `control`) are left out, but for idle marks with `marks`.

    Raises:
        Unreachable: No broker answers within `timeout` seconds.
        NoSuchTopic: It has no such topic.
        Stalled: No record came for `timeout` seconds though the bound is not reached.
    """
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    try:
        ends = await from_beginning(consumer, bootstrap, topic, timeout)
        if since_ms is not None:
            found = await consumer.offsets_for_times(dict.fromkeys(ends, since_ms))
            for at, first in found.items():
                consumer.seek(at, ends[at] if first is None else first.offset)
        left, quiet = records, 0.0
        while left is None or left > 0:
            if records is None and not [
                tp for tp in ends if await consumer.position(tp) < ends[tp]
            ]:
                return
            got: dict[Any, list[Any]] = await consumer.getmany(timeout_ms=_POLL_MS)
            quiet = 0.0 if got else quiet + _POLL_MS / 1000
            if quiet > timeout:
                raise Stalled(f"no record of {topic} came for {timeout:g} s")
            for at, messages in got.items():
                for message in messages:
                    if (records is None and message.offset >= ends[at]) or left == 0:
                        break
                    left = None if left is None else left - 1
                    headers = dict(message.headers)
                    idle = marks and headers.get("control") == b"idle"
                    if message.value and (idle or "control" not in headers):
                        where = f"{topic}/{at.partition}@{message.offset}"
                        tenant = headers.get("tenant", b"default").decode("utf-8", "replace")
                        received = int(headers.get("received", b"0")) or message.timestamp * 10**6
                        yield Request(where, message.value, tenant, received, idle)
    finally:
        await consumer.stop()


async def from_beginning(
    consumer: Any, bootstrap: str, topic: str, timeout: float
) -> dict[TopicPartition, int]:
    """Have a consumer read all partitions from their beginning; the offsets where they end now.

    Raises:
        Unreachable: No broker answers within `timeout` seconds.
        NoSuchTopic: It has no such topic.
    """
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        async with asyncio.timeout(timeout):
            await admin.start()
            described: list[dict[str, Any]] = await admin.describe_topics()
            parts = {each["topic"]: each["partitions"] for each in described}
            if topic not in parts:
                raise NoSuchTopic(topic)
            await consumer.start()
            every = [TopicPartition(topic, part["partition"]) for part in parts[topic]]
            consumer.assign(every)
            await consumer.seek_to_beginning(*every)
            return await consumer.end_offsets(every)
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unreachable(f"no log answers at {bootstrap} ({type(error).__name__})") from error
    finally:
        await admin.close()
