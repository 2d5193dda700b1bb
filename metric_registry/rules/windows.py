"""Windows, and how long they wait."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from metric_registry import zones
from metric_registry.durations import render, render_seconds
from metric_registry.fields import Problem
from metric_registry.granularities import (
    DAY,
    HOUR,
    Granularity,
    is_calendar,
    is_hopping,
    size_of,
    step_of,
    text_of,
)
from metric_registry.resolve import in_zone
from metric_registry.rules.subject import Rule, Subject
from metric_registry.syntax.nodes import Path

_GRANULARITIES: Path = ("time", "granularities")


def windows_nest(subject: Subject) -> Iterator[Problem]:
    """TM301: each granularity is made of whole windows of the next finer one."""
    written = subject.definition.time.granularities
    sizes = sorted({one for one in written if isinstance(one, int)})
    zone = zones.find(subject.definition.time.zone)
    local = zone.name != zones.UTC
    plain = [size for size in sizes if not (local and size == DAY)]
    for finer, coarser in itertools.pairwise(plain):
        if coarser % finer:
            yield _not_nested(
                finer, coarser, written.index(coarser), _nesting_advice(finer, coarser)
            )
    for index, one in enumerate(written):
        if is_hopping(one):
            yield from _hops_nest(index, one, plain)
        elif is_calendar(in_zone(one, zone.name)):
            yield from _days_nest(index, one, plain, zone)


def _days_nest(
    index: int, calendar: Granularity, plain: list[int], zone: zones.Zone
) -> Iterator[Problem]:
    """A day of the zone, and what is made of days, is made of every finer granularity."""
    wrong = [size for size in plain if size < size_of(calendar) and zone.whole % size]
    if wrong:
        fits = [size for size in (DAY, HOUR, 1800, 900, 60, 1) if zone.whole % size == 0]
        advice = f"days of {zone.name} begin on whole windows of {render_seconds(zone.whole)}"
        near = next((size for size in fits if size < wrong[0]), fits[-1])
        advice += f": use `{render_seconds(near)}` for {render_seconds(wrong[0])}"
        yield _not_nested(wrong[0], calendar, index, advice)


def _hops_nest(index: int, hopping: Granularity, plain: list[int]) -> Iterator[Problem]:
    hop = step_of(hopping)
    if plain and hop % plain[0]:
        advice = f"use a hop of whole windows of {render_seconds(plain[0])}, or a finer granularity"
        yield _not_nested(plain[0], hopping, index, advice)


def _not_nested(finer: Granularity, coarser: Granularity, index: int, advice: str) -> Problem:
    return Problem(
        code="TM301",
        message=f"a window of {text_of(coarser)} is not made of whole windows of {text_of(finer)}",
        path=(*_GRANULARITIES, index),
        help=advice,
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
        if not isinstance(size, int):
            continue
        if size > DAY:
            message = f"windows of {render_seconds(size)} are counted from Thursday 1970-01-01"
        elif DAY % size:
            message = f"windows of {render_seconds(size)} do not divide a day"
        else:
            continue
        yield Problem(
            code="TM307",
            message=message,
            path=(*_GRANULARITIES, index),
            help="use a size that divides a day, such as `5m`, `15m` or `6h`"
            if size < DAY
            else "use `1w` or `1mo`, which follow the calendar",
        )


MOST_STEPS = 120


def windows_of_many_steps(subject: Subject) -> Iterator[Problem]:
    """TM311: hopping windows that keep a great many rows open."""
    for index, one in enumerate(subject.definition.time.granularities):
        steps = size_of(one) // step_of(one)
        if steps > MOST_STEPS:
            yield Problem(
                code="TM311",
                message=f"windows of {text_of(one)} hold the rows of {steps:,} steps, each with "
                "every stream, for as long as they are open",
                path=(*_GRANULARITIES, index),
                help=f"use a hop of `{render_seconds(_hop_of(size_of(one)))}` or more",
            )


def _hop_of(size: int) -> int:
    """The least divisor of a size that makes few enough steps."""
    return next(hop for hop in range(-(-size // MOST_STEPS), size + 1) if size % hop == 0)


def zone_without_use(subject: Subject) -> Iterator[Problem]:
    """TM312: a zone that no granularity follows. Defaults may give one to all."""
    time = subject.definition.time
    followed = any(is_calendar(in_zone(g, time.zone)) for g in time.granularities)
    if time.zone != zones.UTC and not followed and subject.merged.says(("time", "zone")):
        yield Problem(
            code="TM312",
            message=f"no granularity follows the zone `{time.zone}`: windows of less than a day "
            "are the same in every zone",
            path=("time", "zone"),
            help="add `1d`, `1w` or `1mo`, or leave `zone` out",
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


RULES: tuple[Rule, ...] = (
    windows_nest,
    windows_fit_the_day,
    windows_of_many_steps,
    zone_without_use,
    grace,
    corrections,
    freshness,
)
