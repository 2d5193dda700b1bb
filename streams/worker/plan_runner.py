"""Run a planned topology in a worker: its internal topics are made first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from streams.config import WorkerConfig
from streams.topology.plan import Plan
from streams.topology.stores import stores_of
from streams.topology.topics import Topic
from streams.worker.app import run_worker
from streams.worker.kafka import create_topic


async def create_topics(config: WorkerConfig, topics: Iterable[Topic]) -> None:
    """Make topics, unless they are there. Raises `Retriable`, `Fatal`."""
    for topic in topics:
        await create_topic(config, topic.name, topic.partitions or 1, topic.config)


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
    given = [Topic(name, partitions) for name, partitions in (topics or {}).items()]
    asyncio.run(create_topics(config, [*given, *plan.topics()]))
    run_worker(config, plan.topologies(), stores_of(plan), loglevel=loglevel)
