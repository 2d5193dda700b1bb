"""From settings to the definitions in files, and what the store keeps of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metric_registry.check import check
from metric_registry.compile import compile_plan
from metric_registry.granularities import size_of
from metric_registry.plan import Plan
from metric_registry.rules import Settings as Allowed
from tidemill import own_aggregates
from tidemill.packs import STARTER, NoPack, is_pack, located
from tidemill.settings import Settings
from topologies.deployment import Deployment
from topologies.sink.derived import select_of
from topologies.sink.schema import Schema

MILLISECOND = 1_000_000


class DefinitionsError(ValueError):
    """Definitions, or aggregates of their own, with mistakes; the message is a report of them."""


def definition_paths(settings: Settings) -> list[Path]:
    """The files and folders of definitions: those named, and the starter set.

    Raises:
        DefinitionsError: There is no such pack.
    """
    return [*shipped_paths(settings), *project_paths(settings)]


def shipped_paths(settings: Settings) -> list[Path]:
    """Those that come with tidemill: the starter set, and packs that are named.

    Raises:
        DefinitionsError: There is no such pack.
    """
    try:
        named = located(path for path in settings.definitions if is_pack(path))
    except NoPack as error:
        raise DefinitionsError(str(error)) from None
    return [STARTER, *named] if settings.starter_definitions else named


def project_paths(settings: Settings) -> list[Path]:
    """Those of the project's own."""
    return [Path(path) for path in settings.definitions if not is_pack(path)]


def allowed(aggregates: Sequence[str | Path], environment: str = "") -> Allowed:
    """What definitions may ask for, with the aggregates that these files add, and where they run.

    Raises:
        DefinitionsError: A file of aggregates cannot be used.
    """
    try:
        return Allowed(own_aggregates=own_aggregates.load(aggregates), environment=environment)
    except own_aggregates.AggregatesError as error:
        raise DefinitionsError(str(error)) from None


def load_plan(settings: Settings) -> Plan:
    """The plan of all definitions.

    Raises:
        DefinitionsError: Some definition has a mistake; nothing is started on half of them.
    """
    report = check(definition_paths(settings), allowed(settings.aggregates, settings.environment))
    if report.errors:
        raise DefinitionsError(report.text())
    return compile_plan(report.definitions, derived=report.derived)


def retention_days(plan: Plan) -> dict[int, int]:
    """Resolution in seconds -> days that the store keeps its rows: the longest any asks for."""
    days: dict[int, int] = {}
    for definition in plan.definitions:
        for granularity, seconds in definition.retention:
            resolution = size_of(granularity)
            days[resolution] = max(days.get(resolution, 1), -(-seconds // 86_400))
    return days


def selects(deployed: Deployment, schema: Schema) -> dict[str, str]:
    """By the name of each derived definition in force, the SQL that computes it."""
    return {
        one.name: select_of(one, schema, deployed.computed_since(each.name for each in one.inputs))
        for one in deployed.plan.derived
    }
