"""Which definitions share panes, what a stream is to a definition, and in which unit."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from metric_registry.derive import lookup_of
from metric_registry.over_points import bounds_of
from metric_registry.plan import Plan, ResolvedDefinition
from metric_registry.ucum import Conversion, NoConversion
from metric_registry.units import conversion_of
from streams.aggregates.needed import require
from streams.event_time.windows import SECOND
from streams.kernels import rows as layout
from streams.kernels.rows import TIME_DELTA_INCREASE, TIME_INCREASE, WANTS_VALUE
from topologies.cardinality import share_of
from topologies.deployment import Deployment
from topologies.encodings.points import (
    CUMULATIVE,
    GAUGE,
    HISTOGRAM,
    KIND_MASK,
    SUM_CUMULATIVE,
    SUM_DELTA,
)
from topologies.identity.stream import GroupLabels, Stream, group_labels, look_up
from topologies.partials import IN_THE_ROW
from topologies.preaggregate.aggregation import Publishes
from topologies.preaggregate.columns import PaneKey
from topologies.preaggregate.guard import Bound
from topologies.preaggregate.histograms import WHOLE, bounds_refused, part_read
from topologies.preaggregate.ledger import Refusal
from topologies.windows import level_of

OVER_TIME = {
    "sum": layout.TIME_SUM,
    "count": layout.TIME_COUNT,
    "min": layout.TIME_MIN,
    "max": layout.TIME_MAX,
    "avg": layout.TIME_AVG,
    "last": layout.TIME_LAST,
    "increase": layout.TIME_INCREASE,
    "rate": layout.TIME_INCREASE + layout.PER_SECOND,
}


def pane_keys(
    deployed: Deployment,
) -> list[tuple[PaneKey, tuple[int, ...], dict[int, Publishes]]]:
    """The pane keys of a plan, each with the levels and what each definition publishes of them.

    Raises:
        UnknownAggregate: This process lacks an aggregate of a definition.
    """
    definitions = deployed.plan.definitions
    require((each.name, each.over_points) for each in definitions if each.over_points)
    found: dict[PaneKey, dict[int, Publishes]] = {}
    for index, definition in enumerate(definitions):
        key = PaneKey(definition.finest * SECOND, definition.grace_ns, definition.corrections_ns)
        rules = definition.zone_rules
        levels = frozenset(level_of(one, rules) for one in definition.granularities)
        bound = Bound(share_of(definition.series_limit), definition.version)
        spans = deployed.spans(definition.version)
        states = "" if definition.over_points in IN_THE_ROW else definition.over_points
        publishes = Publishes(levels, bound, spans, definition.version, states)
        found.setdefault(key, {})[index] = publishes
    return [
        (key, tuple(sorted(frozenset[int]().union(*(p.levels for p in members.values())))), members)
        for key, members in sorted(found.items(), key=lambda item: item[0].text())
    ]


def carries(plan: Plan, definitions: Iterable[int]) -> bool:
    """Whether any of these definitions adds to later points what late ones change."""
    chosen = [plan.definitions[index] for index in definitions]
    return any(one.publish_final and one.publish_late == "carry" for one in chosen)


class Match(NamedTuple):
    """What a definition that names a stream's metric makes of the stream.

    read: How it reads the values, or why it does not; kind: what a member's number is; see
    `reading_of` and `kind_of`.
    """

    definition: int
    read: Conversion | Refusal
    kind: int
    group: GroupLabels


def matched(plan: Plan, stream: Stream) -> list[Match]:
    """The definitions whose conditions a stream meets, in their order."""
    found: list[Match] = []
    lookup = partial(look_up, stream)
    for index in plan.matches(stream.metric, lookup):
        definition = plan.definitions[index]
        group = group_labels(stream, definition.keep, lookup_of(definition.attributes, lookup))
        read, kind = reading_of(definition, stream), kind_of(definition, stream)
        wanted = bounds_of(definition.over_points)
        if read == WHOLE and wanted is not None:
            read = bounds_refused(definition, wanted, stream.bounds) or read
        found.append(Match(index, read, kind, group))
    return found


def reading_of(definition: ResolvedDefinition, stream: Stream) -> Conversion | Refusal:
    """How a definition reads the values of a stream that it names, or why it does not.

    An increase is published as a monotonic sum, so it counts monotonic sums only, and so does a
    rate. Points taken together are values each by itself: a sample of a cumulative sum is none,
    and of a sum without a temporality nobody knows. Histogram points are read by definitions that
    ask for them, and these read nothing else: a part of each point, see `part_read`. What bounds
    they have is a matter of each stream.
    Values in a unit of another dimension are of another thing; so are sums on a scale whose zero
    lies elsewhere.
    """
    if stream.kind & KIND_MASK >= HISTOGRAM or definition.source_instrument:
        return part_read(definition, stream)
    if not _suits(definition, stream):
        monotonic = "monotonic " if stream.monotonic else "non-monotonic "
        kind = stream.kind_name if stream.kind == GAUGE else monotonic + stream.kind_name
        return Refusal(definition.name, "instrument", kind.replace("_", " "))
    source = definition.source_unit
    read = conversion_of(stream.unit or source, definition.read_unit)
    if isinstance(read, NoConversion) or (read.offset and stream.kind != GAUGE):
        return Refusal(definition.name, "unit", stream.unit or source)
    return read


def _suits(definition: ResolvedDefinition, stream: Stream) -> bool:
    if definition.over_points:
        return stream.kind in (GAUGE, SUM_DELTA)
    if definition.over_time in ("increase", "rate"):
        return stream.monotonic and stream.kind in (SUM_DELTA, SUM_CUMULATIVE)
    return True


def kind_of(definition: ResolvedDefinition, stream: Stream) -> int:
    """What a member's number is in a definition."""
    over_time, over_space = definition.over_time, definition.over_space
    if definition.over_points:  # the number that makes a group's row what it must keep
        kept = "sum" if definition.over_points == "avg" else definition.over_points
        over_time, over_space = (kept, kept) if kept in IN_THE_ROW else ("count", "sum")
        if stream.kind & KIND_MASK >= HISTOGRAM and stream.kind & CUMULATIVE:
            over_time, over_space = "increase", "sum"
    kind = OVER_TIME[over_time]
    if over_time in ("increase", "rate") and stream.kind == SUM_DELTA:
        kind += TIME_DELTA_INCREASE - TIME_INCREASE
    return kind + WANTS_VALUE if over_space in ("min", "max", "last") else kind
