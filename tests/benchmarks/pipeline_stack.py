"""The pipeline as real processes: broker, store and workers, on free ports, in a folder of its own.

The whole log is appended first; then the workers start and consume it until every row is in the
store. CPU time is what the processes say of themselves (user and system).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import clickhouse_connect
import psutil
from aiokafka import AIOKafkaProducer
from pipeline_traffic import POINTS_A_MESSAGE, Profile, Record

from tests.ports import free_ports
from tidemill import probe
from tidemill.launcher import Command, Launcher
from tidemill.settings import Settings
from tidemill.supervisor import Phase
from tidemill.up import commands

STALLED_S = 120
SAMPLE_S = 0.5
DRAWN_S = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """What the processes had done by `wall` (monotonic seconds).

    `idle`, `stolen`: seconds of the machine's cores without work, and taken by other guests.
    """

    wall: float
    cpu: dict[str, float]
    points: int
    rows: int
    idle: float
    stolen: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A stretch of a run: seconds of wall and of CPU by process, and what was done in it.

    `idle`, `stolen`: shares of the machine's cores.
    """

    seconds: float
    cpu: dict[str, float]
    points: int
    rows: int
    idle: float
    stolen: float

    @classmethod
    def between(cls, a: Sample, b: Sample) -> Measured:
        cpu = {name: used - a.cpu[name] for name, used in b.cpu.items()}
        seconds = b.wall - a.wall
        cores = seconds * (psutil.cpu_count() or 1)
        return cls(
            seconds, cpu, b.points - a.points, b.rows - a.rows,
            (b.idle - a.idle) / cores, (b.stolen - a.stolen) / cores,
        )  # fmt: skip


def prepare(folder: Path, profile: Profile, workers: int, partitions: int) -> Settings:
    """Settings with free ports, saved; the definitions written."""
    definitions = folder / "definitions"
    definitions.mkdir(parents=True)
    (definitions / "bench.yaml").write_text(profile.yaml())
    ports = free_ports(3 + workers)
    settings = Settings(
        data=str(folder / "data"),
        definitions=(str(definitions),),
        bootstrap=f"127.0.0.1:{ports[0]}",
        broker_port=ports[0],
        broker_metrics_port=ports[1],
        store_url=f"http://127.0.0.1:{ports[2]}",
        worker_port=ports[3],
        workers=workers,
        raw_partitions=partitions,
        shard_partitions=partitions,
        host_interval=0,
    )
    settings.save()
    return settings


@contextlib.asynccontextmanager
async def _running(chosen: list[Command], settings: Settings) -> AsyncIterator[Launcher]:
    """These processes, ready; ended when the block ends."""
    alone = [replace(command, after=()) for command in chosen]
    launcher = Launcher(alone, settings.folder / "logs", print)
    stop = asyncio.Event()
    supervising = asyncio.create_task(launcher.run(stop))
    try:
        until = time.monotonic() + 120
        while not launcher.all_ready:
            if time.monotonic() > until:
                told = "\n".join(launcher.tail(command.name) for command in chosen)
                raise RuntimeError(f"the processes do not come up:\n{told}")
            await asyncio.sleep(0.05)
        yield launcher
    finally:
        stop.set()
        await supervising


async def append(settings: Settings, records: Iterable[Record]) -> tuple[int, float]:
    """Put the log into `telemetry.raw` as the edge does; returns (records, seconds)."""
    begin = time.perf_counter()
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap, compression_type="zstd", enable_idempotence=True,
        max_batch_size=1 << 20, max_request_size=8 << 20, linger_ms=20,
    )  # fmt: skip
    await producer.start()
    sending: list[asyncio.Future[Any]] = []
    count = 0
    try:
        for partition, key, value, headers in records:
            sending.append(
                await producer.send(
                    "telemetry.raw", value, key, partition=partition, headers=headers
                )
            )
            count += 1
            if len(sending) >= 64:
                await asyncio.gather(*sending)
                sending.clear()
        await asyncio.gather(*sending)
    finally:
        await producer.stop()
    return count, time.perf_counter() - begin


def _cpu(pids: dict[str, int]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, pid in pids.items():
        times = psutil.Process(pid).cpu_times()
        found[name] = times.user + times.system
    return found


async def _sample(settings: Settings, pids: dict[str, int]) -> Sample:
    points = rows = 0
    for number in range(settings.workers):
        base = f"http://127.0.0.1:{settings.worker_port + number}/stats"
        with contextlib.suppress(probe.Unreachable):
            tasks = await probe.get_json(f"{base}/tasks", 10)
            for task in tasks.get("preaggregate", {}).values():
                points += (task["committed"] or 0) * POINTS_A_MESSAGE
            rows += (await probe.get_json(f"{base}/sink", 10)).get("rows", 0)
    machine: Any = psutil.cpu_times()
    idle, stolen = machine.idle, getattr(machine, "steal", 0.0)
    return Sample(time.monotonic(), _cpu(pids), points, rows, idle, stolen)


@dataclass(frozen=True, slots=True)
class StackRun:
    """A run: appending, then the part until all streams are known, then the rest."""

    appended_s: float
    cold: Measured
    steady: Measured
    stored: int
    memory: dict[str, int]


async def run_stack(
    folder: Path, profile: Profile, records: Iterable[Record], rows: int, workers: int,
    partitions: int, flames: Path | None = None,
) -> StackRun:  # fmt: skip
    """Consume the log; `rows` is how many must come out at the end.

    flames: Where py-spy is to draw the first worker, once all streams are known.

    Raises:
        RuntimeError: Nothing moves any more before they are there; or py-spy failed.
    """
    settings = prepare(folder, profile, workers, partitions)
    every = {command.name: command for command in commands(settings)}
    first = [every["broker"], every["store"]]
    behind = [command for name, command in every.items() if name.startswith("worker")]
    async with _running(first, settings) as base:
        _, appended = await append(settings, records)
        async with _running(behind, settings) as working:
            pids = {
                name: process.pid
                for launcher in (base, working)
                for name, process in launcher.supervisor.processes.items()
                if process.phase is Phase.READY
            }
            drawing = None
            if flames is not None:
                drawing = asyncio.create_task(_draw(settings, pids, 2 * profile.series, flames))
            samples = await _until_stored(settings, pids, rows)
            if drawing is not None:
                await drawing
            memory = {name: psutil.Process(pid).memory_info().rss for name, pid in pids.items()}
            stored = _count(settings)
    warm = next(s for s in samples if s.points >= 2 * profile.series or s.rows)
    return StackRun(
        appended, Measured.between(samples[0], warm), Measured.between(warm, samples[-1]),
        stored, memory,
    )  # fmt: skip


async def _draw(settings: Settings, pids: dict[str, int], points: int, path: Path) -> None:
    """A flame graph of the first worker, from `points` on: samples of what is not waiting."""
    known = await _sample(settings, pids)
    while known.points < points:
        await asyncio.sleep(SAMPLE_S)
        known = await _sample(settings, pids)
    process = await asyncio.create_subprocess_exec(
        "py-spy", "record", "--pid", str(pids["worker-0"]), "--duration", str(DRAWN_S),
        "--rate", "200", "--threads", "--output", str(path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    told, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"py-spy failed:\n{told.decode(errors='replace')}")


async def _until_stored(settings: Settings, pids: dict[str, int], rows: int) -> list[Sample]:
    samples = [await _sample(settings, pids)]
    moved = samples[0]
    while samples[-1].rows < rows:
        await asyncio.sleep(SAMPLE_S)
        now = await _sample(settings, pids)
        samples.append(now)
        if (now.points, now.rows) != (moved.points, moved.rows):
            moved = now
        elif now.wall - moved.wall > STALLED_S:
            raise RuntimeError(f"stalled at {now.points} points, {now.rows} of {rows} rows")
    return samples


def _count(settings: Settings) -> int:
    """Rows of the benchmark's definitions that the store answers."""
    client: Any = clickhouse_connect.get_client(
        host="127.0.0.1", port=int(settings.store_url.rsplit(":", 1)[1]),
        autogenerate_session_id=False,
    )  # fmt: skip
    question = "SELECT count() FROM tidemill.rollups WHERE startsWith(rollup, 'bench.')"
    return int(client.query(question).result_rows[0][0])
