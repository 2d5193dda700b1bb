"""What can be made of histogram points: of what they observed, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from metric_registry import units
from metric_registry.fields import Problem
from metric_registry.over_points import KNOWN, OF_HISTOGRAMS, settled
from metric_registry.rules.subject import Rule, Subject
from metric_registry.ucum import SAME, conversion


def _called(instrument: str) -> str:
    return "explicit histogram" if instrument == "histogram" else "exponential histogram"


def histograms_are_taken_together(subject: Subject) -> Iterator[Problem]:
    """TM215: a histogram point has many values, and no last one."""
    source, aggregate = subject.definition.source, subject.definition.aggregate
    if source.instrument is None or aggregate.over_points is not None:
        return
    yield Problem(
        code="TM215",
        message=f"`{aggregate.over_time}` over time is of numbers, and a point of an "
        f"{_called(source.instrument)} holds many",
        path=("aggregate", "over_time"),
        help=f"state `over_points` instead: {_offered(source.instrument)}",
    )


def made_of_histograms(subject: Subject) -> Iterator[Problem]:
    """TM216: what counts and buckets still tell of the values behind them."""
    source, given = subject.definition.source, subject.definition.aggregate.over_points
    if source.instrument is None or given is None:
        return
    name = settled(given).name
    own = name in subject.settings.own_aggregates
    if (name not in KNOWN and not own) or name in OF_HISTOGRAMS[source.instrument]:
        return
    also = "; a quantile is asked of its result, when it is read" if name == "quantile" else ""
    yield Problem(
        code="TM216",
        message=f"`{given.name}` cannot be made of {_called(source.instrument)} points",
        path=("aggregate", "over_points"),
        help=f"there are {_offered(source.instrument)}{also}",
    )


def _offered(instrument: str) -> str:
    return ", ".join(f"`{name}`" for name in OF_HISTOGRAMS[instrument])


def histograms_keep_their_unit(subject: Subject) -> Iterator[Problem]:
    """TM217: bounds in another unit are no doubles, most of the time."""
    definition = subject.definition
    source, target = definition.source, definition.unit
    if source.instrument is None or target is None:
        return
    if units.malformed(source.unit) or units.malformed(target):
        return
    if conversion(source.unit, target) != SAME:
        yield Problem(
            code="TM217",
            message=f"histograms in `{source.unit}` are not converted to `{target}`: their bounds "
            "would have to be rounded",
            path=("unit",),
            help=f"leave `unit` out; values are published in `{source.unit}`",
        )


RULES: tuple[Rule, ...] = (
    histograms_are_taken_together,
    made_of_histograms,
    histograms_keep_their_unit,
)
