"""What histogram points say, and what several of them come to: by definition, bucket by bucket.

A *content* is one data point's. Nothing is assumed of how it was made; one that contradicts itself
counts nowhere.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from aggregates import sketch_references as sketches
from oracle.arithmetic import NAN, Number, fold, total

EXPLICIT, EXPONENTIAL = "histogram", "exponential_histogram"
KINDS = (EXPLICIT, EXPONENTIAL)
MOST, MOST_BUCKETS = 1 << 53, 1 << 14
FINEST = 20


@dataclass(frozen=True, slots=True)
class Content:
    """One point. None: it does not say.

    bounds: of explicit buckets; buckets: the counts of an explicit one, by place, or of an
    exponential one, by (sign, index), without those of 0.
    """

    kind: str
    delta: bool
    cumulative: bool
    count: int
    sum: Number | None
    min: float | None
    max: float | None
    bounds: tuple[float, ...]
    buckets: tuple[tuple[Any, int], ...]
    scale: int
    zeros: int
    threshold: float
    wrong: bool

    def number(self, which: str) -> Number | None:
        """Its count, sum, min or max; NaN: it has one, and does not say it; None: it has none."""
        if which == "count":
            return self.count
        if self.count == 0:  # a sum may differ, of the same values in another order
            return (self.sum or 0.0) if which == "sum" else None
        said = {"sum": self.sum, "min": self.min, "max": self.max}[which]
        return NAN if said is None else said


def read(kind: str, point: Any, delta: bool, cumulative: bool) -> Content:
    """The content of an OTLP data point."""
    said = [getattr(point, f) if point.HasField(f) else None for f in ("sum", "min", "max")]
    if kind == EXPLICIT:
        bounds, counts = tuple(point.explicit_bounds), tuple(point.bucket_counts)
        counts = counts or (() if bounds else (point.count,))
        wrong = len(counts) != len(bounds) + 1 or sum(counts) != point.count
        wrong = wrong or not all(map(math.isfinite, bounds))
        wrong = wrong or any(not a < b for a, b in itertools.pairwise(bounds))
        made: tuple[Any, ...] = (bounds, tuple(enumerate(counts)), 0, 0, 0.0)
    else:
        sides = ((1, point.positive), (-1, point.negative))
        found = [
            ((sign, side.offset + at), count)
            for sign, side in sides
            for at, count in enumerate(side.bucket_counts)
            if count
        ]
        wrong = point.zero_count + sum(count for _, count in found) != point.count
        wrong = wrong or not -10 <= point.scale <= 31
        wrong = wrong or any(len(side.bucket_counts) > MOST_BUCKETS for _, side in sides)
        wrong = wrong or not 0 <= point.zero_threshold < math.inf
        for (_, index), _ in found:  # does it hold a double?
            low, high = (Fraction(2) ** -point.scale * one for one in (index, index + 1))
            wrong = wrong or low >= 1024 or high <= -1075
        made = ((), tuple(found), point.scale, point.zero_count, point.zero_threshold)
    wrong = wrong or point.count > MOST or (point.count == 0 and bool(said[0]))
    if point.count and said[1] is not None and said[2] is not None:
        wrong = wrong or said[1] > said[2]
    return Content(kind, delta, cumulative, point.count, *said, *made, wrong)


def moments(parts: Sequence[Content]) -> tuple[int, Number, float, float]:
    """Count, exact sum, min and max of all; NaN: one of them does not say."""
    counted = [part for part in parts if part.count]
    summed = total([0, *(part.number("sum") for part in parts)])
    if not counted:
        return 0, summed, NAN, NAN
    least, most = ([part.number(which) for part in counted] for which in ("min", "max"))
    return sum(part.count for part in counted), summed, fold("min", least), fold("max", most)


def explicit(parts: Sequence[Content], bounds: Sequence[float]) -> list[int]:
    """The counts between these bounds, which all parts have among theirs."""
    counts = [0] * (len(bounds) + 1)
    for part in parts:
        assert set(bounds) <= set(part.bounds)
        for at, count in part.buckets:
            within = bisect_left(bounds, part.bounds[at]) if at < len(part.bounds) else len(bounds)
            counts[within] += count
    return counts


def exponential(
    parts: Sequence[Content], most: int
) -> tuple[int, int, float, dict[int, int], dict[int, int]]:
    """(scale, zeros, threshold, positive counts by index, negative ones).

    The largest scale, that of no part with values in buckets exceeded, at which each sign fits.
    """
    scale = min([FINEST, *(part.scale for part in parts if part.buckets)])
    while True:
        found: dict[int, Counter[int]] = {1: Counter(), -1: Counter()}
        for part in parts:
            for (sign, index), count in part.buckets:
                found[sign][index >> part.scale - scale] += count
        if all(not side or max(side) - min(side) < most for side in found.values()):
            break
        scale -= 1
    zeros = sum(part.zeros for part in parts)
    threshold = max([0.0, *(part.threshold for part in parts if part.count)])
    widest = threshold
    for side in found.values():
        for index in sorted(side):
            if sketches.bound(index << FINEST - scale) < threshold:
                zeros += side.pop(index)
                widest = max(widest, sketches.bound(index + 1 << FINEST - scale))
    return scale, zeros, widest, dict(found[1]), dict(found[-1])


def quantile(parts: Sequence[Content], q: float) -> float:
    """As `sketch_references.quantile` of the buckets, whoever made them."""
    scale, zeros, threshold, positive, negative = exponential(parts, 160)
    count, _, least, most = moments(parts)
    shift = FINEST - scale

    def inside(index: int, part: float, sign: int) -> float:
        steps = math.floor(part * float(1 << shift) + 0.5)
        steps = (1 << shift) - steps if sign < 0 else steps
        return sign * sketches.bound((index << shift) + steps)

    below = 0
    ranked = [(side, -1) for side in sorted(negative, reverse=True)] + [(None, 0)]
    ranked += [(side, 1) for side in sorted(positive)]
    for index, sign in ranked:
        inside_it = zeros if index is None else (positive if sign > 0 else negative)[index]
        if inside_it and float(below + inside_it) >= q * float(count):
            part = (q * float(count) - float(below)) / float(inside_it)
            if index is None:
                low = -threshold if negative else 0.0
                high = threshold if positive or low == 0 else 0.0
                value = low + part * (high - low)
            else:
                value = inside(index, part, sign)
            if least == least:
                value = max(value, least)
            return min(value, most) if most == most else value
        below += inside_it
    return NAN


def observed(aggregate: str, parameter: Any, parts: Sequence[Content]) -> Number:
    """A number of all that the parts observed; of sums and counts exactly."""
    if aggregate in ("min", "max"):
        return fold(aggregate, [part.number(aggregate) for part in parts])
    if aggregate == "quantile":
        return quantile(parts, parameter)
    count, summed, _, _ = moments(parts)
    if aggregate == "count":
        return count
    if aggregate == "sum":
        return summed
    assert aggregate == "avg", aggregate
    if count == 0 or (isinstance(summed, float) and not math.isfinite(summed)):
        return NAN if count == 0 else summed
    return Fraction(summed) / count
