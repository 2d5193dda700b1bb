"""What a plan costs a second: points read, rows sent between its stages and out of them, CPU.

The stages: every point is scanned once, whoever reads it. Definitions that share panes and the
unit they read in share the points that are kept and the row that each stream has in a window; a
definition folds such rows into groups. Each partition sends its groups' rows to the roll-up (rows
re-keyed), which merges those of all partitions and publishes (rows out).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from metric_registry.granularities import Granularity, step_of
from metric_registry.plan import Plan, ResolvedDefinition
from metric_registry.planner.estimate import Traffic, traffic_of
from metric_registry.planner.statistics import RESOURCE, Statistics

Key = tuple[str, ...] | Literal["resource"]
"""What the raw topic's key is made of beside the tenant: all attributes of the resource, or the
named ones, sorted; () is the tenant alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """CPU nanoseconds of the units of work, and bytes.

    Attributes:
        scanned: Of a point, whoever reads it.
        kept: Of a point that a pane keeps, sorts and folds.
        folded: Of a stream's row that goes into a group.
        rekeyed: Of a row from a partition to the roll-up: written, read and merged.
        out: Of a row that is published.
        record: Of a record of raw points, whatever is in it.
        sealed: Of a pane that a partition seals, whatever is in it.
        window: Of a window of a definition that a partition sends, whatever is in it.
        row_bytes: On the log, of a row that is re-keyed.
        stored_bytes: In the store, of a row, compressed.
    """

    scanned: float
    kept: float
    folded: float
    rekeyed: float
    out: float
    record: float
    sealed: float
    window: float
    row_bytes: float
    stored_bytes: float


PRICES = Prices(
    scanned=200, kept=150, folded=60, rekeyed=1_500, out=2_500, record=33_000, sealed=1_600_000,
    window=150_000, row_bytes=208, stored_bytes=10,
)  # fmt: skip
"""Of one core of a two-core AMD Milan: fitted to what 60 random plans took
(`tests/benchmarks/bench_planner.py --fit`), near the stages of `bench_pipeline.py`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfWindows:
    """Windows of one size of a definition.

    Attributes:
        groups: Of a window.
        partitions: In how many of them a group has rows, in the mean.
        rekeyed, out: Rows a second.
        stored: Rows in the store once as long has passed as it keeps them.
    """

    granularity: Granularity
    groups: float
    partitions: float
    rekeyed: float
    out: float
    stored: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OfDefinition:
    """What a definition adds.

    Attributes:
        points: That it reads, a second.
        streams: That it reads.
        folded: Rows of streams a second that go into its groups.
        unseen: Names of metrics that it reads and nobody sends.
        over: Whether it has more groups than its limit, a tenant.
    """

    name: str
    version: str
    points: float
    streams: float
    folded: float
    windows: tuple[OfWindows, ...]
    unseen: tuple[str, ...] = ()
    over: bool = False

    @property
    def rekeyed(self) -> float:
        return sum(one.rekeyed for one in self.windows)

    @property
    def out(self) -> float:
        return sum(one.out for one in self.windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A plan's, under a key of the raw topic of so many partitions. Rates are per second.

    Attributes:
        read, kept: Points scanned; points that panes keep, once for all definitions that share.
        alone: Points that would be kept if every definition had a pass of its own.
        alone_seals: Windows that would be sealed then.
        records: Of raw points.
        windows: Of definitions that partitions send.
        seals: Windows that partitions seal which have points.
        busiest: How much more than its share the busiest partition has: 1 if all have the same.
    """

    key: Key
    partitions: int
    definitions: tuple[OfDefinition, ...]
    read: float
    kept: float
    alone: float
    seals: float
    alone_seals: float
    records: float
    windows: float
    busiest: float
    prices: Prices = PRICES

    @property
    def rekeyed(self) -> float:
        return sum(one.rekeyed for one in self.definitions)

    @property
    def out(self) -> float:
        return sum(one.out for one in self.definitions)

    @property
    def folded(self) -> float:
        return sum(one.folded for one in self.definitions)

    @property
    def cpu(self) -> float:
        """CPU seconds a second."""
        return (self._by_partition + self._rolled_up) / 1e9

    @property
    def provided(self) -> float:
        """CPU seconds a second that must be there so that the busiest partition keeps up, where
        all have equal shares of the machines: what plans are compared by."""
        return (self._by_partition * self.busiest + self._rolled_up) / 1e9

    @property
    def saved(self) -> float:
        """CPU seconds a second more that it would take if each definition were a job of its own,
        which reads the topic, keeps points and seals windows for itself."""
        prices = self.prices
        jobs = len(self.definitions)
        scan = self.read * prices.scanned + self.records * prices.record
        seals = (self.alone_seals - self.seals) * prices.sealed
        return max(0.0, (jobs - 1) * scan + (self.alone - self.kept) * prices.kept + seals) / 1e9

    @property
    def network(self) -> float:
        """Bytes a second between the stages."""
        return self.rekeyed * self.prices.row_bytes

    @property
    def stored(self) -> float:
        """Rows in the store."""
        return sum(each.stored for one in self.definitions for each in one.windows)

    @property
    def _by_partition(self) -> float:
        prices = self.prices
        return (
            self.read * prices.scanned
            + self.kept * prices.kept
            + self.folded * prices.folded
            + self.records * prices.record
            + self.seals * prices.sealed
            + self.windows * prices.window
        )

    @property
    def _rolled_up(self) -> float:
        return self.rekeyed * self.prices.rekeyed + self.out * self.prices.out


class Costs:
    """Costs of one plan under one traffic, by the key of the raw topic."""

    def __init__(self, plan: Plan, statistics: Statistics, partitions: int) -> None:
        self.plan = plan
        self.partitions = partitions
        self.traffic = traffic_of(plan, statistics)
        self._statistics = statistics
        self._sharing = _shared(plan, self.traffic)
        self._parts = [_without_key(one) for one in self.traffic]
        self._found: dict[Key, Cost] = {}

    def of(self, key: Key) -> Cost:
        """The cost under a key."""
        if key not in self._found:
            self._found[key] = self._made(key)
        return self._found[key]

    def _made(self, key: Key) -> Cost:
        made = [
            _under(part, one, key, self.partitions)
            for part, one in zip(self._parts, self.traffic, strict=True)
        ]
        panes = {_pane(one): one.finest for one in self.plan.definitions}
        keys = self._keys(key)
        filled = touched(keys, self.partitions)
        read = sum(one.points_per_second for one in self._statistics.metrics.values())
        return Cost(
            key=key,
            partitions=self.partitions,
            definitions=tuple(made),
            read=read,
            kept=self._sharing,
            alone=sum(one.points_per_second for one in self.traffic),
            seals=sum(filled / seconds for seconds in panes.values()),
            alone_seals=sum(filled / one.finest for one in self.plan.definitions),
            records=self._records(),
            windows=sum(
                min(filled, each.partitions * max(1.0, each.groups)) / step_of(each.granularity)
                for one in made
                for each in one.windows
                if each.groups
            ),
            busiest=busiest(keys, self.partitions),
        )

    def _records(self) -> float:
        measured = self._statistics.measured
        return measured.requests / measured.seconds if measured.seconds else 0.0

    def _keys(self, key: Key) -> float:
        """Different keys that records have."""
        names = (RESOURCE,) if key == "resource" else ("tenant", *key)
        return max((one.groups(names) for one in self.traffic), default=0.0)


def touched(keys: float, partitions: int) -> float:
    """In how many of the partitions so many keys fall by a hash, to be expected."""
    return partitions * (1 - (1 - 1 / partitions) ** max(1.0, keys))


def busiest(keys: float, partitions: int) -> float:
    """How much more than its share the busiest of the partitions has, to be expected where so many
    keys of equal weight fall on them by a hash.

    Source: M. Raab, A. Steger, "Balls into bins: a simple and tight analysis", 1998, theorem 1;
    where there are fewer keys than partitions, some have none.
    """
    if partitions == 1 or keys <= 0:
        return 1.0
    mean = keys / partitions
    spread = math.sqrt(2 * math.log(partitions) / mean)
    return min(float(partitions), max(1 + spread, partitions / keys))


def _pane(one: ResolvedDefinition) -> tuple[int, int, int]:
    return one.finest, one.grace_ns, one.corrections_ns


def _shared(plan: Plan, traffic: Sequence[Traffic]) -> float:
    """Points a second that panes keep: of a metric once for all of a pane that read it alike."""
    widest: dict[tuple[object, ...], float] = {}
    for definition, one in zip(plan.definitions, traffic, strict=True):
        for metric, found in one.metrics.items():
            place = (*_pane(definition), definition.read_unit, metric)
            points = found.count.points_per_second * found.share
            widest[place] = max(widest.get(place, 0.0), points)
    return sum(widest.values())


def _without_key(traffic: Traffic) -> OfDefinition:
    definition = traffic.definition
    sizes: Mapping[Granularity, int] = dict(definition.retention)
    windows: list[OfWindows] = []
    folded = 0.0
    for granularity in definition.granularities:
        seconds = step_of(granularity)
        groups = traffic.groups(definition.group_by, seconds)
        folded += traffic.active(seconds) / seconds
        out = groups / seconds
        windows.append(
            OfWindows(
                granularity=granularity, groups=groups, partitions=1.0, rekeyed=out, out=out,
                stored=out * sizes.get(granularity, 0),
            )
        )  # fmt: skip
    return OfDefinition(
        name=definition.name,
        version=definition.version,
        points=traffic.points_per_second,
        streams=traffic.streams,
        folded=folded,
        windows=tuple(windows),
        unseen=traffic.unseen,
        over=_most_of_a_tenant(traffic) > definition.series_limit,
    )


def _most_of_a_tenant(traffic: Traffic) -> float:
    groups = traffic.groups(traffic.definition.group_by)
    return groups / max(1.0, traffic.groups(("tenant",)))


def _under(part: OfDefinition, traffic: Traffic, key: Key, partitions: int) -> OfDefinition:
    """The same with the rows that each partition has a part of."""
    kept = traffic.definition.group_by
    windows: list[OfWindows] = []
    for one in part.windows:
        seconds = step_of(one.granularity)
        more = (RESOURCE,) if key == "resource" else key
        keys = traffic.groups((*kept, *more), seconds) / one.groups if one.groups else 1.0
        where = touched(keys, partitions)
        windows.append(replace(one, partitions=where, rekeyed=one.out * where))
    return replace(part, windows=tuple(windows))
