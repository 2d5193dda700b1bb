"""From a definition as it was written to one in which everything is explicit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metric_registry import zones
from metric_registry.derive import Derivation
from metric_registry.durations import SECOND
from metric_registry.granularities import (
    DAY,
    Granularity,
    is_calendar,
    order,
    pane_of,
    step_of,
)
from metric_registry.lookups import NO_LOOKUPS, Lookups
from metric_registry.models import Aggregate, DerivedAttribute, MetricDefinition
from metric_registry.over_points import NONE_ADDED, Added, spelled, unit_of
from metric_registry.patterns import compiled
from metric_registry.plan import ResolvedDefinition, version_of

_RETENTION = ((60, 2 * DAY), (3600, 14 * DAY), (DAY, 400 * DAY))
_LONGEST_RETENTION = 5 * 365 * DAY


class ResolveError(ValueError):
    """A definition that the checks refuse."""


def default_retention(granularity: Granularity) -> int:
    """How long rows are kept unless the definition says, in seconds: finer ones for less long."""
    for below, kept in _RETENTION:
        if step_of(granularity) < below:
            return kept
    return _LONGEST_RETENTION


def retention(definition: MetricDefinition, granularity: Granularity) -> int:
    """How long rows of a granularity are kept, in seconds."""
    stated = definition.publish.keep.get(granularity)
    return default_retention(granularity) if stated is None else stated // SECOND


def expires_after(definition: MetricDefinition, granularity: Granularity) -> int:
    """Windows of a granularity without data that a series survives."""
    windows, duration = definition.publish.expire_after
    return windows if duration is None else -(-duration // (step_of(granularity) * SECOND))


def in_zone(granularity: Granularity, zone: str) -> Granularity:
    """What a definition's granularity is in its zone: a day is one of the zone's."""
    return "1d" if granularity == DAY and zone != zones.UTC else granularity


COUNTERS = ("increase", "rate")
"""Aggregates over time that are summed over space unless the definition says."""


def published_unit(
    read_unit: str,
    over_time: str,
    over_space: str,
    over_points: str,
    added: Added = NONE_ADDED,
) -> str:
    """The unit of the published value: counting and dividing by time change it."""
    if over_points:
        return unit_of(over_points, read_unit, added)
    if over_space == "count":
        return "{stream}"
    if over_time == "rate":
        return f"{read_unit}/s"
    return "{point}" if over_time == "count" else read_unit


def steps_of(
    aggregate: Aggregate, added: Added = NONE_ADDED, instrument: str = ""
) -> tuple[str, str, str] | None:
    """(over time, over space, over points) with nothing left unsaid; None where too much is.

    instrument: That of the source; empty: numbers.
    """
    if aggregate.over_points is not None:
        return "", "", spelled(aggregate.over_points, added, instrument)
    if aggregate.over_time is None:
        return None
    over_space = aggregate.over_space
    if over_space is None:
        if aggregate.over_time not in COUNTERS:
            return None
        over_space = "sum"
    return aggregate.over_time, over_space, ""


def derivations(
    definition: MetricDefinition, lookups: Lookups = NO_LOOKUPS
) -> Iterator[Derivation]:
    """The attributes that the definition makes and uses, by name; others change no number.

    A lookup that is not there, or has no such column, is left out: for what `check` passes it is.
    """
    source = definition.source
    used = {*source.where, *definition.space.keep}
    for name, made in sorted(source.attributes.items()):
        if name not in used:
            continue
        write = made.write
        if made.capture is not None and write is None:
            write = "{1}" if compiled(made.capture).groups else "{0}"
        yield Derivation(
            name=name,
            sources=made.sources,
            lower=made.lower,
            capture=made.capture or "",
            write=write or "",
            mapped=None if made.map is None else tuple(sorted(made.map.items())),
            default=made.default,
            **_table_of(name, made, lookups),
        )


def _table_of(name: str, made: DerivedAttribute, lookups: Lookups) -> dict[str, Any]:
    lookup = None if made.lookup is None else lookups.get(made.lookup)
    column = made.column or name
    table = None if lookup is None else lookup.table(column)
    return {} if table is None else {"table": table, "column": f"{made.lookup}.{column}"}


def resolve(
    definition: MetricDefinition, added: Added = NONE_ADDED, lookups: Lookups = NO_LOOKUPS
) -> ResolvedDefinition:
    """The resolved form, with its version. Total for what passes `check`, else ResolveError.

    added: Aggregates that users have added. lookups: Those that attributes name.
    """
    source, time = definition.source, definition.time
    instrument = source.instrument or ""
    steps = steps_of(definition.aggregate, added, instrument)
    if steps is None:
        raise ResolveError(f"{definition.name} does not say how it aggregates")
    over_time, over_space, over_points = steps
    entries = [source, *(source.any_of or ())]
    names = [one.metric for one in entries if one.metric is not None]
    patterns = [one.match for one in entries if one.match is not None]
    if not names and not patterns:
        raise ResolveError(f"{definition.name} names no source")
    written = sorted(set(time.granularities), key=order)
    granularities = tuple(in_zone(one, time.zone) for one in written)
    zone = zones.find(time.zone)
    pane = pane_of(granularities, zone.whole)
    read_unit = definition.unit or source.unit
    fields: dict[str, Any] = {
        "name": definition.name,
        "sources": tuple(sorted(set(names))),
        "where": tuple(
            (attribute, tuple(sorted(set(values))))
            for attribute, values in sorted(source.where.items())
        ),
        "source_unit": source.unit,
        "source_instrument": instrument,
        "read_unit": read_unit,
        "unit": published_unit(read_unit, *steps, added),
        "keep": tuple(sorted(set(definition.space.keep) - {"tenant"})),
        "over_time": over_time,
        "over_space": over_space,
        "over_points": over_points,
        "granularities": granularities,
        "grace_ns": time.grace,
        "corrections_ns": time.corrections,
        "series_limit": definition.limits.series,
        "beyond": definition.limits.beyond,
        "patterns": tuple(sorted(set(patterns))),
        "attributes": tuple(derivations(definition, lookups)),
        "zone_rules": zone.rules if any(map(is_calendar, granularities)) else "",
    }
    return ResolvedDefinition(
        version=version_of(fields),
        publish_final=definition.publish.final,
        publish_upsert=definition.publish.upsert,
        publish_temporality=definition.publish.temporality,
        publish_late=definition.publish.late,
        publish_expire_after=tuple((g, expires_after(definition, g)) for g in granularities),
        retention=tuple(
            (g, retention(definition, one)) for g, one in zip(granularities, written, strict=True)
        ),
        pane=0 if pane in granularities else pane,
        **fields,
    )
