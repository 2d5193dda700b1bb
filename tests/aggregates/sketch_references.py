"""Histograms, sketches and top-k by their definitions, in plain Python over all points of a row.

Integers and rationals decide; doubles appear where a rule is a sequence of roundings. Nothing of
the product is used: results are tuples, in the order of the fields of the product's.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from aggregates.references import Sample, bits, exact, finite, nearest, rank

DEFAULT_BOUNDS = (0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000)
"""OpenTelemetry specification, Metrics SDK, "Explicit Bucket Histogram Aggregation"."""
FINEST = 20
PRECISION = 200
WORD = (1 << 64) - 1


class ExplicitValue(NamedTuple):
    """One explicit histogram. NaN: not known."""

    count: int
    sum: float
    min: float
    max: float
    bounds: tuple[float, ...]
    bucket_counts: tuple[int, ...]


class ExponentialValue(NamedTuple):
    """One exponential histogram. NaN: not known."""

    count: int
    sum: float
    min: float
    max: float
    zero_count: int
    zero_threshold: float
    scale: int
    positive_offset: int
    positive_counts: tuple[int, ...]
    negative_offset: int
    negative_counts: tuple[int, ...]


class Heavy(NamedTuple):
    """A key, its weight, how many points it had, whether no other can weigh more."""

    key: int
    weight: float
    count: int
    certain: bool


class TopKValue(NamedTuple):
    """The heaviest keys, and the rest."""

    entries: tuple[Heavy, ...]
    rest_weight: float
    rest_count: int
    complete: bool
    excluded: int


@functools.lru_cache(1 << 16)
def finest_bucket(value: float) -> int:
    """The bucket of a positive double at scale 20: the logarithm's bits, by squaring an interval.

    Twenty squarings of a significand find twenty bits; a power of two ends the bucket below.
    """
    significand, exponent = math.frexp(value)  # from 1/2 on, below 1
    exponent -= 1
    if significand == 0.5:
        return (exponent << FINEST) - 1
    low = high = int(significand * 2**53) << PRECISION - 52
    index = exponent
    for _ in range(FINEST):
        low, high = low * low >> PRECISION, (high * high >> PRECISION) + 1
        bit = low >> PRECISION + 1
        assert bit == high >> PRECISION + 1
        low, high = low >> bit, (high >> bit) + 1
        index = index << 1 | bit
    return index


@functools.cache
def _root(depth: int) -> int:
    """2**(2**-depth), as an integer number of 2**-PRECISION, rounded down."""
    return 2 << PRECISION if depth == 0 else math.isqrt(_root(depth - 1) << PRECISION)


@functools.lru_cache(1 << 16)
def bound(step: int) -> float:
    """The greatest double up to 2**(step / 2**20)."""
    octave, within = step >> FINEST, step & ((1 << FINEST) - 1)
    power = 1 << PRECISION
    for depth in range(1, FINEST + 1):
        if within >> (FINEST - depth) & 1:
            power = power * _root(depth) >> PRECISION
    unit = max(octave, -1022) - 52  # of the double's last bit
    whole = (power << 1200 + octave - unit) >> 1200 + PRECISION
    return math.ldexp(whole, unit) if octave < 1024 else 1.7976931348623157e308


def _numbers(points: Sequence[Sample]) -> list[tuple[int | float, float]]:
    """The finite values, as they are and as doubles."""
    return [(p.value, float(p.value)) for p in points if finite(p.value)]


def _moments(points: Sequence[Sample]) -> tuple[int, float, float, float]:
    numbers = _numbers(points)
    if not numbers:
        return 0, 0.0, math.nan, math.nan
    doubles = [value for _, value in numbers]
    total = nearest(exact([value for value, _ in numbers]))
    return len(numbers), total, min(doubles, key=rank), max(doubles, key=rank)


def exponential(
    points: Sequence[Sample], max_size: int = 160, max_scale: int = 20, threshold: float = 0.0
) -> ExponentialValue:
    """The largest scale at which both signs fit, found by trying them all."""
    doubles = [value for _, value in _numbers(points)]
    signs = [
        [finest_bucket(sign * value) for value in doubles if sign * value > threshold]
        for sign in (1, -1)
    ]
    scale = max_scale
    while any(
        side and (max(side) >> FINEST - scale) - (min(side) >> FINEST - scale) >= max_size
        for side in signs
    ):
        scale -= 1
    fields: list[Any] = []
    for side in signs:
        found = Counter(index >> FINEST - scale for index in side)
        first = min(found, default=0)
        fields += [first, tuple(found[i] for i in range(first, max(found, default=-1) + 1))]
    zeros = sum(abs(value) <= threshold for value in doubles)
    return ExponentialValue(*_moments(points), zeros, threshold, scale, *fields)


def quantile(points: Sequence[Sample], q: float) -> float:
    """Bucket by bucket from below; a step of scale 20 within a bucket."""
    histogram = exponential(points)
    shift = FINEST - histogram.scale
    buckets: list[tuple[int, Callable[[float], float]]] = []

    def inside(index: int, part: float, sign: int) -> float:
        steps = math.floor(part * float(1 << shift) + 0.5)
        steps = (1 << shift) - steps if sign < 0 else steps
        return sign * bound((index << shift) + steps)

    for k, count in reversed([*enumerate(histogram.negative_counts, histogram.negative_offset)]):
        buckets.append((count, functools.partial(inside, k, sign=-1)))
    buckets.append((histogram.zero_count, lambda part: 0.0))
    for k, count in enumerate(histogram.positive_counts, histogram.positive_offset):
        buckets.append((count, functools.partial(inside, k, sign=1)))
    wanted = q * float(histogram.count)
    below = 0
    for count, value_at in buckets:
        if count and float(below + count) >= wanted:
            found = value_at((wanted - float(below)) / float(count))
            return min(max(found, histogram.min), histogram.max)
        below += count
    return math.nan


def explicit(points: Sequence[Sample], bounds: Sequence[float] = DEFAULT_BOUNDS) -> ExplicitValue:
    counts = [0] * (len(bounds) + 1)
    for _, value in _numbers(points):
        counts[bisect_left(bounds, value)] += 1
    return ExplicitValue(*_moments(points), tuple(map(float, bounds)), tuple(counts))


def observed_sum(points: Sequence[Sample]) -> float:
    """Of what histograms would count."""
    return nearest(exact([value for value, _ in _numbers(points)]))


def observed_mean(points: Sequence[Sample]) -> float:
    """Of what histograms would count."""
    numbers = [value for value, _ in _numbers(points)]
    return nearest(exact(numbers) / len(numbers)) if numbers else math.nan


def _rotate(word: int, by: int) -> int:
    return (word << by | word >> 64 - by) & WORD


def _mix(word: int) -> int:
    word = (word ^ word >> 33) * 0xFF51AFD7ED558CCD & WORD
    word = (word ^ word >> 33) * 0xC4CEB9FE1A85EC53 & WORD
    return word ^ word >> 33


def murmur(data: bytes, seed: int = 9001) -> tuple[int, int]:
    """MurmurHash3 x64 128, as Austin Appleby describes it."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    h1 = h2 = seed
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        k1, k2 = (int.from_bytes(data[at + o : at + o + 8], "little") for o in (0, 8))
        h1 ^= _rotate(k1 * c1 & WORD, 31) * c2 & WORD
        h1 = ((_rotate(h1, 27) + h2) * 5 + 0x52DCE729) & WORD
        h2 ^= _rotate(k2 * c2 & WORD, 33) * c1 & WORD
        h2 = ((_rotate(h2, 31) + h1) * 5 + 0x38495AB5) & WORD
    k1, k2 = (int.from_bytes(data[whole + o : whole + o + 8][:8], "little") for o in (0, 8))
    h2 ^= _rotate(k2 * c2 & WORD, 33) * c1 & WORD
    h1 ^= _rotate(k1 * c1 & WORD, 31) * c2 & WORD
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & WORD
    h2 = (h2 + h1) & WORD
    h1, h2 = _mix(h1), _mix(h2)
    h1 = (h1 + h2) & WORD
    return h1, (h2 + h1) & WORD


def coupon(data: bytes) -> tuple[int, int]:
    """(address of 26 bits, zeros ahead of the other half's first one, plus one)."""
    h1, h2 = murmur(data)
    return h1 & (1 << 26) - 1, min(64 - h2.bit_length(), 62) + 1


def coupon_of_value(value: int | float) -> tuple[int, int]:
    if isinstance(value, int):
        return coupon(value.to_bytes(8, "little", signed=True))
    pattern = 0x7FF8 << 48 if math.isnan(value) else bits(value + 0.0)
    return coupon(pattern.to_bytes(8, "little"))


def distinct(points: Sequence[Sample], lg_k: int = 12) -> float:
    coupons = {coupon_of_value(point.value) for point in points}
    return estimate(coupons, lg_k)


def estimate(coupons: set[tuple[int, int]], lg_k: int) -> float:
    """Of few coupons by their pairs; of registers by Ertl's improved raw estimator."""
    limit = 7 if lg_k < 8 else 3 * 2 ** (lg_k - 3) // 4
    if len(coupons) <= limit:
        held = float(len(coupons))
        return held + held * (held - 1) / (6 * 2**26)
    registers: dict[int, int] = {}
    for address, value in coupons:
        slot = address % 2**lg_k
        registers[slot] = max(value, registers.get(slot, 0))
    tally = Counter(registers.values())
    m = float(2**lg_k)
    x = 1 - tally[63] / m
    third = 0.0
    if 0 < x < 1:
        third, part, before = 1 - x, 1.0, -1.0
        while third != before:
            x, part, before = math.sqrt(x), part / 2, third
            third -= (1 - x) * (1 - x) * part
        third /= 3
    z = m * third
    for value in range(62, 0, -1):
        z = (z + tally[value]) / 2
    x = (m - len(registers)) / m
    more, factor, before = x, 1.0, -1.0
    while more != before and x < 1:
        x, before = x * x, more
        more, factor = more + x * factor, factor * 2
    return 0.5 / 0.6931471805599453 * m * m / (z + m * more)


def heaviest(
    weighed: Sequence[tuple[int, int | float]], k: int = 10, capacity: int = 1024
) -> TopKValue:
    """weighed: keys of 64 bits, unsigned, with weights."""
    sums: dict[int, Fraction] = {}
    counts = Counter(key for key, weight in weighed if finite(weight))
    for key, weight in weighed:
        if finite(weight):
            sums[key] = sums.get(key, Fraction(0)) + Fraction(weight)

    def place(key: int) -> int:
        word = _mix(key)
        return word - (1 << 64 if word >> 63 else 0)

    kept = sorted(sums, key=place)[:capacity]
    other = sum((sums[key] for key in sums if key not in set(kept)), Fraction(0))
    complete = len(kept) == len(sums)
    bounded = all(weight >= 0 for _, weight in weighed if finite(weight))
    top = sorted(kept, key=lambda key: (-sums[key], place(key)))[:k]
    entries = tuple(
        Heavy(key, nearest(sums[key]), counts[key], complete or (bounded and sums[key] >= other))
        for key in top
    )
    rest = sum((sums[key] for key in sums if key not in top), Fraction(0))
    rest_count = sum(counts[key] for key in sums if key not in top)
    excluded = sum(not finite(weight) for _, weight in weighed)
    return TopKValue(entries, nearest(rest), rest_count, complete, excluded)


def frequent(points: Sequence[Sample]) -> TopKValue:
    keys = [0x7FF8 << 48 if math.isnan(p.value) else bits(float(p.value) + 0.0) for p in points]
    return heaviest([(key, 1) for key in keys])


SKETCH_REFERENCES: dict[str, Callable[[Sequence[Sample]], Any]] = {
    "distinct_count": distinct,
    "explicit_histogram": explicit,
    "exponential_histogram": exponential,
    "histogram_avg": observed_mean,
    "histogram_count": lambda points: float(len(_numbers(points))),
    "histogram_sum": observed_sum,
    "p50": lambda points: quantile(points, 0.5),
    "p90": lambda points: quantile(points, 0.9),
    "p99": lambda points: quantile(points, 0.99),
    "top_k": frequent,
}
