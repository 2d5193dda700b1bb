"""From resolved definitions to the plan that the workers run."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.plan import Plan, ResolvedDefinition

MAX_DEFINITIONS = 65_535
"""Messages carry a definition's index as u16."""


class CompileError(ValueError):
    """Definitions that cannot be planned together; `check` finds the same with its position."""


def compile_plan(
    definitions: Iterable[ResolvedDefinition],
    leaving: Iterable[ResolvedDefinition] = (),
    derived: Iterable[ResolvedDerived] = (),
) -> Plan:
    """The plan of these definitions, the same for every order they come in.

    leaving: Other versions that still have windows to close or to correct; they may have the names
    of `definitions`.

    Raises CompileError for two definitions of one name, or more than MAX_DEFINITIONS.
    """
    current = sorted(definitions, key=lambda definition: definition.name)
    for first, second in itertools.pairwise(current):
        if first.name == second.name:
            raise CompileError(f"two definitions are named {first.name}: run the check")
    every = sorted((*current, *leaving), key=lambda one: (one.name, one.version))
    if len(every) > MAX_DEFINITIONS:
        raise CompileError(f"{len(every)} definitions, a plan holds at most {MAX_DEFINITIONS}")
    return Plan(tuple(every), tuple(sorted(derived, key=lambda one: one.name)))
