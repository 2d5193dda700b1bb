"""The limits of definitions at the source: which groups of a window it sends by themselves.

A *bucket* holds the groups of one definition and tenant in one virtual shard. Of each the groups
with the smallest hashes are sent, the others merged into the bucket's overflow group; so what a
source sends is bounded, and the roll-up, which does the same to what all sources send, comes to the
same groups as if it had seen them all: one that is among the smallest of all groups is so among
those of each source that has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streams.aggregates import Aggregate
from streams.kernels.bounds import keep_first
from streams.kernels.numbering import Numbers
from streams.kernels.rows import EARLIEST, GROUP_LAST_TIME, GROUP_WIDTH, merge_groups
from topologies.cardinality import VIRTUAL_SHARDS, Share, first_shard, overflow
from topologies.identity.stream import GroupLabels, quoted

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


@dataclass(slots=True)
class GroupStates:
    """States of cells, an aggregate's state of k rows; came i64[k] ascending, see `Cells.came`."""

    came: I64
    state: Any

    def joined(self, aggregate: Aggregate[Any], other: GroupStates) -> GroupStates:
        """Both together; in place where no cell is new. `other` keeps its value."""
        places = np.searchsorted(self.came, other.came)
        known = places < len(self.came)
        known[known] = self.came[places[known]] == other.came[known]
        if bool(known.all()):
            aggregate.merge(self.state, places, other.state, np.arange(len(places)))
            return self
        came = np.union1d(self.came, other.came)
        state = aggregate.empty(len(came))
        for each in (self, other):
            rows = np.searchsorted(came, each.came)
            aggregate.merge(state, rows, each.state, np.arange(len(rows)))
        return GroupStates(came, state)


@dataclass(frozen=True, slots=True)
class GroupRows:
    """Rows of cells: cells i64[n] ascending, rows i64[n, GROUP_WIDTH], spilled sums by cell.

    Attributes:
        states: By aggregate over points, those of cells of the window, these among them.
        moved: i64[all cells], into which cell each was merged (itself, -1: it is not there); None:
            nothing was merged.
    """

    cells: I64
    rows: I64
    spills: dict[int, int]
    states: Mapping[str, GroupStates] = field(default_factory=dict[str, GroupStates])
    moved: I64 | None = None

    def of(self, wanted: I64) -> GroupRows:
        """A row for each of these cells (ascending); it counts nothing where there is none."""
        rows = np.zeros((len(wanted), GROUP_WIDTH), np.int64)
        rows[:, GROUP_LAST_TIME] = EARLIEST
        mine = np.isin(wanted, self.cells)
        rows[mine] = self.rows[np.searchsorted(self.cells, wanted[mine])]
        return replace(self, cells=wanted, rows=rows)


class Bound(NamedTuple):
    """What decides which shards and buckets the groups of a definition are in."""

    share: Share
    version: str


class Place(NamedTuple):
    """Where a group is: its virtual shard and its bucket (-1: it is an overflow group)."""

    shard: int
    bucket: int


class Buckets:
    """The buckets of all cells of an aggregation, in the order in which they came.

    By number, in arrays with room for more: `groups` that a bucket has, the `most` that are kept,
    the `merged` group of what is beyond, its `shard`.

    Args:
        bounds: By definition.
        number: Gives a group its number.
    """

    def __init__(self, bounds: Mapping[int, Bound], number: Callable[[GroupLabels], int]) -> None:
        self._bounds = bounds
        self._number = number
        self._parts = np.ones(max(bounds, default=-1) + 1, np.int64)
        for definition, bound in bounds.items():
            self._parts[definition] = bound.share.shards
        self.numbers = Numbers()
        self.groups = np.zeros(8, np.int64)
        self.most = np.zeros(8, np.int64)
        self.merged = np.zeros(8, np.int64)
        self.shard = np.zeros(8, np.int64)
        self._cells: list[int] = []
        """The cell of each overflow group, by the order in which cells came; -1: not needed yet."""
        self.full = False
        """Whether any bucket has more groups than it keeps: else no window can have."""

    def keys(self, definition: npt.NDArray[np.uint16], tenant: I64, low: U64) -> I64:
        """The keys of the buckets that groups are in; low u64[n]: of their hashes."""
        wide = definition.astype(np.int64)
        part = (low & (self._parts[wide] - 1).view(np.uint64)).view(np.int64)
        return wide << 48 | tenant << 8 | part

    def add(self, key: int, tenant: str) -> None:
        """A bucket that is not there."""
        definition, part = key >> 48 & 0xFFFF, key & 0xFF
        bound = self._bounds[definition]
        number = self.numbers.add(key)
        for name in ("groups", "most", "merged", "shard"):
            held = getattr(self, name)
            if number == len(held):
                setattr(self, name, np.concatenate([held, np.zeros_like(held)]))
        written = _written(tenant)
        merged = overflow(written, bound.share, part)
        self.most[number] = bound.share.most
        self.shard[number] = (first_shard(bound.version, written) + part) % VIRTUAL_SHARDS
        self.merged[number] = self._number(GroupLabels(merged.labels, merged.high, merged.low))
        self._cells.append(-1)

    def place(self, bucket: int, group: int, cell: int) -> Place:
        """Where a group of a bucket goes that is the next cell."""
        shard = int(self.shard[bucket])
        if group == self.merged[bucket]:  # what agents send as overflow themselves
            self._cells[bucket] = cell
            return Place(shard, -1)
        self.groups[bucket] += 1
        return Place(shard, bucket)

    def wants_overflow(self, place: Place, cell: int) -> bool:
        """Whether the bucket needs its overflow group now: it becomes the next cell."""
        bucket = place.bucket
        if bucket < 0 or self.groups[bucket] <= self.most[bucket]:
            return False
        self.full = True
        if self._cells[bucket] >= 0:
            return False
        self._cells[bucket] = cell
        return True

    def numbered(self, numbers: I64) -> Numbered:
        """The buckets as arrays; numbers: of cells, by the order in which they came."""
        count = len(self._cells)
        most, cells = self.most[:count].copy(), np.array(self._cells, np.int64)
        overflows = np.where(cells < 0, -1, np.append(numbers, -1)[cells])
        return Numbered(self.full, most, self.groups[:count] > most, overflows)


@dataclass(frozen=True, slots=True)
class Numbered:
    """All buckets, in arrays.

    Attributes:
        full: Whether any has more groups than it keeps.
        most: i64[buckets], groups that are kept.
        is_full: bool[buckets], whether it ever had more.
        overflows: i64[buckets], the cell of its overflow group; -1: none.
    """

    full: bool
    most: I64
    is_full: npt.NDArray[np.bool_]
    overflows: I64

    def touched(self, bucket: npt.NDArray[np.int32], changed: I64) -> I64:
        """The full buckets that any of these cells is in, ascending; bucket i32[cells]."""
        found = bucket[changed]
        merged = np.isin(self.overflows, changed[found < 0]) & (self.overflows >= 0)
        touched = np.union1d(found[found >= 0], np.flatnonzero(merged))
        return touched[self.is_full[touched]].astype(np.int64)


def bounded(groups: GroupRows, buckets: Numbered, bucket: npt.NDArray[np.int32]) -> GroupRows:
    """What a source sends of a window: of every bucket the first groups, the others merged.

    bucket i32[cells]: of each cell; the cells of a bucket are in order of their hashes.
    """
    if not buckets.full:
        return groups
    of_row = bucket[groups.cells]
    kept = np.empty(len(of_row), np.uint8)
    if not keep_first(of_row, buckets.most, np.zeros_like(buckets.most), kept):
        return groups
    into = np.where(kept != 0, groups.cells, buckets.overflows[of_row])
    place = np.full(len(bucket), -1, np.int64)
    place[into] = 0
    cells = np.flatnonzero(place == 0)
    place[cells] = np.arange(len(cells))
    rows = np.empty((len(cells), GROUP_WIDTH), np.int64)
    every = np.arange(len(into))
    merge_groups(np.ascontiguousarray(groups.rows), every, place[into], rows)
    spills: dict[int, int] = {}
    for cell, amount in groups.spills.items():
        at = int(np.searchsorted(groups.cells, cell))
        if at < len(into) and groups.cells[at] == cell:
            spills[int(into[at])] = spills.get(int(into[at]), 0) + amount
    moved = None
    if groups.states:
        moved = np.full(len(bucket), -1, np.int64)
        moved[groups.cells] = into
    return GroupRows(cells, rows, spills, groups.states, moved)


def with_companions(changed: I64, buckets: Numbered, bucket: npt.NDArray[np.int32]) -> I64:
    """These cells (ascending), and all of the buckets in which they can displace another one."""
    touched = buckets.touched(bucket, changed) if buckets.full else changed[:0]
    if not len(touched):
        return changed
    inside = np.zeros(len(buckets.most) + 1, np.bool_)
    inside[touched] = True  # the last: cells of no bucket
    wanted = inside[bucket]
    wanted[changed] = True
    wanted[buckets.overflows[touched]] = True
    return np.flatnonzero(wanted)


def to_replace(
    groups: GroupRows, changed: I64, buckets: Numbered, bucket: npt.NDArray[np.int32]
) -> I64:
    """The cells (ascending) whose rows a revision must replace when these have changed.

    groups: All of the window in the buckets of the changed cells, not `bounded`. With c changed
    groups in a bucket, and so at most c that came or went, only the last c of those kept can have
    been merged before, and only the next c can have been kept.
    """
    if not buckets.full:
        return changed
    wanted = [changed]
    for number in buckets.touched(bucket, changed).tolist():
        present = groups.cells[bucket[groups.cells] == number]
        mine = changed[bucket[changed] == number]
        most = int(buckets.most[number])
        if len(np.union1d(present, mine)) > most:
            wanted.append(present[max(0, most - len(mine)) : most + len(mine)])
            wanted.append(buckets.overflows[number : number + 1])
    return np.unique(np.concatenate(wanted))


def _written(tenant: str) -> bytes:
    return quoted(tenant)[1:-1].encode()
