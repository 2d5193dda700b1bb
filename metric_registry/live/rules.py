"""What in the data contradicts a definition: one rule a claim (C)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from metric_registry.fields import Problem
from metric_registry.live import counted, sent
from metric_registry.live.facts import Facts, Looked
from metric_registry.models import MetricDefinition
from metric_registry.plan import ResolvedDefinition

Rule = Callable[[MetricDefinition, ResolvedDefinition, Facts, Looked], Iterator[Problem]]

RULES: tuple[Rule, ...] = (
    sent.unseen_sources,
    sent.sent_twice,
    sent.conditions,
    sent.uncounted,
    sent.units,
    sent.attributes,
    counted.limits,
    counted.lateness,
    counted.rejected,
    counted.rare_samples,
    counted.sequence,
    counted.service_level,
)


def problems(
    model: MetricDefinition, definition: ResolvedDefinition, facts: Facts, looked: Looked
) -> Iterator[Problem]:
    """Everything that contradicts the definition, each with what was seen and what to do."""
    for rule in RULES:
        yield from rule(model, definition, facts, looked)
