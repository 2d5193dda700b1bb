"""One task's life, as a state machine: events in, effects out.

    CREATED -> FENCING -> RESTORING -> LOADING -> REPLAYING -> RUNNING <-> SUSPENDED
                  ^__________ MustRestore __________________________|          |
                                                                    v          v
                                   FENCED, FAILED              CLOSING -> CLOSED

Two lanes of work, at most one effect in flight on each: *compute* (processor, restore) and *log*
(transactions, and the local snapshot behind each). While a transaction is on its way the processor
goes on; the next one waits for it. See README.md for the invariants.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, ClassVar

from streams.config import TaskSettings
from streams.errors import Fatal, Fenced, MustRestore, Retriable, StreamsError
from streams.state.position import MAX_SKIPPED, Checkpoint, Position
from streams.task import events as ev
from streams.task.dead_letter import dead_letter
from streams.task.events import Effect, Event, TaskId
from streams.task.processor import InputRange, InputRecord, OutputRecord


class Phase(StrEnum):
    """Where a task is in its life."""

    CREATED = "created"
    FENCING = "fencing"
    RESTORING = "restoring"
    LOADING = "loading"
    REPLAYING = "replaying"
    RUNNING = "running"
    RESTARTING = "restarting"
    SUSPENDED = "suspended"
    CLOSING = "closing"
    CLOSED = "closed"
    FENCED = "fenced"
    FAILED = "failed"


MAX_RESTARTS = 12
"""Restores in a row, without one transaction in between, after which the worker stops."""

_ENDED = (Phase.CLOSED, Phase.FENCED, Phase.FAILED)
_PROCESSING = (Phase.REPLAYING, Phase.RUNNING)


class Task:
    """Feed it events with a monotonic time; do what it says. Invariants are in the README."""

    def __init__(self, task: TaskId, settings: TaskSettings) -> None:
        self.id = task
        self.settings = settings
        self.phase = Phase.CREATED
        self.error: StreamsError | None = None
        self.position = 0
        self.committed: Position | None = None
        self.input_end = 0
        self.dead_letters = 0
        self.lost_records = 0
        self.restarts = 0
        self._flight: dict[str, Effect] = {}
        self._effects: list[Effect] = []
        self._now = 0
        self._goal: Phase | None = None
        self._retry: tuple[str, Effect, int] | None = None
        self._retry_since: int | None = None
        self._restart_at: int | None = None
        self._failures = 0
        self._wipe = False
        self._wiped = False
        self._reload = False
        self._reset_run()

    def _reset_run(self) -> None:
        """Forget everything that is only in memory."""
        self._origin = 0
        self._lineage = ""
        self._local: Checkpoint | None = None
        self._bounds = ev.BoundsFound(0, 0, 0, 0)
        self._skipped: frozenset[int] = frozenset()
        self._dead: dict[int, OutputRecord] = {}
        self._probe = (0, 0)
        self._last_commit = self._last_snapshot = self._now
        self._fetch = getattr(self, "_fetch", 0)
        self._reset_input()

    def _reset_input(self) -> None:
        self._buffer: deque[InputRecord] = deque()
        self._batch: Sequence[InputRecord] = ()
        self._next_offset = 0
        self._needs: InputRange | None = None
        self._range_next: int | None = None
        self._dirty = self._urgent = False
        self._idle_at: int | None = None
        self._empty_at_start = False

    # ------------------------------------------------------------ outside view

    def step(self, event: Event, now_ms: int) -> list[Effect]:
        """Take one event. `now_ms` is monotonic. Never raises for what can happen."""
        self._now = now_ms
        self._effects = []
        if self.phase not in _ENDED:
            self._handle(event)
            self._advance()
        return self._effects

    def wants_records(self) -> bool:
        """Whether the shell should fetch for this task now (back pressure)."""
        return (
            self.phase in _PROCESSING
            and self._goal is None
            and not self._reload
            and len(self._buffer) < self.settings.buffer_records
        )

    @property
    def ended(self) -> bool:
        return self.phase in _ENDED

    @property
    def settled(self) -> bool:
        """Suspended or ended: a rebalance need not wait for it."""
        return self.ended or self.phase is Phase.SUSPENDED

    def stats(self) -> dict[str, Any]:
        """Figures for people."""
        committed = self.committed
        return {
            "state": self.phase.value,
            "position": self.position,
            "committed": None if committed is None else committed.offset,
            "snapshot": None if committed is None else committed.snapshot,
            "end": self.input_end,
            "lag": max(0, self.input_end - max(self._next_offset, self.position))
            + len(self._buffer),
            "dead_letters": self.dead_letters,
            "lost_records": self.lost_records,
            "restarts": self.restarts,
            "error": None if self.error is None else str(self.error),
        }

    # ------------------------------------------------------------ events

    def _handle(self, event: Event) -> None:
        if not isinstance(event, ev.Tick):
            self._handlers[type(event)](self, event)

    def _on_assigned(self, _: ev.Assigned) -> None:
        self._begin()

    def _begin(self) -> None:
        self._reset_run()
        self.committed = None
        self.phase = Phase.FENCING
        self._order("log", ev.InitProducer())

    def _on_producer_ready(self, event: ev.ProducerReady) -> None:
        self._done("log")
        self._lineage = event.token
        self.phase = Phase.RESTORING
        self._open_store()

    def _open_store(self) -> None:
        if self._wipe:
            self._wiped, self.committed = True, None
        self._order("compute", ev.OpenStore(self._wipe))
        self._wipe = False

    def _on_store_opened(self, event: ev.StoreOpened) -> None:
        self._done("compute")
        self._local = event.checkpoint
        self._order("log", ev.FindBounds())

    def _on_bounds_found(self, event: ev.BoundsFound) -> None:
        self._done("log")
        self._bounds = event
        self.input_end = event.input_end
        start = event.changelog_start
        if self._local is not None:
            start = self._local.changelog_offset
            if not event.changelog_start <= start <= event.changelog_end:
                self._wipe = True  # ahead of the changelog, or trimmed past it
                self._open_store()
                return
            self.committed = self._local.position
        self._read_changelog(start)

    def _read_changelog(self, start: int) -> None:
        if start < self._bounds.changelog_end:
            self._order("log", ev.ReadChangelog(start, self._bounds.changelog_end))
        else:
            self.phase = Phase.LOADING
            self._load()

    def _on_changelog_read(self, event: ev.ChangelogRead) -> None:
        self._done("log")
        self._order("compute", ev.ApplyChangelog(event.records, event.next_offset))
        self._next_offset = event.next_offset

    def _on_changelog_applied(self, event: ev.ChangelogApplied) -> None:
        self._done("compute")
        local = None if self._local is None else self._local.position
        if local and event.position and local.lineage != event.position.lineage:
            self._wipe, self._local = True, None  # the changelog was made anew
            self._open_store()
            return
        self.committed = event.position
        self._read_changelog(self._next_offset)

    def _load(self) -> None:
        self._order("compute", ev.LoadProcessor(self.committed))

    def _on_processor_loaded(self, event: ev.ProcessorLoaded) -> None:
        self._done("compute")
        start = self._start_offset(event.replay_from)
        if start is None:
            return
        committed = self.committed
        if committed is not None:
            self._origin, self._lineage = committed.origin, committed.lineage
            self._skipped = self._skipped | frozenset(committed.skipped)
        else:
            self._origin = start
        self._reset_input()
        self.position = start
        self._empty_at_start = self._bounds.input_start == self.input_end
        self.phase = Phase.REPLAYING
        self._seek(start)

    def _start_offset(self, replay_from: int | None) -> int | None:
        """Where input begins, or None after giving up because it is not there any more."""
        first, committed = self._bounds.input_start, self.committed
        if committed is None:
            return max(first, replay_from or 0)
        where = f"{self.id.topic}/{self.id.partition}"
        if committed.offset > self.input_end:
            self._fail(
                Fatal(
                    f"{where} ends at {self.input_end:,}, but {committed.offset:,} "
                    "records of it were counted",
                    "The topic was made anew or lost records; give the app another name to start "
                    "over",
                )
            )
            return None
        wanted = committed.origin if replay_from is None else replay_from
        wanted = min(wanted, committed.offset)
        if wanted >= first:
            return wanted
        if self.settings.lost_input == "stop":
            self._fail(
                Fatal(
                    f"records {wanted:,} to {first:,} of {where} are gone from the log",
                    "Restore them, or set lost_input to skip and go on without them",
                )
            )
            return None
        self.lost_records += first - wanted
        return first

    def _seek(self, offset: int) -> None:
        self._fetch += 1
        self._buffer.clear()
        self._next_offset = offset
        self._effects.append(ev.SeekInput(self._fetch, offset))

    def _on_fetched(self, event: ev.Fetched) -> None:
        if event.fetch != self._fetch or self._goal is not None or self.phase not in _PROCESSING:
            return
        self._buffer.extend(event.records)
        self._next_offset = event.next_offset
        self.input_end = event.end

    def _on_processed(self, event: ev.Processed) -> None:
        effect = self._done("compute")
        self._needs, self._urgent = event.needs, event.urgent
        if isinstance(effect, ev.Process):
            if event.consumed < len(self._batch) and event.needs is None:
                self._fail(Fatal(f"{self.id} consumed {event.consumed} of {len(self._batch)}"))
                return
            if event.consumed:
                self.position = self._batch[event.consumed - 1].offset + 1
            self._buffer.extendleft(reversed(self._batch[event.consumed :]))
            self._batch = ()
        elif isinstance(effect, ev.Supply) and effect.done:
            self._range_next = None
        self._dirty = self._dirty or not effect_muted(effect)

    def _on_poisoned(self, event: ev.Poisoned) -> None:
        self._done("compute")
        batch, self._batch = self._batch, ()
        index = 0 if len(batch) == 1 else event.index
        if index is None:
            self._probe = (batch[0].offset, batch[-1].offset + 1)
        else:
            record = batch[index]
            self._skipped = self._skipped | {record.offset}
            if not self._muted(record.offset):
                self.dead_letters += 1
                topic = self.settings.dead_letter_topic
                self._dead[record.offset] = dead_letter(topic, self.id, record, event)
        if event.index is None:
            self._reload = True  # the processor may hold a part of the batch
        else:
            self._buffer.extendleft(reversed(batch))

    def _on_range_read(self, event: ev.RangeRead) -> None:
        effect = self._done("compute")
        assert isinstance(effect, ev.ReadRange)
        if self._goal is not None or self.phase is Phase.RESTARTING:
            return
        self._range_next = event.next_offset
        done = event.next_offset >= effect.end
        self._order("compute", ev.Supply(event.records, done, self._muted()))

    def _on_idle_called(self, event: ev.IdleCalled) -> None:
        self._done("compute")
        if event.wrote:
            self._dirty = self._urgent = True

    def _on_commit_prepared(self, event: ev.CommitPrepared) -> None:
        self._done("compute")
        self._prepared = event
        self._order("log", ev.Commit(event.outputs, event.changelog))

    def _on_committed(self, event: ev.Committed) -> None:
        self._done("log")
        prepared = self._prepared
        self.committed = prepared.position
        self._failures = 0
        self._wiped = False
        if prepared.changes is not None:
            checkpoint = Checkpoint(event.changelog_next, prepared.position)
            self._order("log", ev.StoreSnapshot(prepared.changes, checkpoint))

    def _on_snapshot_stored(self, _: ev.SnapshotStored) -> None:
        self._done("log")

    def _on_suspend(self, _: ev.Suspend) -> None:
        if self._goal is None:
            self._goal = Phase.SUSPENDED if self.phase is Phase.RUNNING else Phase.CLOSED

    def _on_resume(self, _: ev.Resume) -> None:
        if self.phase is Phase.SUSPENDED:
            self._goal = None
            self.phase = Phase.RUNNING
            self._seek(self.position)

    def _on_close(self, _: ev.Close) -> None:
        self._goal = Phase.CLOSED
        if self.phase is Phase.SUSPENDED:
            self.phase = Phase.RUNNING

    def _on_closed(self, _: ev.Closed) -> None:
        self._done("log")
        self.phase = Phase.CLOSED
        self._effects.append(ev.TaskClosed())

    # ------------------------------------------------------------ failures

    def _on_failed(self, event: ev.Failed) -> None:
        effect = self._flight.pop(event.lane, None)
        self.error = event.error
        match event.error:
            case Retriable() if effect is not None:
                self._try_again(event.lane, effect, event.error)
            case MustRestore(local=local):
                self._restart(event.error, wipe=local)
            case Fenced():
                self.phase = Phase.FENCED
                self._effects.append(ev.TaskFenced(event.error))
            case _:
                self._fail(event.error)

    def _try_again(self, lane: str, effect: Effect, error: StreamsError) -> None:
        since = self._retry_since = self._retry_since or self._now
        if self._now - since >= self.settings.give_up_after_ms:
            seconds = self.settings.give_up_after_ms // 1000
            self._fail(Fatal(f"{self.id} gave up after {seconds} s: {error.message}", error.advice))
            return
        self._retry = (lane, effect, self._now + self.settings.retry_backoff_ms)

    def _restart(self, error: StreamsError, *, wipe: bool) -> None:
        if wipe and self._wiped:
            self._fail(
                Fatal(
                    f"the changelog of {self.id} does not hold its whole state: {error.message}",
                    "Was it trimmed? Its topic needs cleanup by compaction only",
                )
            )
        elif self._failures >= MAX_RESTARTS:
            self._fail(Fatal(f"{self.id} failed again and again: {error.message}", error.advice))
        else:
            self.restarts += 1
            self._failures += 1
            self._retry = None
            self._wipe = self._wipe or wipe
            self.phase = Phase.RESTARTING
            self._buffer.clear()
            self._restart_at = self._now + self.settings.retry_backoff_ms * self._failures

    def _fail(self, error: StreamsError) -> None:
        self.error = error
        self.phase = Phase.FAILED
        self._effects.append(ev.StopWorker(error))

    # ------------------------------------------------------------ what comes next

    def _advance(self) -> None:
        """Order whatever can be done now."""
        if self.ended or self.phase is Phase.CLOSING:
            return
        if self._goal is not None:
            self._wind_down()
        elif self._retry is not None:
            lane, effect, at = self._retry
            if self._now >= at:
                self._retry = None
                self._order(lane, effect)
        elif self.phase is Phase.RESTARTING:
            if not self._flight and self._now >= (self._restart_at or 0):
                self._begin()
        elif self._reload:
            if not self._flight:
                self._reload = False
                self.phase = Phase.LOADING
                self._load()
        elif self.phase in _PROCESSING:
            self._go_on()

    def _go_on(self) -> None:
        if "compute" not in self._flight:
            if self._needs is not None:
                start = self._needs.start if self._range_next is None else self._range_next
                self._order("compute", ev.ReadRange(start, self._needs.end))
                return
            if self.phase is Phase.REPLAYING and self._replayed():
                self.phase = Phase.RUNNING
                self._last_commit = self._last_snapshot = self._now
            if self._commit_due():
                self._prepare(snapshot=self._snapshot_due())
                return
            self._process_next()
        self._watch_idle()

    def _replayed(self) -> bool:
        committed = 0 if self.committed is None else self.committed.offset
        ahead = self._buffer[0].offset if self._buffer else self._next_offset
        if ahead < committed:
            return False
        self.position = max(self.position, committed)
        return True

    def _commit_due(self) -> bool:
        if self.phase is not Phase.RUNNING or not self._dirty or "log" in self._flight:
            return False
        waited = self._now - self._last_commit >= self.settings.commit_interval_ms
        return self._urgent or bool(self._dead_by_now()) or waited

    def _dead_by_now(self) -> list[int]:
        """Offsets of dead letters that the next transaction carries."""
        return sorted(offset for offset in self._dead if offset < self.position)

    def _snapshot_due(self) -> bool:
        return self._now - self._last_snapshot >= self.settings.snapshot_interval_ms

    def _prepare(self, *, snapshot: bool) -> None:
        committed = self.committed
        passed = sorted(offset for offset in self._skipped if offset < self.position)
        position = Position(
            offset=self.position,
            snapshot=None if committed is None else committed.snapshot,
            origin=self._origin,
            lineage=self._lineage,
            skipped=tuple(passed[-MAX_SKIPPED:]),
        )
        extra = [self._dead.pop(offset) for offset in self._dead_by_now()]
        self._dirty = self._urgent = False
        self._last_commit = self._now
        if snapshot:
            self._last_snapshot = self._now
        self._order("compute", ev.PrepareCommit(position, snapshot, extra))

    def _process_next(self) -> None:
        while self._buffer and self._buffer[0].offset in self._skipped:
            self.position = self._buffer.popleft().offset + 1
            self._dirty = self._dirty or not self._muted()
        if self._buffer:
            self._batch = self._take_batch()
            muted = self._muted(self._batch[0].offset)
            self._order("compute", ev.Process(self._batch, muted))

    def _muted(self, offset: int | None = None) -> bool:
        """Whether the outputs of a record at `offset` (by default the last consumed) are out."""
        at = self.position - 1 if offset is None else offset
        return self.committed is not None and at < self.committed.offset

    def _take_batch(self) -> list[InputRecord]:
        """The next records; cut at the committed position, the snapshot, and around poison."""
        low, high = self._probe
        first = self._buffer[0].offset
        limit = 1 if low <= first < high else self.settings.batch_records
        cuts = [low, high]
        if self.committed is not None:
            cuts += [self.committed.offset, self.committed.snapshot or 0]
        stop = min((cut for cut in cuts if cut > first), default=None)
        batch: list[InputRecord] = []
        while self._buffer and len(batch) < limit:
            offset = self._buffer[0].offset
            if offset in self._skipped or (stop is not None and offset >= stop):
                break
            batch.append(self._buffer.popleft())
        return batch

    def _watch_idle(self) -> None:
        flight = self._flight.get("compute")
        busy = isinstance(flight, ev.Process | ev.Supply | ev.ReadRange)
        at_end = self.phase is Phase.RUNNING and not self._buffer and not busy
        if not at_end or self._next_offset < self.input_end:
            self._idle_at = None
            return
        if self._idle_at is None:
            wait = 0 if self._empty_at_start else self.settings.idle_after_ms
            self._idle_at = self._now + wait
        if self._now >= self._idle_at and flight is None:
            self._empty_at_start = False
            self._idle_at = self._now + self.settings.idle_after_ms
            self._order("compute", ev.CallIdle())

    def _wind_down(self) -> None:
        self._buffer.clear()
        self._retry = None
        if self._flight:
            return
        clean = self.phase is Phase.RUNNING and self._needs is None and not self._reload
        stale = self.committed is not None and self.committed.snapshot != self.position
        if clean and (self._dirty or self._dead_by_now() or stale):
            self._prepare(snapshot=True)
        elif clean and self._goal is Phase.SUSPENDED:
            self.phase = Phase.SUSPENDED
        else:
            self.phase = Phase.CLOSING
            self._order("log", ev.CloseTask())

    def _order(self, lane: str, effect: Effect) -> None:
        assert lane not in self._flight, (lane, effect, self._flight)
        self._flight[lane] = effect
        self._effects.append(effect)

    def _done(self, lane: str) -> Effect:
        self._retry_since = None
        return self._flight.pop(lane)

    _handlers: ClassVar[dict[type, Callable[[Task, Any], None]]] = {
        ev.Assigned: _on_assigned,
        ev.ProducerReady: _on_producer_ready,
        ev.StoreOpened: _on_store_opened,
        ev.BoundsFound: _on_bounds_found,
        ev.ChangelogRead: _on_changelog_read,
        ev.ChangelogApplied: _on_changelog_applied,
        ev.ProcessorLoaded: _on_processor_loaded,
        ev.Fetched: _on_fetched,
        ev.Processed: _on_processed,
        ev.Poisoned: _on_poisoned,
        ev.RangeRead: _on_range_read,
        ev.IdleCalled: _on_idle_called,
        ev.CommitPrepared: _on_commit_prepared,
        ev.Committed: _on_committed,
        ev.SnapshotStored: _on_snapshot_stored,
        ev.Closed: _on_closed,
        ev.Failed: _on_failed,
        ev.Suspend: _on_suspend,
        ev.Resume: _on_resume,
        ev.Close: _on_close,
    }


def effect_muted(effect: Effect) -> bool:
    """Whether a compute effect left nothing to commit."""
    return not isinstance(effect, ev.Process | ev.Supply) or effect.muted
