"""Cumulative to delta for histograms by the rules alone: dictionaries, integers and Fractions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

Buckets = dict[int, int]
EMPTY_SCALE = 20


@dataclass(frozen=True)
class Sample:
    """A histogram point. Explicit: bounds and counts; else the other fields. None: not said."""

    stream: int
    start: int
    time: int
    count: int
    sum: float | None
    min: float | None = None
    max: float | None = None
    recorded: bool = True
    bounds: tuple[float, ...] | None = None
    counts: tuple[int, ...] = ()
    scale: int = 0
    zeros: int = 0
    threshold: float = 0.0
    positive: tuple[tuple[int, int], ...] = ()
    negative: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Delta:
    """What a sample adds. sum: exact, or a double that is not finite, or None: not known."""

    stream: int
    start: int
    time: int
    whole: bool
    count: int
    sum: Any
    min: float | None
    max: float | None
    shape: tuple[Any, ...]


def bucket_of(value: float, scale: int) -> int:
    """i, where base**i < value <= base**(i + 1), by integers alone."""
    exact = Fraction(value)
    if scale <= 0:
        power = 0
        while exact > Fraction(2) ** power:
            power += 1
        while exact <= Fraction(2) ** (power - 1):
            power -= 1
        return (power - 1) >> -scale  # 2**(power - 1) < value <= 2**power
    raised = exact ** (1 << scale)
    i = raised.numerator.bit_length() - raised.denominator.bit_length() - 2
    while raised > Fraction(2) ** (i + 1):
        i += 1
    return i


@cache
def upper_bound(i: int, scale: int) -> float:
    """The greatest double up to base**(i + 1)."""
    if scale <= 0:
        return math.ldexp(1.0, (i + 1) << -scale)
    guess = 2.0 ** ((i + 1) / (1 << scale))
    limit = Fraction(2) ** (i + 1)
    while Fraction(guess) ** (1 << scale) > limit:
        guess = math.nextafter(guess, 0)
    while Fraction(math.nextafter(guess, math.inf)) ** (1 << scale) <= limit:
        guess = math.nextafter(guess, math.inf)
    return guess


def coarse(buckets: Sequence[tuple[int, int]], by: int) -> Buckets:
    found: Buckets = {}
    for index, count in buckets:
        if count:
            found[index >> by] = found.get(index >> by, 0) + count
    return dict(sorted(found.items()))


def less(mine: Buckets, other: Buckets) -> Buckets:
    keys = mine.keys() | other.keys()
    left = {k: mine.get(k, 0) - other.get(k, 0) for k in keys}
    return {k: left[k] for k in sorted(left) if left[k]}


def sums_less(now: float | None, then: float | None) -> Any:
    if now is None or then is None:
        return None
    if math.isfinite(now) and math.isfinite(then):
        return Fraction(now) - Fraction(then)
    return now - then


def never_negative(s: Sample) -> bool:
    if s.min is not None and s.min >= 0:
        return True
    if s.bounds is None:
        return not any(n for _, n in s.negative) and (s.zeros == 0 or s.threshold == 0)
    lower = (-math.inf, *s.bounds)
    return not any(n and low < 0 for low, n in zip(lower, s.counts, strict=True))


def shape_of(s: Sample) -> tuple[Any, ...]:
    """What a whole sample's buckets are."""
    if s.bounds is not None:
        return (s.bounds, s.counts)
    positive, negative = coarse(s.positive, 0), coarse(s.negative, 0)
    scale = s.scale if positive or negative else EMPTY_SCALE
    return (scale, s.threshold if s.count else 0.0, s.zeros, positive, negative)


def less_shape(s: Sample, q: Sample) -> tuple[Any, ...] | None:
    """The buckets of s less those of q; None if some fall."""
    if s.bounds is not None:
        left = tuple(a - b for a, b in zip(s.counts, q.counts, strict=True))
        return None if min(left) < 0 else (s.bounds, left)
    scales = [x.scale for x in (s, q) if any(n for _, n in (*x.positive, *x.negative))]
    scale = min(scales, default=EMPTY_SCALE)
    zeros, threshold = s.zeros - q.zeros, max(s.threshold, q.threshold)
    sides: list[Buckets] = []
    cut = False
    for side in ("positive", "negative"):
        mine = coarse(getattr(s, side), max(0, s.scale - scale))
        other = coarse(getattr(q, side), max(0, q.scale - scale))
        if s.threshold != q.threshold and (mine or other):
            limit = bucket_of(threshold, scale)
            cut = cut or limit in mine or limit in other
            zeros += sum(n for k, n in mine.items() if k <= limit)
            zeros -= sum(n for k, n in other.items() if k <= limit)
            mine = {k: n for k, n in mine.items() if k > limit}
            other = {k: n for k, n in other.items() if k > limit}
        sides.append(less(mine, other))
    if zeros < 0 or any(n < 0 for side in sides for n in side.values()):
        return None
    if cut:
        threshold = upper_bound(bucket_of(threshold, scale), scale)
    if s.count == q.count:
        threshold = 0.0
    return (scale if any(sides) else EMPTY_SCALE, threshold, zeros, *sides)


def difference(s: Sample, q: Sample) -> Delta | None:
    """What s has more than q; None if it is no continuation of it."""
    shape = less_shape(s, q)
    if s.count < q.count or shape is None:
        return None
    total = sums_less(s.sum, q.sum)
    if s.count > q.count and never_negative(s) and total is not None and total < 0:
        return None
    if s.count == q.count and not isinstance(total, Fraction):
        total = Fraction(0)
    return Delta(s.stream, q.time, s.time, False, s.count - q.count, total, None, None, shape)


def whole(s: Sample, since: int) -> Delta:
    total = s.sum if s.sum is None or not math.isfinite(s.sum) else Fraction(s.sum)
    said = (total, s.min, s.max) if s.count else (Fraction(0), None, None)
    return Delta(s.stream, since, s.time, True, s.count, *said, shape_of(s))


def nothing(s: Sample, since: int) -> Delta:
    empty = replace(s, count=0, zeros=0, positive=(), negative=(), counts=(0,) * len(s.counts))
    return replace(whole(empty, since), whole=False)


def strength(s: Sample) -> Any:
    """Of samples of one time the one with the greatest count, sum, and start is taken."""
    unknown = s.sum is None or math.isnan(s.sum)
    return (s.count, unknown, 0.0 if unknown else s.sum, s.start)


def deltas(
    samples: Sequence[Sample],
    *,
    pane: int,
    gap: int,
    after: int = 0,
    choose: Callable[[list[Sample]], Sample] | None = None,
) -> tuple[list[Delta], list[tuple[int, str, int]]]:
    """Every contribution after `after`, and what is noticed, both by stream and time."""
    found: list[Delta] = []
    noticed: list[tuple[int, str, int]] = []
    lines: dict[tuple[int, Any], list[Sample]] = {}
    for s in samples:
        if s.recorded:
            lines.setdefault((s.stream, s.bounds), []).append(s)
    for members in lines.values():
        before: Sample | None = None
        for time in sorted({s.time for s in members}):
            twins = [s for s in members if s.time == time]
            s = max(twins, key=strength)
            if choose is not None:
                s = choose([t for t in twins if strength(t) == strength(s)])
            if time > after:
                noticed += [(s.stream, "tie", time)] * (len(twins) - 1)
                delta, kind = one(s, before, pane, gap)
                found += [] if delta is None else [delta]
                noticed += [] if kind is None else [(s.stream, kind, time)]
            before = s
    return found, sorted(noticed)


def one(s: Sample, q: Sample | None, pane: int, gap: int) -> tuple[Delta | None, str | None]:
    """What a sample adds behind the one before it, and what is noticed."""
    start = s.start if 0 < s.start < s.time else None
    if q is None or s.time - q.time > gap:
        inside = start is not None and math.ceil(Fraction(start, pane)) == math.ceil(
            Fraction(s.time, pane)
        )
        kind = "gap" if q is not None else (None if inside else "unknown-start")
        return (whole(s, s.start) if inside else None), kind
    if start is not None and q.start and start != q.start:
        if start < q.time:
            return nothing(s, q.time), "overlap"
        return whole(s, start), "start-changed"
    if q.count == 0:
        return whole(s, q.time), None
    delta = difference(s, q)
    return (whole(s, q.time), "decreased") if delta is None else (delta, None)
