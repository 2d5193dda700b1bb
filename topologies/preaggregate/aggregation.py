"""One pane key's definitions over one partition: what is open, what sealed, what has to be redone.

Late points join the rows of windows that are open, or kept, as they come. What else they change is
found after a short settling time, or before the next seal, in the log: the increases of a
cumulative stream around a late sample, and the rows of windows that are not kept. Then what has
sealed is published again as a revision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.event_time.levels import longest, window_end, window_start
from streams.event_time.windows import EARLIEST, SECOND
from streams.kernels.fold import BASE_META, BASE_RAW, BASE_START, BASE_TIME
from streams.kernels.keep import LATE
from streams.kernels.rows import IS_CUMULATIVE, IS_HISTOGRAM, IS_INTEGER
from topologies.deployment import ALWAYS, Span
from topologies.epochs import Bounds
from topologies.partials import PartialRows
from topologies.preaggregate.cells import Cells
from topologies.preaggregate.chains import Chains, with_steps
from topologies.preaggregate.columns import Late, Members, PaneKey, PointColumns
from topologies.preaggregate.contents import Contents
from topologies.preaggregate.epochs import without_base_lines
from topologies.preaggregate.forgetting import Kept
from topologies.preaggregate.groups import Groups
from topologies.preaggregate.guard import Bound, GroupRows, bounded, to_replace
from topologies.preaggregate.guard import with_companions as companions
from topologies.preaggregate.lateness import Came, came
from topologies.preaggregate.lattice import Window
from topologies.preaggregate.panes import Panes, Sorted, StreamRows, empty_bases, fold, packed
from topologies.preaggregate.pooled import PointStates, WindowStates
from topologies.preaggregate.ranges import PaneIndex, Range
from topologies.preaggregate.recomputation import Recomputation
from topologies.preaggregate.resets import by_definition

I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
Found = list[tuple[Window, GroupRows]]
"""Sealed windows, each with rows of its groups."""


@dataclass(frozen=True, slots=True)
class Publishes:
    """What a definition publishes: windows of `levels` that begin within one of `spans`.

    states: Its aggregate over points, as plans spell it, if that needs a state.
    """

    levels: frozenset[int]
    bound: Bound
    spans: tuple[Span, ...] = ALWAYS
    version: str = ""
    states: str = ""

    def owns(self, begins: int) -> bool:
        """Whether windows that begin then are of this version."""
        return any(since <= begins < until for since, until in self.spans)


class Aggregation:
    """The definitions that share a pane key, over the records of one partition.

    Args:
        key: Their pane key.
        levels: Those that are published.
        definitions: Index in the plan -> what it publishes.
        gap: Silence after which a stream is unknown, ns of event time.
        partitions: Of the topic that the groups go to.
        keep_from: See `Panes`.
        groups: Those of the task.
        contents: Where the task's histogram points are.
    """

    def __init__(
        self,
        key: PaneKey,
        levels: tuple[int, ...],
        definitions: dict[int, Publishes],
        gap: int,
        partitions: int,
        keep_from: int,
        groups: Groups,
        contents: Contents,
    ) -> None:
        self.key = key
        self._contents = contents
        self.gap = gap
        self._partitions = partitions
        self._groups = groups
        self.cells = self._no_cells(definitions)
        self.panes = Panes(key, levels, gap, keep_from, self._point_states(definitions))
        self.index: dict[int, PaneIndex] = {}
        self.changed_index: set[int] = set()
        self.pending: list[Late] = []
        self.came: list[Came] = []
        """How late points came, until the ledger takes it."""
        self.pending_since = 0
        self._noticed: list[tuple[int, list[tuple[int, list[int]]]]] = []
        self.definitions = definitions
        self.joined = np.zeros(0, np.int64)
        """By slot, the offset of the record from which on its stream is wanted; 0 past the end."""
        self.whole_from: dict[str, int] = {}
        """By version of a definition with states, since when no points are missing."""
        self.bounds = Bounds()
        self.told = EARLIEST
        """The frontier that was sent last."""
        self.over = False
        """Whether it was told that nothing of an epoch that has ended changes any more."""

    def _point_states(self, definitions: Mapping[int, Publishes]) -> PointStates:
        spellings = {index: one.states for index, one in definitions.items() if one.states}
        return PointStates(spellings, self.cells, self._contents)

    def enter(self, bounds: Bounds) -> None:
        """From now on count the points of this epoch alone."""
        if not self.bounds.known:
            self.panes.frontier = bounds.since
        self.bounds = bounds
        self.panes.frontier = max(self.panes.frontier, bounds.since)

    def _no_cells(self, definitions: dict[int, Publishes]) -> Cells:
        bounds = {d: each.bound for d, each in definitions.items()}
        return Cells(self._partitions, bounds, self._groups)

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
        if self.bounds.since != EARLIEST:
            points, records = without_base_lines(
                self, points, records, offsets, watermarks, received
            )
        found = self.panes.sort_out(points, records, watermarks, wanted)
        self.remember_where(found, records, offsets, watermarks)
        if found.late:
            late = found.state == LATE
            if not self.pending:
                self.pending_since = int(received[records[int(np.argmax(late))]])
            self._take_late(points.where(late), offsets[records[late]])
        if found.late or found.beyond:
            self.came += came(self.cells, points, found, watermarks[records], self.key.pane)
        self.panes.keep(points, found)
        return found.late, found.beyond

    def within_horizon(self, points: PointColumns, watermarks: I64) -> npt.NDArray[np.bool_]:
        """All but the points that came late by more than the correction horizon."""
        ends = window_end(points.times, self.key.pane)
        sealed = np.maximum(watermarks, EARLIEST + self.key.grace) - self.key.grace
        horizon = np.maximum(watermarks, EARLIEST + self.key.corrections) - self.key.corrections
        return (ends > sealed) | (ends >= horizon)

    def remember_where(self, found: Sorted, records: I32, offsets: I64, watermarks: I64) -> None:
        """Note in which records the points of panes are."""
        for end, first_row, last_row, _ in found.panes.tolist():
            first, last = int(records[first_row]), int(records[last_row])
            where = Range(int(offsets[first]), int(offsets[last]), int(watermarks[first]))
            if end in self.index:
                self.index[end].add(where)
            else:
                self.index[end] = PaneIndex([where])
            self.changed_index.add(end)

    def _take_late(self, points: PointColumns, offsets: I64) -> None:
        self.panes.join(points)
        cumulative = (points.metas & IS_CUMULATIVE) != 0
        slots, times = points.slots.tolist(), points.times.tolist()
        self.pending.extend(map(Late, slots, times, offsets.tolist(), cumulative.tolist()))
        for row in np.flatnonzero(cumulative).tolist():
            start, raw, meta = points.starts[row], points.raws[row], points.metas[row]
            raw = 0 if meta & IS_HISTOGRAM else raw
            self._move_base(slots[row], times[row], int(start), int(raw), int(meta))
        if self.panes.states:
            self.panes.chains.raise_lines(packed(points))

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

    def seal(self, frontier: int) -> Found:
        """Seal up to `frontier`, once late points have settled; each sealed window's groups."""
        found: Found = []
        for item in self.panes.advance(frontier):
            if len(item.notices):
                self._noticed.append((item.end, by_definition(self.cells, item.notices)))
            if item.level not in self.panes.lattice.published:
                continue
            window = (item.level, item.end)
            groups = self.cells.fold(item.rows, _seconds(window))
            groups = self._publishable(window, replace(groups, states=item.states))
            found.append((window, self._bounded(groups)))
        return found

    def noticed(self) -> list[tuple[int, int, list[int]]]:
        """(definition, pane's end, samples by kind) of what has sealed; see `resets`."""
        told, self._noticed = self._noticed, []
        return [
            (definition, end, counts)
            for end, found in told
            for definition, counts in found
            if self.definitions[definition].owns(end - self.key.pane)
        ]

    def _bounded(self, groups: GroupRows) -> GroupRows:
        return bounded(groups, self.cells.buckets, self.cells.bucket)

    def with_companions(self, slots: set[int]) -> I64:
        """The cells of these streams, and those that they can displace."""
        changed = self.cells.cells_of(slots)
        return companions(changed, self.cells.buckets, self.cells.bucket)

    def _published(self, window: Window, cells: I64) -> npt.NDArray[np.bool_]:
        """Which of the cells are of definitions that publish this window."""
        level, begins = window[0], window_start(window[1], window[0])
        if begins < self.bounds.since or window[1] > self.bounds.until:
            # a hopping window of which another epoch has a part
            return np.zeros(len(cells), np.bool_)
        levels = {
            index
            for index, publishes in self.definitions.items()
            if level in publishes.levels and publishes.owns(begins)
        }
        partial = {version for version, whole in self.whole_from.items() if begins < whole}
        levels = {index for index in levels if self.definitions[index].version not in partial}
        whose = self.cells.definition[cells]
        return np.isin(whose, np.fromiter(levels, np.uint16, len(levels)))

    def _publishable(self, window: Window, groups: GroupRows) -> GroupRows:
        """The groups of definitions that publish this window."""
        wanted = self._published(window, groups.cells)
        if wanted.all():
            return groups
        return replace(groups, cells=groups.cells[wanted], rows=groups.rows[wanted])

    def as_sent(self, window: Window, groups: GroupRows, within_limits: bool) -> GroupRows:
        """What is sent of a window's groups when it seals, or would be without limits."""
        publishable = self._publishable(window, groups)
        return self._bounded(publishable) if within_limits else publishable

    # --- revisions --------------------------------------------------------------------------

    def revise(self, last: int) -> Recomputation:
        """Let the late points settle: what has to be computed because of them."""
        late, self.pending = self.pending, []
        windows: dict[Window, set[int]] = {}
        for item in late:
            for window in self.sealed_windows(item.time):
                windows.setdefault(window, set()).add(item.slot)
        cells = self.with_companions({item.slot for item in late})
        increases = self.cells.increases(cells)
        return Recomputation(windows, self.cells.streams_of(cells), late, increases, last)

    def revised(self, redone: Recomputation) -> Found:
        """The groups of every sealed window that the late points changed, complete."""
        points, late = redone.gathered()
        if redone.increases:
            self._correct_increases(points, late, redone.changed)
        found: Found = []
        for window, slots in sorted(redone.windows.items()):
            needed = self.cells.streams_of(self.with_companions(slots))
            if self.panes.holds(window):
                rows = self.panes.rows_of(window).of(needed)
                states = self.panes.states_of(window)
            else:
                streams = np.flatnonzero(needed).astype(np.int32)
                begins = window_start(window[1], window[0])
                rows, states = self._fold(points, begins, window[1], streams)
                states |= self._states(points, begins, window[1], needed)
            groups = replace(self.cells.fold(rows, _seconds(window)), states=states)
            found.append((window, self._replacing(window, slots, groups)))
        return found

    def _replacing(self, window: Window, slots: set[int], groups: GroupRows) -> GroupRows:
        """The rows that a revision replaces, these streams having changed in the window."""
        changed = self.cells.cells_of(slots)
        changed = changed[self._published(window, changed)]
        wanted = to_replace(groups, changed, self.cells.buckets, self.cells.bucket)
        return self._bounded(groups).of(wanted)

    def sealed_windows(self, time: int) -> list[Window]:
        """The windows around a time that are published, and have sealed."""
        since, frontier = self.bounds.since, self.panes.frontier
        return [w for w in self.panes.lattice.windows_of(time) if since < w[1] <= frontier]

    def _correct_increases(
        self, points: PointColumns, late: npt.NDArray[np.bool_], changed: dict[int, set[int]]
    ) -> None:
        """Put right the increases in the rows of open and of kept windows."""
        before = points.where(~late)
        for level in self.panes.lattice.stored:
            merged = self.panes.merged_until(level)
            windows: dict[int, set[int]] = {}
            for slot, times in changed.items():
                for time in times:
                    end = window_end(time, level)
                    if time <= merged and self.panes.holds((level, end)):
                        windows.setdefault(end, set()).add(slot)
            for end, slots in windows.items():
                streams = np.fromiter(sorted(slots), np.int32, len(slots))
                new, old = (
                    self._fold(part, window_start(end, level), min(end, merged), streams)
                    for part in (points, before)
                )
                self.panes.correct((level, end), new[0], old[0])
                if self.panes.states:
                    self.panes.states.correct((level, end), new[1], old[1])

    def _fold(
        self, points: PointColumns, after: int, until: int, streams: I32
    ) -> tuple[StreamRows, WindowStates]:
        """The rows of these streams (ascending) in (after, until], from points alone, and what
        their samples of histograms add.
        """
        mask = (points.times > after - self.gap - 1) & (points.times <= until)
        mask &= np.isin(points.slots, streams)
        part = points.where(mask)
        dense = PointColumns(
            np.searchsorted(streams, part.slots).astype(np.int32),
            part.times,
            part.starts,
            part.raws,
            part.metas,
        )
        bases = empty_bases(len(streams))
        rows, _ = fold([packed(dense)], after, until, self.key.pane, self.gap, bases)
        spills = {(int(streams[slot]), column): n for (slot, column), n in rows.spills.items()}
        rows = StreamRows(streams[rows.slots], rows.rows, spills)
        if not self.panes.states:
            return rows, {}
        chains = Chains(self.key.pane, self.gap, self._contents)
        added = chains.advance([packed(part)], after, until)
        return with_steps(rows, added), self.panes.states.of_added(added)

    def _states(
        self, points: PointColumns, after: int, until: int, wanted: npt.NDArray[np.bool_]
    ) -> WindowStates:
        """The states of the wanted streams' points in (after, until]."""
        if not self.panes.states:
            return {}
        mask = (points.times > after) & (points.times <= until) & wanted[points.slots]
        return self.panes.states.of_points([packed(points.where(mask))])

    # --- definitions that change ------------------------------------------------------------

    def adopt(
        self,
        levels: tuple[int, ...],
        definitions: dict[int, Publishes],
        streams: tuple[int, Members],
        offset: int,
        newest: int,
    ) -> None:
        """Go on with other definitions of the same pane key from the record at `offset`.

        streams: how many slots there are, and what they belong to; a stream that nobody wanted
        before begins here, and so do states, which lack what sealed windows had until `newest`,
        the event time.
        """
        known = {one.version: index for index, one in self.definitions.items()}
        same = {known[o.version]: index for index, o in definitions.items() if o.version in known}
        now, versions = self.whole_from, {o.version for o in definitions.values() if o.states}
        fresh = dict.fromkeys(versions - known.keys(), min(newest, self.panes.frontier))
        self.whole_from = {v: now[v] for v in versions & now.keys()} | fresh
        old = self.panes.states
        before = self.cells.wanted()
        self.panes.change_levels(levels)
        self.definitions = definitions
        self.cells = self._no_cells(definitions)
        self.cells.add_streams(*streams)
        self.panes.states = old.renumbered(self._point_states(definitions), same)
        self.panes.changed_rows |= self.panes.rows.keys()
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

    def forget(self, watermark: int) -> None:
        """Drop rows of sealed windows, and index entries, that no correction can ask for."""
        if watermark == EARLIEST:
            return
        self.panes.forget(watermark)
        gone = {end for end in self.index if end < watermark - self.reach}
        for end in gone:
            del self.index[end]
        self.changed_index |= gone

    @property
    def reach(self) -> int:
        """How far behind the watermark a correction can ask for points, ns."""
        lengths = max([self.key.pane, *map(longest, self.panes.lattice.anew)])
        return self.key.corrections + lengths + 2 * self.gap + self.key.grace

    def in_use(self, slots: npt.NDArray[np.bool_], first: int) -> None:
        """Add the slots that something is kept of to those that are.

        first: No record before this one can be asked for again.
        """
        self.panes.in_use(slots)
        slots[[late.slot for late in self.pending]] = True
        slots[: len(self.joined)] |= self.joined > first

    def renumber(self, slots: Kept, members: Members, groups: Groups) -> None:
        """The slots that stay have other numbers; members: of all of them, by `groups`."""
        before, old, self._groups = self._groups, self.panes.states, groups
        self.cells = self._no_cells(self.definitions)
        self.cells.add_streams(int(slots.stays.sum()), members.of(self.definitions))
        same = {index: index for index in self.definitions}
        self.panes.renumber(slots)
        fresh = self._point_states(self.definitions)
        self.panes.states = old.renumbered(fresh, same, groups.numbers_of(before))
        self.pending = [late._replace(slot=int(slots.now[late.slot])) for late in self.pending]
        self.joined = self.joined[slots.stays[: len(self.joined)]]

    def revisable(self, watermark: int) -> int:
        """No window that ended before this can be revised any more, but by a queued revision."""
        oldest = EARLIEST if watermark == EARLIEST else watermark - self.key.corrections
        waiting = [window_end(late.time, self.key.pane) for late in self.pending]
        return min([oldest, *waiting])

    def first_offset(self, last: int) -> int:
        """No record before this one can be asked for again; `last` is the newest."""
        return min((pane.first for pane in self.index.values()), default=last)

    def first_open_offset(self) -> int | None:
        """The first record that holds a point of an open pane."""
        offsets = [self.index[end].first for end in self.panes.open_panes if end in self.index]
        return min(offsets, default=None)

    def partial_rows(self, found: Found) -> tuple[PartialRows, I64]:
        """The groups of windows as rows of messages, each window's in order of the partition they
        go to; and each row's virtual shard.
        """
        states = self.panes.states
        parts = [self.cells.partial_rows(*each, states.pieces(each[1])) for each in found]
        shards = [self.cells.shard[groups.cells] for _, groups in found]
        return PartialRows.join(parts), np.concatenate([np.zeros(0, np.int64), *shards])

    def stats(self) -> dict[str, Any]:
        """For people: what is open, what waits."""
        told = {"groups": len(self.cells), "late": len(self.pending), "over": self.over}
        return {**self.panes.stats(), **told}


def _seconds(window: Window) -> int:
    """How long a window is."""
    return int(window[1] - window_start(window[1], window[0])) // SECOND


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
