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
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from metric_registry.ucum import SAME, Conversion
from streams.kernels.units import conversion_row, convert_points
from topologies.preaggregate.columns import PointColumns

T = TypeVar("T")
I32 = npt.NDArray[np.int32]
READINGS_A_BLOCK = 4096


class _Arrays(NamedTuple):
    """For kernels: by slot the row of `table` i64[k, CONVERSION_WIDTH]; slots in order of series,
    and by series which of them is the first, and how many there are."""

    which: npt.NDArray[np.uint16]
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

    def learn(self, series: int, wanted: Mapping[Conversion, T]) -> dict[int, T]:
        """What is wanted of a stream, by its readings; those that are new get the next slots.

        A stream is heard of in order of series; one of which nothing is wanted has a reading, too.
        """
        if series == self.streams:
            self._first.append(self._add(series, next(iter(wanted), SAME)))
        known = {self.conversion(slot): slot for slot in self.slots_of(series)}
        found: dict[int, T] = {}
        for by, what in wanted.items():
            slot = known.get(by)
            if slot is None:
                slot = self._add(series, by)
                self._more.setdefault(series, [self._first[series]]).append(slot)
            found[slot] = what
        return found

    def _add(self, series: int, by: Conversion) -> int:
        slot = len(self._series)
        self._series.append(series)
        which = self._numbers.setdefault(by, len(self._conversions))
        if which == len(self._conversions):
            self._conversions.append(by)
        self._which.append(which)
        self._shifted |= slot != series
        self._arrays = None
        return slot

    def conversion(self, slot: int) -> Conversion:
        """What is done to the values of a reading."""
        return self._conversions[self._which[slot]]

    def slots_of(self, series: int) -> list[int]:
        """The readings of a stream."""
        return self._more.get(series) or [self._first[series]]

    # --- points ------------------------------------------------------------------------------

    def read(self, points: PointColumns, records: I32) -> tuple[PointColumns, I32]:
        """Points of series become points of readings, in place where no series has several.

        records i32[n]: each point's record.
        """
        if self.plain:
            return points, records
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
        return points, records

    def _compiled(self) -> _Arrays:
        series = np.array(self._series, np.int32)
        count = np.bincount(series, minlength=self.streams)
        rows = [conversion_row(*by.integers()) for by in self._conversions]
        return _Arrays(
            np.array(self._which, np.uint16),
            np.array(rows, np.int64),
            np.argsort(series, kind="stable").astype(np.int32),
            np.cumsum(count) - count,
            count,
        )

    # --- state -------------------------------------------------------------------------------

    def to_meta(self) -> list[list[str]]:
        """The conversions in order of number."""
        return [[str(by.p), str(by.q), str(by.offset)] for by in self._conversions]

    def changed_blocks(self) -> Iterable[tuple[int, bytes]]:
        """(first slot, its readings) of the blocks that have grown; none while all is plain."""
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
            series, which = array("i", range(streams)), array("H", bytes(2 * streams))
        self._series, self._which = series, which
        self._saved = 0 if self.plain else len(series)
        self._first = array("i", [-1]) * (max(series, default=-1) + 1)
        for slot, of in enumerate(series):
            if self._first[of] < 0:
                self._first[of] = slot
            else:
                self._more.setdefault(of, [self._first[of]]).append(slot)
            self._shifted |= slot != of
