"""What samples of cumulative histograms add, by the rules of `tests/temporality/reference.py`.

Their extremes are of whole runs, so of no window: what they add says none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from oracle.contents import EXPLICIT, Content
from temporality import reference

if TYPE_CHECKING:
    from oracle.log import Point

GAP = 15 * 60 * 1_000_000_000


def is_sample(point: Point) -> bool:
    """Whether the point is a sample of a cumulative histogram."""
    return point.content is not None and point.content.cumulative


def as_sample(point: Point) -> reference.Sample:
    """As the rules take it."""
    content = point.content
    assert content is not None
    start = point.start if point.start < 1 << 63 else -1
    said = (content.count, content.sum, content.min, content.max)
    if content.kind == EXPLICIT:
        counts = tuple(count for _, count in content.buckets)
        return reference.Sample(0, start, point.time, *said, bounds=content.bounds, counts=counts)
    sides = (
        tuple((index, count) for (sign, index), count in content.buckets if sign == wanted)
        for wanted in (1, -1)
    )
    shape = (content.scale, content.zeros, content.threshold, *sides)
    return reference.Sample(0, start, point.time, *said, True, None, (), *shape)


def ranked(points: Sequence[Point]) -> list[Point]:
    """With values that order them as twins are: the last of one time is the one that counts."""
    strengths: Any = sorted({reference.strength(as_sample(point))[:3] for point in points})
    place = {strength: number for number, strength in enumerate(strengths)}
    return [
        replace(point, value=place[reference.strength(as_sample(point))[:3]]) for point in points
    ]


def added(point: Point, previous: Point | None, pane: int) -> Point | None:
    """The point with what it adds for its content; None: it only sets the base line."""
    before = None if previous is None else as_sample(previous)
    delta, _ = reference.one(as_sample(point), before, pane, GAP)
    if delta is None:
        return None
    content = point.content
    assert content is not None
    if content.kind == EXPLICIT:
        made: tuple[Any, ...] = (delta.shape[0], tuple(enumerate(delta.shape[1])), 0, 0, 0.0)
    else:
        scale, threshold, zeros, positive, negative = delta.shape
        sides = ((1, positive), (-1, negative))
        buckets = [((sign, at), n) for sign, side in sides for at, n in side.items() if n]
        made = ((), tuple(buckets), scale, zeros, threshold)
    total = float(delta.sum) if isinstance(delta.sum, int) else delta.sum
    return replace(
        point,
        content=Content(
            content.kind, True, False, delta.count, total, None, None, *made, wrong=False
        ),
    )


def noticed(point: Point, previous: Point | None, pane: int) -> str:
    """What is told of it in the account of resets; empty: nothing."""
    before = None if previous is None else as_sample(previous)
    return reference.one(as_sample(point), before, pane, GAP)[1] or ""
