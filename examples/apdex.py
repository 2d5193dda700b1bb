"""Apdex, an aggregate of one's own: how satisfied users are with a latency, from 0 to 1.

    tidemill up --aggregates examples/apdex.py --definitions definitions
    aggregate: {over_points: {apdex: 0.5}}        # in a definition; 0.5 in the unit of its values

Values up to the threshold satisfy, values up to four times the threshold are tolerated and count
half, greater ones frustrate, and so does NaN (Apdex Alliance, "Application Performance Index",
version 1.1). The state is three counts a row, so it is exact, and the same in any order.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streams.aggregates import Points, register_family
from streams.aggregates.checks import check_rows
from streams.aggregates.encoding import array, pack, unpack
from streams.kernels.rows import IS_INTEGER

I64 = npt.NDArray[np.int64]
SATISFIED, TOLERATED, POINTS = range(3)


class Apdex:
    """The Apdex of a threshold above zero. A state is i64[n, 3]: satisfied, tolerated, points."""

    name, version = "apdex", 1

    def __init__(self, threshold: object) -> None:
        if isinstance(threshold, bool) or not isinstance(threshold, int | float):
            raise ValueError("the threshold is a number")
        if not 0 < threshold < math.inf:
            raise ValueError("the threshold is above zero, and finite")
        self._threshold = float(threshold)

    def empty(self, n: int) -> I64:
        return np.zeros((n, 3), np.int64)

    def add(self, state: I64, rows: I64, points: Points) -> None:
        check_rows(rows, len(state), len(points))
        whole = (points.metas & IS_INTEGER) != 0
        values = np.where(whole, points.raws.astype(np.float64), points.raws.view(np.float64))
        satisfied = values <= self._threshold
        tolerated = ~satisfied & (values <= 4 * self._threshold)
        for column, counts in ((SATISFIED, satisfied), (TOLERATED, tolerated), (POINTS, 1)):
            np.add.at(state[:, column], rows, counts)

    def merge(self, state: I64, rows: I64, other: I64, theirs: I64) -> None:
        check_rows(rows, len(state), len(theirs))
        check_rows(theirs, len(other), len(rows))
        np.add.at(state, rows, other[theirs])

    def finish(self, state: I64) -> npt.NDArray[np.float64]:
        found = np.full(len(state), np.nan)
        halves = 2 * state[:, SATISFIED] + state[:, TOLERATED]
        np.divide(halves, 2 * state[:, POINTS], out=found, where=state[:, POINTS] > 0)
        return found

    def encode(self, state: I64) -> bytes:
        return pack(self.name, self.version, len(state), state.astype("<i8").tobytes())

    def decode(self, data: bytes) -> I64:
        n, (part,) = unpack(self.name, self.version, data, 1)
        return array(self.name, part, (n, 3))


register_family("apdex", Apdex, unit="1", example=0.5)
