"""Who reads what is published: consumer groups on the log, and how far behind they are."""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from tidemill.log_topics import log_clients
from topologies.rollup.processor import FINAL, UPSERTS

PUBLISHED = (FINAL, UPSERTS)


@dataclass(frozen=True, slots=True, order=True)
class Consumer:
    """A consumer group that has committed offsets of a topic.

    behind: records from there to the end, counted by offsets: markers of transactions are in it.
    """

    topic: str
    group: str
    behind: int


async def consumers_of(
    bootstrap: str, names: Sequence[str] = PUBLISHED, timeout: float = 10.0
) -> list[Consumer]:
    """Groups that read these topics, by topic and name.

    Who reads without a group, or commits nothing, is not known to the log; nor who asks the store.

    Raises:
        Unreachable: No log answers there in time.
    """
    async with log_clients(bootstrap, timeout) as (admin, consumer):
        described: list[dict[str, Any]] = await admin.describe_topics()
        every = [
            TopicPartition(topic["topic"], part["partition"])
            for topic in described
            if topic["topic"] in names
            for part in topic["partitions"]
        ]
        groups = sorted({str(name) for name, _ in await admin.list_consumer_groups()})
        kept: dict[str, Mapping[Any, Any]] = {}
        for group in groups:
            kept[group] = await admin.list_consumer_group_offsets(group)
        firsts: dict[TopicPartition, int] = await consumer.beginning_offsets(every)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(every)
    found: list[Consumer] = []
    for group, told in kept.items():
        offsets = {part: each.offset for part, each in told.items() if each.offset >= 0}
        for topic in {part.topic for part in offsets} & {*names}:
            parts = [part for part in every if part.topic == topic]
            # where it has committed nothing, it has everything before it
            left = (ends[part] - max(offsets.get(part, 0), firsts[part]) for part in parts)
            found.append(Consumer(topic, group, sum(max(0, each) for each in left)))
    return sorted(found)


def sentence(found: Sequence[Consumer]) -> str:
    """Who reads now, for people."""
    told: list[str] = []
    for topic in PUBLISHED:
        groups = [f"{one.group} ({one.behind:,} behind)" for one in found if one.topic == topic]
        told.append(f"{topic}: {', '.join(groups) or 'no consumer group'}")
    return (
        f"reads now: {'; '.join(told)}. Who reads without a group, or asks the store, is not known"
    )
