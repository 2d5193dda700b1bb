"""How many streams a definition reads, and how many groups attributes make of them.

Counted are single attributes and pairs of them. Of more than two together the number follows from
the pairs: a further attribute multiplies the groups by as many values as it has, at most, for one
value of an attribute that is there already (`region` by one, where `cluster` is). Of some of the
streams only (a condition, a window shorter than the interval of points) it is what a sample drawn
without looking has: A. F. Cardenas, "Analysis and performance of inverted data base structures",
CACM 18(5), 1975.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

from metric_registry.cardinality import groups_at_most
from metric_registry.derive import Derivation
from metric_registry.plan import Plan, ResolvedDefinition
from metric_registry.planner.statistics import (
    RESOURCE,
    TENANT,
    MetricCount,
    Statistics,
)

FORCED = "resource."
_SECOND = 10**9


def drawn(distinct: float, population: float, share: float, times: int = 1) -> float:
    """Of `distinct` values over a population, how many a share of it has (Cardenas); or so many
    such shares, each drawn by itself."""
    if population <= 0 or distinct <= 0 or times <= 0:
        return 0.0
    if share >= 1:
        return distinct
    return distinct * (1 - (1 - share) ** (times * population / distinct))


class _Known(NamedTuple):
    """The attribute that streams have, of which another is made; how many values it has over all
    streams of the metric, and how many among those that are read.
    """

    source: str
    alone: float
    read: float


@dataclass(frozen=True)
class OfMetric:
    """What a definition reads of one metric.

    Attributes:
        conditions: By attribute, which share of the streams passes, and how many values they have.
    """

    count: MetricCount
    attributes: Mapping[str, Derivation]
    conditions: Mapping[str, tuple[float, int]]

    @cached_property
    def share(self) -> float:
        """Of its streams those that pass all conditions."""
        return prod(passing for passing, _ in self.conditions.values())

    @property
    def streams(self) -> float:
        return self.count.streams * self.share

    def distinct(self, name: str) -> float:
        """Different values of an attribute among the streams that are read; none is one of them."""
        return self._look_up(name).read

    def groups(self, keep: tuple[str, ...]) -> float:
        """Different values of all these attributes together, among the streams that are read."""
        if keep not in self._together:
            self._together[keep] = self._made_together(keep)
        return self._together[keep]

    def _made_together(self, keep: tuple[str, ...]) -> float:
        known = sorted((-self._look_up(name).read, name) for name in set(keep))
        made = 1.0
        taken: list[_Known] = []
        for _, name in known:
            one = self._look_up(name)
            more = one.read
            for other in taken:
                both = self._pair(one.source, other.source)
                if both is not None:
                    more = min(more, both / other.alone)
            made *= max(more, 1.0)
            taken.append(one)
        return min(made, max(self.streams, 1.0))

    def longest(self, name: str) -> int:
        """Bytes of an attribute's longest value."""
        found = self.count.attributes.get(self._source(name))
        values = [0 if found is None else found.longest]
        made = self.attributes.get(name)
        if made is not None:
            values += [len(value.encode()) for value in (made.mapping or {}).values()]
            values += [len((made.default or "").encode()), len(made.write.encode()) + values[0]]
        return max(values)

    @cached_property
    def _names(self) -> dict[str, _Known]:
        return {}

    @cached_property
    def _together(self) -> dict[tuple[str, ...], float]:
        return {}

    def _look_up(self, name: str) -> _Known:
        found = self._names.get(name)
        if found is None:
            source = self._source(name)
            alone = self._alone(source)
            found = self._names[name] = _Known(source, alone, self._read(name, source, alone))
        return found

    def _read(self, name: str, source: str, values: float) -> float:
        made = self.attributes.get(name)
        mapping = None if made is None else made.mapping
        if mapping is not None:
            values = min(values, len(set(mapping.values())) + 1)
        share = 1.0
        for other, (passing, left) in self.conditions.items():
            given = self._source(other)
            both = self._pair(source, given)
            if source == given:
                values = max(1.0, min(values, left))
            elif both is None:
                share *= passing
            else:  # so many go with each of the values that are left
                each = min(1.0, both / self._alone(given) / values)
                values = max(1.0, drawn(values, values, each, left))
        return max(drawn(values, self.count.streams, share), 1.0)

    def _alone(self, source: str) -> float:
        found = self.count.attributes.get(source)
        return 1.0 if found is None else found.distinct + (found.streams < self.count.streams)

    def _source(self, name: str) -> str:
        made = self.attributes.get(name)
        names = (name,) if made is None else made.sources
        plain = [each.removeprefix(FORCED) for each in names]
        return next((each for each in plain if each in self.count.attributes), plain[0])

    def _pair(self, one: str, other: str) -> int | None:
        return self.count.both.get((one, other) if one < other else (other, one))


@dataclass(frozen=True)
class Traffic:
    """What a definition reads of all that was counted.

    Attributes:
        metrics: By name, those that were seen.
        unseen: Names that it reads and nobody sends.
    """

    definition: ResolvedDefinition
    metrics: Mapping[str, OfMetric]
    unseen: tuple[str, ...]

    @property
    def streams(self) -> float:
        return sum(one.streams for one in self.metrics.values())

    @property
    def points_per_second(self) -> float:
        return sum(one.count.points_per_second * one.share for one in self.metrics.values())

    def active(self, seconds: float) -> float:
        """Of its streams those that have a point in a window so long."""
        return sum(one.streams * _active(one, seconds) for one in self.metrics.values())

    def groups(self, keep: Iterable[str], seconds: float = float("inf")) -> float:
        """Groups that a window so long has by these attributes.

        Names of one definition are taken to be of the same things, as where agents rename: it has
        the groups of the metric that makes most.
        """
        names = tuple(keep)
        if seconds * _SECOND >= self._slowest:
            seconds = float("inf")
        place = names, seconds
        if place not in self._known:
            found = [_with_points(one, names, seconds) for one in self.metrics.values()]
            self._known[place] = min(max(found, default=0.0), self._at_most(names))
        return self._known[place]

    @cached_property
    def _slowest(self) -> float:
        """Windows so long (ns) have a point of every stream."""
        return max((one.count.interval_ns or 0 for one in self.metrics.values()), default=0)

    @cached_property
    def _known(self) -> dict[tuple[tuple[str, ...], float], float]:
        return {}

    def _at_most(self, names: tuple[str, ...]) -> float:
        """What conditions and maps bound them by."""
        if RESOURCE in names:
            return float("inf")
        definition = self.definition
        bound = groups_at_most(names, dict(definition.where), definition.attributes)
        if bound is None:
            return float("inf")
        return bound * max((one.distinct(TENANT) for one in self.metrics.values()), default=1.0)


def _with_points(one: OfMetric, keep: tuple[str, ...], seconds: float) -> float:
    """Groups of a window so long. What a resource sends comes together: a group has points if one
    of its resources has sent."""
    groups, active = one.groups(keep), _active(one, seconds)
    if active >= 1:
        return groups
    resources = one.groups((*keep, RESOURCE)) / groups
    return groups * (1 - (1 - active) ** max(1.0, resources))


def _active(one: OfMetric, seconds: float) -> float:
    interval = one.count.interval_ns
    return 1.0 if interval is None else min(1.0, seconds * _SECOND / interval)


def traffic_of(plan: Plan, statistics: Statistics) -> list[Traffic]:
    """What each definition of a plan reads, in the plan's order."""
    read: list[dict[str, OfMetric]] = [{} for _ in plan.definitions]
    for name, count in sorted(statistics.metrics.items()):
        alike: dict[object, OfMetric] = {}  # so that what is found of one is known of the others
        for index in plan.candidates(name):
            definition = plan.definitions[index]
            found = _read(definition, count)
            place = definition.attributes, tuple(found.conditions.items())
            read[index][name] = alike.setdefault(place, found)
    return [
        Traffic(one, metrics, tuple(name for name in one.sources if name not in metrics))
        for one, metrics in zip(plan.definitions, read, strict=True)
    ]


def _read(definition: ResolvedDefinition, count: MetricCount) -> OfMetric:
    attributes = {one.name: one for one in definition.attributes}
    conditions = {
        name: _passing(count, attributes.get(name), name, frozenset(wanted))
        for name, wanted in definition.where
    }
    return OfMetric(count, attributes, conditions)


def _passing(
    count: MetricCount, made: Derivation | None, name: str, wanted: frozenset[str]
) -> tuple[float, int]:
    """Of a metric's streams the share that a condition lets pass, and how many values they have."""
    names = (name,) if made is None else made.sources
    plain = [each.removeprefix(FORCED) for each in names]
    source = next((each for each in plain if each in count.attributes), None)
    if source is None:
        passes = made is not None and made.default in wanted
        return (1.0, 1) if passes else (0.0, 0)
    found = count.attributes[source]
    if not found.values:
        left = min(len(wanted), found.distinct)
        return min(1.0, left / found.distinct) * found.streams / count.streams, left
    passing = {
        text: streams
        for text, streams in found.values.items()
        if (text if made is None else made.of({names[plain.index(source)]: text}.get)) in wanted
    }
    streams = sum(passing.values())
    if made is not None and made.default in wanted:
        streams += count.streams - found.streams
    return streams / count.streams, len(passing)
