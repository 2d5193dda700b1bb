"""What `any` and `all` share: whether a row has seen a value that is not zero, and one that is.

-0.0 is zero. NaN and infinities are not (as in C, Python and NumPy).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from streams.aggregates.checks import check_rows
from streams.aggregates.encoding import pack, sized, unpack
from streams.aggregates.port import F64, I64, U8, Points
from streams.kernels.tally import add_truths, merge_truths


class Truths(ABC):
    """A question to zeros and others. Its state is u8[n], bits NON_ZERO and ZERO."""

    version = 1

    def __init__(self, name: str) -> None:
        self.name = name

    def empty(self, n: int) -> U8:
        """n rows of nothing."""
        return np.zeros(n, np.uint8)

    def add(self, state: U8, rows: I64, points: Points) -> None:
        """Point j's value is seen by row rows[j]."""
        check_rows(rows, len(state), len(points))
        add_truths(state, rows, points.raws, points.metas)

    def merge(self, state: U8, rows: I64, other: U8, theirs: I64) -> None:
        """Row theirs[j] of other joins row rows[j]."""
        check_rows(rows, len(state), len(theirs))
        check_rows(theirs, len(other), len(rows))
        merge_truths(state, rows, other, theirs)

    @abstractmethod
    def finish(self, state: U8) -> F64:
        """The answers f64[n], 1.0 or 0.0."""

    def encode(self, state: U8) -> bytes:
        """The state as bytes."""
        return pack(self.name, self.version, len(state), state.tobytes())

    def decode(self, data: bytes) -> U8:
        """The state that `encode` was given."""
        n, (part,) = unpack(self.name, self.version, data, 1)
        return np.frombuffer(sized(self.name, part, n), np.uint8).copy()
