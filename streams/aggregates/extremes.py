"""What `min` and `max` share: the greatest rank, in one direction or the other.

A rank orders doubles as IEEE 754 totalOrder does, -0.0 below +0.0. NaN is above everything in both
directions, so it wins. An integer counts as the double nearest to it; that keeps order.
"""

from __future__ import annotations

import numpy as np

from streams.aggregates.checks import check_rows
from streams.aggregates.encoding import array, pack, unpack
from streams.aggregates.port import F64, I64, Points
from streams.kernels.tally import NOTHING, add_extremes, finish_ranks, merge_extremes


class Extreme:
    """The least or the greatest value. Its state is i64[n], a rank a row."""

    name: str
    version = 1

    def __init__(self, name: str, *, least: bool) -> None:
        self.name = name
        self._least = least

    def empty(self, n: int) -> I64:
        """n rows of nothing."""
        return np.full(n, NOTHING, np.int64)

    def add(self, state: I64, rows: I64, points: Points) -> None:
        """Point j's value is compared with row rows[j]."""
        check_rows(rows, len(state), len(points))
        add_extremes(state, rows, points.raws, points.metas, self._least)

    def merge(self, state: I64, rows: I64, other: I64, theirs: I64) -> None:
        """Row theirs[j] of other joins row rows[j]."""
        check_rows(rows, len(state), len(theirs))
        check_rows(theirs, len(other), len(rows))
        merge_extremes(state, rows, other, theirs)

    def finish(self, state: I64) -> F64:
        """The values f64[n]; NaN for rows of nothing."""
        out = np.empty(len(state))
        finish_ranks(state, self._least, out)
        return out

    def encode(self, state: I64) -> bytes:
        """The state as bytes."""
        return pack(self.name, self.version, len(state), state.astype("<i8").tobytes())

    def decode(self, data: bytes) -> I64:
        """The state that `encode` was given."""
        n, (part,) = unpack(self.name, self.version, data, 1)
        return array(self.name, part, (n,))
