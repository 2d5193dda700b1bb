"""A member of a consumer group: aiokafka's consumer (0.14), with types, and with its traps closed.

- it logs an exception of a rebalance listener and goes on: ours are reported;
- a partition without a position asks the group for one: `park` gives it one;
- `getmany()` may lose records: when it raises, what it took out of other partitions is gone, and
  their positions have moved. So what was handed out is counted here, and sought again.
"""

# aiokafka ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportIncompatibleMethodOverride=false
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streams.config import WorkerConfig
from streams.errors import Retriable
from streams.task.processor import InputRecord
from streams.worker.assignor import Assignor
from streams.worker.kafka import (
    NEVER_MS,
    Partition,
    bounded,
    common,
    input_records,
    started,
)

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


class Piece(NamedTuple):
    """All committed records of a partition in [offset, next_offset).

    `end`: the last stable offset as of the fetch.
    """

    offset: int
    records: list[InputRecord]
    next_offset: int
    end: int


class GroupConsumer:
    """A member of a topology's consumer group."""

    def __init__(self, config: WorkerConfig, group: str, assignor: Assignor) -> None:
        self._consumer = AIOKafkaConsumer(
            **common(config),
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
        self._handed_out: dict[TopicPartition, int] = {}
        """By partition the offset that the next piece begins with."""

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

    def fetch_from(self, partition: Partition, offset: int) -> None:
        """Fetch from here."""
        at = TopicPartition(*partition)
        self._handed_out[at] = offset
        self._consumer.seek(at, offset)
        self._consumer.resume(at)

    async def poll(self, ready: Iterable[Partition], timeout_ms: int) -> dict[Partition, Piece]:
        """What was fetched for these partitions. Raises `OffsetsGone`, `Retriable`.

        Pieces follow each other without a hole from `fetch_from` on; one may be without records.
        Whoever calls takes them in before it waits for anything: after another `fetch_from` they
        are of no use.
        """
        partitions = [TopicPartition(*at) for at in ready]
        try:
            got = await self._consumer.getmany(*partitions, timeout_ms=timeout_ms)
        except OffsetOutOfRangeError as error:
            self._go_back(partitions)
            raise OffsetsGone([(at.topic, at.partition) for at in error.args[0]]) from error
        except KafkaError as error:
            self._go_back(partitions)
            raise Retriable(f"cannot fetch: {error!r}") from error
        pieces: dict[Partition, Piece] = {}
        for at in partitions:
            state = self._fetching(at)
            if state is None:
                continue
            end: Any = state.highwater if state.lso in (None, -1) else state.lso
            if end is not None:
                position: int = state.position
                offset = self._handed_out.get(at, position)
                records = input_records(got.get(at, ()))
                pieces[at.topic, at.partition] = Piece(offset, records, position, end)
                self._handed_out[at] = position
        return pieces

    def _go_back(self, partitions: Iterable[TopicPartition]) -> None:
        for at in partitions:
            state = self._fetching(at)
            if state is not None and at in self._handed_out:
                self._consumer.seek(at, self._handed_out[at])

    def _fetching(self, at: TopicPartition) -> Any:
        """The state of a partition that is ours and has a position; `position()` may wait."""
        subscription: Any = self._consumer._subscription.subscription
        assignment = subscription and subscription.assignment
        state = assignment and assignment.state_value(at)
        return state if state and state.has_valid_position else None

    async def note_offsets(self, offsets: Mapping[Partition, int]) -> None:
        """Commit group offsets, for lag tools only: failures do not matter."""
        held = self._consumer.assignment()
        known = {TopicPartition(*at): offset for at, offset in offsets.items()}
        try:
            await self._consumer.commit({at: o for at, o in known.items() if at in held})
        except (KafkaError, ValueError):
            return

    async def stop(self, seconds: float) -> None:
        """Leave the group; bounded."""
        if not await bounded(self._consumer.stop(), seconds):
            await bounded(self._consumer._client.close(), 1.0)


class OffsetsGone(Exception):
    """The log no longer holds the offsets that were to be fetched."""

    def __init__(self, partitions: list[Partition]) -> None:
        super().__init__(partitions)
        self.partitions = partitions
