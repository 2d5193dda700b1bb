"""The table that a compacted topic of a Kafka broker holds."""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from metric_registry.table_sources import LastRecords
from tidemill.otlp_topic import Stalled, from_beginning
from tidemill.probe import Unreachable

_POLL_MS = 500


async def last_records(bootstrap: str, topic: str, timeout: float = 30.0) -> LastRecords:
    """The last committed record of each key, up to what was committed when it was asked for.

    Raises:
        Unreachable: No broker answers within `timeout` seconds, or it goes away.
        NoSuchTopic: It has no such topic.
        Stalled: No record came for `timeout` seconds though the end is not reached.
        NotATable: It holds what is no row.
    """
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    found = LastRecords(topic)
    try:
        ends = await from_beginning(consumer, bootstrap, topic, timeout)
        quiet = 0.0
        while [tp for tp in ends if await consumer.position(tp) < ends[tp]]:
            got: dict[Any, list[Any]] = await consumer.getmany(timeout_ms=_POLL_MS)
            quiet = 0.0 if got else quiet + _POLL_MS / 1000
            if quiet > timeout:
                raise Stalled(f"no record of {topic} came for {timeout:g} s")
            for at, messages in got.items():
                for each in messages:
                    if each.offset < ends[at]:
                        found.take(at.partition, each.offset, each.key, each.value)
    except (KafkaError, OSError) as error:
        raise Unreachable(f"no log answers at {bootstrap} ({type(error).__name__})") from error
    finally:
        await consumer.stop()
    return found


async def cleanup_policy(bootstrap: str, topic: str, timeout: float = 30.0) -> str:
    """What is deleted of a topic, as its `cleanup.policy` says; empty where the broker keeps it to
    itself.

    Raises:
        Unreachable: No broker answers within `timeout` seconds.
    """
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        async with asyncio.timeout(timeout):
            await admin.start()
            asked = ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": ""})
            answers: list[Any] = await admin.describe_configs([asked])
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unreachable(f"no log answers at {bootstrap} ({type(error).__name__})") from error
    finally:
        await admin.close()
    entries = [
        entry for answer in answers for resource in answer.resources for entry in resource[4]
    ]
    return next((str(entry[1]) for entry in entries if entry[0] == "cleanup.policy"), "")
