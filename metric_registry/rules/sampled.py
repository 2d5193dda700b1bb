"""Samples of a state, and numbers that sum up others already: what adding or averaging them says.

Sources: OpenTelemetry semantic conventions, "Instrument naming" (`limit`, `utilization`);
OpenMetrics 1.0, "Counter" (samples of a counter end in `_total`, and are cumulative).
"""

from __future__ import annotations

from collections.abc import Iterator

from metric_registry import units
from metric_registry.fields import Problem
from metric_registry.names import is_mean, is_quantile, is_state
from metric_registry.over_points import Written
from metric_registry.rules.subject import Rule, Subject


def _steps(subject: Subject, how: str) -> list[str]:
    """The fields of `aggregate` that say so; those of histogram points are about observations."""
    definition = subject.definition
    if definition.source.instrument is not None:
        return []
    given = definition.aggregate
    named = {"over_time": given.over_time, "over_space": given.over_space}
    if given.over_points == Written(how):
        return ["over_points"]
    return [field for field, value in named.items() if value == how]


def _names(subject: Subject) -> list[str]:
    source = subject.definition.source
    entries = [source, *(source.any_of or ())]
    return [name for one in entries for name in (one.metric, one.match) if name is not None]


def sum_of_states(subject: Subject) -> Iterator[Problem]:
    """TM224: a level, a flow or a running total, as often as somebody looked at it."""
    unit = subject.definition.source.unit
    steps = [field for field in _steps(subject, "sum") if field != "over_space"]
    if not steps or units.is_ratio(unit):  # TM205 says it already
        return
    state = next((name for name in _names(subject) if is_state(name)), None)
    if units.is_state(unit):
        what = f"values in `{unit}`"
        advice = "use `avg`; of what flows, read the counter behind it with `increase`"
    elif state is not None and state.endswith("_total"):
        what = f"`{state}`, by its name a running total,"
        advice = "use `increase`, which is right for differences as well"
    elif state is not None:
        what = f"`{state}`, by its name a gauge,"
        advice = "use `avg`, `max` or `last` over time; streams may be summed over space"
    else:
        return
    yield Problem(
        code="TM224",
        message=f"a sum over time of {what} depends on how many samples there are",
        path=("aggregate", steps[0]),
        help=advice,
    )


def mean_of_means(subject: Subject) -> Iterator[Problem]:
    """TM225: numbers of many things that are averaged as if each was of one."""
    steps = _steps(subject, "avg")
    if not steps:
        return
    for name in _names(subject):
        quantile = is_quantile(name)
        if quantile or (is_mean(name) and units.is_time(subject.definition.source.unit)):
            made = "a mean of quantiles, which is no quantile" if quantile else "a mean of means"
            yield Problem(
                code="TM225",
                message=f"`avg` of `{name}` is {made}: each counts once, whether it is of one "
                "request or of a thousand",
                path=("aggregate", steps[0]),
                help="read what it was made of, a histogram or the sum and the count; or use "
                "`max`, the worst of them",
            )
            return


RULES: tuple[Rule, ...] = (sum_of_states, mean_of_means)
