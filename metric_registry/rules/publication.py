"""Retention and limits."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from metric_registry.durations import SECOND, parse, render, render_seconds
from metric_registry.fields import Problem
from metric_registry.resolve import retention
from metric_registry.rules.subject import Rule, Subject
from metric_registry.syntax.nodes import Mapping, Path, get


def retention_of_a_window(subject: Subject) -> Iterator[Problem]:
    """TM401: `keep` is about granularities that are computed."""
    computed = sorted(set(subject.definition.time.granularities))
    for size in subject.definition.publish.keep:
        if size not in computed:
            yield Problem(
                code="TM401",
                message=f"the definition computes no windows of {render_seconds(size)}",
                path=_written(subject, size),
                on_key=True,
                help="it computes " + ", ".join(f"`{render_seconds(one)}`" for one in computed),
            )


def retention_outlives_corrections(subject: Subject) -> Iterator[Problem]:
    """TM402: rows stay until their window can change no more."""
    definition, time = subject.definition, subject.definition.time
    if time.corrections > subject.settings.raw_retention_ns:
        return  # TM306 says it already
    waits = -(-(time.grace + time.corrections) // SECOND)
    for size in sorted(set(time.granularities)):
        kept, needed = retention(definition, size), size + waits
        if kept < needed:
            stated = size in definition.publish.keep
            yield Problem(
                code="TM402",
                message=f"windows of {render_seconds(size)} are kept for {render_seconds(kept)}"
                f"{'' if stated else ' by default'} and can change for "
                f"{render_seconds(size)} + {render(time.grace)} + {render(time.corrections)}",
                path=_written(subject, size) if stated else ("time", "corrections"),
                help=f"keep them longer, as `publish: {{keep: {{{render_seconds(size)}: "
                f"{render_seconds(_days(needed))}}}}}`, or shorten `time.corrections`",
            )


def _days(seconds: int) -> int:
    """Seconds, rounded up to whole days."""
    return -(-seconds // 86_400) * 86_400


def coarse_outlives_fine(subject: Subject) -> Iterator[Problem]:
    """TM403: coarser rows are kept at least as long as finer ones."""
    definition = subject.definition
    sizes = sorted(set(definition.time.granularities))
    for finer, coarser in itertools.pairwise(sizes):
        if retention(definition, coarser) < retention(definition, finer):
            at = coarser if coarser in definition.publish.keep else finer
            kept = render_seconds(retention(definition, finer))
            yield Problem(
                code="TM403",
                message=f"windows of {render_seconds(coarser)} are kept for "
                f"{render_seconds(retention(definition, coarser))}, finer ones of "
                f"{render_seconds(finer)} for {kept}",
                path=_written(subject, at),
                help=f"keep windows of {render_seconds(coarser)} for at least {kept}",
            )


def _written(subject: Subject, size: int) -> Path:
    """The path of a granularity in `publish.keep`, however it was spelled."""
    path: Path = ("publish", "keep")
    node = get(subject.root, path)
    spellings = node.entries if isinstance(node, Mapping) else {}
    return next(((*path, one) for one in spellings if parse(one) == size * SECOND), path)


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


RULES: tuple[Rule, ...] = (
    retention_of_a_window,
    retention_outlives_corrections,
    coarse_outlives_fine,
    series_limit,
)
