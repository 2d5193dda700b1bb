"""What a plan costs, in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from metric_registry.errors import count
from metric_registry.granularities import text_of
from metric_registry.plan import Plan
from metric_registry.planner.costs import Cost, Costs, Key, OfDefinition
from metric_registry.planner.routing import Chosen, choose
from metric_registry.planner.state import State, state_of
from metric_registry.planner.statistics import Statistics

_WORTH, _WORTH_CORES = 0.05, 0.05
"""A key that saves less than this share, or than so many cores, is not recommended: another key
moves every stream."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A plan's cost under a key, and the cheapest key's."""

    cost: Cost
    state: State
    chosen: Chosen
    statistics: Statistics

    def plan_lines(self) -> list[str]:
        """For people: of all of it."""
        return _plan_lines(self.cost, self.state, self.chosen, self.statistics)

    def definition_lines(self, index: int) -> list[str]:
        """For people: of one definition, by its place in the plan."""
        return _definition_lines(self.cost.definitions[index], self.cost.partitions)

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        state = {"preaggregate": self.state.preaggregate, "rollup": self.state.rollup}
        return {**_cost_dict(self.cost, self.chosen, self.statistics), "state_at_most": state}


def estimated(plan: Plan, key: Key, statistics: Statistics, partitions: int) -> Estimate:
    """What a plan costs under a key of the raw topic."""
    costs = Costs(plan, statistics, partitions)
    cost = costs.of(key)
    return Estimate(cost, state_of(costs, cost), choose(costs), statistics)


def _definition_lines(one: OfDefinition, partitions: int) -> list[str]:
    """What a definition adds, under its lines in an explanation."""
    if not one.streams:
        return ["  the traffic has nothing that it reads"]
    lines = [f"  reads {_per_second(one.points, 'point')} of {_number(one.streams)} streams"]
    if not one.points:
        lines = [
            f"  reads {_number(one.streams)} streams; how often they have points the statistics do "
            "not say: no two of one were seen"
        ]
    for each in one.windows:
        groups = "1 group" if each.groups < 1.5 else f"{each.groups:,.0f} groups"
        line = f"  {text_of(each.granularity)}: {groups}, {_per_second(each.out, 'row')} out"
        if partitions > 1:
            line += f", {_per_second(each.rekeyed, 'row')} re-keyed"
            line += f" (a group has rows in {each.partitions:.1f} of {partitions} partitions)"
        lines.append(line + f"; the store holds {_number(each.stored)} rows in the end")
    if one.unseen:
        lines.append(f"  nobody sends {', '.join(one.unseen)}")
    if one.over:
        lines.append("  more groups than its limit allows: the rest is merged into `other`")
    return lines


def _plan_lines(cost: Cost, state: State, chosen: Chosen, statistics: Statistics) -> list[str]:
    """What all of it costs, what sharing saves, and the key that would make it cheaper."""
    measured = statistics.measured
    part = ", a part of it" if measured.in_part else ""
    lines = [
        f"estimated from statistics {statistics.hash} ({_number(measured.points)} points of "
        f"{_number(measured.streams)} streams in {measured.seconds:,.0f} s from "
        f"{measured.since or 'no time'}{part}), over {count(cost.partitions, 'partition')}:",
        f"  {_per_second(cost.read, 'point')} scanned, {_per_second(cost.kept, 'point')} kept; "
        f"{_per_second(cost.rekeyed, 'row')} re-keyed ({_bytes(cost.network)} a second); "
        f"{_per_second(cost.out, 'row')} out; the store holds {_number(cost.stored)} rows in the "
        f"end ({_bytes(cost.stored * cost.prices.stored_bytes)})",
        f"  the workers take {_cores(cost.cpu)}; the busiest partition has {cost.busiest:.1f} "
        f"times its share, so provide {_cores(cost.provided)}",
        f"  state of at most {_bytes(state.preaggregate)} where points are read and "
        f"{_bytes(state.rollup)} in the roll-up, before it is compressed",
        f"  {_cores(cost.saved)} saved by sharing: one scan of each point, and shared panes, for "
        f"{count(len(cost.definitions), 'definition')}",
    ]
    best = chosen.cost
    saved = cost.provided - best.provided
    if saved > _WORTH_CORES and saved > _WORTH * cost.provided:
        lines.append(
            f"  cheaper: key the raw topic by {key_text(best.key)} "
            f"(`tidemill topic repartition {_options(best.key)}`). Then provide "
            f"{_cores(best.provided)}, {1 - best.provided / cost.provided:.0%} less: "
            f"{_per_second(best.rekeyed, 'row')} re-keyed instead of {_number(cost.rekeyed)}, and "
            f"the busiest partition has {best.busiest:.1f} times its share"
        )
    else:
        lines.append(
            f"  of {count(chosen.tried, 'key')} that were compared none saves much beside "
            f"{key_text(cost.key)}"
        )
    return lines


def _cost_dict(cost: Cost, chosen: Chosen, statistics: Statistics) -> dict[str, Any]:
    """For programs."""
    return {
        "statistics": statistics.hash,
        "measured": asdict(statistics.measured),
        **_totals(cost),
        "cheapest": {**_totals(chosen.cost), "compared": chosen.tried},
        "definitions": [
            {**asdict(one), "rekeyed": one.rekeyed, "out": one.out} for one in cost.definitions
        ],
    }


def key_text(key: Key) -> str:
    """A key of the raw topic, in words."""
    if key == "resource":
        return "all attributes of the resource"
    return ", ".join(f"`{name}`" for name in ("tenant", *key))


def _options(key: Key) -> str:
    """How a key is asked for."""
    if key == "resource":
        return "--by-resource"
    return " ".join(f"--by {name}" for name in key) or "--by-tenant"


def _totals(cost: Cost) -> dict[str, Any]:
    return {
        "key": cost.key,
        "partitions": cost.partitions,
        "points_scanned": cost.read,
        "points_kept": cost.kept,
        "rows_rekeyed": cost.rekeyed,
        "rows_out": cost.out,
        "rows_stored": cost.stored,
        "network_bytes": cost.network,
        "cpu": cost.cpu,
        "cpu_provided": cost.provided,
        "cpu_saved_by_sharing": cost.saved,
        "busiest": cost.busiest,
    }


def _per_second(number: float, what: str) -> str:
    return f"{_number(number)} {what}s a second"


def _number(number: float) -> str:
    """With three digits that say something."""
    if number >= 100 or number == round(number):
        return f"{number:,.0f}"
    return f"{number:.3g}"


def _cores(seconds: float) -> str:
    if 0 < seconds < 0.001:
        return "less than 0.1% of a core"
    return f"{seconds:.3g} cores" if seconds >= 0.1 else f"{seconds:.1%} of a core"


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:,.3g} TiB"
