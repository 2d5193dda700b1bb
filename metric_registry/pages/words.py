"""What a definition's number means, as sentences in the words of docs/what-a-number-means.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metric_registry.durations import render
from metric_registry.granularities import text_of
from metric_registry.plan import ResolvedDefinition

_OVER_TIME = {
    "sum": "the sum of a stream's points in the window",
    "count": "how many points a stream has in the window",
    "min": "the smallest of a stream's points in the window",
    "max": "the greatest of a stream's points in the window",
    "avg": "the mean of a stream's points in the window",
    "last": "the newest of a stream's points in the window",
    "increase": "what a stream's counter added in the window, over restarts of whoever counts",
    "rate": "what a stream's counter added in the window, a second",
}
_OVER_SPACE = {
    "sum": "the numbers of a group's streams are added up",
    "count": "of a group it is told how many streams had such a number",
    "min": "of a group's streams the smallest such number is taken",
    "max": "of a group's streams the greatest such number is taken",
    "avg": "of a group's streams the mean is taken, in which each stream weighs the same",
    "last": "of a group's streams that one is taken whose point is the newest",
}
_POINTS = {
    "histogram": "a histogram of",
    "exponential_histogram": "an exponential histogram of",
}


def meaning(one: ResolvedDefinition) -> Iterator[str]:
    """One sentence a step, from points to revisions."""
    if one.over_points:
        what = one.source_instrument.replace("_", " ")
        made = _POINTS.get(one.instrument, f"{one.over_points} over")
        points = f"all {what + ' ' if what else ''}points of a group in the window"
        yield f"One row is {made} {points}, whichever stream they are of."
    else:
        yield f"First, over time: {_OVER_TIME[one.over_time]}."
        yield f"Then, over space: {_OVER_SPACE[one.over_space]}."
    kept = [name for name in one.group_by if name != "tenant"]
    if kept:
        yield f"A group is what has the same tenant and the same {listed(kept)}."
    else:
        yield "A group is all of a tenant."
    if one.source_unit == one.read_unit:
        yield f"Points that say no unit are in {_unit(one.source_unit)}; others are converted."
    else:
        yield (
            f"Points that say no unit are in {_unit(one.source_unit)}; all are converted to "
            f"{_unit(one.read_unit)}, exactly."
        )
    yield (
        f"Windows are (start, end], of {listed([text_of(size) for size in one.granularities])}. "
        f"A window is sealed when the watermark has passed its end by {render(one.grace_ns)}, and "
        "is published once; this number is final on the final topic."
    )
    if one.corrections_ns:
        yield (
            f"A point that comes up to {render(one.corrections_ns)} later makes a new revision of "
            "its rows in the table; what is later still counts nowhere, and is told in the "
            "ledger."
        )
    else:
        yield "A point that comes later counts nowhere, and is told in the ledger."
    yield (
        f"Up to {one.series_limit:,} groups of a tenant in a window are rows of their own; those "
        "beyond are one row, otel.metric.overflow=true."
    )


def _unit(unit: str) -> str:
    return "no unit (1)" if unit == "1" else unit


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
