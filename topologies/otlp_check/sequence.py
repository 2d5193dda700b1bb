"""How the points of one stream may follow each other: delta, cumulative, sampled.

`Stream` remembers of a stream what its next point is held against: the last point, and for delta
streams the time that was covered (at most RANGES stretches of it, the newest; what is forgotten
can hide an overlap, and never makes one up). All functions return what is wrong, and remember.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from topologies.otlp_check.findings import Problem
from topologies.otlp_check.growth import shrunk
from topologies.otlp_check.points import Distribution

RANGES = 8
Problems = list[Problem]
FINE: Problems = []
"""Nothing is wrong: shared, never changed."""


class Stream:
    """One stream: its last point, by times in Unix nanoseconds, and where that was.

    `measured` is the time of the last point that had a value (-1: none yet), `ended` says that
    the last point was one without a recorded value.
    """

    __slots__ = ("ended", "measured", "ranges", "start", "time", "told", "value", "where")

    def __init__(self) -> None:
        self.start = 0
        self.time = self.measured = -1
        self.value: Any = None
        self.where = ""
        self.ended = self.told = False
        self.ranges: list[tuple[int, int]] | None = None

    def take(self, start: int, time: int, value: Any, where: str) -> None:
        """Remember a point as the last one."""
        self.start, self.time, self.where = start, time, where
        self.ended = value is None
        if value is not None:
            self.value, self.measured = value, time

    def last(self) -> str:
        """The last point, as text."""
        value = "no recorded value" if self.ended else self.value
        return f"{value} for ({self.start}, {self.time}] at {self.where}"


Step = Callable[[Stream, int, int, Any, str, bool], Problems]
"""(stream, start, time, value or None, where, monotonic) -> what is wrong."""


def _found(start: int, time: int, value: Any) -> str:
    return f"{'no recorded value' if value is None else value} for ({start}, {time}]"


def sampled(s: Stream, start: int, time: int, value: Any, where: str, _: bool) -> Problems:
    """Gauges: points are identified by their time, the start is ignored."""
    if time > s.time:
        s.take(start, time, value, where)
        return FINE
    code = "duplicate-point" if time == s.time else "out-of-order-point"
    return [(code, s.last(), _found(start, time, value))]


def delta(s: Stream, start: int, time: int, value: Any, where: str, monotonic: bool) -> Problems:
    """Intervals (start, time] of a stream may not overlap; between them may be gaps."""
    problems = FINE
    if monotonic and value is not None and not isinstance(value, Distribution) and value < 0:
        problems = [("negative-monotonic-sum", "0 or more", _found(start, time, value))]
    if s.time < 0:
        s.ranges = [(start, time)] if start else []
        s.take(start, time, value, where)
        return problems
    if start == s.time and time > start and s.ranges and s.ranges[-1][1] == start:
        s.ranges[-1] = (s.ranges[-1][0], time)
        s.take(start, time, value, where)
        return problems
    return problems + _apart(s, start, time, value, where)


def _apart(s: Stream, start: int, time: int, value: Any, where: str) -> Problems:
    """A delta point that does not begin where the last one ended."""
    last, found = s.last(), _found(start, time, value)
    ranges: list[tuple[int, int]] = s.ranges or []
    over = [r for r in ranges if r[0] < time and start < r[1]] if start else []
    problems: Problems = []
    if start == s.start and time == s.time:
        return [("duplicate-point", last, found)]
    if over:
        own = s.start < time and start < s.time
        against = last if own else f"({over[-1][0]}, {over[-1][1]}], which was covered"
        problems.append(("overlapping-intervals", against, found))
        ranges = [r for r in ranges if r not in over]
        start_all = min(start, *(r[0] for r in over))
        ranges.append((start_all, max(time, *(r[1] for r in over))))
    elif time <= s.time and not start:
        code = "duplicate-point" if time == s.time else "out-of-order-point"
        problems.append((code, last, found))
    elif time < s.time:
        problems.append(("out-of-order-point", last, found))
        ranges.insert(0, (start, time))
    elif start:
        if start > s.time and s.start:
            problems.append(("gap", f"covered up to {s.time}", found))
        ranges.append((start, time))
    s.ranges = ranges[-RANGES:]
    if time >= s.time:
        s.take(start, time, value, where)
    return problems


def cumulative(
    s: Stream, start: int, time: int, value: Any, where: str, monotonic: bool
) -> Problems:
    """A start stays until a reset; under it monotonic values and counts do not fall."""
    if value is None:
        return _without_value(s, start, time, where)
    if s.measured < 0:
        problems = _beginning(start, time, value, monotonic)
    elif start == s.start or not start or (not s.start and start < s.measured):
        return _same_sequence(s, start, time, value, where, monotonic)
    elif start >= s.measured and time >= s.time:
        note: Problem = ("reset", s.last(), _found(start, time, value))
        problems = [note, *_beginning(start, time, value, monotonic)]
    elif start < s.start and time <= s.start:
        return [("out-of-order-point", s.last(), _found(start, time, value))]
    else:
        code = "start-went-back" if start < s.start else "overlapping-sequences"
        problems = [(code, s.last(), _found(start, time, value))]
    if time >= s.time:
        s.take(start, time, value, where)
    return problems


def _beginning(start: int, time: int, value: Any, monotonic: bool) -> Problems:
    """The first point of a sequence; with a known start it counts from zero."""
    if not isinstance(value, Distribution) and monotonic and value < 0 < start < time:
        return [("negative-monotonic-sum", f"0 at its start {start}", _found(start, time, value))]
    return []


def _without_value(s: Stream, start: int, time: int, where: str) -> Problems:
    if time > s.time:
        s.take(s.start or start, time, None, where)
        return FINE
    code = "duplicate-point" if time == s.time else "out-of-order-point"
    return [(code, s.last(), _found(start, time, None))]


def _same_sequence(
    s: Stream, start: int, time: int, value: Any, where: str, monotonic: bool
) -> Problems:
    if time > s.time and not s.ended and start == s.start and not isinstance(value, Distribution):
        # The way of nearly every point.
        problems = FINE if not monotonic or not value < s.value else _fell(s, start, time, value)
        s.take(start, time, value, where)
        return problems
    if time == s.time:
        return [("duplicate-point", s.last(), _found(start, time, value))]
    problems: Problems = []
    if time < s.time:
        problems.append(("out-of-order-point", s.last(), _found(start, time, value)))
    elif s.ended and start:
        problems.append(("resumed-without-new-start", s.last(), _found(start, time, value)))
    if monotonic or isinstance(value, Distribution):
        problems += _fell(s, start, time, value)
    if time > s.time:
        s.take(start or s.start, time, value, where)
    return problems


def _fell(s: Stream, start: int, time: int, value: Any) -> Problems:
    """What fell between the last point and this one, in the order of their times."""
    before, after = (s.value, value) if time > s.measured else (value, s.value)
    last, here = s.last(), _found(start, time, value)
    if not isinstance(before, Distribution):
        code = "decrease-without-reset" if start else "decrease-without-start-time"
        return [(code, last, here)] if after < before else []
    found = list(shrunk(before, after))
    if not start:
        unknown = ("decrease-without-reset", "bucket-decrease", "extremum-shrank")
        if any(code in unknown for code, _, _ in found):
            return [("decrease-without-start-time", last, here)]
    return [(code, f"{one} in {last}", f"{two} in {here}") for code, one, two in found]
