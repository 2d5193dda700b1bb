"""What definitions claim of how much there is, and when it comes (C)."""

from __future__ import annotations

from collections.abc import Iterator

from metric_registry.durations import render
from metric_registry.fields import Problem
from metric_registry.granularities import text_of
from metric_registry.live.facts import Facts, Looked
from metric_registry.live.words import many, of, percent, time_of, whole
from metric_registry.models import MetricDefinition
from metric_registry.plan import ResolvedDefinition

LATE_SHARE = 0.001
"""Of points that come later than the grace, and nobody minds."""
NEAR_LIMIT = 0.8


def limits(
    model: MetricDefinition, definition: ResolvedDefinition, facts: Facts, looked: Looked
) -> Iterator[Problem]:
    """TM712, TM713."""
    most, limit = facts.groups, definition.series_limit
    if most is None or most.groups <= NEAR_LIMIT * limit:
        return
    over = most.groups > limit
    yield Problem(
        code="TM713" if over else "TM712",
        message=f"`{definition.name}` had {most.groups:,} groups in the {most.granularity} up to "
        f"{time_of(most.end)} (tenant `{most.tenant}`), and its limit is {limit:,}",
        path=("limits", "series"),
        help="raise the limit, or keep fewer attributes",
    )


def lateness(
    model: MetricDefinition, definition: ResolvedDefinition, facts: Facts, looked: Looked
) -> Iterator[Problem]:
    """TM714, TM715."""
    late, grace = facts.late, render(definition.grace_ns)
    if late.late - late.beyond > LATE_SHARE * late.points:
        yield Problem(
            code="TM714",
            message=f"{percent(late.late - late.beyond, late.points)} of the points of "
            f"`{definition.name}` came after the grace of {grace}, up to {whole(late.most)} late: "
            f"such as {late.example}",
            path=("time", "grace"),
            help=f"a grace of `{render(late.grace_99)}` would have covered 99 % of the points, "
            f"`{render(late.grace_999)}` 99.9 %",
        )
    if late.beyond:
        yield Problem(
            code="TM715",
            message=f"{many(late.beyond, 'point')} of {late.points:,} of `{definition.name}` came "
            f"later than its corrections of {render(definition.corrections_ns)}, up to "
            f"{whole(late.most)}, and count nowhere: such as {late.example_beyond}",
            path=("time", "corrections"),
            help="correct further back, or find out what delays them",
        )


def rejected(
    model: MetricDefinition, definition: ResolvedDefinition, facts: Facts, looked: Looked
) -> Iterator[Problem]:
    """TM716, TM720."""
    for code, share, why, advice in (
        ("TM716", facts.ahead, "more than two minutes ahead of their receipt", "set the clock of "
         "the host that sends them"),
        ("TM720", facts.negative, "below zero", "let the agent send a sum that is not monotonic, "
         "or correct what it counts"),
    ):  # fmt: skip
        if share.count:
            yield Problem(
                code=code,
                message=f"{of(share, 'point')} of `{definition.name}` are {why}, and count "
                f"nowhere: such as {share.example}",
                path=("source",),
                on_key=True,
                help=advice,
            )


def rare_samples(
    model: MetricDefinition, definition: ResolvedDefinition, facts: Facts, looked: Looked
) -> Iterator[Problem]:
    """TM717."""
    if facts.sparse is None:
        return
    share, finest = facts.sparse.streams, text_of(definition.granularities[0])
    every = whole(facts.sparse.interval_ns)
    yield Problem(
        code="TM717",
        message=f"{of(share, 'stream')} of `{definition.name}` are sampled every {every} or so, "
        f"and its finest windows are {finest}: such as {share.example}",
        path=("time", "granularities"),
        on_key=True,
        help=f"begin with windows of at least {every}, or sample more often",
    )


def sequence(
    model: MetricDefinition, definition: ResolvedDefinition, facts: Facts, looked: Looked
) -> Iterator[Problem]:
    """TM718, TM719."""
    for how, share in facts.sequence.items():
        wrong, advice = _SEQUENCES[how]
        yield Problem(
            code="TM719" if how == "restart" else "TM718",
            message=f"{of(share, 'sample')} of `{definition.name}` {wrong}: such as "
            f"{share.example}",
            path=("aggregate", "over_time"),
            help=advice,
        )


_TWO = "two senders make one stream: give each an attribute of its own, such as service.instance.id"
_SEQUENCES = {
    "decreased": (
        "are below the one before, under the same start",
        "let the agent state a new start when it counts anew; a sum that falls is not monotonic",
    ),
    "overlap": ("state a start before the sample before them", _TWO),
    "tie": ("are another value at the time of the one before", _TWO),
    "gap": (
        "come more than 15 minutes after the one before",
        "sample more often: what was counted meanwhile is in no window",
    ),
    "restart": ("begin again, with a new start or from less", "nothing is to be done"),
}


def service_level(
    model: MetricDefinition, definition: ResolvedDefinition, facts: Facts, looked: Looked
) -> Iterator[Problem]:
    """TM721, TM722: as far as the times tell at which requests came."""
    level, waited, late = model.service_level, facts.waited, facts.late
    if level.freshness is not None and waited is not None and waited.longer:
        yield Problem(
            code="TM721",
            message=f"{waited.longer:,} of {many(waited.windows, 'window')} of "
            f"`{definition.name}` were sealed later than {render(level.freshness)} after their "
            f"end; that of {time_of(waited.end)} after {whole(waited.longest)}",
            path=("service_level", "freshness"),
            help="windows wait for all partitions: `tidemill why` says for which; or promise less",
        )
    if level.completeness is None or not late.points:
        return
    on_time = late.points - late.late
    if on_time < level.completeness * late.points:
        yield Problem(
            code="TM722",
            message=f"the first publication counted {percent(on_time, late.points)} of "
            f"{many(late.points, 'point')} of `{definition.name}`, and "
            f"{float(level.completeness * 100):g}% is promised",
            path=("service_level", "completeness"),
            help=f"a grace of `{render(late.grace_999)}` had counted 99.9 %; or promise less",
        )
