"""What an aggregate is: a state that points join, that merges, and that finishes as a number.

The promise every aggregate keeps, to the bit: its state is a function of the *set* of points (a
multiset, where points repeat) that joined each row. So `add` and `merge` give the same, whatever
the order of the points, however they were split, and along whatever tree the parts were merged;
`empty` is the identity of `merge`. `encode` gives equal bytes for equal states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

I64: TypeAlias = npt.NDArray[np.int64]
U8: TypeAlias = npt.NDArray[np.uint8]
F64: TypeAlias = npt.NDArray[np.float64]

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Points:
    """Points as parallel columns of equal length.

    Attributes:
        times: i64[k], event time, unix nanoseconds.
        starts: i64[k], start time, unix nanoseconds; 0 where there is none.
        raws: i64[k], the bits of a double, or the integer itself.
        metas: u8[k], bits of `streams.kernels.rows`: IS_INTEGER says that raws holds an integer,
            IS_CUMULATIVE that the value is a total since its start.
    """

    times: I64
    starts: I64
    raws: I64
    metas: U8

    def __len__(self) -> int:
        return len(self.times)

    def take(self, index: I64) -> Points:
        """The points at these places, in this order."""
        return Points(self.times[index], self.starts[index], self.raws[index], self.metas[index])

    @classmethod
    def of_doubles(cls, values: npt.ArrayLike, times: npt.ArrayLike | None = None) -> Points:
        """Points with these doubles as values, at these times (0, 1, 2, ... if not given)."""
        raws = np.ascontiguousarray(values, np.float64).view(np.int64)
        n = len(raws)
        when = np.arange(n) if times is None else times
        return cls(
            np.ascontiguousarray(when, np.int64),
            np.zeros(n, np.int64),
            raws,
            np.zeros(n, np.uint8),
        )


class Aggregate(Protocol[S]):
    """One way to make one value of many points. S is its state: columns of n rows.

    An implementation has no state of its own but parameters fixed when it is made. Points and rows
    are checked: a row number outside the state is an `IndexError`, and nothing is changed.
    """

    @property
    def name(self) -> str:
        """As definitions write it; unique in the registry."""
        ...

    @property
    def version(self) -> int:
        """Of the encoding of its state, from 1; another version is another encoding."""
        ...

    def empty(self, n: int) -> S:
        """n rows that no point has joined: the identity of `merge`."""
        ...

    def add(self, state: S, rows: I64, points: Points) -> None:
        """Point j joins row rows[j] of the state; rows i64[k] for k points, in any order."""
        ...

    def merge(self, state: S, rows: I64, other: S, theirs: I64) -> None:
        """Row theirs[j] of other joins row rows[j] of state; both i64[k], repeats allowed.

        `other` keeps its value, and shares nothing with `state` afterwards.
        """
        ...

    def finish(self, state: S) -> Any:
        """The published values: F64[n], or a result of the aggregate's own with n entries.

        An entry is found as `finish(state)[i]`, and entries are compared with `==` (doubles by
        their bits; NaN is always the one with bits 0x7FF8000000000000).
        """
        ...

    def encode(self, state: S) -> bytes:
        """The state as bytes, with the name, the version and the number of rows."""
        ...

    def decode(self, data: bytes) -> S:
        """The state that `encode` was given.

        Raises:
            UnreadableState: Another aggregate or version wrote the bytes, or they are damaged.
        """
        ...
