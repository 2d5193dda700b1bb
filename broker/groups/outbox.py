"""Nothing leaves a coordinator before everything it decided earlier is durable.

A core changes its memory at once and puts what it decided into the outbox: records to append, and
effects that tell somebody (an answer, a marker, a word to another coordinator). Those wait until
every record appended so far, in this step or an earlier one, is durable. So nobody ever learns of
a decision that a crash could take back, a read never shows what is not yet safe, and the cores
need no undo. When the disk refuses, the newest values of what was refused are appended again, as
one batch, until it gives in; meanwhile nobody is told anything.
"""

from collections import deque
from collections.abc import Hashable

from broker.coordination import (
    Append,
    Appended,
    AppendFailed,
    Effect,
    Record,
    SetTimer,
    TimerFired,
)

RETRY_TIMER = "append-again"
RETRY_AFTER_MS = 1_000


class Outbox:
    """Collects the effects of one step; holds back what has to wait. One per coordinator."""

    def __init__(self) -> None:
        self._records: dict[bytes, bytes | None] = {}
        self._now: list[Effect] = []
        self._told: list[Effect] = []
        self._told_of_the_past: list[Effect] = []
        self._last_token = 0
        self._unsettled: dict[int, tuple[bytes, ...]] = {}  # append -> its keys
        self._newest: dict[bytes, bytes | None] = {}  # of all keys since nothing was unsettled
        self._refused: set[int] = set()
        self._stands_for: dict[int, set[int]] = {}  # a repeated append -> those it repeats
        self._held: deque[tuple[int, Effect]] = deque()

    def append(self, *records: Record) -> None:
        """Make these durable: all that one step appends is one batch, whole or absent."""
        for record in records:
            self._records[record.key] = record.value

    def at_once(self, effect: Effect) -> None:
        """An effect that tells nobody anything (timers, admissions)."""
        self._now.append(effect)

    def tell(self, effect: Effect) -> None:
        """An effect that somebody can see: it waits for everything appended so far."""
        self._told.append(effect)

    def tell_of_the_past(self, effect: Effect) -> None:
        """An effect that tells of earlier steps only: it does not wait for this one's records."""
        self._told_of_the_past.append(effect)

    def flush(self) -> list[Effect]:
        """The effects of the step that ends here."""
        effects, self._now = self._now, []
        past, self._told_of_the_past = self._told_of_the_past, []
        effects += self._hold(past)
        if self._records:
            effects.append(self._issue(self._records))
            self._records = {}
        told, self._told = self._told, []
        return effects + self._hold(told)

    def _hold(self, told: list[Effect]) -> list[Effect]:
        """Those that may go now: all or none."""
        if not self._unsettled:
            return told
        self._held.extend((self._last_token, effect) for effect in told)
        return []

    def settle(self, event: Appended | AppendFailed | TimerFired, now_ms: int) -> list[Effect]:
        """Take the fate of an append, or the time to repeat the refused ones."""
        match event:
            case Appended(token):
                return self._appended(token)
            case AppendFailed(token):
                return self._failed(token, now_ms)
            case TimerFired():
                return self._append_again()

    def _issue(self, records: dict[bytes, bytes | None]) -> Append:
        self._last_token += 1
        self._unsettled[self._last_token] = tuple(records)
        self._newest.update(records)
        batch = tuple(Record(key, value) for key, value in records.items())
        return Append(batch, self._last_token)

    def _appended(self, token: Hashable) -> list[Effect]:
        if not isinstance(token, int):
            return []
        self._unsettled.pop(token, None)
        for repeated in self._stands_for.pop(token, ()):
            self._unsettled.pop(repeated, None)
        if not self._unsettled:
            self._newest.clear()
        oldest = min(self._unsettled, default=self._last_token + 1)
        released: list[Effect] = []
        while self._held and self._held[0][0] < oldest:
            released.append(self._held.popleft()[1])
        return released

    def _failed(self, token: Hashable, now_ms: int) -> list[Effect]:
        if not isinstance(token, int):
            return []
        self._refused |= self._stands_for.pop(token, set()) | {token}
        return [SetTimer(RETRY_TIMER, now_ms + RETRY_AFTER_MS)]

    def _append_again(self) -> list[Effect]:
        refused, self._refused = self._refused, set()
        keys = {key for token in sorted(refused) for key in self._unsettled.get(token, ())}
        if not keys:
            return []
        again = self._issue({key: self._newest[key] for key in sorted(keys)})
        self._stands_for[self._last_token] = refused
        return [again]
