"""The points of open windows, and what becomes of them when a window seals.

A pane is a window of the finest granularity. Its points are kept until it seals, because only then
can they be put in event-time order; what is sealed is folded into one row a stream, and the rows
of a coarser window are the exact merge of the finer ones inside it. So a window's first
publication is a function of the points that arrived before its sealing record, and of nothing
else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streams.event_time.levels import (
    ends_of,
    is_hopping,
    last_complete,
    step_of,
    window_end,
    window_start,
)
from streams.event_time.windows import EARLIEST, LATEST
from streams.kernels.exact import spill_of
from streams.kernels.fold import (
    BASE_TIME,
    BASE_WIDTH,
    POINT_WHOSE,
    POINT_WIDTH,
    SPILL_WIDTH,
    fold_points,
    in_order,
)
from streams.kernels.keep import (
    BEYOND,
    LATE,
    PANE_END,
    PANE_KEPT,
    PANE_WIDTH,
    pack_points,
    sort_out,
)
from streams.kernels.rows import (
    FLAGS,
    INCREASE,
    IS_HISTOGRAM,
    IS_INTEGER,
    SPILLED_INCREASE,
    STEP_SPECIALS,
    STEPS,
    STREAM_WIDTH,
    merge_at,
    merge_sorted,
)
from streams.kernels.sequence import NOTICE_WIDTH
from topologies.preaggregate.chains import SAMPLES, Chains, with_notices, with_steps
from topologies.preaggregate.columns import PaneKey, PointColumns
from topologies.preaggregate.forgetting import Kept
from topologies.preaggregate.lattice import Lattice, Window

if TYPE_CHECKING:
    from topologies.preaggregate.pooled import PointStates, WindowStates

I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]

Spills = dict[tuple[int, int], int]
"""(slot, column) -> the part of an exact sum that its limbs cannot hold, in units of 2**-1074."""


@dataclass(slots=True)
class StreamRows:
    """Rows of streams in one window: slots i32[n] ascending, rows i64[n, STREAM_WIDTH]."""

    slots: I32 = field(default_factory=lambda: np.zeros(0, np.int32))
    rows: I64 = field(default_factory=lambda: np.zeros((0, STREAM_WIDTH), np.int64))
    spills: Spills = field(default_factory=dict[tuple[int, int], int])

    def merged(self, other: StreamRows) -> StreamRows:
        """Both together, exactly."""
        if not len(self.slots):
            return other
        if not len(other.slots):
            return self
        total = len(self.slots) + len(other.slots)
        rows = np.empty((total, STREAM_WIDTH), np.int64)
        slots = np.empty(total, np.int32)
        merge_sorted(self.rows, self.slots, other.rows, other.slots, rows, slots)
        used = int(np.searchsorted(-(slots >= 0).astype(np.int8), 0))
        spills = dict(self.spills)
        for key, amount in other.spills.items():
            spills[key] = spills.get(key, 0) + amount
        return StreamRows(slots[:used], rows[:used], spills)

    def copy(self) -> StreamRows:
        """The same rows in memory of their own."""
        return StreamRows(self.slots.copy(), self.rows.copy(), dict(self.spills))

    def joined(self, other: StreamRows) -> StreamRows:
        """Both together; in place where no slot is new."""
        places = self.places(other.slots)
        if not len(self.slots) or bool((places < 0).any()):
            return self.merged(other)
        merge_at(self.rows, places, other.rows)
        for key, amount in other.spills.items():
            self.spills[key] = self.spills.get(key, 0) + amount
        return self

    def places(self, slots: I32) -> I64:
        """i64[n], where the rows of these slots are; -1: nowhere."""
        if not len(self.slots):
            return np.full(len(slots), -1, np.int64)
        found = np.minimum(np.searchsorted(self.slots, slots), len(self.slots) - 1)
        return np.where(self.slots[found] == slots, found, -1).astype(np.int64)

    def of(self, wanted: npt.NDArray[np.bool_]) -> StreamRows:
        """The rows of the slots for which the mask holds."""
        chosen = np.flatnonzero(wanted[self.slots])
        spills = {key: amount for key, amount in self.spills.items() if wanted[key[0]]}
        return StreamRows(self.slots[chosen], self.rows.take(chosen, axis=0), spills)

    def renumbered(self, now: I64) -> StreamRows:
        """The same rows of slots that have other numbers, in the same order."""
        spills = {(int(now[slot]), column): n for (slot, column), n in self.spills.items()}
        return StreamRows(now[self.slots].astype(np.int32), self.rows, spills)

    def correct(self, new: StreamRows, old: StreamRows) -> None:
        """Take the increases of `old` out of these rows and put those of `new` in, exactly."""
        for sign, rows in ((1, new), (-1, old)):
            for row, place in enumerate(self.places(rows.slots).tolist()):
                if place < 0:
                    continue  # a window of which this partition saw a part only; never published
                _add_limbs(self.rows[place], sign * _limbs(rows.rows[row]))
                counts = [STEPS, *range(STEP_SPECIALS, STEP_SPECIALS + 3)]
                self.rows[place, counts] += sign * rows.rows[row, counts]
                self.rows[place, FLAGS] |= rows.rows[row, FLAGS] & SPILLED_INCREASE
            for key, amount in rows.spills.items():
                if key[1] == INCREASE:
                    self.spills[key] = self.spills.get(key, 0) + sign * amount


def _limbs(row: I64) -> int:
    """The exact increase of a row as an integer number of 2**-96, modulo 2**192."""
    return int.from_bytes(row[INCREASE : INCREASE + 3].tobytes(), "little")


def _add_limbs(row: I64, amount: int) -> None:
    total = (_limbs(row) + amount) % (1 << 192)
    row[INCREASE : INCREASE + 3] = np.frombuffer(total.to_bytes(24, "little"), np.int64)


def empty_bases(streams: int) -> I64:
    """Base lines of streams of which nothing is known: i64[streams, BASE_WIDTH]."""
    bases = np.zeros((streams, BASE_WIDTH), np.int64)
    bases[:, BASE_TIME] = EARLIEST
    return bases


def packed(points: PointColumns) -> I64:
    """The points as rows i64[n, POINT_WIDTH]."""
    out = np.empty((len(points), POINT_WIDTH), np.int64)
    out[:, 0], out[:, 1], out[:, 2] = points.times, points.starts, points.raws
    out[:, 3] = points.slots.astype(np.int64) << 8 | points.metas
    return out


def fold(
    parts: Sequence[I64], after: int, until: int, pane: int, gap: int, bases: I64
) -> tuple[StreamRows, I64]:
    """Fold points into a row a stream for the window (after, until]; moves `bases` on.

    Returns the rows, and what was noticed: i64[n, NOTICE_WIDTH] of `streams.kernels.sequence`.
    """
    points = in_order(parts, len(bases))
    n = len(points)
    notices = np.empty((n, NOTICE_WIDTH), np.int64)
    if n == 0:
        return StreamRows(), notices
    room = min(n, len(bases))
    rows = np.empty((room, STREAM_WIDTH), np.int64)
    slots = np.empty(room, np.int32)
    spills = np.empty((3 * n, SPILL_WIDTH), np.int64)  # untouched memory costs nothing
    result = np.zeros(3, np.int64)
    fold_points(points, after, until, pane, gap, bases, rows, slots, spills, notices, result)
    written, spilled, noticed = result.tolist()
    kept: Spills = {}
    for row, column, bits, sign in spills[:spilled].tolist():
        key = (int(slots[row]), column)
        kept[key] = kept.get(key, 0) + sign * spill_of(bits)
    return StreamRows(slots[:written], rows[:written], kept), notices[:noticed].copy()


@dataclass(frozen=True, slots=True)
class Sorted:
    """New points, each with what becomes of it.

    Attributes:
        state: u8[n], a constant of `streams.kernels.keep`; which i32[n], a row of panes.
        panes: i64[k, PANE_WIDTH], the panes of points that are late or kept.
        tally: i64[4], points of each state.
    """

    state: U8
    which: I32
    panes: I64
    tally: I64

    @property
    def late(self) -> int:
        """Points whose pane has sealed."""
        return int(self.tally[LATE])

    @property
    def beyond(self) -> int:
        """Points late by more than the correction horizon."""
        return int(self.tally[BEYOND])


@dataclass(frozen=True, slots=True)
class Sealed:
    """A window that has just sealed, with its streams' rows and its groups' states.

    notices: Of a pane, what was noticed in it; i64[n, NOTICE_WIDTH].
    """

    level: int
    end: int
    rows: StreamRows
    states: WindowStates
    notices: I64 = field(default_factory=lambda: np.zeros((0, NOTICE_WIDTH), np.int64))


class Panes:
    """Open panes, and open and kept windows, of the definitions that share a `PaneKey`.

    Args:
        key: Pane size, grace and correction horizon.
        levels: Those of the windows that are published.
        gap: A stream silent for longer than this (ns of event time) is unknown again.
        keep_from: See `Lattice`.
        states: Of groups, for aggregates over points.
    """

    def __init__(
        self,
        key: PaneKey,
        levels: tuple[int, ...],
        gap: int,
        keep_from: int,
        states: PointStates,
    ) -> None:
        self.key = key
        self.gap = gap
        self._keep_from = keep_from
        self.lattice = Lattice(key.pane, levels, key.corrections, keep_from)
        self.frontier = EARLIEST
        self.bases = empty_bases(0)
        self.open_panes: dict[int, list[I64]] = {}
        self.rows: dict[Window, StreamRows] = {}
        """Of coarser windows that are open, and of sealed ones that stay."""
        self.states = states
        """Of the same windows."""
        self.chains = Chains(key.pane, gap, states.contents)
        self.changed_rows: set[Window] = set()

    def change_levels(self, levels: tuple[int, ...]) -> None:
        """From now on these levels are published; open windows of others are dropped."""
        self.lattice = Lattice(self.key.pane, levels, self.key.corrections, self._keep_from)
        stored = {*self.lattice.stored[1:], *filter(self.lattice.stays, self.lattice.stored)}
        self._drop([window for window in self.rows if window[0] not in stored])

    def forget(self, watermark: int) -> None:
        """Drop sealed windows that no point can change and no other window needs any more."""
        until = min(watermark - self.key.corrections - 1, self.frontier)
        gone: list[Window] = []
        for level, end in self.rows:
            limit = until if level in self.lattice.kept else self.frontier
            if self.lattice.needed_until(end, level) <= limit:
                gone.append((level, end))
        self._drop(gone)

    def _drop(self, windows: list[Window]) -> None:
        for window in windows:
            del self.rows[window]
            self.states.drop(window)
            self.changed_rows.add(window)

    def merged_until(self, level: int) -> int:
        """Samples up to this time have been merged into the rows of a stored level."""
        return self.lattice.merged_until(level, self.frontier)

    def holds(self, window: Window) -> bool:
        """Whether the rows of a window, or all it is made of, are there."""
        return self.lattice.holds(window, self.frontier)

    def rows_of(self, window: Window) -> StreamRows:
        """The rows of a window that `holds`."""
        if not is_hopping(window[0]):
            return self.rows.get(window, StreamRows())
        rows = StreamRows()
        for step in self.lattice.steps(window):
            if step in self.rows:
                rows = rows.merged(self.rows[step])
        return rows

    def states_of(self, window: Window) -> WindowStates:
        """The states of a window that `holds`."""
        if not is_hopping(window[0]):
            return self.states.of(window)
        return self.states.merged(self.lattice.steps(window))

    def grow(self, streams: int) -> None:
        """Make room for slots below `streams`."""
        if streams > len(self.bases):
            size = max(streams, 2 * len(self.bases))
            bases = empty_bases(size)
            bases[: len(self.bases)] = self.bases
            self.bases = bases

    def in_use(self, slots: npt.NDArray[np.bool_]) -> None:
        """Add the slots of which there are points or rows to those that are."""
        for parts in self.open_panes.values():
            for part in parts:
                slots[part[:, POINT_WHOSE] >> 8] = True
        for rows in self.rows.values():
            slots[rows.slots] = True

    def renumber(self, slots: Kept) -> None:
        """The slots that stay have other numbers."""
        count = min(len(self.bases), len(slots.stays))
        self.bases = self.bases[:count][slots.stays[:count]]
        for parts in self.open_panes.values():
            for part in parts:
                whose = part[:, POINT_WHOSE]
                part[:, POINT_WHOSE] = slots.now[whose >> 8] << 8 | (whose & 0xFF)
        self.rows = {window: rows.renumbered(slots.now) for window, rows in self.rows.items()}
        self.changed_rows |= self.rows.keys()
        self.chains.renumber(slots)

    def sort_out(
        self,
        points: PointColumns,
        records: I32,
        watermarks: I64,
        wanted: npt.NDArray[np.bool_],
    ) -> Sorted:
        """What becomes of points; see `streams.kernels.keep.sort_out`."""
        n = len(points)
        state, which = np.empty(n, np.uint8), np.empty(n, np.int32)
        how = (self.key.pane, self.key.grace, self.key.corrections, self.frontier)
        room = 64
        while True:
            panes, tally = np.empty((room, PANE_WIDTH), np.int64), np.zeros(4, np.int64)
            count = sort_out(
                points.slots, points.times, records, wanted.view(np.uint8), watermarks, how, state,
                which, panes, tally,
            )  # fmt: skip
            if count >= 0:
                return Sorted(state, which, panes[:count], tally)
            room = n

    def keep(self, points: PointColumns, found: Sorted) -> None:
        """Put the points that stay into their open panes."""
        kept = found.panes[:, PANE_KEPT]
        ends = np.cumsum(kept)
        place = ends - kept
        total = int(ends[-1]) if len(ends) else 0
        if not total:
            return
        out = np.empty((total, POINT_WIDTH), np.int64)
        pack_points(
            points.slots, points.times, points.starts, points.raws, points.metas, found.state,
            found.which, place, out,
        )  # fmt: skip
        low = 0
        for pane, high in zip(found.panes[:, PANE_END].tolist(), ends.tolist(), strict=True):
            if high > low:
                part = out[low:high]
                small = 4 * (high - low) < total  # must not hold on to the memory of all
                self.open_panes.setdefault(pane, []).append(part.copy() if small else part)
            low = high

    def add(self, points: PointColumns) -> None:
        """Keep points of open panes. The caller has taken out the late ones."""
        if not len(points):
            return
        ends = window_end(points.times, self.key.pane)
        for end in np.unique(ends).tolist():
            part = packed(points.where(ends == end))
            self.open_panes.setdefault(end, []).append(part)

    def late(self, points: PointColumns) -> npt.NDArray[np.bool_]:
        """Which points belong to panes that have sealed."""
        return window_end(points.times, self.key.pane) <= self.frontier

    def boundary(self, watermark: int) -> int:
        """The last pane end that this watermark seals."""
        if watermark in (EARLIEST, LATEST):
            return watermark
        return last_complete(watermark - self.key.grace, self.key.pane)

    def advance(self, frontier: int) -> list[Sealed]:
        """Seal every window that ends by `frontier`, finer ones first; those with data."""
        sealed: list[Sealed] = []
        pane = self.key.pane
        for end in sorted(end for end in self.open_panes if end <= frontier):
            points = self.open_panes.pop(end)
            rows, notices = fold(points, end - pane, end, pane, self.gap, self.bases)
            states = self.states.of_points(points)
            if self.states:
                added = self.chains.advance(points, end - pane, end)
                states |= self.states.of_added(added)
                rows, notices = with_steps(rows, added), with_notices(notices, added)
            if self.lattice.stays(pane):
                self.rows[pane, end] = rows
                self.states.keep((pane, end), states)
                self.changed_rows.add((pane, end))
            sealed.append(Sealed(pane, end, rows, states, notices))
            self._feed(sealed[-1])
        for level in self.lattice.stored[1:]:
            ends = [end for other, end in self.rows if other == level]
            for end in sorted(end for end in ends if self.frontier < end <= frontier):
                window = (level, end)
                sealed.append(Sealed(level, end, self.rows[window], self.states.of(window)))
                if not self.lattice.stays(level):
                    self._drop([window])
                self._feed(sealed[-1])
        sealed.extend(
            Sealed(*window, self.rows_of(window), self.states_of(window))
            for window in self._hopping(frontier)
        )
        self.frontier = max(self.frontier, frontier)
        return sealed

    def _hopping(self, frontier: int) -> list[Window]:
        """The hopping windows with data that seal with the frontier."""
        found: set[Window] = set()
        for level in self.lattice.hopping:
            step = step_of(level)
            for end in [end for other, end in self.rows if other == step]:
                found.update((level, each) for each in ends_of(end, level))
        due = [window for window in found if self.frontier < window[1] <= frontier]
        return sorted(due, key=lambda window: (window[1], window[0]))

    def _feed(self, sealed: Sealed) -> None:
        for coarser, finer in self.lattice.made_of.items():
            if finer == sealed.level:
                window = (coarser, window_end(sealed.end, coarser))
                known, rows = self.rows.get(window), sealed.rows
                self.rows[window] = rows.copy() if known is None else known.merged(rows)
                self.states.feed(window, sealed.states)
                self.changed_rows.add(window)

    def join(self, points: PointColumns) -> None:
        """Late points join the rows of open and of kept windows, but for their increases."""
        alone = PointColumns(
            points.slots,
            points.times,
            points.starts,
            points.raws,
            points.metas & np.uint8(IS_INTEGER | IS_HISTOGRAM),
        )
        samples = points.metas & SAMPLES == SAMPLES
        for level in self.lattice.stored:
            ends = window_end(points.times, level)
            due = points.times <= self.merged_until(level)
            if level not in self.lattice.kept:
                due &= self.lattice.needed_until(ends, level) > self.frontier
            for end in np.unique(ends[due]).tolist():
                part = packed(alone.where(due & (ends == end)))
                after = window_start(end, level)
                rows, _ = fold([part], after, end, self.key.pane, self.gap, self.bases)
                self.rows[level, end] = self.rows.get((level, end), StreamRows()).joined(rows)
                deltas = alone.where(due & (ends == end) & ~samples)
                self.states.feed((level, end), self.states.of_points([packed(deltas)]))
                self.changed_rows.add((level, end))

    def correct(self, window: Window, new: StreamRows, old: StreamRows) -> None:
        """The increases of some streams in an open or kept window are not `old` but `new`."""
        rows = self.rows.get(window)
        if rows is not None:
            rows.correct(new, old)
            self.changed_rows.add(window)

    def stats(self) -> dict[str, Any]:
        """Open panes and windows, for people."""
        return {
            "key": self.key.text(),
            "frontier": self.frontier,
            "open_panes": len(self.open_panes),
            "windows": len(self.rows),
        }
