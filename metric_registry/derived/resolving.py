"""From a derived definition as it was written to one in which everything is explicit."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from metric_registry.derived.resolved import (
    WAIT_S,
    DerivedInput,
    How,
    ResolvedDerived,
    common,
    semantics,
)
from metric_registry.derived.rules import Inputs
from metric_registry.durations import SECOND
from metric_registry.fields import Problem
from metric_registry.granularities import is_calendar
from metric_registry.plan import API_VERSION, digest


def resolve_derived(given: Inputs) -> ResolvedDerived:
    """The resolved form, with its version; of what `rules.problems` finds no error in."""
    model, inputs = given.model, [one for one, _ in given.found]
    found = given.factors
    if isinstance(found, Problem):
        raise ValueError(f"{model.name}: {found.message}")
    keep, derive = given.keep, model.derive
    shared, _ = common({one.name: (one.granularities, one.zone_rules) for one in inputs})
    rules = {one.zone_rules for one in inputs if any(map(is_calendar, shared))}
    graces = [one.grace_ns for one in inputs]
    waits = -(-(max(graces) - min(graces)) // SECOND) + WAIT_S
    made = ResolvedDerived(
        name=model.name,
        version="",
        unit=found.unit,
        how=cast("How", derive.how),
        inputs=tuple(
            DerivedInput(
                name=one.name,
                version=one.version,
                unit=one.unit,
                instrument=one.instrument,
                p=p,
                q=q,
                summed=bool(set(one.keep) - set(keep)),
            )
            for one, (p, q) in zip(inputs, found.of, strict=True)
        ),
        keep=keep,
        absent=derive.absent,
        parameter=derive.parameter,
        granularities=shared,
        zone_rules=max(rules, default=""),
        wait_s=waits if derive.absent == "zero" else WAIT_S,
    )
    meaning = {"apiVersion": API_VERSION, **semantics(made)}
    return replace(made, version=digest(meaning, 16))
