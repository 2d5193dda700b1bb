"""Scenarios, what is said of them, and the runs that it is held against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from metric_registry.differences.compare import Change, differences
from metric_registry.differences.history import BaseLines
from metric_registry.differences.outcomes import Outcome
from metric_registry.plan import Plan
from tests.simulation.change_points import Log, days, minutes
from tests.simulation.change_scenarios import SCENARIOS, Scenario
from tests.simulation.change_world import Labels, Outputs, Row, RowKey, run

OVERFLOW = "otel.metric.overflow"
BY_NAME = {one.name: one for one in SCENARIOS}
Window = tuple[int, int, Labels]


@cache
def outputs_of(in_days: bool, before: Plan, after: Plan | None = None) -> Outputs:
    return run(days() if in_days else minutes(), before, after)


@cache
def outputs_knowing(in_days: bool, plan: Plan, known: Plan | None) -> Outputs:
    """As if before the announcement only that had been sent which `known` counts."""
    log = days() if in_days else minutes()
    return run(log.known_by(known), plan)


@dataclass(frozen=True)
class Shown:
    """Of a scenario: what is said, and what runs show."""

    scenario: Scenario
    log: Log
    changes: dict[str, Change]

    @property
    def changed(self) -> Outputs:
        """With the change."""
        return outputs_of(self.scenario.days, *self.scenario.plans)

    @property
    def before(self) -> Outputs:
        """Under the old definitions alone."""
        return outputs_of(self.scenario.days, self.scenario.plans[0])

    @property
    def after(self) -> Outputs:
        """Under the new ones alone."""
        return outputs_of(self.scenario.days, self.scenario.plans[1])

    def new(self, base_lines: BaseLines) -> Outputs:
        """Under the new ones alone, as if only what gives these base lines had been sent before the
        announcement.
        """
        if base_lines in ("not needed", "known"):
            return self.after
        before, after = self.scenario.plans
        known = before if base_lines == "known of some" else None
        return outputs_knowing(self.scenario.days, after, known)

    def carries(self, name: str) -> bool:
        """Whether the old definition's late amounts travel."""
        (one,) = (d for d in self.scenario.plans[0].definitions if d.name == name)
        return one.publish_late == "carry"


@cache
def shown(name: str) -> Shown:
    scenario = BY_NAME[name]
    before, after = scenario.plans
    said = differences(before.definitions, after.definitions)
    log = days() if scenario.days else minutes()
    return Shown(scenario, log, {one.name: one for one in said.changes})


def each_change(found: Shown) -> Iterator[tuple[Change, Outcome]]:
    """Every granularity of every definition that differs."""
    for change in found.changes.values():
        for outcome in change.outcomes:
            yield change, outcome


def rows_of(outputs: Outputs, name: str, outcome: Outcome) -> dict[RowKey, Row]:
    return {
        k: v
        for k, v in outputs.rows.items()
        if (k.name, k.granularity) == (name, outcome.granularity)
    }


every_scenario = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.xdist_group(f"change {name}")) for name in BY_NAME],
)
"""A worker of the suite has all tests of one: they share its runs."""
