"""What is measured: the source, its unit, and whether the aggregates make sense of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from metric_registry import units
from metric_registry.fields import Problem
from metric_registry.models import NAMES_OF_A_SOURCE
from metric_registry.over_points import KNOWN, OF_ONE_STREAM, Written, refusal_of
from metric_registry.resolve import COUNTERS
from metric_registry.rules.subject import Rule, Subject
from metric_registry.syntax.nodes import Path
from metric_registry.ucum import NoConversion, conversion


def aggregates_stated(subject: Subject) -> Iterator[Problem]:
    """TM201: only a counter has a default over space."""
    aggregate = subject.definition.aggregate
    if aggregate.over_points is not None or aggregate.over_time in COUNTERS:
        return
    if aggregate.over_space is None:
        yield Problem(
            code="TM201",
            message="the definition does not say how it aggregates over space",
            path=("aggregate", "over_space"),
            help="a gauge states both: "
            f"`{{over_time: {aggregate.over_time}, over_space: avg}}`, or sum, min, max, last, "
            "count",
        )


def one_way_to_aggregate(subject: Subject) -> Iterator[Problem]:
    """TM210: two steps, or one."""
    aggregate = subject.definition.aggregate
    if aggregate.over_points is None:
        return
    for name, given in (("over_time", aggregate.over_time), ("over_space", aggregate.over_space)):
        if given is not None:
            yield Problem(
                code="TM210",
                message=f"`over_points` takes all points in one step, and `{name}` asks for two",
                path=("aggregate", name),
                on_key=True,
                help=f"leave `{name}` out, or state `over_time` and `over_space` alone",
            )


def known_over_points(subject: Subject) -> Iterator[Problem]:
    """TM211, TM212, TM213: an aggregate that there is, with a parameter that it takes."""
    given = subject.definition.aggregate.over_points
    if given is None:
        return
    path = ("aggregate", "over_points")
    refused = refusal_of(given, subject.settings.own_aggregates)
    if given.name in OF_ONE_STREAM:
        advice = f"write `{{over_time: {given.name}, over_space: sum}}`"
        message = f"`{given.name}` is of one stream's samples in order, not of a group's points"
        yield Problem(code="TM213", message=message, path=path, help=advice)
    elif refused is None:
        yield _unknown_aggregate(given, [*KNOWN, *subject.settings.own_aggregates])
    elif refused:
        where = path if given.parameter is None else (*path, given.name)
        what, _, example = refused.partition(": `")
        advice = f"write `{example}" if example else "leave the parameter out"
        yield Problem(code="TM212", message=f"`{given.name}` {what}", path=where, help=advice)


def _unknown_aggregate(given: Written, names: list[str]) -> Problem:
    meant = {"mean": "avg", "average": "avg", "median": "p50", "std": "stddev"}.get(given.name)
    near = difflib.get_close_matches(given.name, [*names, "p50", "p90", "p95", "p99"], n=1)
    found = meant or (near[0] if near else None)
    listed = ", ".join(f"`{name}`" for name in [*names, "p99"])
    return Problem(
        code="TM211",
        message=f"there is no aggregate `{given.name}`",
        path=("aggregate", "over_points"),
        help=(f"did you mean `{found}`? " if found else "") + f"there are {listed}, and those that "
        "files of your own add (the setting `aggregates`)",
        replacement=found if given.parameter is None else None,
    )


def one_source(subject: Subject) -> Iterator[Problem]:
    """TM202: `metric` or `any_of`."""
    source = subject.definition.source
    given = [name for name in NAMES_OF_A_SOURCE if getattr(source, name) is not None]
    path: Path
    if len(given) > 1:
        message = f"`source` has both `{given[0]}` and `{given[1]}`"
        path, advice = ("source", given[0]), "move the name into `any_of`"
        if given[-1] != "any_of":
            advice = "leave one out, or write `any_of: [{metric: NAME}, {match: PATTERN}]`"
    elif not given:
        message, path = "`source` names no metric", ("source",)
        advice = "add `metric: NAME`, or `any_of: [{metric: NAME}, {metric: OTHER}]`"
    else:
        return
    yield Problem(code="TM202", message=message, path=path, on_key=True, help=advice)


def unit(subject: Subject) -> Iterator[Problem]:
    """TM203, TM204: units as UCUM writes them."""
    definition = subject.definition
    yield from _unit(definition.source.unit, ("source", "unit"))
    if definition.unit is not None:
        yield from _unit(definition.unit, ("unit",))


def _unit(given: str, path: tuple[str, ...]) -> Iterator[Problem]:
    if why := units.malformed(given):
        message = f"`{given}` is not a unit: {why}"
        yield Problem(code="TM203", message=message, path=path, help="write it like `By` or `s`")
        return
    for atom, better in units.unknown_atoms(given):
        meant = given.replace(atom, better, 1) if better else ""
        meant = meant if meant.isalpha() else meant and f'"{meant}"'
        yield Problem(
            code="TM204",
            message=f"UCUM has no unit `{atom}`",
            path=path,
            help=f"write `{meant}`" if meant else "a counted thing is written `{thing}`",
            replacement=meant or None,
        )


def units_convert(subject: Subject) -> Iterator[Problem]:
    """TM208: values of the source's unit become values of the published one."""
    definition = subject.definition
    source, target = definition.source.unit, definition.unit
    if target is None or units.malformed(source) or units.malformed(target):
        return
    found = conversion(source, target)
    if isinstance(found, NoConversion):
        yield Problem(
            code="TM208",
            message=f"values in `{source}` are none in `{target}`: {found.reason}",
            path=("unit",),
            help=f"write a unit of what `{source}` measures, or correct the source's",
        )


def unit_of_a_count(subject: Subject) -> Iterator[Problem]:
    """TM209: what counts points or streams is measured in these."""
    definition = subject.definition
    counted = {"points": definition.aggregate.over_time, "streams": definition.aggregate.over_space}
    what = [name for name, how in counted.items() if how == "count"]
    if definition.unit is not None and what:
        yield Problem(
            code="TM209",
            message=f"the definition counts {what[-1]}, whatever the unit of their values",
            path=("unit",),
            help="leave `unit` out",
        )


def sum_of_shares(subject: Subject) -> Iterator[Problem]:
    """TM205: shares added up over a window."""
    definition = subject.definition
    aggregate = definition.aggregate
    pooled = aggregate.over_points == Written("sum")
    if definition.source.instrument is not None:  # each is observed once
        return
    if (pooled or aggregate.over_time == "sum") and units.is_ratio(definition.source.unit):
        yield Problem(
            code="TM205",
            message=f"a sum over time of values in `{definition.source.unit}` depends on how often "
            "they are sampled",
            path=("aggregate", "over_points" if pooled else "over_time"),
            help="use `avg`, or state the unit of what is counted, such as `{request}`",
        )


def increase_of_a_gauge(subject: Subject) -> Iterator[Problem]:
    """TM206: a counter's aggregate on a unit that counters do not have."""
    definition = subject.definition
    given = definition.source.unit
    over_time = definition.aggregate.over_time
    if over_time in COUNTERS and (given == "%" or units.is_state(given)):
        yield Problem(
            code="TM206",
            message=f"values in `{given}` go down as well as up; {over_time} is for counters",
            path=("aggregate", "over_time"),
            help="use `avg` with an aggregate over space, or correct the unit",
        )


RULES: tuple[Rule, ...] = (
    aggregates_stated,
    one_way_to_aggregate,
    known_over_points,
    one_source,
    unit,
    units_convert,
    unit_of_a_count,
    sum_of_shares,
    increase_of_a_gauge,
)
