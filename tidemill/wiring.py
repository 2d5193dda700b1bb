"""From settings to the definitions that a deployment computes, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import msgspec

from metric_registry.check import check
from metric_registry.compile import compile_plan
from metric_registry.granularities import size_of
from metric_registry.plan import Plan, PlanError
from metric_registry.rules import Settings as Allowed
from streams.event_time.windows import SECOND
from tidemill import own_aggregates
from tidemill.changes import changes
from tidemill.settings import Settings
from topologies.deployment import Deployment, changed, without_closed
from topologies.epochs import Epochs

MILLISECOND = 1_000_000
DEPLOYED = "deployed.json"
FROM_THE_START = 0
_SINCE = msgspec.json.Decoder(dict[str, int])
LEAD_NS = 20 * 1_000 * MILLISECOND


class DefinitionsError(ValueError):
    """Definitions, or aggregates of their own, with mistakes; the message is a report of them."""


def definition_paths(settings: Settings) -> list[Path]:
    """The files and folders of definitions: those named, and the starter set."""
    starter = Path(str(resources.files("metric_registry") / "definitions"))
    named = [Path(path) for path in settings.definitions]
    return [starter, *named] if settings.starter_definitions else named


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
    return compile_plan(report.definitions)


def deployment(settings: Settings) -> Deployment:
    """What was written down last; the definitions as they are where it never did.

    Raises:
        DefinitionsError: Some definition has a mistake, or what was written cannot be read.
    """
    allowed(settings.aggregates, settings.environment)  # processes know them from here on
    return _written(settings) or Deployment(load_plan(settings))


class Decided(NamedTuple):
    """What was in force (None: nothing ever), and what is to be."""

    before: Deployment | None
    after: Deployment


def decide(settings: Settings, now_ns: int, epochs: Epochs) -> Decided:
    """Which definitions are to be in force, and from when on.

    A data directory's first definitions count from the start. What comes later counts from an
    event time a little ahead, which all partitions reach after they have been told; or from a
    change of partitions on that was announced, if that lies within windows of it.

    Raises:
        DefinitionsError: Some definition has a mistake.
    """
    plan = load_plan(settings)
    before = _written(settings)
    if before is None:
        return Decided(None, Deployment(plan, decided=now_ns))
    after = changed(before, plan, now_ns + LEAD_NS, epochs)
    kept = settings.raw_retention_hours * 3_600 * SECOND
    after = without_closed(after, now_ns, kept)
    return Decided(before, before if after == before else replace(after, decided=now_ns))


def write_down(settings: Settings, deployed: Deployment) -> None:
    """Workers that start from here on compute this."""
    file = settings.folder / DEPLOYED
    settings.folder.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_bytes(deployed.to_json() + b"\n")
    temporary.replace(file)


def changes_of(decided: Decided, epochs: Epochs) -> list[str]:
    """A sentence for each definition that changes; none for the first ones."""
    before, after = decided
    return [] if before is None else changes(before, after, epochs)


def _written(settings: Settings) -> Deployment | None:
    file = settings.folder / DEPLOYED
    if not file.exists():
        return None
    written = file.read_bytes()
    try:
        return Deployment.from_json(written)
    except (msgspec.MsgspecError, PlanError) as error:
        return _of_before(settings, written, error)


def _of_before(settings: Settings, written: bytes, error: Exception) -> Deployment:
    """From a file that only says since when each version counts, as earlier programs wrote it."""
    try:
        since = _SINCE.decode(written)
    except msgspec.MsgspecError:
        raise DefinitionsError(f"{settings.folder / DEPLOYED}: {error}") from error
    known = [one for one in load_plan(settings).definitions if one.version in since]
    chosen = {one.version: since[one.version] for one in known}
    later = {version: time for version, time in chosen.items() if time != FROM_THE_START}
    return Deployment(compile_plan(known), later)


def retention_days(plan: Plan) -> dict[int, int]:
    """Resolution in seconds -> days that the store keeps its rows: the longest any asks for."""
    days: dict[int, int] = {}
    for definition in plan.definitions:
        for granularity, seconds in definition.retention:
            resolution = size_of(granularity)
            days[resolution] = max(days.get(resolution, 1), -(-seconds // 86_400))
    return days
