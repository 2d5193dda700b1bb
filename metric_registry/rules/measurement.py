"""What is measured: the source, its unit, and whether the aggregates make sense of it."""

from __future__ import annotations

from collections.abc import Iterator

from metric_registry import units
from metric_registry.fields import Problem
from metric_registry.rules.subject import Rule, Subject


def aggregates_stated(subject: Subject) -> Iterator[Problem]:
    """TM201: only a counter has a default over space."""
    aggregate = subject.definition.aggregate
    if aggregate.over_space is None and aggregate.over_time != "increase":
        yield Problem(
            code="TM201",
            message="the definition does not say how it aggregates over space",
            path=("aggregate", "over_space"),
            help="a gauge states both: "
            f"`{{over_time: {aggregate.over_time}, over_space: avg}}`, or sum, min, max, last, "
            "count",
        )


def one_source(subject: Subject) -> Iterator[Problem]:
    """TM202: `metric` or `any_of`."""
    source = subject.definition.source
    if source.metric is not None and source.any_of is not None:
        message, path = "`source` has both `metric` and `any_of`", ("source", "metric")
        advice = "move the name into `any_of`"
    elif source.metric is None and source.any_of is None:
        message, path = "`source` names no metric", ("source",)
        advice = "add `metric: NAME`, or `any_of: [{metric: NAME}, {metric: OTHER}]`"
    else:
        return
    yield Problem(code="TM202", message=message, path=path, on_key=True, help=advice)


def unit(subject: Subject) -> Iterator[Problem]:
    """TM203, TM204: a unit as UCUM writes it."""
    given = subject.definition.source.unit
    path = ("source", "unit")
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


def sum_of_shares(subject: Subject) -> Iterator[Problem]:
    """TM205: shares added up over a window."""
    definition = subject.definition
    if definition.aggregate.over_time == "sum" and units.is_ratio(definition.source.unit):
        yield Problem(
            code="TM205",
            message=f"a sum over time of values in `{definition.source.unit}` depends on how often "
            "they are sampled",
            path=("aggregate", "over_time"),
            help="use `avg`, or state the unit of what is counted, such as `{request}`",
        )


def increase_of_a_gauge(subject: Subject) -> Iterator[Problem]:
    """TM206: a counter's aggregate on a unit that counters do not have."""
    definition = subject.definition
    given = definition.source.unit
    if definition.aggregate.over_time == "increase" and (given == "%" or units.is_rate(given)):
        yield Problem(
            code="TM206",
            message=f"values in `{given}` go down as well as up; increase is for counters",
            path=("aggregate", "over_time"),
            help="use `avg` with an aggregate over space, or correct the unit",
        )


RULES: tuple[Rule, ...] = (
    aggregates_stated,
    one_source,
    unit,
    sum_of_shares,
    increase_of_a_gauge,
)
