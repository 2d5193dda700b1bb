"""Which groups of which definitions a stream belongs to.

A *cell* is one group of one definition. Streams are matched once, when they are first seen; after
that a stream's numbers find their cells through two arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.batch import BytesColumn
from streams.kernels import rows as layout
from streams.kernels.exact import exact_mean, spill_of
from streams.kernels.numbering import Numbers
from streams.kernels.rows import GROUP_WIDTH, fold_groups
from topologies.partials import U64, PartialRows, sorted_groups
from topologies.preaggregate.columns import Members
from topologies.preaggregate.groups import Groups
from topologies.preaggregate.guard import Bound, Buckets, GroupRows, Place
from topologies.preaggregate.panes import StreamRows
from topologies.preaggregate.placing import place_cells
from topologies.states import States

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _New:
    """Slots that came together: where the entries of each end, cells as they came, kinds."""

    ends: I64
    entries: npt.NDArray[np.int32]
    kinds: npt.NDArray[np.uint8]


class Cells:
    """Streams (by slot, in the order they were added) and the cells they belong to.

    Cells are numbered in order of (partition they go to, definition, group); so what is emitted
    needs no sorting. New cells get their number when somebody asks, which numbers all anew.

    Args:
        partitions: Of the topic that the groups go to.
        bounds: By definition, what it may have.
        groups: Those of the task.
    """

    def __init__(self, partitions: int, bounds: Mapping[int, Bound], groups: Groups) -> None:
        self._partitions = partitions
        self._groups = groups
        self._places = Buckets(bounds, groups.number)
        self.buckets = self._places.numbered(np.zeros(0, np.int64))
        self.bucket = np.zeros(0, np.int32)
        """Of each cell; -1: it is the overflow group of one."""
        self.shard: I64 = np.zeros(0, np.int64)
        """The virtual shard of each cell."""
        self.definition = np.zeros(0, np.uint16)
        self.group = np.zeros(0, np.int32)
        self.high: U64 = np.zeros(0, np.uint64)
        self.low: U64 = np.zeros(0, np.uint64)
        self._first = np.zeros(1, np.int64)
        self._entries = np.zeros(0, np.int32)
        self._kinds = np.zeros(0, np.uint8)
        self._numbers = np.zeros(0, np.int32)
        """What number a cell has now, by the order in which cells came."""
        self._came = Numbers()
        """Definition << 32 | group of each cell, in the order in which they came."""
        self._places_of = np.zeros((8, 2), np.int64)
        """Shard and bucket of each cell, in the order in which they came."""
        self._new: list[_New] = []
        self._wanted = np.zeros(0, np.bool_)

    def __len__(self) -> int:
        return len(self._came)

    @property
    def streams(self) -> int:
        """Slots 0..streams-1 are known here."""
        return len(self._first) - 1 + sum(len(each.ends) for each in self._new)

    @property
    def wants_any(self) -> bool:
        """Whether any stream so far is aggregated here."""
        return len(self) > 0

    def add_streams(self, count: int, members: Members) -> None:
        """The next `count` slots, with the cells they belong to (none: they are not aggregated).

        members: In order of slot, counted from the first of these.
        """
        keys = members.definition.astype(np.int64) << 32 | members.group
        _, low = self._groups.hashes(members.group)
        buckets = self._places.keys(members.definition, members.tenant, low)
        entries = np.empty(len(keys), np.int32)
        row = 0
        while row < len(keys):
            self._reserve(len(keys) - row)
            places, came = self._places, self._came
            row, came.count = place_cells(
                row, keys, buckets, came.table, came.keys, came.count, self._places_of,
                places.numbers.table, places.numbers.keys, places.groups, places.most,
                places.merged, places.shard, entries,
            )  # fmt: skip
            if row < len(keys):
                tenant = self._groups.tenants[int(members.tenant[row])]
                entries[row] = self._add_slowly(int(keys[row]), int(buckets[row]), tenant)
                row += 1
        ends = np.cumsum(np.bincount(members.slot, minlength=count))
        self._new.append(_New(ends, entries, members.kind))

    def _add_slowly(self, key: int, bucket_key: int, tenant: str) -> int:
        """A cell that is new, the first of its bucket or one too many for it; how it came."""
        places = self._places
        bucket = places.numbers.find(bucket_key)
        if bucket < 0:
            bucket = len(places.numbers)
            places.add(bucket_key, tenant)
        cell = len(self)
        place = places.place(bucket, key & 0xFFFFFFFF, cell)
        self._append(key, place)
        if places.wants_overflow(place, cell + 1):
            merged = key >> 32 << 32 | int(places.merged[bucket])
            self._append(merged, Place(place.shard, -1))
        return cell

    def _append(self, key: int, place: Place) -> None:
        self._reserve(1)
        self._places_of[self._came.add(key)] = place

    def _reserve(self, more: int) -> None:
        self._came.reserve(more)
        room = len(self._came.keys) - len(self._places_of)
        if room > 0:
            self._places_of = np.concatenate([self._places_of, np.zeros((room, 2), np.int64)])

    def arrays(self) -> tuple[I64, npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
        """(first entry of each slot and one past the last, cell of each entry, over_time of it)."""
        if self._new:
            if len(self) > len(self.definition):
                self._number_anew()
            base = len(self._entries)
            first = [self._first]
            for each in self._new:
                first.append(each.ends + base)
                base += len(each.entries)
            entries = [self._numbers[each.entries] for each in self._new]
            self._first = np.concatenate(first)
            self._entries = np.concatenate([self._entries, *entries])
            self._kinds = np.concatenate([self._kinds, *(each.kinds for each in self._new)])
            self._new = []
        return self._first, self._entries, self._kinds

    def _number_anew(self) -> None:
        """Take the new cells in."""
        known, count = len(self.definition), len(self)
        keys = self._came.keys[known:count]
        group = np.concatenate([self.group, (keys & 0xFFFFFFFF).astype(np.int32)])
        definition = np.concatenate([self.definition, (keys >> 32).astype(np.uint16)])
        high, low = self._groups.hashes(group[known:])
        high, low = np.concatenate([self.high, high]), np.concatenate([self.low, low])
        places = self._places_of[known:count]
        shard = np.concatenate([self.shard, places[:, 0]])
        bucket = np.concatenate([self.bucket, places[:, 1].astype(np.int32)])
        where = (shard % self._partitions).astype(np.uint32)
        order = sorted_groups(where << np.uint32(16) | definition, high, low)
        numbers = np.empty(len(order), np.int32)
        numbers[order] = np.arange(len(order), dtype=np.int32)
        self.definition, self.group = definition[order], group[order]
        self.high, self.low = high[order], low[order]
        self._entries = numbers[self._entries]
        came = np.arange(known, len(order), dtype=np.int32)
        self._numbers = numbers[np.concatenate([self._numbers, came])]
        self.shard, self.bucket = shard[order], bucket[order]
        self.buckets = self._places.numbered(self._numbers.astype(np.int64))

    @property
    def came(self) -> I64:
        """For each cell, which it was in the order in which cells came: that stays its own."""
        out = np.empty(len(self._numbers), np.int64)
        out[self._numbers] = np.arange(len(self._numbers))
        return out

    def now(self, came: I64) -> I64:
        """The cells that came as these, by the numbers they have now; i64[n]."""
        return self._numbers[came].astype(np.int64)

    def came_in(self, other: Cells, same: Mapping[int, int], groups: I64 | None = None) -> I64:
        """For each cell, as it came, how it came in `other`; -1: it is not there.

        same: Definition here -> the same one there; groups: likewise, None: the same numbers.
        """
        keys = self._came.keys[: len(self)]
        there = np.full(1 << 16, -1, np.int64)
        there[list(same)] = list(same.values())
        definition, group = there[keys >> 32], keys & 0xFFFFFFFF
        if groups is not None:
            group = groups[group]
        gone = (definition < 0) | (group < 0)
        found = other._came.find_all(definition << 32 | np.maximum(group, 0))
        return np.where(gone, -1, found)

    def crowd(self, definition: int) -> int:
        """The most groups that any tenant of a definition has in a virtual shard."""
        mine = self._places.numbers.keys[: len(self._places.numbers)] >> 48 == definition
        return int(self._places.groups[: len(mine)][mine].max(initial=0))

    def wanted(self) -> npt.NDArray[np.bool_]:
        """For each slot, whether any definition here wants the stream; not to be changed."""
        known, settled = len(self._wanted), len(self._first) - 1
        if known < self.streams:
            new = [np.diff(each.ends, prepend=0) > 0 for each in self._new]
            fresh = np.concatenate([np.zeros(0, np.bool_), *new])[max(0, known - settled) :]
            self._wanted = np.concatenate([self._wanted, np.diff(self._first[known:]) > 0, fresh])
        return self._wanted

    def cells_of(self, slots: set[int]) -> I64:
        """The cells that any of these streams belongs to, ascending."""
        first, entries, _ = self.arrays()
        found: set[int] = set()
        for slot in slots:
            found.update(entries[first[slot] : first[slot + 1]].tolist())
        return np.sort(np.fromiter(found, np.int64, len(found)))

    def _entries_of(self, cells: I64) -> npt.NDArray[np.bool_]:
        inside = np.zeros(len(self.definition), np.bool_)
        inside[cells] = True
        return inside[self._entries]

    def increases(self, cells: I64) -> bool:
        """Whether any of these cells counts increases, for which samples further back matter."""
        _, _, kinds = self.arrays()
        inside = self._entries_of(cells)
        return bool((kinds[inside] & 7 == layout.TIME_INCREASE).any())

    def streams_of(self, cells: I64) -> npt.NDArray[np.bool_]:
        """For each slot, whether it belongs to any of these cells."""
        first, _, _ = self.arrays()
        inside = self._entries_of(cells)
        counted = np.concatenate([[0], np.cumsum(inside)])
        return counted[first[1:]] > counted[first[:-1]]

    def fold(self, streams: StreamRows, seconds: int) -> GroupRows:
        """The rows of all cells that these streams' rows of a window so long contribute to."""
        first, entries, kinds = self.arrays()
        groups = np.zeros((len(self.definition), GROUP_WIDTH), np.int64)
        groups[:, layout.GROUP_LAST_TIME] = layout.EARLIEST
        room = 64
        while True:
            left_over = np.zeros((room, 2), np.int64)
            left = fold_groups(
                streams.rows, streams.slots, first, entries, kinds, seconds, groups, left_over
            )
            if left <= room:
                break
            room = left
            groups[:] = 0
            groups[:, layout.GROUP_LAST_TIME] = layout.EARLIEST
        spills: dict[int, int] = {}
        for row, entry in left_over[:left].tolist():
            self._fold_spilled(streams, row, entry, seconds, groups, spills)
        cells = np.flatnonzero(groups[:, layout.STREAMS])
        return GroupRows(cells, groups if len(cells) == len(groups) else groups[cells], spills)

    def _fold_spilled(
        self,
        streams: StreamRows,
        row: int,
        entry: int,
        seconds: int,
        groups: I64,
        spills: dict[int, int],
    ) -> None:
        """What `fold_groups` does, for a stream whose number needs exact integers of any size."""
        _, entries, kinds = self.arrays()
        cell, kind = int(entries[entry]), int(kinds[entry]) & 7
        divisor = seconds if int(kinds[entry]) & layout.PER_SECOND else 1
        values = streams.rows[row]
        increase = kind == layout.TIME_INCREASE
        column = layout.INCREASE if increase else layout.SUM
        flags = int(values[layout.FLAGS]) & 7
        if increase:
            flags = layout.increase_flags(streams.rows, row)
        low, mid, high = (int(x) for x in values[column : column + 3])
        spilled = streams.spills.get((int(streams.slots[row]), column), 0)
        single = np.zeros((1, GROUP_WIDTH), np.int64)
        if kind in (layout.TIME_MIN, layout.TIME_MAX, layout.TIME_LAST):
            where = {
                layout.TIME_MIN: layout.MINIMUM,
                layout.TIME_MAX: layout.MAXIMUM,
                layout.TIME_LAST: layout.LAST,
            }[kind]
            bits, flags = int(values[where]), 0
            spills[cell] = spills.get(cell, 0) + spill_of(bits)
        elif flags:
            bits = int(np.array([layout.special_sum(flags)]).view(np.int64)[0])
            flags = layout.special_flag(bits)
        else:
            count = int(values[layout.POINTS]) if kind == layout.TIME_AVG else divisor
            number = exact_mean(low, mid, high, spilled, count)
            bits = int(np.array([number]).view(np.int64)[0])
            if kind == layout.TIME_AVG:
                spills[cell] = spills.get(cell, 0) + spill_of(bits)
            else:
                single[0, layout.GROUP_SUM : layout.GROUP_SUM + 3] = (low, mid, high)
                spills[cell] = spills.get(cell, 0) + spilled
        single[0, layout.STREAMS] = 1
        single[0, layout.GROUP_POINTS] = values[layout.STEPS if increase else layout.POINTS]
        single[0, layout.GROUP_MINIMUM] = single[0, layout.GROUP_MAXIMUM] = bits
        single[0, layout.GROUP_LAST_TIME] = values[layout.LAST_TIME]
        single[0, layout.GROUP_LAST] = bits
        single[0, layout.GROUP_FLAGS] = flags
        layout.merge_group_row(groups, cell, single, 0)

    def partial_rows(
        self, window: tuple[int, int], groups: GroupRows, states: States
    ) -> PartialRows:
        """The groups of a window (size in ns, end), and their states, as rows of messages."""
        n = len(groups.cells)
        spills: dict[int, int] = {}
        if groups.spills:
            cells: list[int] = groups.cells.tolist()
            spills = {i: groups.spills[c] for i, c in enumerate(cells) if c in groups.spills}
        return PartialRows(
            self.definition[groups.cells],
            np.full(n, window[0], np.int64),
            np.full(n, window[1], np.int64),
            self.high[groups.cells],
            self.low[groups.cells],
            self.label_column(groups.cells),
            groups.rows,
            spills,
            states,
        )

    def label_column(self, cells: I64) -> BytesColumn:
        """The labels of these cells."""
        return self._groups.labels(self.group[cells])
