"""Windows, and how long they wait."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from metric_registry.durations import SECOND, UNITS_NS, render, render_seconds
from metric_registry.fields import Problem
from metric_registry.rules.subject import Rule, Subject
from metric_registry.syntax.nodes import Path

_DAY = UNITS_NS["d"] // SECOND
_GRANULARITIES: Path = ("time", "granularities")


def windows_nest(subject: Subject) -> Iterator[Problem]:
    """TM301: each granularity is a multiple of the next finer one."""
    written = subject.definition.time.granularities
    for finer, coarser in itertools.pairwise(sorted(set(written))):
        if coarser % finer:
            yield Problem(
                code="TM301",
                message=f"a window of {render_seconds(coarser)} is not made of whole windows of "
                f"{render_seconds(finer)}",
                path=(*_GRANULARITIES, written.index(coarser)),
                help=_nesting_advice(finer, coarser),
            )


def _nesting_advice(finer: int, coarser: int) -> str:
    below = coarser - coarser % finer
    near = [size for size in (below, below + finer) if size != finer]
    multiples = " or ".join(f"`{render_seconds(size)}`" for size in near)
    divisor = math.gcd(finer, coarser)
    return (
        f"use {multiples} for {render_seconds(coarser)}, or `{render_seconds(divisor)}` for "
        f"{render_seconds(finer)}"
    )


def windows_fit_the_day(subject: Subject) -> Iterator[Problem]:
    """TM307: sizes that neither divide a day nor are one."""
    for index, size in enumerate(subject.definition.time.granularities):
        if size > _DAY:
            message = f"windows of {render_seconds(size)} are counted from Thursday 1970-01-01"
        elif _DAY % size:
            message = f"windows of {render_seconds(size)} do not divide a day"
        else:
            continue
        yield Problem(
            code="TM307",
            message=message,
            path=(*_GRANULARITIES, index),
            help="use a size that divides a day, such as `5m`, `15m` or `6h`",
        )


def grace(subject: Subject) -> Iterator[Problem]:
    """TM304: windows that wait too long."""
    given, longest = subject.definition.time.grace, subject.settings.longest_grace_ns
    if given > longest:
        yield Problem(
            code="TM304",
            message=f"a grace of {render(given)} holds every window back; the longest is "
            f"{render(longest)}",
            path=("time", "grace"),
            help="shorten it, and let `corrections` take what comes later",
        )


def corrections(subject: Subject) -> Iterator[Problem]:
    """TM305, TM306: a horizon between the grace and what the raw log holds."""
    time, kept = subject.definition.time, subject.settings.raw_retention_ns
    path = ("time", "corrections")
    if 0 < time.corrections < time.grace:
        yield Problem(
            code="TM305",
            message=f"corrections of {render(time.corrections)} end before the grace of "
            f"{render(time.grace)} is over",
            path=path,
            help="make it longer than the grace, or `0s` for no corrections",
        )
    if time.corrections > kept:
        yield Problem(
            code="TM306",
            message=f"corrections of {render(time.corrections)} need points that the raw log no "
            f"longer has: it keeps {render(kept)}",
            path=path,
            help=f"use at most `{render(kept)}`, or keep the raw topic longer",
        )


def freshness(subject: Subject) -> Iterator[Problem]:
    """TM308: a promise that the grace breaks."""
    promised, waits = subject.definition.service_level.freshness, subject.definition.time.grace
    if promised is not None and promised <= waits <= subject.settings.longest_grace_ns:
        yield Problem(
            code="TM308",
            message=f"a freshness of {render(promised)} cannot be kept with a grace of "
            f"{render(waits)}",
            path=("service_level", "freshness"),
            help="promise more than the grace, or shorten the grace",
        )


RULES: tuple[Rule, ...] = (windows_nest, windows_fit_the_day, grace, corrections, freshness)
