"""Every aggregate by its definition: plain Python over all points of a row at once.

Nothing is shared with the product. Values are `int` or `float`; exact results are rationals,
rounded once. A test fails for a registered aggregate that has no entry in `REFERENCES`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

NAN = struct.unpack(">d", bytes.fromhex("7ff8000000000000"))[0]
SECOND = 10**9


class Sample(NamedTuple):
    """A point: times in nanoseconds; cumulative says that the value is a total since its start."""

    time: int
    start: int
    value: int | float
    cumulative: bool


def bits(value: float) -> int:
    """The 64 bits of a double."""
    return struct.unpack(">Q", struct.pack(">d", value))[0]


def rank(value: int | float) -> int:
    """Total order of the nearest doubles: -inf < ... < -0 < +0 < ... < inf < NaN."""
    pattern = bits(NAN if math.isnan(value) else float(value))
    return pattern if pattern < 1 << 63 else (1 << 63) - 1 - pattern


def nearest(value: Fraction) -> float:
    """The nearest double, past the largest an infinity."""
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def finite(value: int | float) -> bool:
    return isinstance(value, int) or math.isfinite(value)


def exact(values: Sequence[int | float]) -> Fraction:
    """The sum of finite values."""
    ratios = [value.as_integer_ratio() for value in values]
    scale = max((bottom for _, bottom in ratios), default=1)
    return Fraction(sum(top * (scale // bottom) for top, bottom in ratios), scale)


def strange(values: Sequence[int | float]) -> float | None:
    """What NaN and infinities among the values make of their sum; None if there are none."""
    found = [value for value in values if not finite(value)]
    return canonical(sum(found)) if found else None


def canonical(value: float) -> float:
    return NAN if math.isnan(value) else value


def count(points: Sequence[Sample]) -> float:
    return float(len(points))


def total(points: Sequence[Sample]) -> float:
    values = [point.value for point in points]
    special = strange(values)
    return nearest(exact(values)) if special is None else special


def mean(points: Sequence[Sample]) -> float:
    values = [point.value for point in points]
    if not values:
        return NAN
    special = strange(values)
    return nearest(exact(values) / len(values)) if special is None else special


def least(points: Sequence[Sample]) -> float:
    return _chosen(points, min)


def greatest(points: Sequence[Sample]) -> float:
    return _chosen(points, max)


def _chosen(points: Sequence[Sample], choose: Callable[..., Any]) -> float:
    if not points or any(math.isnan(point.value) for point in points):
        return NAN
    return float(choose((point.value for point in points), key=rank))


def first(points: Sequence[Sample]) -> float:
    return _at(points, min)


def last(points: Sequence[Sample]) -> float:
    return _at(points, max)


def _at(points: Sequence[Sample], choose: Callable[..., int]) -> float:
    if not points:
        return NAN
    time = choose(point.time for point in points)
    return canonical(float(max((p.value for p in points if p.time == time), key=rank)))


def _variance(points: Sequence[Sample], less: int) -> Fraction | None:
    """Squared deviations from the mean, one by one."""
    values = [point.value for point in points]
    if len(values) <= less or not all(map(finite, values)):
        return None
    middle = exact(values) / len(values)
    # all over one denominator, else a rational a value costs a second a row
    bottom = math.lcm(middle.denominator, *(value.as_integer_ratio()[1] for value in values))
    away = [Fraction(value) - middle for value in values]
    squares = sum((each.numerator * (bottom // each.denominator)) ** 2 for each in away)
    return Fraction(squares, bottom**2 * (len(values) - less))


def variance(points: Sequence[Sample], less: int = 0) -> float:
    found = _variance(points, less)
    return NAN if found is None else nearest(found)


def deviation(points: Sequence[Sample], less: int = 0) -> float:
    found = _variance(points, less)
    return NAN if found is None else nearest_root(found)


def nearest_root(value: Fraction) -> float:
    """The double that no other is nearer to the root than: its neighbours' midpoints say so."""
    if value == 0:
        return 0.0
    low, high = 0, bits(math.inf)  # the greatest double whose square is not above
    while high - low > 1:
        middle = (low + high) // 2
        if _double(middle) ** 2 <= value:
            low = middle
        else:
            high = middle
    half = (_double(low) + _double(high)) / 2
    up = half**2 < value or (half**2 == value and low & 1 == 1)
    return struct.unpack(">d", struct.pack(">Q", high if up else low))[0]


def _double(pattern: int) -> Fraction:
    """The value of a double's bits; that of infinity is what the next double would be."""
    if pattern == bits(math.inf):
        return Fraction(2) ** 1024
    return Fraction(struct.unpack(">d", struct.pack(">Q", pattern))[0])


def some(points: Sequence[Sample]) -> float:
    return float(any(point.value != 0 for point in points))


def every(points: Sequence[Sample]) -> float:
    return float(all(point.value != 0 for point in points))


def contributions(
    points: Sequence[Sample], base: Sample | None, pane: int, gap: int
) -> list[tuple[int | float, ...]]:
    """What each point adds to an increase: a value, or a value and what is taken from it."""
    found: list[tuple[int | float, ...]] = [(p.value,) for p in points if not p.cumulative]
    chosen: dict[int, Sample] = {}
    for point in points:
        rival = chosen.get(point.time)
        if point.cumulative and (rival is None or _order(point) > _order(rival)):
            chosen[point.time] = point
    for time in sorted(chosen):
        point = chosen[time]
        if base is not None and time - base.time <= gap:
            stated = 0 < point.start < time
            another = stated and base.start > 0 and point.start != base.start
            if another and point.start < base.time:
                found.append((0,))  # two writers overlap
            elif another or point.value < base.value:  # Python compares exactly
                found.append((point.value,))
            else:
                found.append((point.value, base.value))
        elif 0 < point.start < time and math.ceil(Fraction(point.start, pane)) == math.ceil(
            Fraction(time, pane)
        ):
            found.append((point.value,))
        base = point
    return found


def _order(point: Sample) -> tuple[int, Fraction, int]:
    number = Fraction(point.value) if finite(point.value) else Fraction(0)
    return rank(point.value), number, point.start


def increase(
    points: Sequence[Sample],
    *,
    base: Sample | None = None,
    pane: int = 10 * SECOND,
    gap: int = 900 * SECOND,
    seconds: int = 1,
) -> float:
    found = contributions(points, base, pane, gap)
    if not found:
        return NAN
    odd = [each for each in found if not all(map(finite, each))]
    if odd:
        return canonical(sum(float(e[0]) - float(e[1]) if len(e) > 1 else e[0] for e in odd))
    gained = exact([each[0] for each in found])
    lost = exact([each[1] for each in found if len(each) > 1])
    return nearest((gained - lost) / seconds)


def rate(points: Sequence[Sample]) -> float:
    return increase(points, seconds=60)


REFERENCES: dict[str, Callable[[Sequence[Sample]], Any]] = {
    "all": every,
    "any": some,
    "avg": mean,
    "count": count,
    "first": first,
    "increase": increase,
    "last": last,
    "max": greatest,
    "min": least,
    "rate": rate,
    "stddev": deviation,
    "stddev_sample": lambda points: deviation(points, 1),
    "sum": total,
    "variance": variance,
    "variance_sample": lambda points: variance(points, 1),
}
