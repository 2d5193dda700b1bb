"""Streams as definitions read them: each in every unit that some definition wants.

Within a task a slot is a *reading*: a stream, in one unit. Where no definition converts anything
the readings are the streams, and nothing is done to a point. Where two definitions want one stream
in two units it has two readings, and each of its points is put down twice: base lines, open panes
and kept rows are of readings, so each definition has exactly the numbers it would have alone.

Each point is converted and rounded by itself, when it is read: what `min` picks, what a reset is
compared with and what a sum adds is then the same number, and differences of samples add up to the
difference of the last and the first.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from metric_registry.ucum import SAME, Conversion
from streams.kernels.units import conversion_row, convert_points
from topologies.encodings.points import Points
from topologies.preaggregate.columns import PointColumns
from topologies.preaggregate.forgetting import Kept
from topologies.preaggregate.histograms import (
    PARTS,
    Contradiction,
    is_part,
    read_histograms,
)

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
READINGS_A_BLOCK = 4096


class _Arrays(NamedTuple):
    """For kernels: by slot the row of `table` i64[k, CONVERSION_WIDTH], and 1 + which part of
    histogram points is read, 0: numbers are; slots in order of series,
    and by series which of them is the first, and how many there are."""

    which: npt.NDArray[np.uint16]
    part: npt.NDArray[np.uint8]
    table: npt.NDArray[np.int64]
    slots: I32
    first: npt.NDArray[np.int64]
    how_many: npt.NDArray[np.int64]


class Readings:
    """Numbers readings 0, 1, 2, ... in the order in which they are wanted first."""

    def __init__(self) -> None:
        self._conversions = [SAME]
        self._numbers = {SAME: 0}
        self._series = array("i")
        self._which = array("H")
        self._first = array("i")
        """By series the first of its readings."""
        self._more: dict[int, list[int]] = {}
        """By series its readings, where it has several."""
        self._shifted = False
        self._saved = 0
        self._gone: list[int] = []
        """First slots of blocks that are of no more use."""
        self._arrays: _Arrays | None = None

    def __len__(self) -> int:
        return len(self._series)

    @property
    def streams(self) -> int:
        """Series 0..streams-1 are known here."""
        return len(self._first)

    @property
    def plain(self) -> bool:
        """Whether every reading is the stream of its number, as it comes."""
        return len(self._conversions) == 1

    def learn(
        self, first: int, last: int, series: I64, which: I64, conversions: Sequence[Conversion]
    ) -> I64:
        """The slots of what is wanted of the streams `first` to `last` - 1, i64[n].

        series i64[n], ascending: of which stream; conversions[which[i]]: how it is read. Readings
        that are new get the next slots. Streams are heard of in order; one of which nothing is
        wanted has a reading, too.
        """
        known = min(last, self.streams)
        old = int(np.searchsorted(series, known))
        slots = np.empty(len(series), np.int64)
        slots[:old] = self._known(first, known, series[:old], which[:old], conversions)
        slots[old:] = self._fresh(known, last, series[old:], which[old:], conversions)
        return slots

    def _fresh(
        self, first: int, last: int, series: I64, which: I64, conversions: Sequence[Conversion]
    ) -> I64:
        begins = np.flatnonzero(np.diff(series, prepend=-1))
        of = np.full(last - first, -1, np.int64)
        of[series[begins] - first] = which[begins]
        if not bool((of[series - first] == which).all()):
            return self._one_by_one(first, last, series, which, conversions)
        numbers = np.zeros(len(conversions) + 1, np.int64)  # the last: nothing is wanted
        used: list[int] = which[np.sort(np.unique(which, return_index=True)[1])].tolist()
        for each in used:
            numbers[each] = self._number(conversions[each])
        base = len(self)
        self._series.frombytes(np.arange(first, last, dtype=np.int32).tobytes())
        self._which.frombytes(numbers[of].astype(np.uint16).tobytes())
        self._first.frombytes(np.arange(base, base + last - first, dtype=np.int32).tobytes())
        self._shifted |= base != first
        self._arrays = None
        return series - first + base

    def _known(
        self, first: int, last: int, series: I64, which: I64, conversions: Sequence[Conversion]
    ) -> I64:
        if not len(series):
            return series
        numbers = np.array([self._numbers.get(each, -1) for each in conversions], np.int64)
        slots = np.array(self._first, np.int64)[series]
        if bool((np.array(self._which, np.int64)[slots] == numbers[which]).all()):
            return slots
        return self._one_by_one(first, last, series, which, conversions)

    def _one_by_one(
        self, first: int, last: int, series: I64, which: I64, conversions: Sequence[Conversion]
    ) -> I64:
        slots: list[int] = []
        rows: list[list[Conversion]] = [[] for _ in range(first, last)]
        pairs: list[tuple[int, int]] = np.stack((series, which), 1).tolist()
        for each, by in pairs:
            rows[each - first].append(conversions[by])
        for each, wanted in enumerate(rows, first):
            if each == self.streams:
                self._first.append(self._add(each, next(iter(wanted), SAME)))
            known = {self.conversion(slot): slot for slot in self.slots_of(each)}
            for by in wanted:
                if by not in known:
                    known[by] = self._add(each, by)
                    self._more.setdefault(each, [self._first[each]]).append(known[by])
                slots.append(known[by])
        return np.array(slots, np.int64)

    def _number(self, by: Conversion) -> int:
        number = self._numbers.setdefault(by, len(self._conversions))
        if number == len(self._conversions):
            self._conversions.append(by)
        return number

    def _add(self, series: int, by: Conversion) -> int:
        slot = len(self._series)
        self._series.append(series)
        self._which.append(self._number(by))
        self._shifted |= slot != series
        self._arrays = None
        return slot

    def conversion(self, slot: int) -> Conversion:
        """What is done to the values of a reading."""
        return self._conversions[self._which[slot]]

    def slots_of(self, series: int) -> list[int]:
        """The readings of a stream."""
        return self._more.get(series) or [self._first[series]]

    def series_of(self, slots: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """The streams that have any of these readings, bool[streams]."""
        found = np.zeros(self.streams, np.bool_)
        found[np.array(self._series, np.int64)[slots]] = True
        return found

    def keep(self, series: Kept) -> Kept:
        """Only these streams stay, with all readings that they have; what becomes of the slots."""
        whose = np.array(self._series, np.int64)
        slots = Kept.of(series.stays[whose])
        first = np.array(self._first, np.int64)[series.stays]
        which = np.array(self._which, np.uint16)[slots.stays]
        whose = series.now[whose[slots.stays]]
        self._gone += range(
            -(-len(whose) // READINGS_A_BLOCK) * READINGS_A_BLOCK, self._saved, READINGS_A_BLOCK
        )
        self._series = array("i", whose.astype(np.int32).tobytes())
        self._which = array("H", which.tobytes())
        self._first = array("i", slots.now[first].astype(np.int32).tobytes())
        self._more = {
            int(series.now[each]): slots.now[several].tolist()
            for each, several in self._more.items()
            if series.stays[each]
        }
        self._shifted = bool((whose != np.arange(len(whose))).any())
        self._saved, self._arrays = 0, None
        return slots

    # --- points ------------------------------------------------------------------------------

    def read(
        self, points: PointColumns, records: I32, scanned: Points | None = None
    ) -> tuple[PointColumns, I32, list[Contradiction]]:
        """Points of series become points of readings, in place where no series has several.

        records i32[n]: each point's record; scanned: where histogram points are found. Those among
        them that contradict themselves are left out, and told.
        """
        if self.plain:
            return points, records, []
        if self._arrays is None:
            self._arrays = self._compiled()
        made = self._arrays
        if self._shifted:
            times = made.how_many[points.slots]
            chosen = np.repeat(np.arange(len(points)), times)
            within = np.arange(len(chosen)) - np.repeat(np.cumsum(times) - times, times)
            slots = made.slots[made.first[points.slots[chosen]] + within]
            records = records[chosen]
            points = PointColumns(
                slots,
                points.times[chosen],
                points.starts[chosen],
                points.raws[chosen],
                points.metas[chosen],
            )
        convert_points(points.slots, made.which, made.table, points.raws, points.metas)
        return read_histograms(scanned, made.part, points, records)

    def _compiled(self) -> _Arrays:
        series = np.array(self._series, np.int32)
        which = np.array(self._which, np.uint16)
        part = np.array([PARTS.get(by, 0) for by in self._conversions], np.uint8)
        count = np.bincount(series, minlength=self.streams)
        units = (SAME if is_part(by) else by for by in self._conversions)
        rows = [conversion_row(*by.integers()) for by in units]
        return _Arrays(
            np.where(part[which] > 0, 0, which).astype(np.uint16),
            part[which],
            np.array(rows, np.int64),
            np.argsort(series, kind="stable").astype(np.int32),
            np.cumsum(count) - count,
            count,
        )

    # --- state -------------------------------------------------------------------------------

    def to_meta(self) -> list[list[str]]:
        """The conversions in order of number."""
        return [[str(by.p), str(by.q), str(by.offset)] for by in self._conversions]

    def changed_blocks(self) -> Iterable[tuple[int, bytes | None]]:
        """(first slot, its readings) of the blocks that have grown; none while all is plain.

        None: the block is gone.
        """
        yield from ((start, None) for start in self._gone)
        self._gone = []
        if self.plain:
            return
        if self._saved == len(self):
            return
        since = self._saved // READINGS_A_BLOCK * READINGS_A_BLOCK
        for start in range(since, len(self), READINGS_A_BLOCK):
            end = start + READINGS_A_BLOCK
            yield start, self._which[start:end].tobytes() + self._series[start:end].tobytes()
        self._saved = len(self)

    def restore(
        self, meta: Sequence[Sequence[Any]], blocks: Iterable[tuple[int, bytes]], streams: int
    ) -> None:
        """What `to_meta` and `changed_blocks` gave; streams: the series that were known."""
        self._conversions = [Conversion(int(p), int(q), Fraction(offset)) for p, q, offset in meta]
        self._numbers = {by: number for number, by in enumerate(self._conversions)}
        series, which = array("i"), array("H")
        for _, block in sorted(blocks):
            cut = len(block) // 6 * 2
            which.frombytes(block[:cut])
            series.frombytes(block[cut:])
        if self.plain:
            series = array("i", np.arange(streams, dtype=np.int32).tobytes())
            which = array("H", bytes(2 * streams))
        self._series, self._which = series, which
        self._saved = 0 if self.plain else len(series)
        if self.plain:
            self._first = array("i", series)
            return
        whose = np.array(series, np.int64)
        _, firsts = np.unique(whose, return_index=True)  # every series has a reading
        self._first = array("i", firsts.astype(np.int32).tobytes())
        more: list[int] = np.setdiff1d(np.arange(len(whose)), firsts).tolist()
        for slot in more:
            of = series[slot]
            self._more.setdefault(of, [self._first[of]]).append(slot)
        self._shifted = bool((whose != np.arange(len(whose))).any())
