"""When changes of totals and open windows are published: at an interval of the task's own time.

    .suppress(until_window_closes())                              # what windows do by themselves
    .suppress(until_time_limit(timedelta(minutes=1), max_groups=100_000))

Kafka Streams' `suppress`. What is published is a function of the records that a task reads: behind
the record that moves its time over a multiple of the interval, every group that has changed since
is published once, as it is then.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from streams.errors import Fatal
from streams.event_time.windows import EARLIEST
from streams.operators.groups import I64, Groups
from streams.operators.keys import PackedKeys
from streams.operators.windows import Duration, nanoseconds
from streams.schema import TopologyError

_KEY = struct.Struct(">cqI")
_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class UntilWindowCloses:
    """A window is published once, when it closes."""


@dataclass(frozen=True, slots=True)
class UntilTimeLimit:
    """What changed is published every so many ns. The bounds are of what waits meanwhile.

    `max_bytes` counts the keys of the groups and 8 bytes for each of their columns. At a bound,
    behind the record that passes it, everything that waits is published (`emit`), or the worker
    stops (`stop`).
    """

    every: int
    max_groups: int = _UNLIMITED
    max_bytes: int = _UNLIMITED
    when_full: Literal["emit", "stop"] = "emit"


Suppressed = UntilWindowCloses | UntilTimeLimit


def until_window_closes() -> UntilWindowCloses:
    """One row a group and window, the last word of it."""
    return UntilWindowCloses()


def until_time_limit(
    every: Duration,
    *,
    max_groups: int | None = None,
    max_bytes: int | None = None,
    when_full: Literal["emit", "stop"] = "emit",
) -> UntilTimeLimit:
    """At most one row a group and interval of the task's time; see `UntilTimeLimit`.

    Raises:
        TopologyError: The interval or a bound is not above zero.
    """
    span = nanoseconds(every)
    if min(span, max_groups or 1, max_bytes or 1) < 1 or 0 in (max_groups, max_bytes):
        raise TopologyError("until_time_limit: the interval and its bounds are above zero")
    groups, size = max_groups or _UNLIMITED, max_bytes or _UNLIMITED
    return UntilTimeLimit(span, groups, size, when_full)


class Ticks:
    """Which records move a task's time over a multiple of the interval. The first of all starts it.

    `last`: the interval that time is in.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self.last = EARLIEST

    def passed_at(self, after: I64) -> list[int]:
        """The indexes of such records, by the time i64[r] after each, ascending."""
        if not len(after):
            return []
        now = np.where(after == EARLIEST, EARLIEST, after // self._every)
        now = np.maximum.accumulate(np.append(self.last, now))
        self.last = int(now[-1])
        return np.flatnonzero((now[1:] > now[:-1]) & (now[:-1] != EARLIEST)).tolist()


class Waiting:
    """The groups that changed since they were published, by pane (0: of all time)."""

    def __init__(self, limit: UntilTimeLimit, columns: int) -> None:
        """columns: How many a row of theirs has."""
        self._limit = limit
        self._width = 8 * columns
        self._keys: dict[int, Groups] = {}
        self._gone: dict[int, int] = {}
        self.groups = 0
        self.bytes = 0
        self.full = False

    def note(self, panes: I64, keys: PackedKeys, records: I64) -> int:
        """Rows change groups, up to the record with which a bound is passed; returns how many.

        Args:
            panes: i64[n], of each row.
            keys: n, of each row's group.
            records: i64[n], ascending.

        Raises:
            Fatal: A bound is passed, and the worker is to stop at it.
        """
        n, limit = len(records), self._limit
        size = len(keys.data) + n * self._width
        if self.groups + n <= limit.max_groups and self.bytes + size <= limit.max_bytes:
            self._insert(panes, keys)
            return n
        fresh = self._fresh(panes, keys)
        sizes = np.cumsum(np.diff(keys.offsets)[fresh] + self._width)
        counts = np.arange(1, len(fresh) + 1)
        over = (self.groups + counts > limit.max_groups) | (self.bytes + sizes > limit.max_bytes)
        if over.any():
            if limit.when_full == "stop":
                raise Fatal(
                    f"more than {limit.max_groups} groups or {limit.max_bytes} bytes of them wait "
                    "to be published",
                    "Raise the bounds of until_time_limit, shorten it, or let it emit when full",
                )
            self.full = True
            n = int(np.searchsorted(records, records[fresh[int(over.argmax())]], "right"))
            rows = np.arange(n)
            panes, keys = panes[:n], keys.take(rows)
        self._insert(panes, keys)
        return n

    def drain(self) -> dict[int, PackedKeys]:
        """All of them, and none waits any more."""
        found = {pane: each.index.packed(0, len(each)) for pane, each in sorted(self._keys.items())}
        for pane, each in self._keys.items():
            self._gone[pane] = max(self._gone.get(pane, 0), each.saved)
        self._keys = {}
        self.groups = self.bytes = 0
        self.full = False
        return found

    def _insert(self, panes: I64, keys: PackedKeys) -> None:
        for pane, rows in _by_pane(panes):
            known = self._keys.get(pane)
            if known is None:
                known = self._keys[pane] = Groups(())
                known.saved = self._gone.pop(pane, 0)
            before = len(known)
            known.slots(keys if len(rows) == len(panes) else keys.take(rows))
            added = len(known.index.packed(before, len(known)).data)
            self.groups += len(known) - before
            self.bytes += added + (len(known) - before) * self._width

    def _fresh(self, panes: I64, keys: PackedKeys) -> I64:
        """The rows, ascending, that are the first of a group that does not wait yet."""
        found: list[I64] = [np.zeros(0, np.int64)]
        for pane, rows in _by_pane(panes):
            known = self._keys.get(pane)
            mine = keys.take(rows)
            new = np.arange(len(rows))
            if known is not None:
                new = np.flatnonzero(known.index.find(mine) < 0)
            _, first = np.unique(mine.take(new).hashes(), return_index=True)
            found.append(rows[new[first]])
        return np.sort(np.concatenate(found))

    # ------------------------------------------------------------ state

    def blocks(self) -> Iterator[tuple[bytes, bytes | None]]:
        """What changed since the last call."""
        for pane, saved in self._gone.items():
            yield from ((_KEY.pack(b"w", pane, chunk), None) for chunk in range(saved))
        self._gone = {}
        for pane, each in self._keys.items():
            before = each.saved
            for chunk, data in each.chunks():
                yield _KEY.pack(b"w", pane, chunk), data
            for chunk in range(each.saved, before):
                yield _KEY.pack(b"w", pane, chunk), None

    @staticmethod
    def owns(key: bytes) -> bool:
        """Whether a block of a step is one of these."""
        return len(key) == _KEY.size

    def load(self, key: bytes, data: bytes) -> None:
        """A block of `blocks`."""
        _, pane, chunk = _KEY.unpack(key)
        known = self._keys.setdefault(pane, Groups(()))
        before = len(known)
        known.absorb(data)
        known.saved = max(known.saved, chunk + 1)
        known.changed.clear()
        self.groups += len(known) - before
        size = len(known.index.packed(before, len(known)).data)
        self.bytes += size + (len(known) - before) * self._width


def merged(keys: Mapping[int, PackedKeys], panes: range) -> PackedKeys:
    """The groups of several panes, each once."""
    whole = Groups(())
    for pane in sorted(pane for pane in keys if pane in panes):
        whole.slots(keys[pane])
    return whole.index.packed(0, len(whole))


def _by_pane(panes: I64) -> Iterator[tuple[int, I64]]:
    """(pane, its rows, ascending)."""
    if not len(panes):
        return
    if panes[0] == panes[-1] and panes.min() == panes.max():
        yield int(panes[0]), np.arange(len(panes))
        return
    for pane in np.unique(panes).tolist():
        yield pane, np.flatnonzero(panes == pane)
