"""The windows of definitions as levels."""

from __future__ import annotations

from metric_registry.durations import parse
from metric_registry.granularities import Granularity
from streams.event_time import levels
from streams.event_time.windows import SECOND


def level_of(granularity: Granularity, zone_rules: str) -> int:
    """The level (`streams.event_time.levels`) of a definition's granularity."""
    if isinstance(granularity, int):
        return granularity * SECOND
    size, hops, hop = granularity.partition("/")
    if hops:
        return levels.hopping(parse(size), parse(hop))
    for unit in levels.UNITS:
        if unit == granularity:
            return levels.calendar(unit, zone_rules)
    raise ValueError(f"{granularity!r} is no granularity")
