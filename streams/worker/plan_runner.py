"""Run a planned topology in a worker: its internal topics are made first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from streams.config import WorkerConfig
from streams.topology.plan import Plan
from streams.topology.stores import stores_of
from streams.worker.app import run_worker
from streams.worker.kafka import create_topic


async def create_topics(config: WorkerConfig, topics: Mapping[str, int]) -> None:
    """Make topics with so many partitions, unless they are there. Raises `Retriable`, `Fatal`."""
    for topic, partitions in topics.items():
        await create_topic(config, topic, partitions, {})


def run_plan(
    plan: Plan,
    config: WorkerConfig,
    *,
    topics: Mapping[str, int] | None = None,
    loglevel: str = "INFO",
) -> None:
    """Run until SIGTERM or SIGINT. `topics`: of the user's own, to be made if they are missing.

    Ends the process with the worker's exit code. Raises `Retriable` when there is no log.
    """
    dead_letters = {plan.settings.dead_letter_topic: 1}
    wanted = {**(topics or {}), **plan.internal_topics(), **dead_letters}
    asyncio.run(create_topics(config, wanted))
    run_worker(config, plan.topologies(), stores_of(plan), loglevel=loglevel)
