"""What must be noticed about cumulative samples in time, by definition and kind; plain loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from oracle import epochs, increments, pooled, units
from oracle.definitions import COUNTERS, Definition
from oracle.log import Partition, Point
from oracle.oracle import STREAM_GAP, Tally, _counts, sealed_at, window_end
from oracle.plain import _exact_order, _order


def noticed(partitions: Sequence[Partition], definition: Definition) -> Counter[str]:
    """How many samples of each kind the panes of a definition held when they sealed."""
    found: Counter[str] = Counter()
    if definition.over_time not in COUNTERS and not definition.instrument:
        return found
    shaped = bool(definition.instrument)
    for partition in partitions:
        streams: dict[str, list[Point]] = {}
        for point in partition.points:
            sample = point.kind == "cumulative" or increments.is_sample(point)
            if sample and _counts(definition, partition, point, Tally()):
                read = pooled.as_read(definition, units.as_read(definition, point))
                assert read is not None
                streams.setdefault(point.stream, []).append(read)
        for members in streams.values():
            if shaped:
                members = increments.ranked(members)
            for end in {window_end(point.time, definition.finest) for point in members}:
                seal = sealed_at(partition, definition, end)
                if seal is not None and epochs.owns(partition, end):
                    there = [point for point in members if point.record <= seal]
                    found += _in_pane(there, end, definition.finest, shaped)
    return found


def _in_pane(there: list[Point], end: int, size: int, shaped: bool) -> Counter[str]:
    found: Counter[str] = Counter()
    times = sorted({point.time for point in there if end - size < point.time <= end})
    for time in times:
        twins = [point for point in there if point.time == time]
        found["tie"] += len(twins) - 1
        earlier = [point for point in there if point.time < time]
        newest = max((point.time for point in earlier), default=None)
        before = _strongest([p for p in earlier if p.time == newest]) if earlier else None
        strongest = _strongest(twins)
        if shaped:
            kind = increments.noticed(strongest, before, size)
        else:
            kind = _kind(strongest, before, size)
        found[kind] += kind != ""
    return +found


def _strongest(twins: list[Point]) -> Point:
    return max(twins, key=lambda p: (_order(p.value), _exact_order(p.value), p.start))


def _kind(s: Point, q: Point | None, size: int) -> str:
    start = s.start if s.start < s.time else 0
    if q is None:
        inside = start and window_end(start, size) == window_end(s.time, size)
        return "" if inside else "unknown-start"
    if s.time - q.time > STREAM_GAP:
        return "gap"
    if start and 0 < q.start < 1 << 63 and start != q.start:
        return "overlap" if start < q.time else "start-changed"
    return "decreased" if s.value < q.value else ""
