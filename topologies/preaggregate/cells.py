"""Which groups of which definitions a stream belongs to.

A *cell* is one group of one definition. Streams are matched once, when they are first seen; after
that a stream's numbers find their cells through two arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.batch import BytesColumn, picked
from streams.kernels import rows as layout
from streams.kernels.exact import exact_mean, spill_of
from streams.kernels.rows import GROUP_WIDTH, fold_groups
from topologies.preaggregate.panes import StreamRows

I64 = npt.NDArray[np.int64]

OVER_TIME = {
    "sum": layout.TIME_SUM,
    "count": layout.TIME_COUNT,
    "min": layout.TIME_MIN,
    "max": layout.TIME_MAX,
    "avg": layout.TIME_AVG,
    "last": layout.TIME_LAST,
    "increase": layout.TIME_INCREASE,
}


@dataclass(frozen=True, slots=True)
class Membership:
    """One cell of a new stream: the definition's index, its `over_time` code, the group.

    over_time has WANTS_VALUE added where the space aggregate needs the stream's number itself.
    """

    definition: int
    over_time: int
    group: bytes  # 16 bytes
    labels: bytes


@dataclass(frozen=True, slots=True)
class GroupRows:
    """Rows of cells: cells i64[n] in order of (definition, group), rows i64[n, GROUP_WIDTH],
    spilled sums by cell."""

    cells: I64
    rows: I64
    spills: dict[int, int]


class Cells:
    """Streams (by slot, in the order they were added) and the cells they belong to."""

    def __init__(self) -> None:
        self.definition = np.zeros(0, np.uint16)
        self._label_data = np.zeros(0, np.uint8)
        self._label_ends = np.zeros(1, np.int64)
        self._groups = np.zeros((0, 2), np.uint64)
        self._definitions: list[int] = []
        self._new_groups: list[bytes] = []
        self._new_labels: list[bytes] = []
        self._by_group: dict[tuple[int, bytes], int] = {}
        self._first: list[int] = [0]
        self._entries: list[int] = []
        self._kinds: list[int] = []
        self._arrays: tuple[I64, npt.NDArray[np.int32], npt.NDArray[np.uint8]] | None = None
        self._wanted = np.zeros(0, np.bool_)
        self._in_order = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._definitions)

    @property
    def streams(self) -> int:
        """Slots 0..streams-1 are known here."""
        return len(self._first) - 1

    @property
    def wants_any(self) -> bool:
        """Whether any stream so far is aggregated here."""
        return bool(self._entries)

    def add_stream(self, memberships: list[Membership]) -> None:
        """The next slot, with the cells it belongs to (none: the stream is not aggregated)."""
        for member in memberships:
            key = (member.definition, member.group)
            cell = self._by_group.get(key)
            if cell is None:
                cell = self._by_group[key] = len(self._definitions)
                self._new_groups.append(member.group)
                self._new_labels.append(member.labels)
                self._definitions.append(member.definition)
            self._entries.append(cell)
            self._kinds.append(member.over_time)
        self._first.append(len(self._entries))
        self._arrays = None

    def arrays(self) -> tuple[I64, npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
        """(first entry of each slot and one past the last, cell of each entry, over_time of it)."""
        if self._arrays is None:
            self._arrays = (
                np.array(self._first, np.int64),
                np.array(self._entries, np.int32),
                np.array(self._kinds, np.uint8),
            )
            self._wanted = np.diff(self._arrays[0]) > 0
            if self._new_groups:
                self._describe_new_cells()
        return self._arrays

    def _describe_new_cells(self) -> None:
        both = np.frombuffer(b"".join(self._new_groups), ">u8").reshape(-1, 2)
        self._groups = np.concatenate([self._groups, both.astype(np.uint64)])
        fresh = BytesColumn.of(self._new_labels)
        self._label_ends = np.concatenate(
            [self._label_ends, fresh.offsets[1:] + self._label_ends[-1]]
        )
        self._label_data = np.concatenate([self._label_data, np.frombuffer(fresh.data, np.uint8)])
        self._new_groups, self._new_labels = [], []
        self.definition = np.array(self._definitions, np.uint16)
        self._in_order = np.lexsort((self._groups[:, 1], self._groups[:, 0], self.definition))

    def wanted(self) -> npt.NDArray[np.bool_]:
        """For each slot, whether any definition here wants the stream; not to be changed."""
        self.arrays()
        return self._wanted

    def cells_of(self, slots: set[int]) -> set[int]:
        """The cells that any of these streams belongs to."""
        first, entries, _ = self.arrays()
        found: set[int] = set()
        for slot in slots:
            found.update(entries[first[slot] : first[slot + 1]].tolist())
        return found

    def increases(self, cells: set[int]) -> bool:
        """Whether any of these cells counts increases, for which samples further back matter."""
        _, entries, kinds = self.arrays()
        inside = np.isin(entries, np.fromiter(cells, np.int32, len(cells)))
        return bool((kinds[inside] & 7 == layout.TIME_INCREASE).any())

    def streams_of(self, cells: set[int]) -> npt.NDArray[np.bool_]:
        """For each slot, whether it belongs to any of these cells."""
        first, entries, _ = self.arrays()
        inside = np.isin(entries, np.fromiter(cells, np.int32, len(cells)))
        counted = np.concatenate([[0], np.cumsum(inside)])
        return counted[first[1:]] > counted[first[:-1]]

    def fold(self, streams: StreamRows) -> GroupRows:
        """The rows of all cells that these streams' rows contribute to."""
        first, entries, kinds = self.arrays()
        groups = np.zeros((len(self), GROUP_WIDTH), np.int64)
        groups[:, layout.GROUP_LAST_TIME] = layout.EARLIEST
        room = 64
        while True:
            left_over = np.zeros((room, 2), np.int64)
            left = fold_groups(
                streams.rows, streams.slots, first, entries, kinds, groups, left_over
            )
            if left <= room:
                break
            room = left
            groups[:] = 0
            groups[:, layout.GROUP_LAST_TIME] = layout.EARLIEST
        spills: dict[int, int] = {}
        for row, entry in left_over[:left].tolist():
            self._fold_spilled(streams, row, entry, groups, spills)
        cells = self._in_order[groups[self._in_order, layout.STREAMS] != 0]
        return GroupRows(cells, np.ascontiguousarray(groups[cells]), spills)

    def _fold_spilled(
        self, streams: StreamRows, row: int, entry: int, groups: I64, spills: dict[int, int]
    ) -> None:
        """What `fold_groups` does, for a stream whose number needs exact integers of any size."""
        _, entries, kinds = self.arrays()
        cell, kind = int(entries[entry]), int(kinds[entry]) & 7
        values = streams.rows[row]
        increase = kind == layout.TIME_INCREASE
        column = layout.INCREASE if increase else layout.SUM
        flags = int(values[layout.FLAGS]) >> (layout.INCREASE_SHIFT if increase else 0) & 7
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
            count = int(values[layout.POINTS]) if kind == layout.TIME_AVG else 1
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

    def label_column(self, cells: I64) -> BytesColumn:
        """The labels of these cells."""
        return picked(self._label_data, self._label_ends, cells)

    def group_columns(self, cells: I64) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """The 128-bit group hashes of these cells as (high, low) u64 columns."""
        return self._groups[cells, 0], self._groups[cells, 1]
