"""Fetching without a hole from aiokafka (0.14), by a member of a group or by nobody's.

What it fetched is taken as it came, and unpacked (checksums, compression, aborted transactions) on
a thread: `getmany()` does that on the event loop, which then is full long before a core is. Where a
partition stands is counted here, and sought again when something fails in between.
"""

# aiokafka ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streams.config import WorkerConfig
from streams.errors import Retriable
from streams.task.processor import InputRecord
from streams.worker.kafka import Partition, bounded, reader, started
from streams.worker.unpacking import FetchedBatches, read_with

_REASSIGNED_SECONDS = 0.02
"""Between two looks whether partitions are being given away: nothing is fetched meanwhile."""


class Piece(NamedTuple):
    """All committed records of a partition in [offset, next_offset).

    `end`: the last stable offset as of the fetch.
    """

    offset: int
    records: list[InputRecord]
    next_offset: int
    end: int


class _Taken(NamedTuple):
    """What was fetched of a partition since a `fetch_from`: batches that are not unpacked yet."""

    fetch: int
    offset: int
    packed: Any
    next_offset: int
    end: int


class PieceConsumer:
    """A consumer that knows what it handed out."""

    def __init__(self, consumer: AIOKafkaConsumer, codec: Executor) -> None:
        """codec: Where records are unpacked, beside the event loop."""
        self._consumer: Any = consumer
        self._codec = codec
        self._reading: Any = None
        """The fetcher whose batches are ours."""
        self._waiter: asyncio.Future[None] | None = None
        self._handed_out: dict[TopicPartition, int] = {}
        """By partition the offset that the next piece begins with."""
        self._fetches: dict[TopicPartition, int] = {}
        """By partition how many times `fetch_from` was called."""

    def fetch_from(self, partition: Partition, offset: int) -> None:
        """Fetch from here."""
        at = TopicPartition(*partition)
        self._handed_out[at] = offset
        self._fetches[at] = self._fetches.get(at, 0) + 1
        self._consumer.seek(at, offset)
        self._consumer.resume(at)

    async def poll(self, ready: Iterable[Partition], seconds: float) -> dict[Partition, Piece]:
        """What was fetched for these partitions. Raises `OffsetsGone`, `Retriable`.

        Waits for an answer of the log, for `wake_up`, or so long, unless something is there. Pieces
        follow each other without a hole from `fetch_from` on; one may be without records. Whoever
        calls takes them in before it waits for anything: after another `fetch_from` they are of no
        use.
        """
        partitions = [TopicPartition(*at) for at in ready]
        taken: dict[TopicPartition, _Taken] = {}
        try:
            await self._wait(partitions, seconds)
            self._consumer._coordinator.check_errors()
            for at in partitions:
                if (found := self._take(at)) is not None:
                    taken[at] = found
            unpacked = await self._unpack([each.packed for each in taken.values()])
        except OffsetOutOfRangeError as error:
            self._go_back(partitions)
            raise OffsetsGone([(at.topic, at.partition) for at in error.args[0]]) from error
        except KafkaError as error:
            self._go_back(partitions)
            raise Retriable(f"cannot fetch: {error!r}") from error
        except asyncio.CancelledError:
            self._go_back(partitions)
            raise
        pieces: dict[Partition, Piece] = {}
        for (at, each), records in zip(taken.items(), unpacked, strict=True):
            if self._fetches.get(at, 0) == each.fetch and self._fetching(at) is not None:
                pieces[at.topic, at.partition] = Piece(
                    each.offset, records, each.next_offset, each.end
                )
                self._handed_out[at] = each.next_offset
        return pieces

    def wake_up(self) -> None:
        """End the wait of a `poll`."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, partitions: Iterable[TopicPartition], seconds: float) -> None:
        """Until something was fetched for one of these, the log answered, or for so long."""
        fetcher = self._consumer._fetcher
        if fetcher is not self._reading:
            read_with(fetcher)
            self._reading = fetcher
        if self._consumer._subscription.reassignment_in_progress:
            await asyncio.sleep(min(seconds, _REASSIGNED_SECONDS))
        elif not any(at in fetcher._records for at in partitions):
            waiter = self._waiter = fetcher._create_fetch_waiter()
            await asyncio.wait([waiter], timeout=seconds)
            if waiter.done():
                waiter.result()
            else:
                waiter.cancel()

    async def _unpack(self, packed: Sequence[Any]) -> list[list[InputRecord]]:
        if not any(packed):
            return [[] for _ in packed]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._codec, _unpacked, packed)

    def _take(self, at: TopicPartition) -> _Taken | None:
        """What was fetched of a partition, whose position moves behind it. Raises `KafkaError`."""
        state = self._fetching(at)
        fetcher = self._consumer._fetcher
        if state is None or self._consumer._subscription.reassignment_in_progress:
            return None
        result = fetcher._records.get(at)
        position: int = state.position
        offset = self._handed_out.get(at, position)
        packed = None
        if result is not None:
            del fetcher._records[at]
            fetcher._notify(fetcher._wait_consume_future)
            if not isinstance(result, FetchResult):
                result.check_raise()
            elif result.check_assignment(at):
                packed: Any = result._partition_records
                if not isinstance(packed._records, FetchedBatches):
                    return None  # from before `read_with`: fetched again
                packed._check_crcs = False  # it has
                packed._consumer_record = _input_record
                behind = packed._records.next_offset()
                if behind is not None:
                    state.consumed_to(behind)
        end: Any = state.highwater if state.lso in (None, -1) else state.lso
        if end is None:
            return None
        return _Taken(self._fetches.get(at, 0), offset, packed, state.position, end)

    def _go_back(self, partitions: Iterable[TopicPartition]) -> None:
        for at in partitions:
            state = self._fetching(at)
            if state is not None and at in self._handed_out:
                self._consumer.seek(at, self._handed_out[at])

    def _fetching(self, at: TopicPartition) -> Any:
        """The state of a partition that is ours and has a position; `position()` may wait."""
        subscription = self._consumer._subscription.subscription
        assignment = subscription and subscription.assignment
        state = assignment and assignment.state_value(at)
        return state if state and state.has_valid_position else None

    async def stop(self, seconds: float) -> None:
        """Leave the group; bounded."""
        if not await bounded(self._consumer.stop(), seconds):
            await bounded(self._consumer._client.close(), 1.0)


class FollowingConsumer(PieceConsumer):
    """Reads partitions that are chosen, without a group, read_committed."""

    def __init__(self, config: WorkerConfig, codec: Executor) -> None:
        super().__init__(reader(config, "read_committed"), codec)

    async def start(self) -> None:
        """Raises `Retriable`."""
        await started(self._consumer)

    def choose(self, partitions: Iterable[Partition]) -> None:
        """Read these from now on; each needs a `fetch_from`."""
        self._consumer.assign([TopicPartition(*at) for at in partitions])


def _unpacked(packed: Iterable[Any]) -> list[list[InputRecord]]:
    """The committed records of each. Raises `KafkaError` where a checksum is wrong."""
    return [list(each or ()) for each in packed]


def _input_record(_: TopicPartition, of: Any) -> InputRecord:
    """In place of aiokafka's `ConsumerRecord`, which costs more than the record's decoding."""
    return InputRecord(of.offset, of.timestamp, of.key, of.value, tuple(of.headers))


class OffsetsGone(Exception):
    """The log no longer holds the offsets that were to be fetched."""

    def __init__(self, partitions: list[Partition]) -> None:
        super().__init__(partitions)
        self.partitions = partitions
