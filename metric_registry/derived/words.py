"""What a derived definition means, in sentences and fields."""

from __future__ import annotations

from collections.abc import Iterator

from metric_registry.derived.checking import DerivedEntry
from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.granularities import text_of
from metric_registry.syntax.nodes import Path

COSTS = "nothing is kept or sent: it costs the query that asks for it"


def explained(one: ResolvedDerived) -> list[str]:
    """For `registry explain`."""
    sizes = ", ".join(map(text_of, one.granularities))
    lines = [
        f"{one.name} {one.version}",
        f"  derived: {one.formula}, in {one.unit}, by {_list(one.group_by)}; windows of {sizes}",
        f"  {COSTS}",
    ]
    summed = [each.name for each in one.inputs if each.summed]
    if summed:
        lines.append(f"  {_list(summed)} keeps more, and is added up")
    return lines


def meaning(one: ResolvedDerived) -> Iterator[str]:
    """One sentence a thing that a reader must know."""
    yield (
        f"It is {one.formula}, in {one.unit}, computed when it is asked for, from the latest "
        "revisions of rows of the same window: it follows their corrections at once."
    )
    yield (
        "Each window size is computed from rows of that size, so nothing is a mean of means or a "
        "ratio of ratios."
    )
    for given in one.inputs:
        if given.summed:
            yield (
                f"{given.name} keeps more attributes and is added up; where a tenant's window has "
                "groups beyond its limit, there is no row."
            )
    if one.how == "ratio":
        yield f"Where {one.inputs[1].name} is 0 or has no row there is no row."
    if len(one.inputs) > 1:
        if one.absent == "zero":
            yield (
                f"A group that another input has no row of counts as 0 there, {one.wait_s} s after "
                "the row that there is came, in windows that the input is computed in; not where "
                "its groups are beyond their limit."
            )
        else:
            yield "A group that one of the inputs has no row of has no row."
        yield "What is beyond a limit of groups (otel.metric.overflow) has no row of its own."
    if one.how == "quantile" and one.kind == "explicit":
        yield (
            "Within the bucket that has it, a quantile goes with the rank, as Prometheus' "
            "`histogram_quantile`: it is as good as the buckets are narrow."
        )
    elif one.how == "quantile":
        yield "A quantile is that of `over_points`, to the bit."
    yield (
        "It is on no topic: who reads one has the inputs there, and what this computes of two "
        "windows or groups cannot be added up."
    )


def fields(entry: DerivedEntry) -> Iterator[tuple[Path, str]]:
    """The resolved fields, in the order in which they are written."""
    one, derive = entry.resolved, entry.model.derive
    yield ("owner",), entry.model.owner or "nobody"
    yield ("unit",), one.unit
    for name, path in derive.inputs:
        yield path, name
    if one.how == "quantile":
        yield ("derive", one.how, "q"), repr(one.parameter)
    if one.how == "share":
        yield ("derive", one.how, "at_most"), repr(one.parameter)
    if len(one.inputs) > 1:
        yield ("derive", one.how, "absent"), one.absent
    yield ("space", "keep"), _list(one.keep)


def _list(values: tuple[str, ...] | list[str]) -> str:
    return f"[{', '.join(values)}]"
