"""Run a planned topology in a worker: its internal topics are made first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from streams.config import WorkerConfig
from streams.errors import Retriable
from streams.topology.plan import Plan
from streams.topology.stores import stores_of
from streams.topology.topics import Topic
from streams.worker.app import run_worker
from streams.worker.kafka import create_topic

log = logging.getLogger(__name__)

_RETRY_S = 0.5
_MOST_RETRY_S = 5.0


async def create_topics(config: WorkerConfig, topics: Iterable[Topic]) -> None:
    """Make topics, unless they are there; wait for a log that is not there yet. Raises `Fatal`."""
    told, pause = "", _RETRY_S
    for topic in topics:
        while True:
            try:
                await create_topic(config, topic.name, topic.partitions or 1, topic.config)
                break
            except Retriable as error:
                if not told:
                    log.warning("waiting for the log at %s: %s", config.bootstrap_servers, error)
                told = "the log is there, the worker starts"
                await asyncio.sleep(pause)
                pause = min(2 * pause, _MOST_RETRY_S)
    if told:
        log.warning(told)


def run_plan(
    plan: Plan,
    config: WorkerConfig,
    *,
    topics: Mapping[str, int] | None = None,
    loglevel: str = "INFO",
) -> None:
    """Run until SIGTERM or SIGINT. `topics`: of the user's own, to be made if they are missing.

    Ends the process with the worker's exit code. Where there is no log yet it is waited for.
    """
    given = [Topic(name, partitions) for name, partitions in (topics or {}).items()]
    asyncio.run(create_topics(config, [*given, *plan.topics()]))
    run_worker(config, plan.topologies(), stores_of(plan), loglevel=loglevel)
