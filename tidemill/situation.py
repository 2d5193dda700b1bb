"""Asking the workers of a deployment what they do."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from metric_registry.plan import ResolvedDefinition
from tidemill import probe
from tidemill.holding import Situation
from tidemill.settings import Settings


async def ask(settings: Settings, definition: ResolvedDefinition) -> Situation:
    """What the workers say now; those that do not answer within two seconds are `silent`."""
    names = [f"worker-{number}" for number in range(settings.workers)]
    urls = [f"http://127.0.0.1:{settings.worker_port + n}" for n in range(settings.workers)]
    answers = await asyncio.gather(*(_answers(url) for url in urls))
    found = {n: answer for n, answer in zip(names, answers, strict=True) if answer is not None}
    return Situation(
        definition=definition,
        raw_partitions=settings.raw_partitions,
        shard_partitions=settings.shard_partitions,
        workers={name: tasks for name, (tasks, _) in found.items()},
        silent=[name for name in names if name not in found],
        sinks={name: sink["away"] for name, (_, sink) in found.items()},
        now=time.time_ns(),
    )


async def _answers(url: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    try:
        return await probe.get_json(f"{url}/stats/tasks"), await probe.get_json(f"{url}/stats/sink")
    except probe.Unreachable:
        return None
