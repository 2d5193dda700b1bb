"""From settings to the definitions that a deployment computes, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import msgspec

from metric_registry.check import check
from metric_registry.compile import compile_plan
from metric_registry.granularities import size_of
from metric_registry.plan import Plan
from metric_registry.rules import Settings as Allowed
from tidemill import own_aggregates
from tidemill.epochs import introduced, remembered
from tidemill.settings import Settings
from topologies.joining import counts_from
from topologies.preaggregate.intake import Deployment

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
    """The plan, and since when each version of a definition counts, as `deploy` wrote it down."""
    file = settings.folder / DEPLOYED
    since: dict[str, int] = {}
    if file.exists():
        since = _SINCE.decode(file.read_bytes())
    plan = load_plan(settings)
    versions = {definition.version for definition in plan.definitions}
    chosen = {v: time for v, time in since.items() if v in versions and time != FROM_THE_START}
    return Deployment(plan, chosen)


def deploy(settings: Settings, now_ns: int) -> list[str]:
    """Write down since when each version counts; returns a sentence for each that is new.

    A data directory's first definitions count from the start. What comes later counts from an
    event time a little ahead, which all partitions reach after they have been told; or from a
    change of partitions on that was announced, if that lies within windows of it.
    """
    file = settings.folder / DEPLOYED
    plan = load_plan(settings)
    first = not file.exists()
    known = {} if first else _SINCE.decode(file.read_bytes())
    epochs = remembered(settings)
    new = [d for d in plan.definitions if d.version not in known]
    soon = {d.version: counts_from(d, now_ns + LEAD_NS, epochs) for d in new}
    fresh = dict.fromkeys(soon, FROM_THE_START) if first else soon
    since = {d.version: (known | fresh)[d.version] for d in plan.definitions}
    settings.folder.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(since) + b"\n")
    temporary.replace(file)
    return [] if first else [introduced(d.name, since[d.version], epochs) for d in new]


def retention_days(plan: Plan) -> dict[int, int]:
    """Resolution in seconds -> days that the store keeps its rows: the longest any asks for."""
    days: dict[int, int] = {}
    for definition in plan.definitions:
        for granularity, seconds in definition.retention:
            resolution = size_of(granularity)
            days[resolution] = max(days.get(resolution, 1), -(-seconds // 86_400))
    return days
