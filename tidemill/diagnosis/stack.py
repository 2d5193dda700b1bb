"""Checks of the running stack: who listens, who answers, what tasks say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from tidemill import epochs, probe
from tidemill.accounts import crowded, refused
from tidemill.definitions_topic import decisions_of, in_force
from tidemill.diagnosis.finding import Finding, fail, ok, warn
from tidemill.holding import Tasks, newest_tasks
from tidemill.operators import PREAGGREGATION
from tidemill.probe import Unreachable
from tidemill.repartition import epochs_of
from tidemill.settings import Settings
from tidemill.store_address import store_address
from tidemill.wiring import DefinitionsError, load_plan
from topologies.decisions import UnreadableDecision


@dataclass(frozen=True, slots=True)
class Place:
    """A process of the stack: where it listens, and what answers 200 if it is well."""

    name: str
    host: str
    port: int
    health: str


def places(settings: Settings) -> list[Place]:
    """Every process of a deployment."""
    broker = urlsplit(f"//{settings.bootstrap.split(',')[0]}")
    host = broker.hostname or "127.0.0.1"
    store = store_address(settings.store_url)
    here = "http://127.0.0.1"
    return [
        Place("broker", host, broker.port or 9092, f"http://{host}:{settings.broker_metrics_port}/health"),
        Place("store", store.host, store.port, f"{settings.store_url}/ping"),
        Place("edge", "127.0.0.1", settings.edge_port, f"{here}:{settings.edge_port}/health"),
        *(
            Place(f"worker-{n}", "127.0.0.1", settings.worker_port + n,
                  f"{here}:{settings.worker_port + n}/stats/tasks")
            for n in range(settings.workers)
        ),
    ]  # fmt: skip


async def findings(settings: Settings) -> AsyncIterator[Finding]:
    """Definitions, then every process, then what the workers' tasks say."""
    yield _definitions(settings)
    found = places(settings)
    listening = await asyncio.gather(*(probe.listens(p.host, p.port) for p in found))
    if not any(listening):
        ports = ", ".join(f"{place.name} {place.port}" for place in found)
        yield ok("stack", f"not running, and its ports are free ({ports})")
        return
    for place, listens in zip(found, listening, strict=True):
        yield await _process(place, listens, settings)
    for number in range(settings.workers):
        async for finding in _tasks(f"worker-{number}", settings.worker_port + number):
            yield finding
        async for finding in _standbys(f"worker-{number}", settings.worker_port + number):
            yield finding
    for finding in await _epochs(settings):
        yield finding


async def _epochs(settings: Settings) -> list[Finding]:
    """Changes of partitions; nothing where there was none, or where no log answers."""
    try:
        known = await epochs_of(settings)
        deployed = in_force(await decisions_of(settings), settings)
    except (Unreachable, DefinitionsError, UnreadableDecision):
        return []  # said of the broker, and of the definitions
    ports = (settings.worker_port + number for number in range(settings.workers))
    tasks = newest_tasks(await asyncio.gather(*map(_answer, ports)), PREAGGREGATION)
    since = {d.version: deployed.since.get(d.version, 0) for d in deployed.current}
    now = time.time_ns()
    first = settings.raw_partitions
    return list(epochs.findings(known, tasks, since, deployed.current, first, now))


async def _answer(port: int) -> Tasks:
    """What a worker says of its tasks; nothing if it does not answer."""
    try:
        return await probe.get_json(f"http://127.0.0.1:{port}/stats/tasks")
    except Unreachable:
        return {}


def _definitions(settings: Settings) -> Finding:
    try:
        plan = load_plan(settings)
    except DefinitionsError as error:
        first = str(error).splitlines()[0]
        return fail("definitions", first, "all of it: tidemill registry check")
    own = sum(1 for definition in plan.definitions if "@" in definition.over_points)
    computed = f", {own} by aggregates of your own" if own else ""
    return ok(
        "definitions", f"{len(plan.definitions)} without errors{computed} (plan {plan.hash[:8]})"
    )


async def _process(place: Place, listens: bool, settings: Settings) -> Finding:
    at = f"{place.host}:{place.port}"
    if not listens:
        return fail(
            place.name,
            f"nothing listens on {at}, while other processes of the stack run",
            f"see {settings.folder}/logs/{place.name}.log, or start it: tidemill up",
        )
    try:
        await probe.get(place.health)
    except probe.Unreachable as error:
        return fail(
            place.name,
            f"something listens on {at}, and does not answer as ours: {error}",
            "is it another program? Choose another port, or end that one",
        )
    return ok(place.name, f"answers on {at}")


async def _tasks(name: str, port: int) -> AsyncIterator[Finding]:
    try:
        stats = await probe.get_json(f"http://127.0.0.1:{port}/stats/tasks")
        sink = await probe.get_json(f"http://127.0.0.1:{port}/stats/sink")
    except probe.Unreachable:
        return
    for sentence in refused({name: stats}):
        yield warn(f"{name} streams", sentence, "tidemill why says what a definition counts")
    for sentence in crowded({name: stats}):
        yield warn(f"{name} limits", sentence, "tidemill why says it of one definition")
    tasks = [(at, task) for found in stats.values() for at, task in found.items()]
    broken = [f"{at}: {task['error']}" for at, task in tasks if task["error"]]
    letters = sum(task["dead_letters"] for _, task in tasks)
    if broken:
        yield fail(f"{name} tasks", "; ".join(broken), "see its log; nothing acknowledged is lost")
    elif letters:
        yield warn(
            f"{name} tasks",
            f"{letters} records could not be processed",
            "their bytes and the reason are in topic telemetry.dead-letter",
        )
    else:
        lag = sum(task["lag"] for _, task in tasks)
        yield ok(f"{name} tasks", f"{len(tasks)} tasks, {lag:,} records waiting")
    if sink["away"]:
        yield fail(f"{name} sink", sink["away"], "see the store's log; rollups wait on the log")


async def _standbys(name: str, port: int) -> AsyncIterator[Finding]:
    """The copies of other workers' state; nothing where there are none."""
    try:
        stats = await probe.get_json(f"http://127.0.0.1:{port}/stats/standbys")
    except probe.Unreachable:
        return
    copies = [(at, copy) for found in stats.values() for at, copy in found.items()]
    broken = [f"{at}: {copy['error']}" for at, copy in copies if copy["error"]]
    if broken:
        yield warn(f"{name} standbys", "; ".join(broken), "a task that moves there is restored")
    elif copies:
        lag = max(copy["lag"] for _, copy in copies)
        yield ok(f"{name} standbys", f"{len(copies)} copies, {lag:,} records behind at most")
