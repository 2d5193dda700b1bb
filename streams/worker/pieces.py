"""Fetching without a hole from aiokafka (0.14), by a member of a group or by nobody's.

`getmany()` may lose records: when it raises, what it took out of other partitions is gone, and
their positions have moved. So what was handed out is counted here, and sought again.
"""

# aiokafka ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streams.config import WorkerConfig
from streams.errors import Retriable
from streams.task.processor import InputRecord
from streams.worker.kafka import Partition, bounded, input_records, reader, started


class Piece(NamedTuple):
    """All committed records of a partition in [offset, next_offset).

    `end`: the last stable offset as of the fetch.
    """

    offset: int
    records: list[InputRecord]
    next_offset: int
    end: int


class PieceConsumer:
    """A consumer that knows what it handed out."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._handed_out: dict[TopicPartition, int] = {}
        """By partition the offset that the next piece begins with."""

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

    async def stop(self, seconds: float) -> None:
        """Leave the group; bounded."""
        if not await bounded(self._consumer.stop(), seconds):
            await bounded(self._consumer._client.close(), 1.0)


class FollowingConsumer(PieceConsumer):
    """Reads partitions that are chosen, without a group, read_committed."""

    def __init__(self, config: WorkerConfig) -> None:
        super().__init__(reader(config, "read_committed"))

    async def start(self) -> None:
        """Raises `Retriable`."""
        await started(self._consumer)

    def choose(self, partitions: Iterable[Partition]) -> None:
        """Read these from now on; each needs a `fetch_from`."""
        self._consumer.assign([TopicPartition(*at) for at in partitions])


class OffsetsGone(Exception):
    """The log no longer holds the offsets that were to be fetched."""

    def __init__(self, partitions: list[Partition]) -> None:
        super().__init__(partitions)
        self.partitions = partitions
