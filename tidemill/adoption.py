"""Who has gone over to a decision about definitions, and who has not: of what workers say.

A task goes over at a record of its input, which is there for good when the decision is: a task that
has not come to it will, whatever happens to its worker.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metric_registry.plan import Plan
from streams.event_time.windows import EARLIEST, LATEST
from tidemill.holding import Tasks, newest_tasks
from tidemill.operators import PREAGGREGATION
from topologies.epochs import LIVE, Epochs, domain_of, topic_of_source


@dataclass(frozen=True, slots=True)
class Heard:
    """What a worker says of its tasks, and of the definitions that it knows to be in force."""

    tasks: Tasks
    definitions: Mapping[str, Any]


Workers = Mapping[str, Heard]
"""By name; only those that answered."""


def sources(first: int, epochs: Epochs) -> list[str]:
    """Every partition that is told: of the live topic (`first` of them) and of later epochs."""
    topics = {LIVE: first} | {epoch.topic: epoch.partitions for epoch in epochs.later}
    return [f"{topic}/{number}" for topic, count in topics.items() for number in range(count)]


def waiting(decided: int, told: Iterable[str], workers: Workers) -> list[str]:
    """A sentence for each partition and worker that does not compute by the decision yet."""
    tasks = newest_tasks([heard.tasks for heard in workers.values()], PREAGGREGATION)
    found: list[str] = []
    for source in told:
        task = tasks.get(source)
        if task is None:
            found.append(f"{source}: no worker that answers has its task")
        elif task["processor"].get("decided", 0) < decided:
            found.append(f"{source}: its task is {task['state']}, {task['lag']:,} records behind")
    for name, heard in workers.items():
        if heard.definitions["decided"] < decided:
            away = heard.definitions["away"]
            found.append(f"{name}: has not read the decision yet" + (f", {away}" if away else ""))
    return found


def reached(workers: Workers) -> int:
    """The latest event time that a live partition has come to, unix ns; EARLIEST: none is known."""
    tasks = newest_tasks([heard.tasks for heard in workers.values()], PREAGGREGATION)
    times = [
        task["processor"].get("watermark", EARLIEST)
        for source, task in tasks.items()
        if domain_of(topic_of_source(source)) == LIVE
    ]
    return max((time for time in times if time != LATEST), default=EARLIEST)


def lacking(plan: Plan, workers: Workers) -> list[str]:
    """A sentence for each worker that lacks an aggregate of a user's own which a definition has."""
    needed: dict[str, str] = {}
    for one in plan.definitions:
        if "@" in one.over_points:
            needed.setdefault(one.over_points.partition("(")[0], one.name)
    return [
        f"{name} does not have the aggregate {spelled} of {who}"
        for name, heard in workers.items()
        for spelled, who in needed.items()
        if spelled not in heard.definitions["aggregates"]
    ]


def silent(expected: Sequence[str], workers: Collection[str]) -> list[str]:
    """The workers that did not answer."""
    return [name for name in expected if name not in workers]
