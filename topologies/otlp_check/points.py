"""What must hold of one point by itself, and the values of it that its successor is held against.

Each function takes a point of opentelemetry-proto and returns what is wrong with it. Numbers are
checked where they are read, in `checker.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from topologies.otlp_check.findings import Problem

SCALES = range(-11, 21)
"""Below, one bucket holds all doubles above 1; above, not all of them have an index of 32 bits."""

NO_RECORDED_VALUE = 1
_VALUES = ("count", "sum", "bucket_counts", "zero_count", "positive", "negative", "quantile_values")


class Distribution:
    """What is kept of a histogram or summary: buckets by index, with the scale or the bounds."""

    __slots__ = ("bounds", "buckets", "count", "high", "low", "negative", "offsets", "scale", "sum",
                 "zeros")  # fmt: skip

    def __init__(self, point: Any) -> None:
        self.count: int = point.count
        self.sum: float | None = None
        self.low: float | None = None
        self.high: float | None = None
        self.buckets: tuple[int, ...] = ()
        self.bounds: tuple[float, ...] = ()
        self.negative: tuple[int, ...] = ()
        self.offsets = (0, 0)
        self.scale = 0
        self.zeros = (0.0, 0)

    def __str__(self) -> str:
        return f"count {self.count}" if self.sum is None else f"count {self.count} sum {self.sum}"


def _measured(point: Any) -> Distribution:
    value = Distribution(point)
    value.sum = point.sum if point.HasField("sum") else None
    value.low = point.min if point.HasField("min") else None
    value.high = point.max if point.HasField("max") else None
    return value


def explicit(point: Any) -> Distribution:
    """The values of a HistogramDataPoint."""
    value = _measured(point)
    value.buckets = tuple(point.bucket_counts)
    value.bounds = tuple(point.explicit_bounds)
    return value


def exponential(point: Any) -> Distribution:
    """The values of an ExponentialHistogramDataPoint."""
    value = _measured(point)
    value.buckets = tuple(point.positive.bucket_counts)
    value.negative = tuple(point.negative.bucket_counts)
    value.offsets = (point.positive.offset, point.negative.offset)
    value.scale = point.scale
    value.zeros = (point.zero_threshold, point.zero_count)
    return value


def summary(point: Any) -> Distribution:
    """The values of a SummaryDataPoint; its sum may fall, and is not kept."""
    return Distribution(point)


def wrong_histogram(value: Distribution, _: Any) -> Iterator[Problem]:
    """What is wrong with an explicit histogram."""
    counts, bounds = value.buckets, value.bounds
    if (counts or bounds) and len(counts) != len(bounds) + 1:
        yield "bucket-count-mismatch", f"{len(bounds)} bounds", f"{len(counts)} bucket counts"
    elif counts and sum(counts) != value.count:
        yield "count-mismatch", f"count {value.count}", f"{sum(counts)} in buckets"
    for before, after in pairwise(bounds):
        if not before < after:
            yield "bounds-not-increasing", f"bound {before}", f"then {after}"
            break
    if bounds and math.isnan(bounds[0]):
        yield "bounds-not-increasing", "a number", "bound nan"
    yield from _wrong_totals(value)
    below = any(count and bound < 0 for count, bound in zip(counts, bounds, strict=False))
    if value.sum is not None and below:
        yield "sum-with-negative-values", "measurements below 0", f"sum {value.sum}"


def wrong_exponential(value: Distribution, _: Any) -> Iterator[Problem]:
    """What is wrong with an exponential histogram."""
    threshold, zeros = value.zeros
    total = zeros + sum(value.buckets) + sum(value.negative)
    if total != value.count:
        yield "count-mismatch", f"count {value.count}", f"{total} in buckets and zero count"
    if not 0 <= threshold < math.inf:
        yield "bad-zero-threshold", "a width from 0", f"zero threshold {threshold}"
    if value.scale not in SCALES:
        yield "scale-out-of-range", f"{SCALES[0]} to {SCALES[-1]}", f"scale {value.scale}"
    else:
        for counts, offset in zip((value.buckets, value.negative), value.offsets, strict=True):
            yield from _wrong_indexes(counts, offset, value.scale, threshold)
    yield from _wrong_totals(value)
    if value.sum is not None and any(value.negative):
        yield "sum-with-negative-values", "measurements below 0", f"sum {value.sum}"


def _wrong_indexes(
    counts: Sequence[int], offset: int, scale: int, threshold: float
) -> Iterator[Problem]:
    used = [offset + at for at, count in enumerate(counts) if count]
    if not used:
        return
    step = 2.0**-scale
    first, last = used[0], used[-1]
    if (first + 1) * step < -1074:
        yield "bucket-index-out-of-range", "2**-1074, the least double", f"index {first}"
    elif last * step >= 1024:
        yield "bucket-index-out-of-range", "2**1024, beyond all doubles", f"index {last}"
    elif 0 < threshold < math.inf and first * step < math.log2(threshold) - 1e-9:
        low = 2.0 ** (first * step) if first * step > -1074 else 0.0
        yield "zero-threshold-in-bucket", f"threshold {threshold}", f"a bucket from {low}"


def _wrong_totals(value: Distribution) -> Iterator[Problem]:
    if value.count == 0 and value.sum:
        yield "sum-of-nothing", "count 0", f"sum {value.sum}"
    low, high = value.low, value.high
    if low is not None and high is not None and low > high:
        yield "min-above-max", f"max {high}", f"min {low}"


def wrong_summary(_: Distribution, point: Any) -> Iterator[Problem]:
    """What is wrong with a summary."""
    before = -math.inf
    for each in point.quantile_values:
        if not 0 <= each.quantile <= 1:
            yield "quantile-out-of-range", "0 to 1", f"quantile {each.quantile}"
        elif not before < each.quantile:
            yield "quantiles-not-increasing", f"quantile {before}", f"then {each.quantile}"
        if each.value < 0:
            yield "negative-quantile-value", "0", f"{each.value} at quantile {each.quantile}"
        before = each.quantile


def carries(point: Any) -> str:
    """What a histogram or summary carries as a value, though it is flagged to have none."""
    for field, value in point.ListFields():
        if field.name in _VALUES:
            return f"{field.name} {value}".strip()
    return ""
