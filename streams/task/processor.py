"""The port between the framework and a topology: what one task computes.

A `Processor` is a deterministic function of the records of one input partition: the same records
give the same outputs and the same state, however they are cut into calls of `process`, and
whatever the restarts. That is what lets the framework commit outputs often and state seldom: after
a crash it restores the last snapshot, replays the records behind it with the outputs discarded up
to the committed position, and goes on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from streams.queries.questions import Part, Question


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A record of the task's own input partition. `timestamp_ms` is the log's, unix ms."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """A record to be written in the task's next transaction. `partition` None: hash of the key."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class InputRange:
    """Offsets [start, end) of the task's own input partition."""

    start: int
    end: int


class Processor(Protocol):
    """One task's computation. No I/O, no clock, no randomness, no asyncio.

    Order of calls: `restore`, `replay_from`, then `process` over consecutive records with the
    other calls in between. Best is a `process` that checks its records before it changes any state
    and raises `streams.errors.Rejected` with the index of a bad one. After any other exception the
    framework restores the task from its last snapshot and finds the bad record one at a time.
    """

    def restore(self, blocks: Iterable[tuple[bytes, bytes]]) -> None:
        """Load the state as of the last snapshot. Called once, first; empty when there is none."""
        ...

    def replay_from(self) -> int | None:
        """The first input offset wanted; may lie before the snapshot's position. None: earliest."""
        ...

    def process(self, records: Sequence[InputRecord]) -> int:
        """Consume records in order; returns how many. Fewer than given only if `needs` is set."""
        ...

    def needs(self) -> InputRange | None:
        """Past input that has to be read again (read_committed) before processing goes on."""
        ...

    def supply(self, records: Sequence[InputRecord], done: bool) -> None:
        """The records of the range that `needs` named, in order; `done` with the last of them."""
        ...

    def outputs(self) -> Sequence[OutputRecord]:
        """Drain what `process` and `supply` produced: a list, or `streams.task.outputs.Outputs`."""
        ...

    def urgent(self) -> bool:
        """Whether something waits to be published: commit now, not at the interval."""
        ...

    def before_commit(self, position: int) -> list[OutputRecord]:
        """Records of this commit alone (frontier, progress); not part of the replayed function.

        `position` is the offset of the next input record. It is called once a transaction.
        """
        ...

    def idle(self, now_ms: int) -> list[OutputRecord]:
        """Called when the partition was read to its last stable offset and stayed there."""
        ...

    def snapshot(self, position: int) -> dict[bytes, bytes | None]:
        """The state blocks that changed since the last snapshot; None deletes a block."""
        ...

    def stats(self) -> dict[str, Any]:
        """Figures for people (watermark, open windows); read by the HTTP stats page."""
        ...


@runtime_checkable
class Queryable(Protocol):
    """A processor whose stores can be asked."""

    def query(self, question: Question) -> Part:
        """What its stores have of it, as of the records processed. It changes nothing that any
        other call can tell. Raises `streams.queries.questions.QueryError`."""
        ...


ProcessorFactory = Callable[[str, int], Processor]
"""(topic, partition) -> a fresh processor without state."""
