"""Two worker processes with standbys; one is killed: how long until the other publishes instead.

Totals of the DSL in two partitions. A row of a probe comes to each every 20 ms; the outputs are
read read_committed. What the time goes to is looked at every 10 ms from outside: when the group's
state is no longer stable (the session has timed out), when the survivor has been given the task,
and when that task runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench_dsl import REQUESTS, records

from streams.batch import BytesColumn
from streams.codecs import Columnar
from streams.config import WorkerConfig
from streams.event_time.windows import SECOND
from streams.schema import f64, string
from streams.schema import time as at_time
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.topology.plan import Plan
from streams.values import Values
from streams.worker.plan_runner import run_plan
from tests.ports import free_port

PARTITIONS = 2
LOOK_SECONDS = 0.01
PROBE_SECONDS = 0.02
PATIENCE_SECONDS = 120.0
SETTLE_SECONDS = 3.0
LAG_RECORDS = 20  # a position comes with each commit, and a copy looks for more every second
CODEC = Columnar(REQUESTS)


class TakeOver(NamedTuple):
    """Seconds from the kill on."""

    expired: float
    assigned: float
    running: float
    output: float


def topology() -> Plan:
    """Rows of a path are in one partition: one hop."""
    builder = StreamsBuilder("bench")
    stream = builder.stream("requests", CODEC, time="at", partitions=PARTITIONS, key="path")
    made = stream.group_by("path").aggregate(
        n=agg.count(), total=agg.sum("seconds"), top=agg.max("seconds")
    )
    made.to("out")
    return builder.build()


def config(address: str, state: Path, port: int) -> WorkerConfig:
    """As by default, but for the standby."""
    return WorkerConfig("bench", address, state, web_port=port, standby_replicas=1)


class Worker:
    """A worker process."""

    def __init__(self, address: str, folder: Path, name: str) -> None:
        self.port = free_port()
        self.log = folder / f"{name}.log"
        words = [sys.executable, __file__, address, str(folder / name), str(self.port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)

    def stats(self, what: str) -> dict[str, Any]:
        """Of its tasks, or its standbys; none while it does not answer."""
        url = f"http://127.0.0.1:{self.port}/stats/{what}"
        found: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(url, timeout=5) as it:
            for of_topology in json.loads(it.read()).values():
                found |= of_topology
        return found

    def check(self) -> None:
        if self.process.poll() is not None:
            raise SystemExit(self.log.read_text()[-4000:])

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(20)


def rows(paths: list[bytes], at: int) -> list[bytes]:
    """Values of records."""
    n = len(paths)
    columns = {
        "path": Values(string, BytesColumn.of(paths)),
        "seconds": Values(f64, np.full(n, 0.1)),
        "at": Values(at_time, np.full(n, at * SECOND)),
    }
    return [record.value or b"" for record in records(CODEC, columns, n)]


async def fill(producer: AIOKafkaProducer, groups: int) -> dict[int, int]:
    """Each of so many groups a partition gets a row; returns the partitions' ends."""
    ends: dict[int, int] = {}
    for partition in range(PARTITIONS):
        values = rows([b"/path/%d" % (PARTITIONS * n + partition) for n in range(groups)], 10)
        for value in values:
            await producer.send("requests", value, partition=partition)
        ends[partition] = len(values)
    await producer.flush()
    return ends


async def until(done: Any, workers: list[Worker], what: str) -> None:
    begin = time.perf_counter()
    while not await asyncio.to_thread(done):
        for each in workers:
            each.check()
        if time.perf_counter() - begin > PATIENCE_SECONDS:
            said = [(each.stats("tasks"), each.stats("standbys")) for each in workers]
            raise SystemExit(f"no {what} after {PATIENCE_SECONDS:.0f} s: {said}")
        await asyncio.sleep(0.2)


def is_warm(workers: list[Worker], ends: dict[int, int]) -> bool:
    """Each has a task whose state is in its last snapshot, and follows the other's."""
    for each in workers:
        tasks, copies = each.stats("tasks"), each.stats("standbys")
        if len(tasks) != 1 or len(copies) != 1:
            return False
        (name, task), (copy,) = *tasks.items(), copies.values()
        whole = (task["snapshot"] or 0) >= ends[int(name.rpartition("/")[2])]
        if not whole or copy["lag"] > LAG_RECORDS or copy["state"] != "following":
            return False
    return True


async def probe(producer: AIOKafkaProducer) -> None:
    """A row to each partition, again and again."""
    number = 0
    while True:
        for partition in range(PARTITIONS):
            (value,) = rows([b"probe-%d" % partition], 20 + number)
            await producer.send("requests", value, partition=partition)
        number += 1
        await asyncio.sleep(PROBE_SECONDS)


async def kill_one(address: str, workers: list[Worker]) -> TakeOver:
    """Kill the first and look on, while probes come."""
    killed, survivor = workers
    (name,) = killed.stats("tasks")
    lost = f"probe-{name.rpartition('/')[2]}"
    group = f"bench-{topology().topologies()[0].name}"
    seen: dict[str, float] = {}
    out = AIOKafkaConsumer(
        "out", bootstrap_servers=address, isolation_level="read_committed", fetch_max_wait_ms=20
    )
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await out.start()
    await admin.start()
    begin = 0.0

    def note(what: str) -> None:
        seen.setdefault(what, time.perf_counter() - begin)

    async def look_at_group() -> None:
        while "expired" not in seen:
            (answer,) = await admin.describe_consumer_groups([group])
            if answer.groups[0][2] != "Stable":
                note("expired")
            await asyncio.sleep(LOOK_SECONDS)

    async def look_at_survivor() -> None:
        while "running" not in seen:
            tasks = await asyncio.to_thread(survivor.stats, "tasks")
            if name in tasks:
                note("assigned")
                if tasks[name]["state"] in ("replaying", "running"):
                    note("running")
            await asyncio.sleep(LOOK_SECONDS)

    async def read(before_kill: bool) -> None:
        async for record in out:
            found = json.loads(record.value or b"{}")
            if found["path"] == lost:
                if not before_kill:
                    note("output")
                return

    await read(before_kill=True)
    await asyncio.sleep(SETTLE_SECONDS)
    begin = time.perf_counter()
    killed.end(signal.SIGKILL)
    await asyncio.sleep(1.0)  # what it committed last was read by then, and the session holds on
    await out.seek_to_end()
    looking = asyncio.gather(look_at_group(), look_at_survivor(), read(before_kill=False))
    await asyncio.wait_for(looking, PATIENCE_SECONDS)
    await out.stop()
    await admin.close()
    return TakeOver(*(seen[field] for field in TakeOver._fields))


async def measure(address: str, folder: Path, groups: int) -> TakeOver:
    """Seconds of one kill; `groups` in each of the tasks."""
    first = Worker(address, folder, "first")
    workers = [first]
    producer = AIOKafkaProducer(bootstrap_servers=address, max_request_size=8 << 20)
    try:
        await until(lambda: len(first.stats("tasks")) == PARTITIONS, workers, "tasks")
        workers.append(Worker(address, folder, "second"))
        await producer.start()
        ends = await fill(producer, groups)
        probing = asyncio.create_task(probe(producer))
        await until(lambda: is_warm(workers, ends), workers, "warm copies")
        found = await kill_one(address, workers)
        probing.cancel()
        return found
    finally:
        await producer.stop()
        for each in workers:
            if each.process.poll() is None:
                each.end(signal.SIGKILL)


def report(found: TakeOver) -> str:
    """As a table."""
    session = config("", Path(), 0).session_timeout_ms / 1000
    steps = (
        (f"session time-out ({session:g} s)", found.expired, 0.0),
        ("rebalance", found.assigned, found.expired),
        ("take-over, until the task runs", found.running, found.assigned),
        ("... until its first output is committed", found.output, found.running),
    )
    lines = [f"{what:44}{end - begin:8.2f}{end:8.2f}" for what, end, begin in steps]
    return "\n".join([f"{'killed with -9':44}{'seconds':>8}{'sum':>8}", *lines])


if __name__ == "__main__":
    told, state, port = sys.argv[1:]
    run_plan(
        topology(),
        config(told, Path(state), int(port)),
        topics={"requests": PARTITIONS, "out": 1},
        loglevel="INFO",
    )
