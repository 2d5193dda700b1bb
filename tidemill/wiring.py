"""From settings to the topologies that a worker runs."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from metric_registry.check import check
from metric_registry.compile import compile_plan
from metric_registry.plan import Plan
from streams.config import TaskSettings, Topology
from streams.task.processor import Processor
from tidemill.settings import Settings
from topologies.manager.processor import ManagerProcessor
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor
from topologies.rollup.processor import RollupProcessor

MILLISECOND = 1_000_000
HISTORY = r"telemetry\.history\..+"


class DefinitionsError(ValueError):
    """Definitions with mistakes; the message is the checker's report."""


def definition_paths(settings: Settings) -> list[Path]:
    """The files and folders of definitions: those named, and the starter set."""
    starter = resources.files("metric_registry") / "definitions"
    return [Path(str(starter)), *(Path(path) for path in settings.definitions)]


def load_plan(settings: Settings) -> Plan:
    """The plan of all definitions.

    Raises:
        DefinitionsError: Some definition has a mistake; nothing is started on half of them.
    """
    report = check(definition_paths(settings))
    if report.errors:
        raise DefinitionsError(report.text())
    return compile_plan(report.definitions)


def topologies(settings: Settings, plan: Plan) -> list[Topology]:
    """Pre-aggregation, roll-up and publication, and the task manager."""
    config = PreaggregateConfig(
        plan=plan,
        sources=settings.raw_partitions,
        shard_partitions=settings.shard_partitions,
        key=bytes.fromhex(settings.key),
        settle=settings.settle_ms * MILLISECOND,
    )

    def preaggregate(topic: str, partition: int) -> Processor:
        return PreaggregateProcessor(config, topic, partition)

    def rollup(topic: str, partition: int) -> Processor:
        return RollupProcessor(partition)

    def manager(topic: str, partition: int) -> Processor:
        return ManagerProcessor()

    tasks = TaskSettings(
        snapshot_interval_ms=settings.snapshot_interval_ms,
        idle_after_ms=settings.idle_after_ms,
    )
    return [
        Topology(
            "preaggregate", preaggregate, pattern=rf"telemetry\.raw|{HISTORY}", settings=tasks
        ),
        Topology("rollup", rollup, topics=("telemetry.partials",), settings=tasks),
        Topology("manager", manager, topics=("telemetry.progress",), settings=tasks),
    ]
