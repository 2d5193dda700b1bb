"""The whole product as one topology, in the DSL: from raw telemetry to rollups.

    tidemill topology graph     # draws it; describe, stores, manifest and diff work on it, too

What each processor computes is in `topologies/`; what the topics keep is in `settings.py`.
"""

from __future__ import annotations

from functools import partial

from streams.config import TaskSettings
from streams.topology.builder import StreamsBuilder
from streams.topology.plan import Plan
from tidemill.operators import MANAGER, PREAGGREGATION, ROLL_UP
from tidemill.settings import Settings, topics
from tidemill.wiring import MILLISECOND
from topologies.deployment import Deployment, InForce
from topologies.manager.processor import STORES as MANAGED
from topologies.manager.processor import ManagerProcessor
from topologies.preaggregate.config import PreaggregateConfig
from topologies.preaggregate.processor import PreaggregateProcessor
from topologies.preaggregate.state import STORES as PREAGGREGATED
from topologies.rollup.processor import RollupProcessor
from topologies.rollup.state import STORES as ROLLED_UP

LATER_EPOCHS = r"telemetry\.raw\.e[1-9][0-9]*"
HISTORY = r"telemetry\.history\..+"


def product(settings: Settings, deployed: Deployment | InForce) -> Plan:
    """Pre-aggregation where points arrive, roll-up and publication by shard, and the manager."""
    topic = {each.name: each for each in topics(settings)}
    progress, ledger = topic["telemetry.progress"], topic["telemetry.ledger"]
    dead_letters = topic["telemetry.dead-letter"]

    builder = StreamsBuilder("tidemill")
    builder.records(
        topic["telemetry.raw"], also=f"{LATER_EPOCHS}|{HISTORY}", any_number=LATER_EPOCHS
    ).process(
        partial(PreaggregateProcessor, preaggregation(settings, deployed)),
        name=PREAGGREGATION,
        stores=PREAGGREGATED,
        writes=[topic["telemetry.partials"], progress, ledger, dead_letters],
    )
    builder.records(topic["telemetry.partials"]).process(
        lambda _topic, shard: RollupProcessor(shard),
        name=ROLL_UP,
        stores=ROLLED_UP,
        writes=[topic["telemetry.rollups"], topic["metrics"], topic["rollups"], progress, ledger],
    )
    builder.records(progress).process(
        lambda _topic, _partition: ManagerProcessor(),
        name=MANAGER,
        stores=MANAGED,
        writes=[topic["telemetry.tasks"], dead_letters],
    )
    return builder.build(
        TaskSettings(
            snapshot_interval_ms=settings.snapshot_interval_ms,
            idle_after_ms=settings.idle_after_ms,
            dead_letter_topic=dead_letters.name,
        )
    )


def preaggregation(settings: Settings, deployed: Deployment | InForce) -> PreaggregateConfig:
    """What the pre-aggregation tasks of a deployment agree on."""
    return PreaggregateConfig(
        deployed=deployed,
        sources=settings.raw_partitions,
        shard_partitions=settings.shard_partitions,
        key=bytes.fromhex(settings.key),
        stream_gap=settings.stream_gap_ms * MILLISECOND,
        settle=settings.settle_ms * MILLISECOND,
    )
