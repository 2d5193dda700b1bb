"""Which groups of which definitions a stream belongs to.

A *cell* is one group of one definition. Streams are matched once, when they are first seen; after
that a stream's numbers find their cells through two arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.batch import BytesColumn
from streams.kernels import rows as layout
from streams.kernels.exact import exact_mean, spill_of
from streams.kernels.rows import GROUP_WIDTH, fold_groups
from topologies.partials import U64, PartialRows, sorted_groups
from topologies.preaggregate.guard import Bound, Buckets, GroupRows, Place
from topologies.preaggregate.panes import StreamRows
from topologies.states import States

I64 = npt.NDArray[np.int64]


OVER_TIME = {
    "sum": layout.TIME_SUM,
    "count": layout.TIME_COUNT,
    "min": layout.TIME_MIN,
    "max": layout.TIME_MAX,
    "avg": layout.TIME_AVG,
    "last": layout.TIME_LAST,
    "increase": layout.TIME_INCREASE,
    "rate": layout.TIME_INCREASE + layout.PER_SECOND,
}


class Membership(NamedTuple):
    """One cell of a new stream: the definition's index, its `over_time` code, the group.

    over_time has WANTS_VALUE added where the space aggregate needs the stream's number itself, and
    PER_SECOND for a rate.
    """

    definition: int
    over_time: int
    group: bytes  # 16 bytes
    labels: bytes
    tenant: str


@dataclass(slots=True)
class _New:
    """Streams and cells that have no numbers yet; cells by the order in which they came."""

    ends: list[int] = field(default_factory=list[int])
    entries: list[int] = field(default_factory=list[int])
    kinds: list[int] = field(default_factory=list[int])
    definitions: list[int] = field(default_factory=list[int])
    groups: list[bytes] = field(default_factory=list[bytes])
    labels: list[bytes] = field(default_factory=list[bytes])
    places: list[Place] = field(default_factory=list[Place])


class Cells:
    """Streams (by slot, in the order they were added) and the cells they belong to.

    Cells are numbered in order of (partition they go to, definition, group); so what is emitted
    needs no sorting. New cells get their number when somebody asks, which numbers all anew.

    Args:
        partitions: Of the topic that the groups go to.
        bounds: By definition, what it may have.
    """

    def __init__(self, partitions: int, bounds: Mapping[int, Bound]) -> None:
        self._partitions = partitions
        self._places = Buckets(bounds)
        self.buckets = self._places.numbered(np.zeros(0, np.int64))
        self.bucket = np.zeros(0, np.int32)
        """Of each cell; -1: it is the overflow group of one."""
        self.shard = np.zeros(0, np.int64)
        """The virtual shard of each cell."""
        self.definition = np.zeros(0, np.uint16)
        self.high: U64 = np.zeros(0, np.uint64)
        self.low: U64 = np.zeros(0, np.uint64)
        self._labels = BytesColumn.of([])
        self._first = np.zeros(1, np.int64)
        self._entries = np.zeros(0, np.int32)
        self._kinds = np.zeros(0, np.uint8)
        self._numbers = np.zeros(0, np.int32)
        """What number a cell has now, by the order in which cells came."""
        self._by_group: dict[tuple[int, bytes], int] = {}
        self._new = _New()
        self._wanted = np.zeros(0, np.bool_)

    def __len__(self) -> int:
        return len(self._by_group)

    @property
    def streams(self) -> int:
        """Slots 0..streams-1 are known here."""
        return len(self._first) - 1 + len(self._new.ends)

    @property
    def wants_any(self) -> bool:
        """Whether any stream so far is aggregated here."""
        return bool(self._by_group)

    def add_stream(self, memberships: list[Membership]) -> None:
        """The next slot, with the cells it belongs to (none: the stream is not aggregated)."""
        new = self._new
        for member in memberships:
            key = (member.definition, member.group)
            cell = self._by_group.get(key)
            if cell is None:
                cell = len(self._by_group)
                place = self._places.place(member.definition, member.tenant, member.group, cell)
                self._add(member.definition, member.group, member.labels, place)
                merged = self._places.wants_overflow(place, cell + 1)
                if merged is not None:
                    shard = Place(place.shard, -1)
                    self._add(member.definition, merged.group, merged.labels, shard)
            new.entries.append(cell)
            new.kinds.append(member.over_time)
        new.ends.append(len(new.entries))

    def _add(self, definition: int, group: bytes, labels: bytes, place: Place) -> None:
        self._by_group[definition, group] = len(self._by_group)
        self._new.definitions.append(definition)
        self._new.groups.append(group)
        self._new.labels.append(labels)
        self._new.places.append(place)

    def arrays(self) -> tuple[I64, npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
        """(first entry of each slot and one past the last, cell of each entry, over_time of it)."""
        new = self._new
        if new.ends:
            if new.groups:
                self._number_anew()
            base = len(self._entries)
            fresh = self._numbers[np.array(new.entries, np.int64)]
            self._entries = np.concatenate([self._entries, fresh])
            self._kinds = np.concatenate([self._kinds, np.array(new.kinds, np.uint8)])
            self._first = np.concatenate([self._first, np.array(new.ends, np.int64) + base])
            self._new = _New()
        return self._first, self._entries, self._kinds

    def _number_anew(self) -> None:
        """Take the new cells in."""
        new, known = self._new, len(self.definition)
        both = np.frombuffer(b"".join(new.groups), ">u8").reshape(-1, 2).astype(np.uint64)
        high, low = np.concatenate([self.high, both[:, 0]]), np.concatenate([self.low, both[:, 1]])
        definition = np.concatenate([self.definition, np.array(new.definitions, np.uint16)])
        labels = BytesColumn.join([self._labels, BytesColumn.of(new.labels)])
        places = np.array(new.places, np.int64)
        shard = np.concatenate([self.shard, places[:, 0]])
        bucket = np.concatenate([self.bucket, places[:, 1].astype(np.int32)])
        where = (shard % self._partitions).astype(np.uint32)
        order = sorted_groups(where << np.uint32(16) | definition, high, low)
        numbers = np.empty(len(order), np.int32)
        numbers[order] = np.arange(len(order), dtype=np.int32)
        self.definition, self.high, self.low = definition[order], high[order], low[order]
        self._labels = labels.take(order)
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

    def came_in(self, other: Cells, same: Mapping[int, int]) -> I64:
        """For each cell, as it came, how it came in `other`; -1: it is not there.

        same: Definition here -> the same one there.
        """
        found = (
            other._by_group.get((same.get(definition, -1), group), -1)
            for definition, group in self._by_group
        )
        return np.fromiter(found, np.int64, len(self._by_group))

    def wanted(self) -> npt.NDArray[np.bool_]:
        """For each slot, whether any definition here wants the stream; not to be changed."""
        known, settled = len(self._wanted), len(self._first) - 1
        if known < self.streams:
            since = max(0, known - settled)
            fresh = np.diff(np.array([0, *self._new.ends][since:], np.int64)) > 0
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
        return self._labels.take(cells)
