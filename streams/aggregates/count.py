"""The number of points, whatever their values: NaN and infinities count. 0 for none.

Exact as a double up to 2**53.
"""

from __future__ import annotations

import numpy as np

from streams.aggregates.checks import check_rows
from streams.aggregates.encoding import array, pack, unpack
from streams.aggregates.port import F64, I64, Points
from streams.kernels.tally import add_counts, merge_counts


class Count:
    """`count`. Its state is i64[n]."""

    name = "count"
    version = 1

    def empty(self, n: int) -> I64:
        """n rows of nothing."""
        return np.zeros(n, np.int64)

    def add(self, state: I64, rows: I64, points: Points) -> None:
        """Point j counts in row rows[j]."""
        check_rows(rows, len(state), len(points))
        add_counts(state, rows)

    def merge(self, state: I64, rows: I64, other: I64, theirs: I64) -> None:
        """Row theirs[j] of other joins row rows[j]."""
        check_rows(rows, len(state), len(theirs))
        check_rows(theirs, len(other), len(rows))
        merge_counts(state, rows, other, theirs)

    def finish(self, state: I64) -> F64:
        """The counts f64[n]."""
        return state.astype(np.float64)

    def encode(self, state: I64) -> bytes:
        """The state as bytes."""
        return pack(self.name, self.version, len(state), state.astype("<i8").tobytes())

    def decode(self, data: bytes) -> I64:
        """The state that `encode` was given."""
        n, (part,) = unpack(self.name, self.version, data, 1)
        return array(self.name, part, (n,))
