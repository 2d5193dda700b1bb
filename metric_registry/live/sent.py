"""What definitions claim of what is sent: names, attributes, units, instruments (C)."""

from __future__ import annotations

from collections.abc import Iterator

from metric_registry.explain import reads
from metric_registry.fields import Problem
from metric_registry.live.facts import Facts, Looked
from metric_registry.live.words import listed, many, nearest, of
from metric_registry.models import MetricDefinition
from metric_registry.plan import ResolvedDefinition
from metric_registry.syntax.nodes import Path

_SOURCE: Path = ("source",)


def unseen_sources(
    model: MetricDefinition, definition: ResolvedDefinition, facts: Facts, looked: Looked
) -> Iterator[Problem]:
    """TM701, TM702, and TM706 of summaries."""
    summaries = [name for name in definition.sources if name in looked.summaries]
    for name in summaries:
        yield Problem(
            code="TM706",
            message=f"`{definition.name}` reads `{name}`, which is sent as a summary: quantiles of "
            "its own, which nobody can add up",
            path=_source_path(model, name),
            help="let the agent send a histogram, or read the summary's `_count` and `_sum`",
        )
    silent = [name for name, streams in facts.sources.items() if not streams]
    silent = [name for name in silent if name not in summaries]
    if silent and len(silent) == len(facts.sources):
        near = nearest(silent, looked.metrics)
        advice = f"did you mean `{near}`? " if near else ""
        yield Problem(
            code="TM701",
            message=f"`{definition.name}` reads {reads(definition)}, and no traffic has it",
            path=_source_path(model, silent[0]) if len(silent) == 1 else _SOURCE,
            on_key=len(silent) > 1,
            help=f"{advice}`tidemill registry infer` says what is sent; look further back with "
            "`--since` if it is sent seldom",
        )
        return
    for name in silent:
        near = nearest([name], [one for one in looked.metrics if one not in facts.sources])
        what = "no metric fits" if "*" in name else "nobody sends"
        yield Problem(
            code="TM702",
            message=f"{what} `{name}`, one of the names that `{definition.name}` reads",
            path=_source_path(model, name),
            help=f"did you mean `{near}`?" if near else "remove it once no agent has that name",
        )


def sent_twice(
    model: MetricDefinition, definition: ResolvedDefinition, facts: Facts, looked: Looked
) -> Iterator[Problem]:
    """TM703."""
    for one in facts.twice:
        names = " and ".join(f"`{name}`" for name in one.names)
        yield Problem(
            code="TM703",
            message=f"`{definition.name}` counts twice: {many(one.resources, 'resource')} "
            f"{'sends' if one.resources == 1 else 'send'} {names} at the same time, such as "
            f"{one.example[:160]}",
            path=("source", "any_of"),
            on_key=True,
            help="let the agent send one of them, or ask in `where` for an attribute that only one "
            "of them has",
        )


def conditions(
    model: MetricDefinition, definition: ResolvedDefinition, facts: Facts, looked: Looked
) -> Iterator[Problem]:
    """TM704, TM705."""
    streams = sum(facts.sources.values())
    if not streams:
        return
    unmet = [
        (attribute, values)
        for attribute, values in definition.where
        if not any(facts.values[attribute].get(value) for value in values)
    ]
    for attribute, values in unmet:
        seen = _present(facts, attribute)
        advice = f"no stream has an attribute `{attribute}`"
        if seen:
            near = nearest(values, seen)
            advice = f"did you mean `{near}`?" if near else f"seen: {listed(seen)}"
        yield Problem(
            code="TM704",
            message=f"none of the {many(streams, 'stream')} that `{definition.name}` reads has "
            f"`{attribute}` {' or '.join(f'`{value}`' for value in values)}",
            path=("source", "where", attribute),
            help=advice,
        )
    if not facts.passing and not unmet and definition.where:
        yield Problem(
            code="TM704",
            message=f"none of the {many(streams, 'stream')} that `{definition.name}` reads meets "
            "all its conditions, though each is met by some",
            path=("source", "where"),
            on_key=True,
            help="ask for values that streams have together",
        )
    for attribute, values in definition.where:
        seen = _present(facts, attribute)
        missing = [value for value in values if not seen.get(value)]
        others = [value for value in seen if value not in values]
        for value in missing if len(missing) < len(values) else ():
            near = nearest([value], others)
            yield Problem(
                code="TM705",
                message=f"`{definition.name}` asks for `{attribute}` `{value}`; no stream has it",
                path=("source", "where", attribute),
                help=f"did you mean `{near}`?" if near else "remove it, if it is gone for good",
            )


def _present(facts: Facts, attribute: str) -> dict[str, int]:
    values = facts.values[attribute]
    return {value: streams for value, streams in values.items() if value is not None}


def uncounted(
    model: MetricDefinition, definition: ResolvedDefinition, facts: Facts, looked: Looked
) -> Iterator[Problem]:
    """TM706, TM707."""
    for one in facts.refused:
        unit = one.reason == "unit"
        what = f"are in `{one.detail}`" if unit else _WHY[one.reason].format(detail=one.detail)
        yield Problem(
            code="TM707" if unit else "TM706",
            message=f"`{definition.name}` does not count {many(one.streams, 'stream')} "
            f"({many(one.points, 'point')}) that {what}: such as {one.example}",
            path=("source", "unit") if unit else _SOURCE,
            on_key=not unit,
            help=f"values in `{one.detail}` do not become values in `{definition.read_unit}`: "
            "correct the agent, or the definition's unit"
            if unit
            else _ADVICE[one.reason],
        )


_WHY = {
    "instrument": "are {detail}s",
    "histogram": "are histograms ({detail})",
    "kind": "are points of another kind ({detail})",
    "temporality": "have a temporality that says nothing of a window ({detail})",
    "bounds": "have other buckets ({detail})",
}
_ADVICE = {
    "instrument": "an increase or a rate is of monotonic sums, and `over_points` of gauges and "
    "deltas: choose an aggregate for what is sent, or correct the agent",
    "histogram": "say `source.instrument` to read histograms, or leave them out with `where`",
    "kind": "say in `source.instrument` which kind of histogram is sent, or leave it out",
    "temporality": "let the agent send deltas",
    "bounds": "ask for bounds that all agents have, or have them send the same",
}


def units(
    model: MetricDefinition, definition: ResolvedDefinition, facts: Facts, looked: Looked
) -> Iterator[Problem]:
    """TM708."""
    for unit, share in facts.units.items():
        yield Problem(
            code="TM708",
            message=f"{of(share, 'stream')} of `{definition.name}` are in `{unit}`, and converted "
            f"from it: such as {share.example}",
            path=("source", "unit"),
            help=f"write `{unit}` if all agents send that",
        )


def attributes(
    model: MetricDefinition, definition: ResolvedDefinition, facts: Facts, looked: Looked
) -> Iterator[Problem]:
    """TM709, TM710, TM711."""
    keep = list(model.space.keep)
    for name, share in facts.lacking.items():
        path: Path = ("space", "keep", keep.index(name)) if name in keep else ("space", "keep")
        none = share.count == share.of
        yield Problem(
            code="TM709" if none else "TM710",
            message=f"`{definition.name}` keeps `{name}`, which "
            + (
                f"none of its {many(share.of, 'stream')} has"
                if none
                else f"{of(share, 'stream')} lack"
            )
            + f": such as {share.example}",
            path=path,
            help="correct its name, or keep it no more"
            if none
            else "give them a value in `source.attributes` (`default`), or correct the agents",
        )
    for name, share in facts.by_default.items():
        if share.count == share.of:
            yield Problem(
                code="TM711",
                message=f"`{name}` of `{definition.name}` is its default for all "
                f"{many(share.of, 'stream')}: such as {share.example}",
                path=("source", "attributes", name),
                on_key=True,
                help="correct the attribute that it is made of, or what is made of it",
            )


def _source_path(model: MetricDefinition, name: str) -> Path:
    """Where a definition names a metric, or a pattern."""
    source = model.source
    for at, one in enumerate(source.any_of or ()):
        if name in (one.metric, one.match):
            return ("source", "any_of", at, "match" if one.match == name else "metric")
    return ("source", "match" if source.match == name else "metric")
