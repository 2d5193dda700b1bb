"""The grace that would have let late points in: a pure function of rows of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from metric_registry.durations import render
from streams.event_time.windows import SECOND

QUANTILE = 0.999
"""The share of late points that the recommended grace would have let in, at least."""


class Advice(NamedTuple):
    """A grace in ns, and what it would have done.

    late: points that came late, `beyond` of them past the corrections; in_time: how many of all
    these a grace of `grace` would have let in, at least.
    """

    grace: int
    late: int
    beyond: int
    in_time: int


def recommended(rows: Iterable[Mapping[str, Any]], quantile: float = QUANTILE) -> Advice | None:
    """From the lateness rows of one definition (of all partitions, of the same days).

    Lateness is known by powers of two seconds, so the grace is one, or the greatest lateness
    rounded up to a second if that is less. None: nothing came late.
    """
    counts: list[int] = []
    beyond = most = 0
    for row in rows:
        for histogram in (row["late"], row["beyond"]):
            counts.extend([0] * (len(histogram) - len(counts)))
            for bucket, count in enumerate(histogram):
                counts[bucket] += count
        beyond += sum(row["beyond"])
        most = max(most, row["most"])
    total = sum(counts)
    in_time = 0
    for bucket, count in enumerate(counts):
        in_time += count
        if in_time >= quantile * total > 0:
            longest = (most // SECOND + 1) * SECOND
            return Advice(min(SECOND << bucket, longest), total, beyond, in_time)
    return None


def sentences(rows: Iterable[Mapping[str, Any]], definition: str, grace: int) -> list[str]:
    """What to say of a definition with this grace (ns), of its newest day; empty: nothing.

    rows: lateness rows of any definitions and partitions.
    """
    mine = [row for row in rows if row["definition"] == definition]
    newest = max((row["day"] for row in mine), default=0)
    advice = recommended(row for row in mine if row["day"] == newest)
    if advice is None:
        return []
    points = "1 point" if advice.late == 1 else f"{advice.late:,} points"
    past = f", {advice.beyond:,} of them past the corrections" if advice.beyond else ""
    share = 1000 * advice.in_time // advice.late / 10
    return [
        f"{points} came late today (UTC){past}: with grace {render(advice.grace)} instead of "
        f"{render(grace)}, {share:g} % of them would have been in time, and each window published "
        f"{render(advice.grace - grace)} later"
    ]
