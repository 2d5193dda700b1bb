"""The same definitions for millions of points: NumPy sorts and splits, Python integers add.

A value is mantissa * 2**exponent; mantissas of one exponent are added in halves that no 64-bit
integer overflows, and the halves as integers of any size.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from aggregates.references import NAN, canonical, nearest, nearest_root

from streams.aggregates import Points
from streams.kernels.rows import IS_CUMULATIVE, IS_INTEGER

GAP = 900 * 10**9
PANE = 10 * 10**9
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


class Row:
    """The points of one row: doubles f64[k] (integers rounded), and what is true of each."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.integer = (points.metas & IS_INTEGER) != 0
        self.doubles = np.where(
            self.integer, points.raws.astype(np.float64), points.raws.view(np.float64)
        )
        self.strange = ~np.isfinite(self.doubles)
        """An order of the bits; NaN above all."""
        bits = np.where(np.isnan(self.doubles), NAN, self.doubles).view(np.int64)
        self.ranks = np.where(bits >= 0, bits, np.int64(2**63 - 1) ^ bits)

    def __len__(self) -> int:
        return len(self.points)

    def take(self, index: np.ndarray) -> Row:
        return Row(self.points.take(np.arange(len(self))[index]))

    def exact(self) -> Fraction:
        """The sum of the finite values."""
        whole = self.points.raws[self.integer]
        total = (int((whole >> 32).sum()) << 32) + int((whole & 0xFFFFFFFF).sum())
        mantissas, exponents, starts = self._parts()
        if not len(starts):
            return Fraction(total)
        high = np.add.reduceat(mantissas >> 26, starts).tolist()
        low = np.add.reduceat(mantissas & (2**26 - 1), starts).tolist()
        units = 0
        for exponent, above, below in zip(exponents, high, low, strict=True):
            units += ((above << 26) + below) << (exponent + 1200)
        return total + Fraction(units, 1 << 1200)

    def squares(self) -> Fraction:
        """The sum of squares of the finite values."""
        whole = self.points.raws[self.integer]
        magnitude = np.where(whole < 0, -whole.astype(np.uint64), whole.astype(np.uint64))
        total = _sum_of_squares(magnitude, np.zeros(1, np.int64))[0] if len(magnitude) else 0
        mantissas, exponents, starts = self._parts()
        if not len(starts):
            return Fraction(total)
        units = 0
        found = _sum_of_squares(np.abs(mantissas).astype(np.uint64), starts)
        for exponent, amount in zip(exponents, found, strict=True):
            units += amount << 2 * (exponent + 1200)
        return total + Fraction(units, 1 << 2400)

    def _parts(self) -> tuple[np.ndarray, list[int], np.ndarray]:
        """Mantissas of finite doubles by exponent, the exponents, and where each begins."""
        fractions, exponents = np.frexp(self.doubles[~self.integer & ~self.strange])
        order = np.argsort(exponents, kind="stable")
        mantissas = np.ldexp(fractions[order], 53).astype(np.int64)
        found, starts = np.unique(exponents[order], return_index=True)
        return mantissas, (found - 53).tolist(), starts


def _sum_of_squares(values: np.ndarray, starts: np.ndarray) -> list[int]:
    """Of u64[k], from each start to the next."""
    high, low = values >> HALF, values & LOW
    sums = [0] * len(starts)
    for product, shift in ((high * high, 64), (high * low, 33), (low * low, 0)):
        upper = np.add.reduceat(product >> HALF, starts).tolist()
        lower = np.add.reduceat(product & LOW, starts).tolist()
        for at, (above, below) in enumerate(zip(upper, lower, strict=True)):
            sums[at] += ((above << 32) + below) << shift
    return sums


def total(row: Row) -> float:
    if row.strange.any():
        return canonical(float(np.sum(np.unique(row.doubles[row.strange]))))
    return nearest(row.exact())


def mean(row: Row) -> float:
    return total(row) if row.strange.any() else nearest(row.exact() / len(row))


def variance(row: Row, less: int, root: bool) -> float:
    if row.strange.any():
        return NAN
    n = len(row)
    found = (row.squares() - row.exact() ** 2 / n) / (n - less)
    return nearest_root(found) if root else nearest(found)


def extreme(row: Row, choose: Callable[[np.ndarray], Any]) -> float:
    return NAN if np.isnan(row.doubles).any() else float(row.doubles[choose(row.ranks)])


def at_time(row: Row, time: int) -> float:
    there = np.flatnonzero(row.points.times == time)
    return canonical(float(row.doubles[there[np.argmax(row.ranks[there])]]))


def increase(row: Row, seconds: int = 1) -> float:
    """Samples sorted at once; each compared with the one before it."""
    cumulative = (row.points.metas & IS_CUMULATIVE) != 0
    deltas, samples = row.take(~cumulative), row.take(cumulative)
    points = samples.points
    order = np.lexsort((points.starts, _above_double(samples), samples.ranks, points.times))
    last = np.ones(len(order), bool)
    last[:-1] = points.times[order][1:] != points.times[order][:-1]
    s = samples.take(order[last])
    times, starts = s.points.times, s.points.starts
    known = np.zeros(len(s), bool)
    known[1:] = times[1:] - times[:-1] <= GAP
    stated = (starts > 0) & (starts < times)
    another = np.zeros(len(s), bool)
    another[1:] = stated[1:] & (starts[:-1] > 0) & (starts[1:] != starts[:-1])
    overlaps = another & known  # two writers: what either counted in between is not known
    overlaps[1:] &= starts[1:] < times[:-1]
    reset = another.copy()
    above = _above_double(s)
    equal = s.doubles[1:] == s.doubles[:-1]
    reset[1:] |= (s.doubles[1:] < s.doubles[:-1]) | (equal & (above[1:] < above[:-1]))
    reset &= ~overlaps
    begun = stated & (-(-starts // PANE) == -(-times // PANE))
    lost = np.zeros(len(s), bool)  # what is subtracted from the sample after it
    lost[:-1] = (known & ~reset & ~overlaps)[1:]
    gains = s.take((known & ~overlaps) | (~known & begun))
    odd = [float(x) for x in np.unique(deltas.doubles[deltas.strange])]
    alone = (known & reset) | (~known & begun)
    odd += [float(x) for x in np.unique(s.doubles[alone & s.strange])]
    after, before = s.doubles[1:], s.doubles[:-1]
    strange = lost[:-1] & (s.strange[1:] | s.strange[:-1])
    with np.errstate(invalid="ignore"):
        odd += [float(x) for x in np.unique(after[strange] - before[strange])]
    if odd:
        return canonical(sum(odd))
    if not len(deltas) and not len(gains):
        return NAN
    return nearest((deltas.exact() + gains.exact() - s.take(lost).exact()) / seconds)


def _above_double(row: Row) -> np.ndarray:
    """What integers are above their doubles: of 64 bits exactly, in extended precision."""
    if np.finfo(np.longdouble).nmant < 63:
        raise RuntimeError("this reference needs the x86's extended precision")
    exact = np.where(row.integer, row.points.raws.astype(np.longdouble), row.doubles)
    with np.errstate(invalid="ignore"):
        return np.where(row.strange, 0, exact - row.doubles).astype(np.float64)


AT_SCALE: dict[str, Callable[[Row], Any]] = {
    "all": lambda row: float((row.doubles != 0).all()),
    "any": lambda row: float((row.doubles != 0).any()),
    "avg": mean,
    "count": lambda row: float(len(row)),
    "first": lambda row: at_time(row, row.points.times.min()),
    "increase": increase,
    "last": lambda row: at_time(row, row.points.times.max()),
    "max": lambda row: extreme(row, np.argmax),
    "min": lambda row: extreme(row, np.argmin),
    "rate": lambda row: increase(row, 60),
    "stddev": lambda row: variance(row, 0, True),
    "stddev_sample": lambda row: variance(row, 1, True),
    "sum": total,
    "variance": lambda row: variance(row, 0, False),
    "variance_sample": lambda row: variance(row, 1, False),
}


def _doubles(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.ascontiguousarray(values, np.float64).view(np.int64), np.zeros(len(values), np.uint8)


def _integers(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values.astype(np.int64), np.full(len(values), IS_INTEGER, np.uint8)


def _either(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...], g: np.random.Generator) -> Any:
    which = g.random(len(a[0])) < 0.5
    return np.where(which, a[0], b[0]), np.where(which, a[1], b[1])


def _finite_bits(g: np.random.Generator, n: int) -> np.ndarray:
    bits = g.integers(0, 2**52, n) | g.integers(0, 2047, n) << 52 | g.integers(0, 2, n) << 63
    return bits.view(np.float64)


def _any_nan(g: np.random.Generator, n: int) -> np.ndarray:
    bits = g.integers(1, 2**52, n) | np.int64(0x7FF) << 52 | g.integers(0, 2, n) << 63
    return np.where(g.random(n) < 0.1, bits.view(np.float64), g.normal(size=n))


def _row_kinds(g: np.random.Generator, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(raws i64[n], metas u8[n]) of each row."""
    sign = g.choice((-1.0, 1.0), n)
    near = 2**53 + g.integers(-9, 9, n)
    wide = sign * np.ldexp(g.random(n), g.integers(-110, 75, n))
    return [
        _doubles(g.choice((1e308, -1e308, 1e-308, 1.0, -1.0, 5e-324), n)),
        _doubles(sign * g.integers(1, 2**52, n) * 5e-324),
        _either(_doubles(near * sign), _integers(near), g),
        _integers(g.choice((-(2**63), 2**63 - 1, -(2**63) + 1, 2**62), n)),
        _doubles(g.choice((np.inf, 1.0, -1e300), n)),
        _doubles(_any_nan(g, n)),
        _doubles(_finite_bits(g, n)),
        _doubles(np.full(n, 0.1)),
        _doubles(g.choice((0.0, -0.0), n)),
        _either(_doubles(wide), _integers(g.integers(-(2**63), 2**63 - 1, n)), g),
        _doubles(g.normal(20, 5, n)),
        _doubles(np.round(g.random(n) * 1e6, 3)),
    ]


def points_of(seed: int, n: int) -> tuple[np.ndarray, Points, int]:
    """(row of each point i64[about n], the points in random order, number of rows)."""
    g = np.random.default_rng(seed)
    kinds = _row_kinds(g, 1)
    rows = len(kinds)
    kinds = _row_kinds(g, n // rows)
    raws = np.concatenate([raws for raws, _ in kinds])
    metas = np.concatenate([metas for _, metas in kinds]).astype(np.uint8)
    owners = np.repeat(np.arange(rows), n // rows)
    metas[(owners % 2 == 0) & (g.random(len(metas)) < 0.5)] |= IS_CUMULATIVE
    times = g.integers(1, 1 + len(raws) // rows, len(raws)) * 10**9 * np.where(owners % 4, 1, 200)
    starts = np.where(g.random(len(raws)) < 0.9, 0, times - times % (3 * 10**9))
    order = g.permutation(len(raws))
    return owners[order], Points(times, starts, raws, metas).take(order), rows
