"""The same answers by brute force: loops over every window and point, no database, no cleverness.

Quadratic, for small inputs; tests hold it equal to `oracle.compute`. It shares with it the reading
of records and the matching of points; selection, sealing and arithmetic are written again.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from oracle import epochs, increments, pooled, units
from oracle.definitions import Definition
from oracle.guard import Labels, published
from oracle.histograms import Population
from oracle.log import Partition, Point
from oracle.oracle import STREAM_GAP, Key, Tally, _counts, group_of
from oracle.windows import Size, ends_of, start_of
from temporality import reference

Answer = dict[Any, tuple[Any, int, int]]  # (bits of the value, or a histogram; points, late)


def compute(
    partitions: Sequence[Partition], definitions: Sequence[Definition]
) -> tuple[dict[tuple[Key, str], tuple[int, int, int]], dict[Key, tuple[int, int, int]]]:
    """First publications by (row, domain), latest values by row."""
    first: Answer = {}
    latest: Answer = {}
    for d in definitions:
        counted = [
            (partition, pooled.as_read(d, units.as_read(d, point)), group_of(d, point))
            for partition in partitions
            for point in partition.points
            if _counts(d, partition, point, Tally())
        ]
        windows = {
            (size, end)
            for _, point, _ in counted
            for size in d.sizes
            for end in ends_of(point.time, size)
        }
        carries = any(o.final and o.carry for o in definitions if _same_panes(o, d))
        domains = {epochs.domain_of(p.topic) for p in partitions}
        for size, end in windows:
            closed = [t for t in domains if _closed(partitions, t, d, end, carries)]
            mine = [one for one in counted if one[0].since < end <= one[0].until]
            for domain in closed:
                early = [
                    (partition, point, of)
                    for partition, point, of in mine
                    if epochs.domain_of(partition.topic) == domain
                    and point.record <= _seal(partition, d, end)
                ]
                for labels, answer in _rows(d, size, end, early).items():
                    first[Key(d.name, size, end, labels), domain] = answer
            every = [one for one in mine if epochs.domain_of(one[0].topic) in closed]
            for labels, answer in _rows(d, size, end, every).items():
                latest[Key(d.name, size, end, labels)] = answer
    return first, latest


def _rows(
    d: Definition, size: Size, end: int, candidates: list[tuple[Partition, Point, Labels]]
) -> dict[Labels, tuple[int, int, int]]:
    groups = {of for _, point, of in candidates if start_of(end, size) < point.time <= end}
    mine = {of: [(p, point) for p, point, group in candidates if group == of] for of in groups}
    present = [of for of in groups if row(d, size, end, mine[of]) is not None]
    found = {}
    for of, name in published(d.groups, present).items():
        found.setdefault(name, []).extend(mine[of])
    return {name: _row(d, size, end, members) for name, members in found.items()}


def _same_panes(one: Definition, other: Definition) -> bool:
    return all(getattr(one, f) == getattr(other, f) for f in ("finest", "grace", "corrections"))


def _closed(
    partitions: Sequence[Partition], domain: str, d: Definition, end: int, carries: bool
) -> bool:
    """All that count points up to there have come to it, or to their own end before it."""
    members = [p for p in partitions if epochs.domain_of(p.topic) == domain and p.since < end]
    come = all(_seal(p, d, min(end, p.until)) < math.inf for p in members)
    ended = [p for p in members if p.until < end] if carries else []
    return come and all(_seal(p, d, end) < math.inf or _is_over(p, d) for p in ended)


def _is_over(partition: Partition, d: Definition) -> bool:
    """Whether a record sealed something when nothing of the ended epoch could change any more."""
    reached = -math.inf
    for mark in partition.watermark:
        now = mark if math.isinf(mark) else (mark - d.grace) // d.finest
        if now > reached and mark - d.corrections > partition.until:
            return True
        reached = max(reached, now)
    return False


def _seal(partition: Partition, d: Definition, end: float) -> float:
    for record, watermark in enumerate(partition.watermark):
        if watermark >= end + d.grace:
            return record
    return math.inf


def _row(
    d: Definition, size: Size, end: int, candidates: list[tuple[Partition, Point]]
) -> tuple[int, int, int] | None:
    found = row(d, size, end, candidates)
    if found is None:
        return None
    shaped = isinstance(found[0], Population)
    return (found[0].seen() if shaped else _bits(_double(found[0])), *found[1:])


def row(
    d: Definition, size: Size, end: int, candidates: list[tuple[Partition, Point]]
) -> tuple[Any, int, int] | None:
    """The exact number of a group's window over these points, how many count, how many late."""
    by_stream: dict[tuple[str, str], list[tuple[Partition, Point]]] = {}
    for partition, point in candidates:
        by_stream.setdefault((partition.topic, point.stream), []).append((partition, point))
    numbers: list[tuple[int, Any]] = []
    every: list[Point] = []
    points = late = 0
    for members in by_stream.values():
        taken: list[tuple[Point, Any]] = []
        for partition, point in members:
            number: Any = point.value
            others = [other for _, other in members]
            if d.over_time in ("increase", "rate") and point.kind == "cumulative":
                number = _increase(d, point, others)
            elif increments.is_sample(point):
                number, point = _of_histogram(d, point, others)
            if start_of(end, size) < point.time <= end and number is not None:
                taken.append((point, number))
                late += point.record > _seal(partition, d, end)
        points += len(taken)
        if taken:
            newest = max(taken, key=lambda one: (one[0].time, _order(one[1])))
            in_last = _double(newest[1])
            found = in_last if d.over_time == "last" else _fold(d.over_time, taken)
            numbers.append((newest[0].time, found))
            every += [point for point, _ in taken]
    if not numbers:
        return None
    value = pooled.result_of(d, every) if d.over_points else _in_space(d, size, numbers)
    return value, points, late


def _in_space(d: Definition, size: int, numbers: list[tuple[int, Any]]) -> Any:
    """The group's number of those of its streams, each with the time of its newest point."""
    if d.over_time == "rate":
        seconds = size // 1_000_000_000
        if d.over_space in ("sum", "avg"):
            streams = len(numbers) if d.over_space == "avg" else 1
            return _double(_fold("sum", numbers) / (streams * seconds))
        numbers = [(time, _double(found / seconds)) for time, found in numbers]
    if d.over_space == "last":
        return max(numbers, key=lambda one: (one[0], _order(one[1])))[1]
    return _fold(d.over_space, numbers)


def _increase(d: Definition, sample: Point, stream: list[Point]) -> Any:
    samples = [s for s in stream if s.kind == "cumulative"]

    def strength(s: Point) -> Any:
        return (_order(s.value), _exact_order(s.value), s.start, -s.record, -stream.index(s))

    twins = [s for s in samples if s.time == sample.time]
    if max(twins, key=strength) is not sample:
        return None
    nearby = [s for s in samples if sample.time - STREAM_GAP <= s.time < sample.time]
    if not nearby:
        finest = d.finest
        end = math.ceil(Fraction(sample.time, finest)) * finest
        inside = end - finest < sample.start < sample.time
        return sample.value if inside and sample.start > 0 else None
    newest = max(s.time for s in nearby)
    q = max((s for s in nearby if s.time == newest), key=strength)
    named = 0 < sample.start < sample.time and 0 < q.start < 2**63
    if named and q.start != sample.start:
        return sample.value if sample.start >= q.time else 0
    if sample.value < q.value:
        return sample.value
    if isinstance(sample.value, int) and isinstance(q.value, int):
        return sample.value - q.value
    if math.isfinite(sample.value) and math.isfinite(q.value):
        return Fraction(sample.value) - Fraction(q.value)
    return float(sample.value) - float(q.value)


def _of_histogram(d: Definition, sample: Point, stream: list[Point]) -> tuple[Any, Point]:
    """(0, the sample with what it adds), or (None, the sample) if it adds nothing."""

    def strength(s: Point) -> Any:
        return reference.strength(increments.as_sample(s)), -s.record, -stream.index(s)

    if max((s for s in stream if s.time == sample.time), key=strength) is not sample:
        return None, sample
    earlier = [s for s in stream if s.time < sample.time]
    newest = max((s.time for s in earlier), default=0)
    before = max((s for s in earlier if s.time == newest), key=strength, default=None)
    found = increments.added(sample, before, d.finest)
    return (None, sample) if found is None else (0, found)


def _fold(how: str, pairs: list[tuple[Any, Any]]) -> Any:
    numbers = [number for _, number in pairs]
    if how == "count":
        return len(numbers)
    if how in ("min", "max"):
        doubles = [_double(number) for number in numbers]
        if any(x != x for x in doubles):
            return math.nan
        return (min if how == "min" else max)(doubles, key=_order)
    strange = [x for x in numbers if isinstance(x, float) and not math.isfinite(x)]
    if strange:
        return sum(strange)
    exact = sum((Fraction(x) for x in numbers), Fraction(0))
    return _double(exact / len(numbers)) if how == "avg" else exact


def _double(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _order(number: Any) -> tuple[int, float, float]:
    double = _double(number)
    return (1, 0.0, 0.0) if double != double else (0, double, math.copysign(1.0, double))


def _exact_order(number: Any) -> Any:
    return 0 if isinstance(number, float) and not math.isfinite(number) else Fraction(number)


def _bits(double: float) -> int:
    return 0x7FF8 << 48 if double != double else struct.unpack(">Q", struct.pack(">d", double))[0]
