"""From a definition as it was written to one in which everything is explicit."""

from __future__ import annotations

from typing import Any

from metric_registry.durations import SECOND, UNITS_NS
from metric_registry.models import MetricDefinition
from metric_registry.plan import OverSpace, OverTime, ResolvedDefinition, version_of

_DAY = UNITS_NS["d"] // SECOND
_RETENTION = ((60, 2 * _DAY), (3600, 14 * _DAY), (_DAY, 400 * _DAY))
_LONGEST_RETENTION = 5 * 365 * _DAY


class ResolveError(ValueError):
    """A definition that the checks refuse."""


def default_retention(granularity: int) -> int:
    """How long rows are kept unless the definition says, in seconds: finer ones for less long."""
    for below, kept in _RETENTION:
        if granularity < below:
            return kept
    return _LONGEST_RETENTION


def retention(definition: MetricDefinition, granularity: int) -> int:
    """How long rows of a granularity (seconds) are kept, in seconds."""
    stated = definition.publish.keep.get(granularity)
    return default_retention(granularity) if stated is None else stated // SECOND


def expires_after(definition: MetricDefinition, granularity: int) -> int:
    """Windows of a granularity (seconds) without data that a series survives."""
    windows, duration = definition.publish.expire_after
    return windows if duration is None else -(-duration // (granularity * SECOND))


def published_unit(read_unit: str, over_time: OverTime, over_space: OverSpace) -> str:
    """The unit of the published value: counting changes it."""
    if over_space == "count":
        return "{stream}"
    return "{point}" if over_time == "count" else read_unit


def resolve(definition: MetricDefinition) -> ResolvedDefinition:
    """The resolved form, with its version. Total for what passes `check`, else ResolveError."""
    source, time, aggregate = definition.source, definition.time, definition.aggregate
    over_space = aggregate.over_space
    if over_space is None:
        if aggregate.over_time != "increase":
            raise ResolveError(f"{definition.name} does not say how it aggregates over space")
        over_space = "sum"
    names = [source.metric] if source.metric else [one.metric for one in source.any_of or ()]
    if not names:
        raise ResolveError(f"{definition.name} names no source")
    granularities = tuple(sorted(set(time.granularities)))
    read_unit = definition.unit or source.unit
    fields: dict[str, Any] = {
        "name": definition.name,
        "sources": tuple(sorted(set(names))),
        "where": tuple(
            (attribute, tuple(sorted(set(values))))
            for attribute, values in sorted(source.where.items())
        ),
        "source_unit": source.unit,
        "read_unit": read_unit,
        "unit": published_unit(read_unit, aggregate.over_time, over_space),
        "keep": tuple(sorted(set(definition.space.keep) - {"tenant"})),
        "over_time": aggregate.over_time,
        "over_space": over_space,
        "granularities": granularities,
        "grace_ns": time.grace,
        "corrections_ns": time.corrections,
        "series_limit": definition.limits.series,
        "beyond": definition.limits.beyond,
    }
    return ResolvedDefinition(
        version=version_of(fields),
        publish_final=definition.publish.final,
        publish_upsert=definition.publish.upsert,
        publish_temporality=definition.publish.temporality,
        publish_late=definition.publish.late,
        publish_expire_after=tuple((g, expires_after(definition, g)) for g in granularities),
        retention=tuple((g, retention(definition, g)) for g in granularities),
        **fields,
    )
