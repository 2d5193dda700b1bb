"""Decides what is inserted when, so that every record is in the table once. No I/O, no clock.

A partition's batch is *decided*, then *kept*, then *inserted*, then forgotten:

    filling -> bounding (its bounds are committed) -> inserting -> advancing -> filling

Because bounds are durable before the insert begins, whoever takes over after a crash reads exactly
the same records again and inserts them under the same token: the store drops the second of the two,
and completes a first that was cut in half. Between Commit and its Done nothing is inserted; between
Insert and its Done nothing is committed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from topologies.sink.events import (
    Arrived,
    Assigned,
    Bounds,
    Commit,
    Committed,
    Done,
    Effect,
    Event,
    Failed,
    Forget,
    Insert,
    Records,
    Report,
    Revoked,
    Seek,
)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """When a batch is cut.

    Attributes:
        max_rows: A batch has at most so many rows, unless its one record has more.
        linger_ms: A record waits at most so long for others.
        interval_ms: Batches of one partition are at least so far apart, unless one is full: many
            small inserts cost the store more than few large ones.
        many_rows, many_interval_ms: The same after a batch of so many rows. A row of an insert of
            8,000 costs the store three times one of an insert of 64,000 (tests/benchmarks/
            bench_store).
        behind_interval_ms: The same at most, where all rows that wait are old: they wait for others
            a twentieth of their age, as long as others come.
        quiet_ms: After so long without a record no others come.
        backoff_ms, max_backoff_ms: First and longest wait before something is tried again.
    """

    max_rows: int = 100_000
    linger_ms: int = 50
    interval_ms: int = 500
    many_rows: int = 2_000
    many_interval_ms: int = 2_000
    behind_interval_ms: int = 15_000
    quiet_ms: int = 1_000
    backoff_ms: int = 200
    max_backoff_ms: int = 10_000

    def __post_init__(self) -> None:
        if self.max_rows < 1:
            raise ValueError("max_rows must be at least 1")


_BEHIND_SHARE = 20
"""Rows of an hour ago are not missed for a while; many in one insert cost the store less."""


class Stage(Enum):
    """Where a partition is."""

    REPLAYING = "replaying"  # bounds were committed by a predecessor; their records are awaited
    FILLING = "filling"
    BOUNDING = "bounding"
    INSERTING = "inserting"
    ADVANCING = "advancing"


@dataclass(slots=True)
class Partition:
    """One partition's state."""

    assignment: int
    epoch: str
    stored: int
    """Everything before this offset is in the table."""
    stage: Stage = Stage.FILLING
    bounds: Bounds | None = None
    held: deque[tuple[Arrived, int]] = field(default_factory=deque[tuple[Arrived, int]])
    """Records not yet stored, with the time they arrived."""
    rows: int = 0
    attempts: int = 0
    retry_at: int | None = None
    inserted_at: int | None = None
    interval_ms: int = 0
    """How long after the last insert the next batch may begin that is not full."""


class SinkCore:
    """The partitions of one sink process."""

    def __init__(self, topic: str, limits: BatchLimits) -> None:
        self._topic = topic
        self._limits = limits
        self._partitions: dict[int, Partition] = {}

    def step(self, event: Event, now_ms: int) -> list[Effect]:
        """Take one event; return what should happen, in this order."""
        match event:
            case Assigned():
                return self._assigned(event)
            case Revoked():
                self._partitions.pop(event.partition, None)
                return []
            case Records() | Done() | Failed():
                state = self._partitions.get(event.partition)
                if state is None or state.assignment != event.assignment:
                    return []
                match event:
                    case Records():
                        return self._arrived(event, state, now_ms)
                    case Done():
                        return self._done(event.partition, state, now_ms)
                    case Failed():
                        self._failed(state, now_ms)
                        return []
            case _:
                effects: list[Effect] = []
                for number, state in self._partitions.items():
                    effects += self._due(number, state, now_ms)
                return effects

    def wants(self, partition: int) -> bool:
        """Whether more records of a partition are to be read: at most two batches are held."""
        state = self._partitions.get(partition)
        if state is None:
            return False
        return state.stage is Stage.REPLAYING or state.rows < 2 * self._limits.max_rows

    def wakeup_ms(self) -> int | None:
        """When the next Tick has something to do, if nothing else happens."""
        times = [self._due_at(state) for state in self._partitions.values()]
        return min((at for at in times if at is not None), default=None)

    def _due_at(self, state: Partition) -> int | None:
        if state.retry_at is not None:
            return state.retry_at
        if state.stage is not Stage.FILLING or not state.held:
            return None
        at = state.held[0][1] + self._limits.linger_ms
        if state.inserted_at is None:
            return at
        limits = self._limits
        behind = min(record.behind_ms for record, _ in state.held) // _BEHIND_SHARE
        wait = min(behind, limits.behind_interval_ms)
        quiet_at = state.held[-1][1] + limits.quiet_ms
        at = max(at, state.inserted_at + state.interval_ms)
        return max(at, min(state.inserted_at + wait, quiet_at))

    def _assigned(self, event: Assigned) -> list[Effect]:
        effects: list[Effect] = []
        kept = event.committed
        lost = None
        if kept is not None and kept.offset > event.end:
            lost = (
                f"offset {kept.offset} was stored, but the log ends at {event.end}: the topic was "
                "made anew, and is stored from its beginning"
            )
            kept = None
        elif kept is not None and kept.offset < event.start:
            lost = (
                f"offsets {kept.offset} to {event.start - 1} were deleted before they were stored"
            )
        if lost is not None:
            effects.append(Report(event.partition, f"{self._topic}/{event.partition}: {lost}"))
        if kept is None:
            kept = Committed(event.start, event.fresh_epoch)
        state = Partition(event.assignment, kept.epoch, kept.offset)
        if kept.bounds is not None:
            state.stage = Stage.REPLAYING
            state.bounds = kept.bounds
        self._partitions[event.partition] = state
        effects.append(Seek(event.partition, max(kept.offset, event.start)))
        return effects

    def _arrived(self, event: Records, state: Partition, now_ms: int) -> list[Effect]:
        for record in event.records:
            if record.offset >= state.stored:
                state.held.append((record, now_ms))
                state.rows += record.rows
        if state.stage is not Stage.REPLAYING:
            return self._due(event.partition, state, now_ms)
        if state.bounds is not None and event.position > state.bounds.last:
            state.stage = Stage.INSERTING
            return [self._effect(event.partition, state)]
        return []

    def _due(self, number: int, state: Partition, now_ms: int) -> list[Effect]:
        """What time, or a full batch, asks for now."""
        if state.retry_at is not None:
            if now_ms < state.retry_at:
                return []
            state.retry_at = None
            return [self._effect(number, state)]
        if state.stage is not Stage.FILLING:
            return []
        bounds = self._cut(state, now_ms)
        if bounds is None:
            return []
        state.stage, state.bounds = Stage.BOUNDING, bounds
        return [self._effect(number, state)]

    def _cut(self, state: Partition, now_ms: int) -> Bounds | None:
        """The next batch, if it is full or has waited long enough."""
        if not state.held:
            return None
        rows = 0
        last = state.held[0][0]
        for record, _ in state.held:
            if rows and rows + record.rows > self._limits.max_rows:
                return Bounds(state.held[0][0].offset, last.offset)
            rows += record.rows
            last = record
        due_at = self._due_at(state)
        if rows < self._limits.max_rows and due_at is not None and now_ms < due_at:
            return None
        return Bounds(state.held[0][0].offset, last.offset)

    def _done(self, number: int, state: Partition, now_ms: int) -> list[Effect]:
        state.attempts = 0
        if state.stage is Stage.BOUNDING:
            state.stage = Stage.INSERTING
            return [self._effect(number, state)]
        if state.stage is Stage.ADVANCING:
            state.stage = Stage.FILLING
            return self._due(number, state, now_ms)
        if state.stage is Stage.INSERTING and state.bounds is not None:
            return self._inserted(number, state, state.bounds, now_ms)
        return []

    def _inserted(self, number: int, state: Partition, bounds: Bounds, now_ms: int) -> list[Effect]:
        rows = 0
        while state.held and state.held[0][0].offset <= bounds.last:
            rows += state.held.popleft()[0].rows
        state.rows -= rows
        limits = self._limits
        many = rows >= limits.many_rows
        state.inserted_at = now_ms
        state.interval_ms = limits.many_interval_ms if many else limits.interval_ms
        state.stored = bounds.last + 1
        state.bounds = None
        state.stage = Stage.FILLING
        effects: list[Effect] = [Forget(number, bounds.last)]
        following = self._due(number, state, now_ms)
        if not following:  # else the next bounds say it too
            state.stage = Stage.ADVANCING
            following = [self._effect(number, state)]
        return effects + following

    def _failed(self, state: Partition, now_ms: int) -> None:
        wait = min(self._limits.backoff_ms << min(state.attempts, 16), self._limits.max_backoff_ms)
        state.attempts += 1
        state.retry_at = now_ms + wait

    def _effect(self, number: int, state: Partition) -> Effect:
        """What the stage is about; the same effect again when it is tried again."""
        if state.stage is Stage.INSERTING and state.bounds is not None:
            token = self._token(number, state, state.bounds)
            return Insert(number, state.assignment, state.bounds, token)
        return Commit(number, state.assignment, Committed(state.stored, state.epoch, state.bounds))

    def _token(self, number: int, state: Partition, bounds: Bounds) -> str:
        return f"{self._topic}/{number}/{state.epoch}/{bounds.first}-{bounds.last}"
