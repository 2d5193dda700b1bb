"""How many bytes of state a plan's tasks keep at most, by what their encodings hold.

Blocks are compressed when they are saved; the bound is of what goes into them, so that traffic
that does not compress stays under it. Aggregates over points keep states whose size is their own
matter, and are not in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from metric_registry.granularities import Granularity, size_of, step_of
from metric_registry.plan import ResolvedDefinition
from metric_registry.planner.costs import Cost, Costs
from metric_registry.planner.estimate import Traffic
from metric_registry.planner.statistics import MetricCount

STREAM_ROW, BASE_LINE = 132, 32
"""Of a stream: its row in a window, and its base line (`streams.kernels.rows`, `fold`)."""
SERIES, MEMBER = 96, 40
"""Of a stream beside its texts: hashes, when it was seen, how it is read; in a definition."""
GROUP_ROW = 160
"""Of a group beside its labels: its row and hash in a window, and what was published of it."""
LABEL, DIGEST, RANGE = 6, 40, 64
"""Of a label beside its texts; of a record that may come again; of a pane's place in the log."""
REPEATS_S = 720
"""So long records are told apart (`topologies.preaggregate.digests`)."""
TASK, WINDOW, DEFINITION = 4_096, 512, 4_096
"""Of a task, of a window and of a definition whatever is in them."""
KEPT_FROM_S, KEPT_WINDOWS = 300, 4
"""Sealed windows that keep their streams' rows (`topologies.preaggregate.lattice`)."""
SPARE = 1.25
"""What estimated streams and groups may be too few by."""


@dataclass(frozen=True, slots=True)
class State:
    """Bytes at most: of the tasks that read points, and of those that roll up."""

    preaggregate: float
    rollup: float

    @property
    def total(self) -> float:
        return self.preaggregate + self.rollup


def state_of(costs: Costs, cost: Cost) -> State:
    """The bound of a plan's state under the key of a cost."""
    plan = costs.plan
    places = {(one.finest, one.grace_ns, one.corrections_ns) for one in plan.definitions}
    points = cost.partitions * TASK + len(plan.definitions) * cost.partitions * DEFINITION
    points += _series(costs.traffic) + REPEATS_S * cost.records * DIGEST
    rollup = TASK + float(len(plan.definitions) * DEFINITION)
    for place in sorted(places):
        mine = [
            one
            for one in costs.traffic
            if (one.definition.finest, one.definition.grace_ns, one.definition.corrections_ns)
            == place
        ]
        points += _rows(place, mine, cost.partitions)
    for definition, traffic in zip(cost.definitions, costs.traffic, strict=True):
        labels = _labels(traffic)
        for each in definition.windows:
            held = _held(traffic.definition, each.granularity)
            rows = each.groups * (each.partitions + 1)
            rollup += held * (rows * (GROUP_ROW + labels) + WINDOW * each.partitions)
            rollup += 3 * each.groups * (GROUP_ROW + labels)  # the series of the final topic
    return State(points * SPARE, rollup * SPARE)


def _series(traffic: Iterable[Traffic]) -> float:
    """Streams that somebody reads, with all that a task knows of each."""
    metrics: dict[str, tuple[MetricCount, float]] = {}
    entries = 0.0
    for one in traffic:
        labels = _labels(one)
        for name, found in one.metrics.items():
            metrics[name] = found.count, len(name)
            entries += found.streams * MEMBER + found.groups(one.definition.group_by) * labels
    return entries + sum(
        count.streams * (SERIES + name + _texts(count)) for count, name in metrics.values()
    )


def _texts(count: MetricCount) -> float:
    """Names and values of a stream's attributes."""
    return sum(
        len(name.encode()) + one.longest + LABEL
        for name, one in count.attributes.items()
        if not name.startswith("@")
    )


def _labels(traffic: Traffic) -> float:
    """The labels of a group."""
    return sum(
        len(name.encode())
        + LABEL
        + max((one.longest(name) for one in traffic.metrics.values()), default=0)
        for name in traffic.definition.group_by
    )


def _rows(place: tuple[int, int, int], traffic: list[Traffic], partitions: int) -> float:
    """What is kept of streams in the windows of one pane key."""
    pane, _, corrections = place
    streams = sum(
        {name: one.count.streams for each in traffic for name, one in each.metrics.items()}.values()
    )
    units = len({each.definition.read_unit for each in traffic})
    levels = {size for each in traffic for size in each.definition.granularities}
    windows = 0
    for size in levels | {pane}:
        windows += 1 + math.ceil(size_of(size) / step_of(size))
        if size_of(size) >= KEPT_FROM_S and corrections <= KEPT_WINDOWS * size_of(size) * 10**9:
            windows += KEPT_WINDOWS + 1
    panes = math.ceil((corrections / 10**9 + 2 * max(map(size_of, levels))) / pane)
    return units * streams * (BASE_LINE + windows * STREAM_ROW) + partitions * panes * RANGE


def _held(definition: ResolvedDefinition, size: Granularity) -> int:
    """Windows of a size that can be revised still, and those that are open."""
    reach = (definition.corrections_ns + definition.grace_ns) / 10**9 + 2 * size_of(size)
    return math.ceil(reach / step_of(size)) + 3
