"""A member of a consumer group: aiokafka's consumer (0.14), with types, and with its traps closed.

- it logs an exception of a rebalance listener and goes on: ours are reported;
- a partition without a position asks the group for one: `park` gives it one.
"""

# aiokafka ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportIncompatibleMethodOverride=false
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from streams.config import WorkerConfig
from streams.worker.assignor import Assignor
from streams.worker.kafka import NEVER_MS, Partition, common, started
from streams.worker.pieces import PieceConsumer

RebalanceCallback = Callable[[set[Partition]], Awaitable[None]]


class _Listener(ConsumerRebalanceListener):
    def __init__(
        self,
        revoked: RebalanceCallback,
        assigned: RebalanceCallback,
        failed: Callable[[Exception], None],
    ) -> None:
        self._revoked = revoked
        self._assigned = assigned
        self._failed = failed

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        try:
            await self._revoked({(at.topic, at.partition) for at in revoked})
        except Exception as error:
            self._failed(error)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        try:
            await self._assigned({(at.topic, at.partition) for at in assigned})
        except Exception as error:
            self._failed(error)


class GroupConsumer(PieceConsumer):
    """A member of a topology's consumer group."""

    def __init__(
        self, config: WorkerConfig, group: str, assignor: Assignor, codec: Executor
    ) -> None:
        consumer = AIOKafkaConsumer(
            **common(config, config.metadata_max_age_ms),
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            session_timeout_ms=config.session_timeout_ms,
            heartbeat_interval_ms=config.heartbeat_interval_ms,
            rebalance_timeout_ms=config.rebalance_timeout_ms,
            max_poll_interval_ms=NEVER_MS,
            max_partition_fetch_bytes=config.partition_fetch_bytes,
            fetch_max_bytes=config.fetch_bytes,
            fetch_max_wait_ms=config.fetch_max_wait_ms,
            partition_assignment_strategy=(assignor,),
        )
        super().__init__(consumer, codec)

    async def start(
        self,
        topics: Sequence[str],
        pattern: str | None,
        revoked: RebalanceCallback,
        assigned: RebalanceCallback,
        failed: Callable[[Exception], None],
    ) -> None:
        """Join. The callbacks may seek and pause, and wait for commits. Raises `Retriable`."""
        listener = _Listener(revoked, assigned, failed)
        if pattern is None:
            self._consumer.subscribe(topics=list(topics), listener=listener)
        else:
            whole = re.compile(rf"(?:{pattern})\Z").pattern
            self._consumer.subscribe(pattern=whole, listener=listener)
        await started(self._consumer)

    def park(self, partition: Partition) -> None:
        """Fetch nothing of a partition for now. The seek keeps aiokafka from asking the group."""
        at = TopicPartition(*partition)
        self._consumer.seek(at, 0)
        self._consumer.pause(at)

    async def note_offsets(self, offsets: Mapping[Partition, int]) -> None:
        """Commit group offsets, for lag tools only: failures do not matter."""
        held = self._consumer.assignment()
        known = {TopicPartition(*at): offset for at, offset in offsets.items()}
        try:
            await self._consumer.commit({at: o for at, o in known.items() if at in held})
        except (KafkaError, ValueError):
            return
