"""What `first` and `last` share: a time, and the rank of the value that it had.

Among points of one time the greater value counts, by IEEE 754 totalOrder with NaN above infinity;
what else tells points apart (the exact integer, the start) cannot be seen in the double that is
published. An integer counts as the double nearest to it.
"""

from __future__ import annotations

import numpy as np

from streams.aggregates.checks import check_rows
from streams.aggregates.encoding import array, pack, unpack
from streams.aggregates.port import F64, I64, Points
from streams.kernels.tally import NOTHING, add_ends, finish_ranks, merge_ends


class End:
    """The earliest or the latest value. Its state is i64[n, 2]: time (or ~time), rank."""

    name: str
    version = 1

    def __init__(self, name: str, *, first: bool) -> None:
        self.name = name
        self._first = first

    def empty(self, n: int) -> I64:
        """n rows of nothing."""
        return np.full((n, 2), NOTHING, np.int64)

    def add(self, state: I64, rows: I64, points: Points) -> None:
        """Point j is compared with row rows[j]."""
        check_rows(rows, len(state), len(points))
        add_ends(state, rows, points.times, points.raws, points.metas, self._first)

    def merge(self, state: I64, rows: I64, other: I64, theirs: I64) -> None:
        """Row theirs[j] of other joins row rows[j]."""
        check_rows(rows, len(state), len(theirs))
        check_rows(theirs, len(other), len(rows))
        merge_ends(state, rows, other, theirs)

    def finish(self, state: I64) -> F64:
        """The values f64[n]; NaN for rows of nothing."""
        out = np.empty(len(state))
        finish_ranks(np.ascontiguousarray(state[:, 1]), False, out)
        return out

    def encode(self, state: I64) -> bytes:
        """The state as bytes."""
        return pack(self.name, self.version, len(state), state.astype("<i8").tobytes())

    def decode(self, data: bytes) -> I64:
        """The state that `encode` was given."""
        n, (part,) = unpack(self.name, self.version, data, 1)
        return array(self.name, part, (n, 2))
