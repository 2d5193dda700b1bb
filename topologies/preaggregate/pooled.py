"""Aggregates over points: the states of groups in open and kept windows.

Beside the rows of streams that `panes.py` holds of a window, here are states of groups, by
aggregate: points join them when a pane seals, coarser windows are merged from finer ones, and late
points join those of windows that are open or kept. Whatever `panes.py` does with a window's rows is
done with its states. A state is a function of the set of its points, so when, and in how many
calls, they join cannot be seen in it.

Groups are numbered as `Cells` first saw them; that does not change until definitions do.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.aggregates import Points, made
from streams.kernels.fold import POINT_RAW, POINT_START, POINT_TIME, POINT_WHOSE
from streams.kernels.rows import IS_HISTOGRAM
from topologies.preaggregate.cells import Cells
from topologies.preaggregate.chains import Added, are_samples
from topologies.preaggregate.contents import Contents
from topologies.preaggregate.differences import Differences
from topologies.preaggregate.guard import GroupRows, GroupStates
from topologies.states import Piece, States
from topologies.temporality.chain import Contributions

I64 = npt.NDArray[np.int64]
Window = tuple[int, int]
"""(size in ns, end in unix ns)"""


ADDED = "+"
"""In front of a spelling: counters of what samples of cumulative histograms add to its states."""
_HEAD = struct.Struct("<IIQ")
WindowStates = dict[str, GroupStates]
"""By aggregate, as plans spell it."""


@dataclass(frozen=True, slots=True)
class _Members:
    """The groups that streams belong to for one aggregate: slot s to groups[first[s]:first[s+1]].

    single: i64[slots], the group of a slot that has just one, -1: none; None: some have several.
    """

    first: I64
    groups: I64
    single: I64 | None


class PointStates:
    """The states of one pane key's windows.

    Args:
        spellings: Definition (its index in the plan) -> its aggregate, of those that need states.
        cells: What streams belong to.
        contents: Where the histograms among the points are.
    """

    def __init__(
        self, spellings: Mapping[int, str], cells: Cells, contents: Contents | None = None
    ) -> None:
        self.windows: dict[Window, WindowStates] = {}
        self._spellings = spellings
        self._cells = cells
        self.contents = Contents() if contents is None else contents
        self._members: dict[str, _Members] = {}
        self._known = 0

    def __bool__(self) -> bool:
        return bool(self._spellings)

    # --- what happens to windows --------------------------------------------------------------

    def of_points(self, parts: Sequence[I64]) -> WindowStates:
        """The states of points alone, i64[n, POINT_WIDTH] each, without samples of histograms."""
        found: WindowStates = {}
        if not self or not sum(map(len, parts)):
            return found
        points = parts[0] if len(parts) == 1 else np.concatenate(parts)
        samples = are_samples(points)
        if samples.any():
            points = points[~samples]
        slots = points[:, POINT_WHOSE] >> 8
        for spelling, members in self._current_members().items():
            whose, groups = _matched(members, slots)
            if len(groups):
                found[spelling] = self._state_of(spelling, points, whose, groups)
        return found

    def of_added(self, added: Added) -> WindowStates:
        """The counters of what samples of cumulative histograms add."""
        found: WindowStates = {}
        if not added.contributions:
            return found
        for spelling, members in self._current_members().items():
            parts: list[tuple[Contributions, I64, I64]] = []
            for each in added.contributions:
                whose, groups = _matched(members, each.streams)
                if len(groups):  # else they may be of a kind that this aggregate cannot read
                    every = np.arange(len(groups)) if whose is None else whose
                    parts.append((each, every, groups))
            if parts:
                present = np.unique(np.concatenate([groups for _, _, groups in parts]))
                counters = Differences(spelling)
                state, every = counters.empty(len(present)), np.arange(len(present))
                for each, whose, groups in parts:
                    rows = np.searchsorted(present, groups)
                    counters.merge(
                        state, every, counters.of(each, whose, rows, len(present)), every
                    )
                found[ADDED + spelling] = GroupStates(present, state)
        return found

    def correct(self, window: Window, new: WindowStates, old: WindowStates) -> None:
        """What samples of histograms add in a window is not `old` but `new`; both of `of_added`."""
        held = self.windows.setdefault(window, {})
        _join(held, new)
        for spelling, less in old.items():
            counters = Differences(spelling.removeprefix(ADDED))
            _join(held, {spelling: GroupStates(less.came, counters.empty(len(less.came)))})
            rows = np.searchsorted(held[spelling].came, less.came)
            counters.subtract(held[spelling].state, rows, less.state, np.arange(len(rows)))

    def keep(self, window: Window, states: WindowStates) -> None:
        """These are a window's states."""
        if self:
            self.windows[window] = states

    def feed(self, window: Window, states: WindowStates) -> None:
        """The states of a part of a window join it."""
        if not self:
            return
        _join(self.windows.setdefault(window, {}), states)

    def drop(self, window: Window) -> None:
        """Forget a window, if it is known."""
        self.windows.pop(window, None)

    def of(self, window: Window) -> WindowStates:
        """The states of a window that is open or kept."""
        return self.windows.get(window, {})

    def pieces(self, groups: GroupRows) -> States:
        """The states of the groups, as states of rows that are in the groups' order."""
        found: dict[str, tuple[Piece, ...]] = {}
        for spelling, held in groups.states.items():
            now = self._cells.now(held.came)
            if groups.moved is not None:
                now = groups.moved[now]
            rows = np.searchsorted(groups.cells, now)
            rows[rows == len(groups.cells)] = 0
            index = np.flatnonzero(groups.cells[rows] == now) if len(groups.cells) else rows[:0]
            if not len(index):
                continue
            state, of = held.state, spelling.removeprefix(ADDED)
            if of != spelling:
                state = Differences(of).states(state)
            found[of] = (*found.get(of, ()), Piece(rows[index], index, state))
        return found

    def merged(self, windows: Iterable[Window]) -> WindowStates:
        """The states of windows that lie beside each other, together."""
        return together(self.of(window) for window in windows)

    def of_groups(self, window: Window, came: I64, spellings: Collection[str]) -> WindowStates:
        """The states of some groups (i64[k], as they came) of a window, and of some aggregates."""
        found: WindowStates = {}
        for spelling, held in self.of(window).items():
            if spelling.removeprefix(ADDED) in spellings:
                rows = np.flatnonzero(np.isin(held.came, came))
                aggregate = _aggregate(spelling)
                state = aggregate.empty(len(rows))
                aggregate.merge(state, np.arange(len(rows)), held.state, rows)
                found[spelling] = GroupStates(held.came[rows], state)
        return found

    # --- as bytes -----------------------------------------------------------------------------

    def encode(self, window: Window) -> bytes:
        """The states of a window; empty if it has none.

        By aggregate: length of its spelling u32, number k of groups u32, length of the state u64,
        the spelling, how the groups came i64[k], the state. Little endian.
        """
        parts: list[bytes] = []
        for spelling, held in sorted(self.of(window).items()):
            name, state = spelling.encode(), _aggregate(spelling).encode(held.state)
            parts.append(_HEAD.pack(len(name), len(held.came), len(state)))
            parts += [name, held.came.astype("<i8").tobytes(), state]
        return b"".join(parts)

    def decode(self, window: Window, data: bytes) -> None:
        """Take over the states that `encode` wrote of the window."""
        found = self.windows.setdefault(window, {})
        at = 0
        while at < len(data):
            name, groups, size = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            spelling = data[at : at + name].decode()
            at += name
            came = np.frombuffer(data, "<i8", groups, at).astype(np.int64)
            at += 8 * groups
            found[spelling] = GroupStates(came, _aggregate(spelling).decode(data[at : at + size]))
            at += size

    def _state_of(self, spelling: str, points: I64, whose: I64 | None, groups: I64) -> GroupStates:
        """The state of points, each in its group."""
        if whose is not None:
            points = points[whose]
        seen = np.zeros(int(groups.max()) + 1, np.bool_)
        seen[groups] = True
        present = np.flatnonzero(seen)
        rows = (np.cumsum(seen) - 1)[groups]
        aggregate: Any = made(spelling)
        state = aggregate.empty(len(present))
        shaped = points[:, POINT_WHOSE] & IS_HISTOGRAM != 0
        if shaped.any():
            self.contents.join(aggregate, state, rows[shaped], points[shaped, POINT_RAW])
            points, rows = points[~shaped], rows[~shaped]
        if len(points):
            aggregate.add(state, rows, _columns(points))
        return GroupStates(present, state)

    # --- streams and groups -------------------------------------------------------------------

    def _current_members(self) -> dict[str, _Members]:
        if self._known != self._cells.streams:
            self._known = self._cells.streams
            first, entries, _ = self._cells.arrays()
            came = self._cells.came[entries]
            definitions = self._cells.definition[entries]
            by_spelling: dict[str, list[int]] = {}
            for index, spelling in self._spellings.items():
                by_spelling.setdefault(spelling, []).append(index)
            self._members = {
                spelling: _members(first, came, np.isin(definitions, indexes))
                for spelling, indexes in by_spelling.items()
            }
        return self._members

    def renumbered(
        self, found: PointStates, same: Mapping[int, int], groups: I64 | None = None
    ) -> PointStates:
        """`found` with what is left of this: of definitions old index -> new index in `same`.

        groups: By the number of a group the one it has there; None: all have the same.
        """
        if not found:
            return found
        numbers = self._cells.came_in(found._cells, same, groups)
        for window, states in self.windows.items():
            kept = found.windows[window] = {}
            for spelling, held in states.items():
                now = numbers[held.came]
                stays = np.flatnonzero(now >= 0)
                stays = stays[np.argsort(now[stays])]
                aggregate = _aggregate(spelling)
                state = aggregate.empty(len(stays))
                aggregate.merge(state, np.arange(len(stays)), held.state, stays)
                kept[spelling] = GroupStates(now[stays], state)
        return found


def together(parts: Iterable[WindowStates]) -> WindowStates:
    """All of them merged; the parts keep their values."""
    found: WindowStates = {}
    for part in parts:
        _join(found, part)
    return found


def _aggregate(spelling: str) -> Any:
    """What the states of a spelling are merged by."""
    of = spelling.removeprefix(ADDED)
    return made(spelling) if of == spelling else Differences(of)


def _join(held: WindowStates, states: WindowStates) -> None:
    for spelling, more in states.items():
        aggregate = _aggregate(spelling)
        nothing = GroupStates(np.zeros(0, np.int64), aggregate.empty(0))
        held[spelling] = held.get(spelling, nothing).joined(aggregate, more)


def _members(first: I64, groups: I64, chosen: npt.NDArray[np.bool_]) -> _Members:
    """Of all entries (slot s has those from first[s] to first[s + 1]) the chosen ones."""
    counted = np.concatenate([np.zeros(1, np.int64), np.cumsum(chosen, dtype=np.int64)])[first]
    mine = groups[chosen]
    sizes = np.diff(counted)
    if len(sizes) and int(sizes.max()) > 1:
        return _Members(counted, mine, None)
    single = np.full(len(sizes), -1, np.int64)
    single[sizes == 1] = mine
    return _Members(counted, mine, single)


def _matched(members: _Members, slots: I64) -> tuple[I64 | None, I64]:
    """Pairs of a point and a group it joins: which points (None: all, once each), and groups."""
    if members.single is not None:
        groups = members.single[slots]
        if bool((groups >= 0).all()):
            return None, groups
        whose = np.flatnonzero(groups >= 0)
        return whose, groups[whose]
    counts = members.first[slots + 1] - members.first[slots]
    whose = np.repeat(np.arange(len(slots)), counts)
    ends = np.cumsum(counts)
    at = np.arange(len(whose)) - np.repeat(ends - counts, counts)
    return whose, members.groups[members.first[slots[whose]] + at]


def _columns(points: I64) -> Points:
    return Points(
        np.ascontiguousarray(points[:, POINT_TIME]),
        np.ascontiguousarray(points[:, POINT_START]),
        np.ascontiguousarray(points[:, POINT_RAW]),
        (points[:, POINT_WHOSE] & 0xFF).astype(np.uint8),
    )
