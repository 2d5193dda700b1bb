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

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from streams.config import TaskSettings
from streams.errors import Fatal, Fenced, MustRestore, Retriable, StreamsError
from streams.state.position import MAX_SKIPPED, Checkpoint, Position
from streams.task import events as ev
from streams.task.dead_letter import dead_letter
from streams.task.events import Effect, Event, TaskId
from streams.task.input_buffer import InputBuffer
from streams.task.inquiries import Inquiries
from streams.task.patience import Patience
from streams.task.phase import ENDED, PROCESSING, Phase
from streams.task.processor import InputRange, InputRecord, OutputRecord
from streams.task.recovery import Recovery, RecoveryEvent, not_whole
from streams.task.start_offset import start_offset


class Task:
    """Feed it events with a monotonic time; do what it says. Invariants are in the README."""

    def __init__(self, task: TaskId, settings: TaskSettings) -> None:
        self.id = task
        self.settings = settings
        self.phase = Phase.CREATED
        self.error: StreamsError | None = None
        self.position = 0
        self.committed: Position | None = None
        self.dead_letters = 0
        self.lost_records = 0
        self.restarts = 0
        self._flight: dict[str, Effect] = {}
        self._effects: list[Effect] = []
        self._now = 0
        self._goal: Phase | None = None
        self._retry: tuple[str, Effect, int] | None = None
        self._restart_at = 0
        self._patience = Patience(str(task), settings)
        self._wipe = False
        self._wiped = False
        self._fetch = 0
        self._recovery = Recovery(wipe=False)
        self._inquiries = Inquiries()
        self._reset_run()

    def _reset_run(self) -> None:
        """Forget everything that is only in memory."""
        self._origin = 0
        self._lineage = ""
        self._input = InputBuffer(self.settings)
        self._dead: dict[int, OutputRecord] = {}
        self._reload = False
        self._last_commit = self._last_snapshot = self._now
        self._forget_input()

    def _forget_input(self) -> None:
        """What a reload of the processor undoes."""
        self._batch: Sequence[InputRecord] = ()
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
        if self.phase not in ENDED or isinstance(event, ev.Asked):
            self._handle(event)
            self._advance()
        if (refused := self._inquiries.refused(self.phase, self.stats)) is not None:
            self._effects.append(refused)
        return self._effects

    def wants_records(self) -> bool:
        """Whether the shell should fetch for this task now (back pressure)."""
        return (
            self.phase in PROCESSING
            and self._goal is None
            and not self._reload
            and not self._input.full
        )

    def due_ms(self) -> int | None:
        """When a `Tick` would change something if no other event comes first; None: it would not.

        To be asked anew after every event.
        """
        if self.phase in (*ENDED, Phase.CLOSING, Phase.SUSPENDED) or self._goal is not None:
            return None
        if self._retry is not None:
            return self._retry[2]
        if self.phase is Phase.RESTARTING:
            return None if self._flight else self._restart_at
        if self.phase not in PROCESSING or "compute" in self._flight:
            return None
        times = [at for at in (self._idle_at, self._commit_due_ms()) if at is not None]
        return min(times, default=None)

    @property
    def ended(self) -> bool:
        return self.phase in ENDED

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
            "end": self._input.end,
            "lag": max(0, self._input.end - self._input.next_offset) + len(self._input),
            "dead_letters": self.dead_letters,
            "lost_records": self.lost_records,
            "restarts": self.restarts,
            "restore": self._recovery.progress(),
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
        self._recovery = Recovery(wipe=self._wipe)
        self._wipe = False
        self._order("log", self._recovery.begin())

    def _on_recovery(self, event: RecoveryEvent) -> None:
        self._flight.clear()  # recovery does one thing at a time
        self._patience.call_succeeded()
        effect = self._recovery.next(event)
        self.committed = self._recovery.position
        if effect is not None:
            self.phase = Phase.RESTORING
            self._order(ev.lane_of(effect), effect)
            return
        self._lineage = self._recovery.lineage
        self._input.end = self._recovery.bounds.input_end
        self._wiped = self._wiped or self._recovery.wiped
        self.phase = Phase.LOADING
        self._load()

    def _load(self) -> None:
        self._order("compute", ev.LoadProcessor(self.committed))

    def _on_processor_loaded(self, event: ev.ProcessorLoaded) -> None:
        self._done("compute")
        committed = self.committed
        bounds = (self._recovery.bounds.input_start, self._input.end)
        try:
            start, lost = start_offset(
                self.id.input, self.settings, committed, event.replay_from, bounds
            )
        except Fatal as error:
            self._fail(error)
            return
        self.lost_records += lost
        if committed is not None:
            self._origin, self._lineage = committed.origin, committed.lineage
            self._input.skipped = self._input.skipped | frozenset(committed.skipped)
        else:
            self._origin = start
        self._forget_input()
        self.position = start
        self._empty_at_start = bounds[0] == bounds[1]
        self.phase = Phase.REPLAYING
        self._seek(start)

    def _seek(self, offset: int) -> None:
        self._input.seek(offset)
        self._order_input()

    def _order_input(self) -> None:
        """Fetch on behind what is buffered."""
        self._fetch += 1
        self._effects.append(ev.SeekInput(self._fetch, self._input.next_offset))

    def _on_fetched(self, event: ev.Fetched) -> None:
        if event.fetch != self._fetch or self._goal is not None or self.phase not in PROCESSING:
            return
        if event.offset != self._input.next_offset:  # a hole, or a record twice: a wrong number
            self._order_input()
            return
        self._input.add(event.records, event.next_offset, event.end)

    def _on_processed(self, event: ev.Processed) -> None:
        effect = self._done("compute")
        self._needs, self._urgent = event.needs, event.urgent
        if isinstance(effect, ev.Process):
            if event.consumed < len(self._batch) and event.needs is None:
                self._fail(Fatal(f"{self.id} consumed {event.consumed} of {len(self._batch)}"))
                return
            if event.consumed:
                self.position = self._batch[event.consumed - 1].offset + 1
            self._input.give_back(self._batch[event.consumed :])
            self._batch = ()
        elif isinstance(effect, ev.Supply) and effect.done:
            self._range_next = None
        self._dirty = self._dirty or not ev.is_muted(effect)

    def _on_poisoned(self, event: ev.Poisoned) -> None:
        self._done("compute")
        batch, self._batch = self._batch, ()
        index = 0 if len(batch) == 1 else event.index
        if index is None:
            self._input.probe = (batch[0].offset, batch[-1].offset + 1)
        else:
            record = batch[index]
            self._input.skipped = self._input.skipped | {record.offset}
            if not self._muted(record.offset):
                self.dead_letters += 1
                topic = self.settings.dead_letter_topic
                self._dead[record.offset] = dead_letter(topic, self.id, record, event)
        if event.index is None:
            self._reload = True  # the processor may hold a part of the batch
        else:
            self._input.give_back(batch)

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

    def _on_asked(self, event: ev.Asked) -> None:
        if (refused := self._inquiries.ask(event)) is not None:
            self._effects.append(refused)

    def _on_answered(self, _: ev.Answered) -> None:
        self._done("compute")

    def _on_commit_prepared(self, event: ev.CommitPrepared) -> None:
        self._done("compute")
        self._prepared = event
        self._order("log", ev.Commit(event.outputs, event.changelog))

    def _on_committed(self, event: ev.Committed) -> None:
        self._done("log")
        prepared = self._prepared
        self.committed = prepared.position
        self.error = None
        self._patience.committed()
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
        try:
            self._retry = (lane, effect, self._patience.retry(error, self._now))
        except Fatal as enough:
            self._fail(enough)

    def _restart(self, error: StreamsError, *, wipe: bool) -> None:
        try:
            if wipe and self._wiped:
                raise not_whole(self.id, error)
            self._restart_at = self._patience.restore(error, self._now)
        except Fatal as enough:
            self._fail(enough)
            return
        self.restarts += 1
        self._retry = None
        self._wipe = self._wipe or wipe
        self.phase = Phase.RESTARTING
        self._input.clear()

    def _fail(self, error: StreamsError) -> None:
        self.error = error
        self.phase = Phase.FAILED
        self._effects.append(ev.StopWorker(error))

    # ------------------------------------------------------------ what comes next

    def _advance(self) -> None:
        """Order whatever can be done now."""
        if self.ended or self.phase in (Phase.CLOSING, Phase.SUSPENDED):
            return
        if self._goal is not None:
            self._wind_down()
        elif self._retry is not None:
            lane, effect, at = self._retry
            if self._now >= at:
                self._retry = None
                self._order(lane, effect)
        elif self.phase is Phase.RESTARTING:
            if not self._flight and self._now >= self._restart_at:
                self._begin()
        elif self._reload:
            if not self._flight:
                self._reload = False
                self.phase = Phase.LOADING
                self._load()
        elif self.phase in PROCESSING:
            self._go_on()

    def _go_on(self) -> None:
        if "compute" not in self._flight:
            if self._needs is not None:
                self._read_range(self._needs)
                return
            self._pass_skipped()
            if self.phase is Phase.REPLAYING and self._replayed():
                self.phase = Phase.RUNNING
                self._last_commit = self._last_snapshot = self._now
            if self._commit_due():
                self._prepare(snapshot=self._snapshot_due())
                return
            self._answer()
            if "compute" not in self._flight:
                self._process_next()
        self._watch_idle()
        self._answer()

    def _answer(self) -> None:
        if "compute" in self._flight:
            return
        if (due := self._inquiries.due(self.position, self.committed)) is not None:
            self._order("compute", due)

    def _read_range(self, wanted: InputRange) -> None:
        start = wanted.start if self._range_next is None else self._range_next
        if start < wanted.end:
            self._order("compute", ev.ReadRange(start, wanted.end))
        else:
            self._order("compute", ev.Supply((), done=True, muted=self._muted()))

    def _replayed(self) -> bool:
        committed = 0 if self.committed is None else self.committed.offset
        if self._input.ahead < committed:
            return False
        self.position = max(self.position, committed)
        return True

    def _commit_due(self) -> bool:
        due = self._commit_due_ms()
        if due is None or self._now >= due:
            return due is not None
        at_once = self._urgent and not self._input.behind  # else it is late in any case
        return self._dirty and (at_once or bool(self._dead_by_now()))

    def _commit_due_ms(self) -> int | None:
        """When a commit waits no longer for more to go with it; None: there is nothing to commit,
        or the last one is still on its way."""
        if self.phase is not Phase.RUNNING or not self._dirty or "log" in self._flight:
            return None
        return self._last_commit + self.settings.commit_interval_ms

    def _dead_by_now(self) -> list[int]:
        """Offsets of dead letters that the next transaction carries."""
        return sorted(offset for offset in self._dead if offset < self.position)

    def _snapshot_due(self) -> bool:
        return self._now - self._last_snapshot >= self.settings.snapshot_interval_ms

    def _prepare(self, *, snapshot: bool) -> None:
        passed = sorted(offset for offset in self._input.skipped if offset < self.position)
        before = None if self.committed is None else self.committed.snapshot
        skipped = tuple(passed[-MAX_SKIPPED:])
        position = Position(self.position, before, self._origin, self._lineage, skipped=skipped)
        extra = [self._dead.pop(offset) for offset in self._dead_by_now()]
        self._dirty = self._urgent = False
        self._last_commit = self._now
        if snapshot:
            self._last_snapshot = self._now
        self._order("compute", ev.PrepareCommit(position, snapshot, extra))

    def _pass_skipped(self) -> None:
        if (behind := self._input.pass_skipped()) is not None:
            self.position = behind
            self._dirty = self._dirty or not self._muted()

    def _process_next(self) -> None:
        if self._input:
            committed = self.committed
            stops = () if committed is None else (committed.offset, committed.snapshot or 0)
            self._batch = self._input.next_batch(stops)
            muted = self._muted(self._batch[0].offset)
            self._order("compute", ev.Process(self._batch, muted))

    def _muted(self, offset: int | None = None) -> bool:
        """Whether the outputs of a record at `offset` (by default the last consumed) are out."""
        at = self.position - 1 if offset is None else offset
        return self.committed is not None and at < self.committed.offset

    def _watch_idle(self) -> None:
        flight = self._flight.get("compute")
        busy = isinstance(flight, ev.Process | ev.Supply | ev.ReadRange)
        if self.phase is not Phase.RUNNING or busy or not self._input.read_to_end:
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
        self._input.clear()
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
        self._patience.call_succeeded()
        return self._flight.pop(lane)

    _handlers: ClassVar[dict[type, Callable[[Task, Any], None]]] = {
        ev.Assigned: _on_assigned,
        ev.ProducerReady: _on_recovery,
        ev.StoreOpened: _on_recovery,
        ev.BoundsFound: _on_recovery,
        ev.ChangelogRead: _on_recovery,
        ev.ChangelogApplied: _on_recovery,
        ev.ProcessorLoaded: _on_processor_loaded,
        ev.Fetched: _on_fetched,
        ev.Processed: _on_processed,
        ev.Poisoned: _on_poisoned,
        ev.RangeRead: _on_range_read,
        ev.IdleCalled: _on_idle_called,
        ev.Asked: _on_asked,
        ev.Answered: _on_answered,
        ev.CommitPrepared: _on_commit_prepared,
        ev.Committed: _on_committed,
        ev.SnapshotStored: _on_snapshot_stored,
        ev.Closed: _on_closed,
        ev.Failed: _on_failed,
        ev.Suspend: _on_suspend,
        ev.Resume: _on_resume,
        ev.Close: _on_close,
    }
