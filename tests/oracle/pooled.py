"""One aggregate over all points of a group in a window, by its definition.

Rationals and sorted lists; the buckets of a quantile and the registers of a distinct count by the
plain references of `tests/aggregates`, which share no code with the product either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from aggregates import sketch_references as sketches
from aggregates.references import Sample, nearest_root
from oracle import contents, histograms
from oracle.arithmetic import NAN, Number, fold, is_finite, rank, to_double, total

if TYPE_CHECKING:
    from oracle.definitions import Definition
    from oracle.log import Point as Point_

Point = tuple[int, int | float]
"""(time, value)"""
KINDS = ("gauge", "delta")
"""A sample of a cumulative sum is no value of its own."""


def adds_up(aggregate: str) -> bool:
    """Whether it is published as a sum, else as a gauge."""
    return aggregate in ("sum", "count") or is_histogram(aggregate)


def is_histogram(aggregate: str) -> bool:
    """Whether it makes no number."""
    return aggregate in histograms.KINDS


def is_known(aggregate: str) -> bool:
    """Whether this file says what it is."""
    return is_histogram(aggregate) or _settled(aggregate, None)[0] in AGGREGATES


def result(aggregate: str, parameter: Any, points: Sequence[Point]) -> histograms.Exact:
    """The aggregate of at least one point; sums and counts exactly, others rounded once."""
    if is_histogram(aggregate):
        return histograms.Population(aggregate, parameter, tuple(value for _, value in points))
    name, given = _settled(aggregate, parameter)
    return AGGREGATES[name](points, given)


PARTS = ("min", "max")
"""Numbers that histogram points say themselves."""


def reads(definition: Definition, point: Point_) -> bool:
    """Whether a definition reads the histogram points of the stream."""
    if point.content is None or not definition.over_points:
        return False
    aggregate, parameter = definition.over_points
    counts = point.content.delta or (point.content.cumulative and aggregate not in ("min", "max"))
    if point.kind != definition.instrument or not counts:
        return False
    wanted = (parameter or sketches.DEFAULT_BOUNDS) if aggregate == "explicit_histogram" else ()
    return set(wanted) <= set(point.content.bounds)


def as_read(definition: Definition, point: Point_) -> Point_ | None:
    """A point with what the definition reads of it as value; None: it has no such number."""
    if point.content is None or definition.over_points is None:
        return point
    aggregate = definition.over_points[0]
    if aggregate not in PARTS:
        return point
    number = point.content.number(aggregate)
    return None if number is None else replace(point, value=number)


def result_of(definition: Definition, points: Sequence[Point_]) -> histograms.Exact:
    """The aggregate of a group's points, numbers or histograms."""
    assert definition.over_points is not None
    aggregate, parameter = definition.over_points
    parts = tuple(point.content for point in points if point.content)
    if not parts:
        return result(aggregate, parameter, [(p.time, p.value) for p in points])
    assert len(parts) == len(points)
    if is_histogram(aggregate):
        return histograms.Population(aggregate, parameter, (), parts)
    return contents.observed(*_settled(aggregate, parameter), parts)


def _settled(aggregate: str, parameter: Any) -> tuple[str, Any]:
    if aggregate.startswith("p") and aggregate[1:2].isdigit():
        return "quantile", float(Fraction(aggregate[1:]) / 100)
    return aggregate, parameter


def _fold(how: str) -> Callable[[Sequence[Point], Any], Number]:
    return lambda points, _: fold(how, [value for _, value in points])


def _end(choose: Callable[..., int]) -> Callable[[Sequence[Point], Any], Number]:
    def found(points: Sequence[Point], _: Any) -> Number:
        time = choose(time for time, _ in points)
        return to_double(max((value for at, value in points if at == time), key=rank))

    return found


def _variance(points: Sequence[Point], less: int) -> Fraction | None:
    """Squared deviations from the mean, one by one; None for too few, or what is not finite."""
    values = [value for _, value in points]
    if len(values) <= less or not all(map(is_finite, values)):
        return None
    exact = [Fraction(value) for value in values]
    middle = sum(exact, Fraction(0)) / len(exact)
    return sum(((each - middle) ** 2 for each in exact), Fraction(0)) / (len(exact) - less)


def _spread(less: int, finish: Callable[[Fraction], float]) -> Callable[..., Number]:
    def found(points: Sequence[Point], _: Any) -> Number:
        variance = _variance(points, less)
        return NAN if variance is None else finish(variance)

    return found


def _some(points: Sequence[Point], _: Any) -> Number:
    return int(any(value != 0 for _, value in points))


def _every(points: Sequence[Point], _: Any) -> Number:
    return int(all(value != 0 for _, value in points))


def _apdex(points: Sequence[Point], threshold: float) -> Fraction:
    """Apdex by its definition; what is no number is above every threshold."""
    satisfied = sum(1 for _, value in points if value <= threshold)
    tolerated = sum(1 for _, value in points if threshold < value <= 4 * threshold)
    return (satisfied + Fraction(tolerated, 2)) / len(points)


def samples(points: Sequence[Point]) -> list[Sample]:
    """As the references take them."""
    return [Sample(time, 0, value, cumulative=False) for time, value in points]


AGGREGATES: dict[str, Callable[[Sequence[Point], Any], Number]] = {
    "count": lambda points, _: len(points),
    "sum": lambda points, _: total([value for _, value in points]),
    "avg": _fold("avg"),
    "min": _fold("min"),
    "max": _fold("max"),
    "first": _end(min),
    "last": _end(max),
    "variance": _spread(0, to_double),
    "variance_sample": _spread(1, to_double),
    "stddev": _spread(0, nearest_root),
    "stddev_sample": _spread(1, nearest_root),
    "any": _some,
    "all": _every,
    "quantile": lambda points, q: sketches.quantile(samples(points), q),
    "distinct_count": lambda points, k: sketches.distinct(samples(points), k or 12),
    "apdex": _apdex,  # of a user: `examples/apdex.py`
}
