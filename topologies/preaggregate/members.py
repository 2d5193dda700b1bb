"""Which definitions share panes, and what a stream is to a definition."""

from __future__ import annotations

from collections.abc import Iterable

from metric_registry.plan import Plan, ResolvedDefinition
from streams.event_time.windows import EARLIEST, SECOND
from streams.kernels.rows import TIME_DELTA_INCREASE, WANTS_VALUE
from topologies.encodings.points import GAUGE, SUM_CUMULATIVE, SUM_DELTA
from topologies.identity.stream import Stream
from topologies.preaggregate.aggregation import Publishes
from topologies.preaggregate.cells import OVER_TIME
from topologies.preaggregate.intake import Deployment
from topologies.preaggregate.ledger import Refusal
from topologies.preaggregate.panes import PaneKey


def pane_keys(
    deployed: Deployment,
) -> list[tuple[PaneKey, tuple[int, ...], dict[int, Publishes]]]:
    """The pane keys of a plan, each with its window sizes and what each definition publishes."""
    found: dict[PaneKey, dict[int, Publishes]] = {}
    for index, definition in enumerate(deployed.plan.definitions):
        key = PaneKey(definition.finest * SECOND, definition.grace_ns, definition.corrections_ns)
        sizes = frozenset(seconds * SECOND for seconds in definition.granularities)
        since = deployed.since.get(definition.version, EARLIEST)
        found.setdefault(key, {})[index] = Publishes(sizes, since)
    return [
        (key, tuple(sorted(frozenset[int]().union(*(p.sizes for p in members.values())))), members)
        for key, members in sorted(found.items(), key=lambda item: item[0].text())
    ]


def carries(plan: Plan, definitions: Iterable[int]) -> bool:
    """Whether any of these definitions adds to later points what late ones change."""
    chosen = [plan.definitions[index] for index in definitions]
    return any(one.publish_final and one.publish_late == "carry" for one in chosen)


def refusal_of(definition: ResolvedDefinition, stream: Stream) -> Refusal | None:
    """Why a stream that the definition names is no member of it; None if it is one.

    An increase is published as a monotonic sum, so it counts monotonic sums only.
    """
    if definition.over_time == "increase" and not (
        stream.monotonic and stream.kind in (SUM_DELTA, SUM_CUMULATIVE)
    ):
        monotonic = "monotonic " if stream.monotonic else "non-monotonic "
        kind = stream.kind_name if stream.kind == GAUGE else monotonic + stream.kind_name
        return Refusal(definition.name, "instrument", kind.replace("_", " "))
    return None


def kind_of(definition: ResolvedDefinition, stream: Stream) -> int:
    """What a member's number is in a definition."""
    kind = OVER_TIME[definition.over_time]
    if definition.over_time == "increase" and stream.kind == SUM_DELTA:
        kind = TIME_DELTA_INCREASE
    return kind + WANTS_VALUE if definition.over_space in ("min", "max", "last") else kind
