"""Retention, limits, and what the final topic holds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from metric_registry.cardinality import groups_at_most
from metric_registry.durations import SECOND, render, render_seconds
from metric_registry.fields import Problem
from metric_registry.granularities import (
    Granularity,
    is_hopping,
    order,
    size_of,
    step_of,
    text_of,
)
from metric_registry.over_points import name_in
from metric_registry.plan import instrument_of
from metric_registry.resolve import derivations, expires_after, retention
from metric_registry.rules.subject import Rule, Subject
from metric_registry.syntax.nodes import Mapping, Path, get
from metric_registry.values import granularity

_WITHOUT_LATE = "leave `late` out; corrections are in the tables and on the upsert topic"


def retention_of_a_window(subject: Subject) -> Iterator[Problem]:
    """TM401: `keep` is about granularities that are computed. Defaults may speak of others too."""
    computed = sorted(set(subject.definition.time.granularities), key=order)
    for size in subject.definition.publish.keep:
        if size not in computed and subject.merged.says(_written(subject, size)):
            yield Problem(
                code="TM401",
                message=f"the definition computes no windows of {text_of(size)}",
                path=_written(subject, size),
                on_key=True,
                help="it computes " + ", ".join(f"`{text_of(one)}`" for one in computed),
            )


def retention_outlives_corrections(subject: Subject) -> Iterator[Problem]:
    """TM402: rows stay until their window can change no more."""
    definition, time = subject.definition, subject.definition.time
    if time.corrections > subject.settings.raw_retention_ns:
        return  # TM306 says it already
    waits = -(-(time.grace + time.corrections) // SECOND)
    for size in sorted(set(time.granularities), key=order):
        kept, needed = retention(definition, size), size_of(size) + waits
        if kept < needed:
            stated = size in definition.publish.keep
            yield Problem(
                code="TM402",
                message=f"windows of {text_of(size)} are kept for {render_seconds(kept)}"
                f"{'' if stated else ' by default'} and can change for "
                f"{render_seconds(size_of(size))} + {render(time.grace)} + "
                f"{render(time.corrections)}",
                path=_written(subject, size) if stated else ("time", "corrections"),
                help=f"keep them longer, as `publish: {{keep: {{{text_of(size)}: "
                f"{render_seconds(_days(needed))}}}}}`, or shorten `time.corrections`",
            )


def _days(seconds: int) -> int:
    """Seconds, rounded up to whole days."""
    return -(-seconds // 86_400) * 86_400


def coarse_outlives_fine(subject: Subject) -> Iterator[Problem]:
    """TM403: coarser rows are kept at least as long as finer ones."""
    definition = subject.definition
    sizes = sorted({g for g in definition.time.granularities if not is_hopping(g)}, key=order)
    for finer, coarser in itertools.pairwise(sizes):
        if retention(definition, coarser) < retention(definition, finer):
            at = coarser if coarser in definition.publish.keep else finer
            kept = render_seconds(retention(definition, finer))
            yield Problem(
                code="TM403",
                message=f"windows of {text_of(coarser)} are kept for "
                f"{render_seconds(retention(definition, coarser))}, finer ones of "
                f"{text_of(finer)} for {kept}",
                path=_written(subject, at),
                help=f"keep windows of {text_of(coarser)} for at least {kept}",
            )


def _written(subject: Subject, size: Granularity) -> Path:
    """The path of a granularity in `publish.keep`, however it was spelled."""
    path: Path = ("publish", "keep")
    node = get(subject.root, path)
    spellings = node.entries if isinstance(node, Mapping) else {}
    return next(((*path, one) for one in spellings if granularity(one) == size), path)


def series_limit(subject: Subject) -> Iterator[Problem]:
    """TM404: a limit that can be kept."""
    given, most = subject.definition.limits.series, subject.settings.most_series
    if not 0 < given <= most:
        yield Problem(
            code="TM404",
            message=f"a limit of {given:,} series cannot be kept",
            path=("limits", "series"),
            help=f"use a number from 1 to {most:,}",
        )


def groups_within_the_limit(subject: Subject) -> Iterator[Problem]:
    """TM410: what conditions and maps let through is more than the limit."""
    definition, limit = subject.definition, subject.definition.limits.series
    made = tuple(derivations(definition, subject.lookups)) if definition.source.attributes else ()
    most = groups_at_most(definition.space.keep, definition.source.where, made)
    if most is None or not 0 < limit < most:
        return
    stated: Path = ("limits", "series")
    room = most <= subject.settings.most_series
    yield Problem(
        code="TM410",
        message=f"conditions and maps allow {most:,} groups a tenant, and the limit is "
        f"{limit:,}: the others would be one row",
        path=stated if get(subject.root, stated) is not None else ("space", "keep"),
        help=f"allow them with `limits: {{series: {most}}}`, or keep fewer attributes"
        if room
        else "keep fewer attributes, or list fewer values",
    )


MOST_SILENT_WINDOWS = 1000


def expiry(subject: Subject) -> Iterator[Problem]:
    """TM406: a series that has no data ends before it has published too much of nothing."""
    definition = subject.definition
    finest = min(definition.time.granularities, key=step_of)
    windows = expires_after(definition, finest)
    if windows > MOST_SILENT_WINDOWS:
        most = f"{render_seconds(step_of(finest) * MOST_SILENT_WINDOWS)}"
        yield Problem(
            code="TM406",
            message=f"a series would survive {windows:,} windows of {text_of(finest)} without data",
            path=("publish", "expire_after"),
            help=f"at most {MOST_SILENT_WINDOWS:,} windows are allowed, here `{most}`",
        )


def only_sums_add_up(subject: Subject) -> Iterator[Problem]:
    """TM407: a gauge has no temporality, and nothing to add a late amount to."""
    publish, steps = subject.definition.publish, subject.steps
    if steps is None or instrument_of(*steps) != "gauge":
        return
    over_time, over_space, over_points = steps
    made = f"{over_time} over time and {over_space} over space make"
    if over_points:
        made = f"{name_in(over_points).removeprefix('histogram_')} over points makes"
    for field, given in (("temporality", publish.temporality), ("late", publish.late)):
        if given in ("cumulative", "carry"):
            yield Problem(
                code="TM407",
                message=f"`publish.{field}` cannot be `{given}` for a gauge, which {made}",
                path=("publish", field),
                help=f"leave `{field}` out",
            )


def histograms_carry_nothing(subject: Subject) -> Iterator[Problem]:
    """TM409: what late points change of a histogram is no histogram."""
    publish, steps = subject.definition.publish, subject.steps
    if steps is None or publish.late != "carry":
        return
    if steps[2] in ("histogram_sum", "histogram_count"):
        yield Problem(
            code="TM409",
            message="`publish.late` cannot be `carry` for what histogram points observed: what "
            "late ones change of it is not kept as an amount",
            path=("publish", "late"),
            help=_WITHOUT_LATE,
        )
    elif instrument_of(*steps) in ("histogram", "exponential_histogram"):
        yield Problem(
            code="TM409",
            message="`publish.late` cannot be `carry` for a histogram: what late points change of "
            "it has no minimum, no maximum and no scale of its own",
            path=("publish", "late"),
            help=_WITHOUT_LATE,
        )


def something_to_carry(subject: Subject) -> Iterator[Problem]:
    """TM408: late amounts come from corrections."""
    definition = subject.definition
    if definition.publish.late == "carry" and definition.time.corrections == 0:
        yield Problem(
            code="TM408",
            message="`publish.late` carries what corrections change, and there are none",
            path=("publish", "late"),
            help="give `time.corrections` a duration, such as `1h`",
        )


RULES: tuple[Rule, ...] = (
    retention_of_a_window,
    retention_outlives_corrections,
    coarse_outlives_fine,
    series_limit,
    groups_within_the_limit,
    expiry,
    only_sums_add_up,
    histograms_carry_nothing,
    something_to_carry,
)
