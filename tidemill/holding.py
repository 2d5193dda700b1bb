"""What holds the next window of a definition: a pure function of what the workers say.

A window closes when every source partition has sealed it; a source seals it when its watermark has
passed the end and the grace, or when the partition was declared idle. So whatever holds a window is
a source without a task, a task that is not done reading, or an agent that sends nothing newer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from metric_registry.durations import render
from metric_registry.plan import ResolvedDefinition
from streams.event_time.windows import EARLIEST, LATEST, SECOND, window_end
from tidemill.operators import PREAGGREGATION, ROLL_UP
from topologies.epochs import Epoch, domain_of, topic_of_source

RAW, PARTIALS = "telemetry.raw", "telemetry.partials"
Tasks = Mapping[str, Mapping[str, Any]]
"""Topology -> topic/partition -> figures, as a worker answers GET /stats/tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known. Times in unix ns.

    Attributes:
        workers: A worker's name -> its tasks; only those that answered.
        silent: Names of workers that did not answer.
        sinks: A worker's name -> why its sink gets nothing into the store; empty if it does.
    """

    definition: ResolvedDefinition
    raw_partitions: int
    shard_partitions: int
    workers: Mapping[str, Tasks]
    silent: Sequence[str]
    sinks: Mapping[str, str]
    now: int

    @property
    def pane(self) -> str:
        """The pane key that the definition belongs to."""
        found = self.definition
        return f"{found.finest * SECOND}/{found.grace_ns}/{found.corrections_ns}"


@dataclass(frozen=True, slots=True)
class Holding:
    """The answer for one time domain.

    Attributes:
        done: Windows up to here are published (unix ns); EARLIEST if none.
        next_end: The end of the next one; LATEST if the domain has ended.
        held: Whether something other than time itself holds it.
        sentences: The explanation.
    """

    domain: str
    done: int
    next_end: int
    held: bool
    sentences: tuple[str, ...]


def newest_tasks(workers: Iterable[Tasks], topology: str) -> dict[str, Mapping[str, Any]]:
    """The tasks of a topology over all workers; of two claims to a partition the one further on."""
    found: dict[str, Mapping[str, Any]] = {}
    for tasks in workers:
        for name, task in tasks.get(topology, {}).items():
            if name not in found or task["position"] > found[name]["position"]:
                found[name] = task
    return found


def explain(situation: Situation) -> list[Holding]:
    """One answer a time domain, the live one first."""
    domains = sorted(_domains(situation), key=lambda name: (name != RAW, name))
    return [_explain(situation, domain) for domain in domains]


def clock(time: int) -> str:
    """Unix ns as UTC, to the second."""
    return f"{datetime.fromtimestamp(time / SECOND, UTC):%Y-%m-%d %H:%M:%S}"


def _domains(situation: Situation) -> set[str]:
    found = {RAW}
    for tasks in situation.workers.values():
        found |= {domain_of(topic_of_source(s)) for s in tasks.get(PREAGGREGATION, {})}
    return found


def _explain(situation: Situation, domain: str) -> Holding:
    reducers = newest_tasks(situation.workers.values(), ROLL_UP)
    frontiers = [
        task["processor"].get("frontiers", {}).get(domain, {}).get(situation.pane, EARLIEST)
        for task in reducers.values()
    ]
    done = min(frontiers, default=EARLIEST)
    size = situation.definition.finest * SECOND
    if done == LATEST:
        return Holding(domain, done, LATEST, False, (f"{domain} has ended: all is published",))
    live = domain == RAW
    next_end = done + size if done != EARLIEST else window_end(situation.now, size)
    held = [
        *_without_reducer(situation, reducers),
        *_sources(situation, domain, next_end, live=live),
        *(
            f"nothing reaches the tables from {n}: {why}"
            for n, why in situation.sinks.items()
            if why
        ),
    ]
    return Holding(
        domain,
        done,
        next_end,
        bool(held),
        (*_state(situation, done, next_end, live), *_coming(situation, domain), *held),
    )


def _state(situation: Situation, done: int, next_end: int, live: bool) -> list[str]:
    size = render(situation.definition.finest * SECOND)
    if done == EARLIEST:
        return [f"no {size} window has been sealed yet"]
    said = [f"{size} windows up to {clock(done)} are published"]
    due = next_end + situation.definition.grace_ns
    if live and situation.now < due:
        wait = -(-(due - situation.now) // SECOND)
        said.append(
            f"the next ends at {clock(next_end)} and seals "
            f"{render(situation.definition.grace_ns)} later (grace), in {wait} s"
        )
    return said


def _coming(situation: Situation, domain: str) -> list[str]:
    """The change of the number of partitions that has been announced, if any."""
    ends = {
        topic_of_source(name): _epoch(task).until
        for name, task in newest_tasks(situation.workers.values(), PREAGGREGATION).items()
        if domain_of(topic_of_source(name)) == domain
    }
    return [
        f"{topic} ends at {clock(until)}: what is later is counted on the next topic "
        "(tidemill topic epochs)"
        for topic, until in sorted(ends.items())
        if situation.now < until < LATEST
    ]


def _without_reducer(situation: Situation, reducers: Mapping[str, Any]) -> list[str]:
    wanted = [f"{PARTIALS}/{number}" for number in range(situation.shard_partitions)]
    return _unowned(situation, [name for name in wanted if name not in reducers]) + [
        sentence
        for name, task in sorted(reducers.items())
        if (sentence := _busy(name, task)) is not None
    ]


def _sources(situation: Situation, domain: str, next_end: int, *, live: bool) -> list[str]:
    """Why sources have not sealed the window, worst first."""
    tasks = {
        name: task
        for name, task in newest_tasks(situation.workers.values(), PREAGGREGATION).items()
        if domain_of(topic_of_source(name)) == domain and _epoch(task).owns(next_end)
    }
    current = {topic_of_source(name): _epoch(task).sources for name, task in tasks.items()}
    wanted = [
        f"{topic}/{number}"
        for topic, count in (current or {domain: 0}).items()
        for number in range(count or situation.raw_partitions)
    ]
    said = _unowned(situation, [name for name in wanted if name not in tasks])
    due = next_end + situation.definition.grace_ns
    if live and situation.now < due:
        return said + [s for name, task in sorted(tasks.items()) if (s := _troubled(name, task))]
    for name, task in sorted(tasks.items()):
        if _sealed(task, situation.pane) >= next_end:
            continue
        said.append(_busy(name, task) or _behind(name, task, due, situation.now, live=live))
    return said


def _epoch(task: Mapping[str, Any]) -> Epoch:
    """Of a task; sources 0: as many as the settings say."""
    since, until, partitions = task["processor"].get("epoch", (EARLIEST, LATEST, None))
    return Epoch(partitions or 0, since, until)


def _unowned(situation: Situation, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    silent = f" ({', '.join(situation.silent)} does not answer)" if situation.silent else ""
    return [
        f"{', '.join(names)}: with no worker that answers{silent}. Every window waits for it; "
        "see the worker's log, or start one: tidemill worker"
    ]


def _busy(name: str, task: Mapping[str, Any]) -> str | None:
    """Why a task is not done reading, or None."""
    if trouble := _troubled(name, task):
        return trouble
    if task["processor"].get("waiting_for"):
        return f"{name} reads past records again, to recompute a window: it goes on by itself"
    if task["lag"]:
        return f"{name} is {task['lag']:,} records behind: more workers would share the partitions"
    return None


def _troubled(name: str, task: Mapping[str, Any]) -> str | None:
    if task["error"]:
        return f"{name} failed and starts over (restart {task['restarts']}): {task['error']}"
    if task["state"] != "running":
        return f"{name} is not running yet: {task['state']}"
    return None


def _behind(name: str, task: Mapping[str, Any], due: int, now: int, *, live: bool) -> str:
    """A source that was read to its end and has not come far enough in event time."""
    mark = task["processor"]["watermark"]
    if mark == EARLIEST:
        return f"{name} has had no record yet; it counts as idle soon"
    if not live:
        return (
            f"{name} is complete up to {clock(mark)} by its markers; the loader has not said more: "
            "repeat the same tidemill load, which carries on"
        )
    received = task["processor"]["received"]
    ago = max(0, now - received) // SECOND
    return (
        f"{name} has come to {clock(mark)} in event time and must pass {clock(due)}; its last "
        f"record arrived {ago} s ago. Agents send nothing newer: look at their clocks and queues"
    )


def _sealed(task: Mapping[str, Any], pane: str) -> int:
    panes: list[dict[str, Any]] = task["processor"].get("panes", [])
    return next((one["frontier"] for one in panes if one["key"] == pane), EARLIEST)
