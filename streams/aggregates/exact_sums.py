"""States that are exact sums, with a count and sums of squares where these are asked for.

What fits is kept as limbs (`streams.kernels.exact`, `streams.kernels.squares`) by compiled loops;
what does not (doubles with bits below 2**-96, and from 2**63 on) as integers of any size, by row.
Both parts are sums over a multiset, so no order can be seen in them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from streams.aggregates.checks import check_rows
from streams.aggregates.encoding import array, pack, pack_integers, unpack, unpack_integers
from streams.aggregates.port import F64, I64, Points
from streams.kernels.exact import (
    FRACTION_BITS,
    SPILL_BITS,
    exact_mean,
    nearest,
    nearest_root,
    spill_of,
    total_of,
)
from streams.kernels.squares import LARGEST_COUNT, LIMBS, SCRATCH
from streams.kernels.tally import (
    COUNT,
    MOMENTS_WIDTH,
    SPECIAL,
    SQUARES,
    add_moments,
    add_sums,
    finish_moments,
    finish_sums,
    merge_sums,
)


@dataclass(slots=True)
class Sums:
    """Exact sums of n rows.

    Attributes:
        rows: i64[n, SUM_WIDTH], [n, MEAN_WIDTH] or [n, MOMENTS_WIDTH]; see `streams.kernels.tally`.
        spills: By row, what its limbs cannot hold, in units of 2**-1074.
        squares: By row, the squares of that, in units of 2**-2148.
    """

    rows: I64
    spills: dict[int, int] = field(default_factory=dict[int, int])
    squares: dict[int, int] = field(default_factory=dict[int, int])


class SumsAggregate:
    """What aggregates with this state share; they differ in width and in how they finish."""

    name: str
    version = 1

    def __init__(self, name: str, width: int) -> None:
        self.name = name
        self._width = width

    def empty(self, n: int) -> Sums:
        """n rows of nothing."""
        return Sums(np.zeros((n, self._width), np.int64))

    def add(self, state: Sums, rows: I64, points: Points) -> None:
        """Point j's value joins row rows[j], exactly."""
        check_rows(rows, len(state.rows), len(points))
        left = np.empty(len(points), np.int64)  # untouched memory costs nothing
        kernel = add_moments if self._width == MOMENTS_WIDTH else add_sums
        listed = kernel(state.rows, rows, points.raws, points.metas, left)
        for j in left[:listed].tolist():
            row, amount = int(rows[j]), spill_of(int(points.raws[j]))
            _join(state.spills, row, amount)
            if self._width == MOMENTS_WIDTH:
                _join(state.squares, row, amount * amount)

    def merge(self, state: Sums, rows: I64, other: Sums, theirs: I64) -> None:
        """Row theirs[j] of other joins row rows[j], exactly."""
        check_rows(rows, len(state.rows), len(theirs))
        check_rows(theirs, len(other.rows), len(rows))
        merge_sums(state.rows, rows, other.rows, theirs)
        for mine, yours in ((state.spills, other.spills), (state.squares, other.squares)):
            if yours:
                spilled = np.isin(theirs, np.fromiter(yours, np.int64, len(yours)))
                for row, their in zip(
                    rows[spilled].tolist(), theirs[spilled].tolist(), strict=True
                ):
                    _join(mine, row, yours[their])

    def encode(self, state: Sums) -> bytes:
        """The state as bytes."""
        rows = state.rows
        parts = (rows.astype("<i8").tobytes(), pack_integers(state.spills))
        return pack(self.name, self.version, len(rows), *parts, pack_integers(state.squares))

    def decode(self, data: bytes) -> Sums:
        """The state that `encode` was given."""
        n, (rows, spills, squares) = unpack(self.name, self.version, data, 3)
        return Sums(
            array(self.name, rows, (n, self._width)),
            unpack_integers(self.name, spills, n),
            unpack_integers(self.name, squares, n),
        )


def quotients(state: Sums, divisors: I64) -> F64:
    """The exact sums over divisors i64[n], each rounded once; NaN where the divisor is 0."""
    out = np.empty(len(state.rows))
    finish_sums(state.rows, divisors, out)
    large = np.flatnonzero(divisors > LARGEST_COUNT).tolist()
    for row in {*state.spills, *large}:
        if state.rows[row, SPECIAL] == 0 and divisors[row] > 0:
            low, mid, high = state.rows[row, :3].tolist()
            spill = state.spills.get(row, 0)
            out[row] = exact_mean(low, mid, high, spill, int(divisors[row]))
    return out


def deviations(state: Sums, less: int, root: bool) -> F64:
    """The variances, or their roots, each rounded once.

    less: 0 for the variance of a population, 1 for that of a sample. NaN for rows with fewer
    values than that allows, or with one that is NaN or infinite.
    """
    out = np.empty(len(state.rows))
    finish_moments(state.rows, less, root, np.zeros(SCRATCH, np.uint64), out)
    large = np.flatnonzero(state.rows[:, COUNT] > LARGEST_COUNT).tolist()
    for row in {*state.squares, *large}:
        count = int(state.rows[row, COUNT])
        if state.rows[row, SPECIAL] == 0 and count > less:
            total, squares = _exact_moments(state, row)
            variance = (count * squares - total * total) / (count * (count - less))
            out[row] = nearest_root(variance) if root else nearest(variance)
    return out


def _join(amounts: dict[int, int], row: int, amount: int) -> None:
    """Add an amount to a row's; what comes to nothing is not kept."""
    total = amounts.get(row, 0) + amount
    if total:
        amounts[row] = total
    else:
        amounts.pop(row, None)


def _exact_moments(state: Sums, row: int) -> tuple[Fraction, Fraction]:
    """A row's sum, and its sum of squares."""
    low, mid, high = state.rows[row, :3].tolist()
    total = Fraction(total_of(low, mid, high), 1 << FRACTION_BITS)
    limbs = state.rows[row, SQUARES : SQUARES + LIMBS].astype("<i8").tobytes()
    squares = Fraction(int.from_bytes(limbs, "little"), 1 << 2 * FRACTION_BITS)
    return (
        total + Fraction(state.spills.get(row, 0), 1 << SPILL_BITS),
        squares + Fraction(state.squares.get(row, 0), 1 << 2 * SPILL_BITS),
    )
