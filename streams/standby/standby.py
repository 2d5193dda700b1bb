"""A standby's life, as a state machine: events in, effects out.

    OPENING -> FOLLOWING -> (End) -> CLOSING -> ENDED
       ^___ WAITING ___ a failure: close, wait, open again, wiped if the copy is of no use

It writes nothing but what is committed, in the order of the log, and lets go of the store before
anybody else opens it. See README.md for the invariants.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from streams.config import TaskSettings
from streams.errors import MustRestore, StreamsError
from streams.standby import events as ev
from streams.standby.events import Effect, Event
from streams.task.events import TaskId

LOOK_MS = 1_000
"""How long a copy that is caught up rests before it looks for more."""
MAX_WAIT_MS = 300_000


class StandbyPhase(StrEnum):
    """See the diagram above."""

    OPENING = "opening"
    FOLLOWING = "following"
    WAITING = "waiting"
    CLOSING = "closing"
    ENDED = "ended"


class Standby:
    """Feed it events with a monotonic time; do what it says."""

    def __init__(self, task: TaskId, settings: TaskSettings) -> None:
        self.id = task
        self.phase = StandbyPhase.OPENING
        self.error: StreamsError | None = None
        self.offset = 0
        self.end = 0
        self.wipes = 0
        self._settings = settings
        self._effects: list[Effect] = []
        self._now = 0
        self._flight: Effect | None = None
        self._local: int | None = None
        self._wipe = False
        self._stopping = False
        self._failures = 0
        self._again_at = 0
        self._look_at = 0
        self._at_end_once = False

    def step(self, event: Event, now_ms: int) -> list[Effect]:
        """Take one event. `now_ms` is monotonic. Never raises for what can happen."""
        self._now = now_ms
        self._effects = []
        if self.phase is not StandbyPhase.ENDED:
            self._handle(event)
            self._advance()
        return self._effects

    @property
    def busy(self) -> bool:
        """Whether it could not take records now, were there some."""
        return self._flight is not None

    def wants_records(self, now_ms: int) -> bool:
        """Whether the shell should fetch for it now: one that is caught up rests for a while."""
        return self.phase is StandbyPhase.FOLLOWING and not self.busy and now_ms >= self._look_at

    @property
    def ended(self) -> bool:
        return self.phase is StandbyPhase.ENDED

    def stats(self) -> dict[str, Any]:
        """Figures for people. `lag`: changelog records that are not in the copy."""
        return {
            "state": self.phase.value,
            "offset": self.offset,
            "end": self.end,
            "lag": max(0, self.end - self.offset),
            "wipes": self.wipes,
            "error": None if self.error is None else str(self.error),
        }

    # ------------------------------------------------------------ events

    def _handle(self, event: Event) -> None:
        match event:
            case ev.Begin():
                self._order(ev.OpenCopy(wipe=False))
            case ev.CopyOpened(checkpoint):
                self._flight = None
                self._local = None if checkpoint is None else checkpoint.changelog_offset
                if not self._stopping:
                    self._order(ev.FindChangelog())
            case ev.ChangelogFound():
                self._flight = None
                self._found(event)
            case ev.ChangelogFetched():
                self._fetched(event)
            case ev.ChangelogGone():
                self._failed(MustRestore(f"the changelog of {self.id} begins later"), wipe=False)
            case ev.CopyApplied(matches):
                self._flight = None
                if matches:
                    self.error, self._failures = None, 0
            case ev.CopyClosed():
                self._flight = None
                if self._stopping:
                    self.phase = StandbyPhase.ENDED
                    self._effects.append(ev.StandbyEnded())
            case ev.CopyFailed(error, wipe):
                self._flight = None
                self._failed(error, wipe=wipe)
            case ev.End():
                self._stopping = True
            case ev.Tick():
                pass

    def _found(self, bounds: ev.ChangelogFound) -> None:
        self.end = max(self.end, bounds.end)
        local = self._local
        if local is not None and not bounds.start <= local <= bounds.end:
            self.wipes += 1  # ahead of the changelog, or trimmed past it
            self._order(ev.OpenCopy(wipe=True))
            return
        self.offset = bounds.start if local is None else local
        self.phase = StandbyPhase.FOLLOWING
        self._look_at = self._now
        self._at_end_once = False
        self._effects.append(ev.Follow(self.offset))

    def _fetched(self, event: ev.ChangelogFetched) -> None:
        """Standbys may share a consumer: what is known is passed over, and a hole sought again."""
        if self.phase is not StandbyPhase.FOLLOWING or self.busy or self._stopping:
            return
        if event.offset > self.offset:
            self._effects.append(ev.Follow(self.offset))
            return
        self.end = event.end
        at_end = event.next_offset >= event.end
        if at_end:
            self._look_at = self._now + LOOK_MS
        unread = event.next_offset > self.offset
        if unread or (at_end and not self._at_end_once):  # what was opened is compared, too
            self._at_end_once = at_end
            records = [record for record in event.records if record.offset >= self.offset]
            self.offset = max(self.offset, event.next_offset)
            self._order(ev.ApplyToCopy(records, self.offset, event.end))

    def _failed(self, error: StreamsError, *, wipe: bool) -> None:
        """Close, wait, begin again; a standby never ends the worker."""
        self.error = error
        self._wipe = self._wipe or wipe
        wait = self._settings.retry_backoff_ms << min(self._failures, 10)
        self._failures += 1
        self._again_at = self._now + min(wait, MAX_WAIT_MS)
        if self.phase is not StandbyPhase.CLOSING:
            self.phase = StandbyPhase.WAITING
        if self._flight is None:
            self._order(ev.CloseCopy())

    # ------------------------------------------------------------ what comes next

    def _advance(self) -> None:
        if self._flight is not None or self.phase is StandbyPhase.ENDED:
            return
        if self._stopping:
            self.phase = StandbyPhase.CLOSING
            self._order(ev.CloseCopy())
        elif self.phase is StandbyPhase.WAITING and self._now >= self._again_at:
            self.phase = StandbyPhase.OPENING
            self.wipes += self._wipe
            wipe, self._wipe = self._wipe, False
            self._order(ev.OpenCopy(wipe))

    def _order(self, effect: Effect) -> None:
        assert self._flight is None, (effect, self._flight)
        self._flight = effect
        self._effects.append(effect)
