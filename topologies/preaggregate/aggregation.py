"""One pane key's definitions over one partition: what is open, what sealed, what has to be redone.

Late points change nothing in place. They mark windows, and a marked window's rows are computed
anew from the log, by the same fold as the first time: at the seal of a coarser window that was
still open, or after a short settling time as a revision of what has sealed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.event_time.windows import EARLIEST, window_end
from streams.kernels.fold import BASE_META, BASE_RAW, BASE_START, BASE_TIME
from streams.kernels.keep import LATE
from streams.kernels.rows import IS_CUMULATIVE, IS_INTEGER
from topologies.partials import PartialRows
from topologies.preaggregate.cells import Cells, GroupRows, Membership
from topologies.preaggregate.panes import (
    PaneKey,
    Panes,
    PointColumns,
    Sorted,
    StreamRows,
    empty_bases,
    fold,
    packed,
)

I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
Window = tuple[int, int]
"""(size in ns, end in unix ns)"""


@dataclass(frozen=True, slots=True)
class Publishes:
    """What a definition publishes: windows of `sizes` (ns) that begin at `since` or later."""

    sizes: frozenset[int]
    since: int = EARLIEST


@dataclass(slots=True)
class PaneIndex:
    """Where in the partition a pane's points are."""

    first: int
    last: int
    watermark: int  # of the partition, just before the record at `first`


@dataclass(slots=True)
class Recomputation:
    """Windows to compute anew from past records [first, last] of the partition.

    `windows` maps each window to the streams that changed in it; `slots` are all streams needed.
    """

    seal: bool
    windows: dict[Window, set[int]]
    slots: npt.NDArray[np.bool_]
    late: list[tuple[int, int]]
    after: int
    until: int
    first: int
    last: int
    watermark: int
    points: list[PointColumns] = field(default_factory=list[PointColumns])

    def keep(self, points: PointColumns) -> None:
        """Take the points that matter from records of the range."""
        known = points.slots < len(self.slots)
        mask = (points.times > self.after) & (points.times <= self.until) & known
        mask[mask] = self.slots[points.slots[mask]]
        if mask.any():
            self.points.append(points.where(mask))


class Aggregation:
    """The definitions that share a pane key, over the records of one partition.

    Args:
        key: Their pane key.
        levels: Window sizes in ns, the pane first.
        definitions: Index in the plan -> what it publishes.
        gap: Silence after which a stream is unknown, ns of event time.
        partitions: Of the topic that the groups go to.
    """

    def __init__(
        self,
        key: PaneKey,
        levels: tuple[int, ...],
        definitions: dict[int, Publishes],
        gap: int,
        partitions: int,
    ) -> None:
        self.key = key
        self.gap = gap
        self.panes = Panes(key, levels, gap)
        self._partitions = partitions
        self.cells = Cells(partitions)
        self.index: dict[int, PaneIndex] = {}
        self.changed_index: set[int] = set()
        self.dirty: dict[Window, set[int]] = {}
        self.pending: list[tuple[int, int]] = []
        self.pending_since = 0
        self.definitions = definitions
        self.joined = np.zeros(0, np.int64)
        """By slot, the offset of the record from which on its stream is wanted; 0 past the end."""

    # --- points -----------------------------------------------------------------------------

    def add(
        self, points: PointColumns, records: I32, offsets: I64, watermarks: I64, received: I64
    ) -> tuple[int, int]:
        """Take points of known streams; returns (late, beyond the horizon).

        records i32[n]: each point's record, ascending; offsets, watermarks and received
        i64[records]: where it is, the partition's watermark before it, and when it came.
        """
        wanted = self.cells.wanted()
        if not self.cells.wants_any:
            return 0, 0
        self.panes.grow(self.cells.streams)
        found = self.panes.sort_out(points, records, watermarks, wanted)
        self._remember_where(found, records, offsets, watermarks)
        if found.late:
            late = found.state == LATE
            self._mark_late(points.where(late), int(received[records[int(np.argmax(late))]]))
        self.panes.keep(points, found)
        return found.late, found.beyond

    def within_horizon(self, points: PointColumns, watermarks: I64) -> npt.NDArray[np.bool_]:
        """All but the points that came late by more than the correction horizon."""
        ends = window_end(points.times, self.key.pane)
        sealed = np.maximum(watermarks, EARLIEST + self.key.grace) - self.key.grace
        horizon = np.maximum(watermarks, EARLIEST + self.key.corrections) - self.key.corrections
        return (ends > sealed) | (ends >= horizon)

    def _remember_where(self, found: Sorted, records: I32, offsets: I64, watermarks: I64) -> None:
        for end, first_row, last_row, _ in found.panes.tolist():
            first, last = int(records[first_row]), int(records[last_row])
            entry = self.index.get(end)
            if entry is None:
                self.index[end] = PaneIndex(
                    int(offsets[first]), int(offsets[last]), int(watermarks[first])
                )
            else:
                entry.last = max(entry.last, int(offsets[last]))
            self.changed_index.add(end)

    def _mark_late(self, points: PointColumns, received: int) -> None:
        if not self.pending:
            self.pending_since = received
        slots: list[int] = points.slots.tolist()
        self.pending.extend(zip(slots, points.times.tolist(), strict=True))
        cumulative = (points.metas & IS_CUMULATIVE) != 0
        if not cumulative.all():
            self._add_to_open_windows(points.where(~cumulative))
        if cumulative.any():
            self._mark_open_windows(points.where(cumulative))

    def _add_to_open_windows(self, points: PointColumns) -> None:
        """Points that stand for themselves join the rows of coarser windows that are open still."""
        frontier = self.panes.frontier
        for level, finer in self.panes.fed_by.items():
            ends = window_end(points.times, level)
            missed = (ends > frontier) & (window_end(points.times, finer) <= frontier)
            for end in np.unique(ends[missed]).tolist():
                self.panes.add_late(level, end, points.where(missed & (ends == end)))

    def _mark_open_windows(self, points: PointColumns) -> None:
        """A sample of a cumulative stream changes its window and that of the sample after it."""
        frontier = self.panes.frontier
        for slot, time, start, raw, meta in zip(
            points.slots.tolist(),
            points.times.tolist(),
            points.starts.tolist(),
            points.raws.tolist(),
            points.metas.tolist(),
            strict=True,
        ):
            newest = max(time, min(int(self.panes.bases[slot, BASE_TIME]), time + self.gap))
            self._move_base(slot, time, start, raw, meta)
            for level in self.panes.levels[1:]:
                end = window_end(time, level)
                while end <= window_end(newest, level):
                    if end > frontier:
                        self.dirty.setdefault((level, end), set()).add(slot)
                    end += level

    def _move_base(self, slot: int, time: int, start: int, raw: int, meta: int) -> None:
        """A late sample may still be the last one before the open panes."""
        base = self.panes.bases[slot]
        newer = time > base[BASE_TIME]
        if time == base[BASE_TIME]:
            old = _number(int(base[BASE_RAW]), int(base[BASE_META])), int(base[BASE_START])
            newer = (_number(raw, meta), start) > old
        if newer:
            base[BASE_TIME], base[BASE_START], base[BASE_RAW], base[BASE_META] = (
                time, start, raw, meta,
            )  # fmt: skip

    # --- sealing ----------------------------------------------------------------------------

    def due(self, watermark: int) -> int | None:
        """The frontier that this watermark seals up to, if that seals anything more."""
        boundary = self.panes.boundary(watermark)
        return boundary if boundary > self.panes.frontier else None

    def before_seal(self, frontier: int, last: int) -> Recomputation | None:
        """What has to be computed anew before the windows up to `frontier` can seal."""
        due = {w: slots for w, slots in self.dirty.items() if w[1] <= frontier}
        if not due:
            return None
        slots = np.zeros(self.cells.streams, np.bool_)
        for members in due.values():
            slots[list(members)] = True
        return self._range_of(True, due, slots, [], last, EARLIEST, self.gap)

    def seal(self, frontier: int, redone: Recomputation | None) -> list[tuple[Window, GroupRows]]:
        """Seal up to `frontier`; returns each sealed window's groups."""
        overrides: dict[Window, tuple[set[int], StreamRows]] = {}
        if redone is not None:
            points = PointColumns.join(redone.points)
            for window, slots in redone.windows.items():
                overrides[window] = (slots, self._fold_window(points, window, slots))
                del self.dirty[window]
        sealed = self.panes.advance(frontier, overrides)
        return [
            (
                (item.level, item.end),
                self._publishable((item.level, item.end), self.cells.fold(item.rows)),
            )
            for item in sealed
        ]

    def _publishable(self, window: Window, groups: GroupRows) -> GroupRows:
        """The groups of definitions that publish this window."""
        size, end = window
        levels = {
            index
            for index, publishes in self.definitions.items()
            if size in publishes.sizes and end - size >= publishes.since
        }
        wanted = np.isin(
            self.cells.definition[groups.cells], np.fromiter(levels, np.uint16, len(levels))
        )
        if wanted.all():
            return groups
        return GroupRows(groups.cells[wanted], groups.rows[wanted], groups.spills)

    # --- revisions --------------------------------------------------------------------------

    def revise(self, last: int) -> Recomputation | None:
        """Turn the late points that have settled into a recomputation of sealed windows."""
        late, self.pending = self.pending, []
        windows: dict[Window, set[int]] = {}
        until = EARLIEST
        for slot, time in late:
            until = max(until, min(time + self.gap, int(self.panes.bases[slot, BASE_TIME])))
            for level in self.panes.levels:
                window = (level, window_end(time, level))
                if window[1] <= self.panes.frontier:
                    windows.setdefault(window, set()).add(slot)
        if not windows:
            return None
        cells = self.cells.cells_of({slot for slot, _ in late})
        back = self.gap if self.cells.increases(cells) else 0
        return self._range_of(False, windows, self.cells.streams_of(cells), late, last, until, back)

    def _range_of(
        self,
        seal: bool,
        windows: dict[Window, set[int]],
        slots: npt.NDArray[np.bool_],
        late: list[tuple[int, int]],
        last: int,
        until: int,
        back: int,
    ) -> Recomputation:
        after = min(end - level for level, end in windows) - back
        until = max(until, max(end for _, end in windows))
        if late:  # a successor's window reaches further
            until = max(until, max(window_end(until, level) for level, _ in windows))
        inside = [pane for end, pane in self.index.items() if after < end <= until + self.key.pane]
        first = min((pane.first for pane in inside), default=last)
        watermark = min(
            ((pane.first, pane.watermark) for pane in inside), default=(last, EARLIEST)
        )[1]
        end = min(last, max((pane.last for pane in inside), default=last))
        return Recomputation(
            seal, windows, slots, late, after, until, first, end, watermark
        )  # fmt: skip

    def revised(self, redone: Recomputation) -> list[tuple[Window, GroupRows]]:
        """The groups of every sealed window that the late points changed, complete."""
        points = PointColumns.join(redone.points)
        for window, slot in self._successors(points, redone.late):
            redone.windows.setdefault(window, set()).add(slot)
        found: list[tuple[Window, GroupRows]] = []
        for window, slots in sorted(redone.windows.items()):
            cells = self.cells.cells_of(slots)
            needed = np.flatnonzero(self.cells.streams_of(cells))
            rows = self._fold_window(points, window, set(needed.tolist()))
            groups = self._publishable(window, self.cells.fold(rows))
            chosen = np.isin(groups.cells, np.fromiter(cells, np.int64, len(cells)))
            found.append(
                (window, GroupRows(groups.cells[chosen], groups.rows[chosen], groups.spills))
            )
        return found

    def _successors(
        self, points: PointColumns, late: list[tuple[int, int]]
    ) -> list[tuple[Window, int]]:
        """The sealed windows that hold the next sample of a cumulative stream after a late one."""
        found: list[tuple[Window, int]] = []
        cumulative = (points.metas & IS_CUMULATIVE) != 0
        for slot in {slot for slot, _ in late}:
            times = np.unique(points.times[cumulative & (points.slots == slot)])
            for time in {time for other, time in late if other == slot}:
                at = int(np.searchsorted(times, time, side="right"))
                if at < len(times):
                    ends = [
                        (level, window_end(int(times[at]), level)) for level in self.panes.levels
                    ]
                    found.extend((w, slot) for w in ends if w[1] <= self.panes.frontier)
        return found

    def _fold_window(self, points: PointColumns, window: Window, slots: set[int]) -> StreamRows:
        """The rows of these streams in one window, from points alone."""
        level, end = window
        chosen = np.fromiter(sorted(slots), np.int32, len(slots))
        mask = (points.times > end - level - self.gap) & (points.times <= end)
        mask &= np.isin(points.slots, chosen)
        part = points.where(mask)
        dense = PointColumns(
            np.searchsorted(chosen, part.slots).astype(np.int32),
            part.times,
            part.starts,
            part.raws,
            part.metas,
        )
        resets = np.zeros(len(chosen), np.int64)
        rows = fold(
            [packed(dense)],
            end - level,
            end,
            self.key.pane,
            self.gap,
            empty_bases(len(chosen)),
            resets,
        )
        spills = {(int(chosen[slot]), column): n for (slot, column), n in rows.spills.items()}
        return StreamRows(chosen[rows.slots], rows.rows, spills)

    # --- definitions that change ------------------------------------------------------------

    def adopt(
        self,
        levels: tuple[int, ...],
        definitions: dict[int, Publishes],
        streams: Iterable[list[Membership]],
        offset: int,
    ) -> None:
        """Go on with other definitions of the same pane key from the record at `offset`.

        streams: the memberships of every stream, by slot. A stream that nobody wanted before
        begins here: what the log holds of it further back is not asked for.
        """
        before = self.cells.wanted()
        self.panes.change_levels(levels)
        self.definitions = definitions
        self.dirty = {w: slots for w, slots in self.dirty.items() if w[0] in levels}
        self.cells = Cells(self._partitions)
        for memberships in streams:
            self.cells.add_stream(memberships)
        fresh = self.cells.wanted().copy()
        fresh[: len(before)] &= ~before
        joined = np.zeros(len(fresh), np.int64)
        joined[: len(self.joined)] = self.joined
        joined[fresh] = offset
        self.joined = joined
        self.panes.grow(self.cells.streams)

    def has_joined(self, points: PointColumns, offsets: I64) -> npt.NDArray[np.bool_]:
        """Whether each point's stream was wanted when its record (offsets i64[n]) came."""
        early = points.slots < len(self.joined)
        mask = np.ones(len(points), np.bool_)
        mask[early] = offsets[early] >= self.joined[points.slots[early]]
        return mask

    # --- housekeeping -----------------------------------------------------------------------

    def forget(self, watermark: int) -> set[int]:
        """Drop index entries that no correction can ask for any more; returns the panes dropped."""
        if watermark == EARLIEST:
            return set()
        keep = self.key.corrections + max(self.panes.levels) + 2 * self.gap + self.key.grace
        gone = {end for end in self.index if end < watermark - keep}
        for end in gone:
            del self.index[end]
        self.changed_index |= gone
        return gone

    def revisable(self, watermark: int) -> int:
        """No window that ended before this can be revised any more, but by a queued revision."""
        oldest = EARLIEST if watermark == EARLIEST else watermark - self.key.corrections
        waiting = [window_end(time, self.key.pane) for _, time in self.pending]
        return min([oldest, *waiting])

    def first_offset(self, last: int) -> int:
        """No record before this one can be asked for again; `last` is the newest."""
        return min((pane.first for pane in self.index.values()), default=last)

    def first_open_offset(self) -> int | None:
        """The first record that holds a point of an open pane."""
        offsets = [self.index[end].first for end in self.panes.open_panes if end in self.index]
        return min(offsets, default=None)

    def partial_rows(self, found: list[tuple[Window, GroupRows]]) -> PartialRows:
        """The groups of windows as rows of messages, in order of the partition they go to."""
        parts: list[PartialRows] = []
        for (level, end), groups in found:
            n = len(groups.cells)
            spills: dict[int, int] = {}
            if groups.spills:
                cells: list[int] = groups.cells.tolist()
                spills = {i: groups.spills[c] for i, c in enumerate(cells) if c in groups.spills}
            parts.append(
                PartialRows(
                    self.cells.definition[groups.cells],
                    np.full(n, level, np.int64),
                    np.full(n, end, np.int64),
                    self.cells.high[groups.cells],
                    self.cells.low[groups.cells],
                    self.cells.label_column(groups.cells),
                    groups.rows,
                    spills,
                )
            )
        return PartialRows.join(parts)

    def stats(self) -> dict[str, Any]:
        """For people: what is open, what waits."""
        return {**self.panes.stats(), "groups": len(self.cells), "late": len(self.pending)}


def _number(raw: int, meta: int) -> tuple[int, int]:
    """A value in the order that decides between repeats of one time: as a double by IEEE 754
    totalOrder (NaN above infinity), then exactly.
    """
    integer = bool(meta & IS_INTEGER)
    value = float(raw) if integer else float(np.int64(raw).view(np.float64))
    if math.isnan(value):
        return 1 << 63, 0
    bits = int(np.float64(value).view(np.int64))
    exact = raw if integer else int(value) if math.isfinite(value) else 0
    return bits if bits >= 0 else bits ^ (2**63 - 1), exact
