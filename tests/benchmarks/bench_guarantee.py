"""What a record costs exactly once and at least once: CPU of worker and broker.

    .venv/bin/python tests/benchmarks/bench_guarantee.py [--records 60000] [--rate 6000]

A broker and a worker, each a process; JSON, a record a row. `each goes on`: select, a record out
for a record in. `windows`: counts and sums of 1,000 groups in windows of ten seconds. Records come
at a rate, so that commits are as many as the interval allows. Medians of microseconds a record.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
from aiokafka import AIOKafkaProducer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from streams.codecs import Json
from streams.config import TaskSettings, WorkerConfig
from streams.event_time.windows import SECOND
from streams.expressions import col
from streams.operators.windows import TimeWindows
from streams.schema import Schema, i64, string
from streams.schema import time as at_time
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.worker.plan_runner import run_plan
from tests.conformance.test_worker_processes import wait_until
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
ROW = Schema(key=string, value=i64, at=at_time)
SHAPES = ("each goes on", "windows")
PARTITIONS = 2


def worker(shape: str, guarantee: Any, interval: int, port: int, web: int, folder: str) -> None:
    """What the worker's process runs."""
    builder = StreamsBuilder("bench")
    rows = builder.stream("in", Json(ROW), time="at", partitions=PARTITIONS)
    if shape == "windows":
        windows = rows.group_by("key").windowed_by(TimeWindows.of(10 * SECOND))
        windows.aggregate(n=agg.count(), total=agg.sum("value")).to("out")
    else:
        rows.select("key", twice=col("value") * 2).to("out", Json(key="key"))
    settings = TaskSettings(commit_interval_ms=interval, dead_letter_topic="bench-dead-letter")
    config = WorkerConfig(
        "bench", f"127.0.0.1:{port}", Path(folder) / "state", web_port=web, guarantee=guarantee
    )
    topics = {"in": PARTITIONS, "out": PARTITIONS}
    run_plan(builder.build(settings), config, topics=topics, loglevel="WARNING")


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def figures(web: int) -> tuple[int, bool]:
    """(input records processed, whether all tasks run and have read all)."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{web}/stats/tasks", timeout=2) as page:
            found = json.load(page)
    except (OSError, ValueError):
        return 0, False
    tasks = [task for each in found.values() for task in each.values()]
    rest = all(task["state"] == "running" and task["lag"] == 0 for task in tasks)
    return sum(t["position"] for t in found.get("bench-in", {}).values()), bool(tasks) and rest


async def feed(port: int, first: int, count: int, rate: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{port}")
    await producer.start()
    begin = time.monotonic()
    for start in range(first, first + count, 100):
        sent = [
            await producer.send(
                "in", b'{"key":"k%d","value":%d,"at":%d}' % (n % 1000, n, n * SECOND // 1000),
                partition=n % PARTITIONS,
            )
            for n in range(start, start + 100)
        ]  # fmt: skip
        await asyncio.gather(*sent)
        await asyncio.sleep(max(0.0, begin + (start + 100 - first) / rate - time.monotonic()))
    await producer.stop()


def measured(shape: str, guarantee: str, interval: int, given: Any) -> tuple[float, float]:
    """Microseconds of CPU a record: worker, broker."""
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        port, web = free_port(), free_port()
        command = [
            sys.executable,
            "-m",
            "broker",
            "--data",
            f"{folder}/broker",
            "--port",
            str(port),
        ]
        broker = subprocess.Popen([*command, "--metrics-port", "-1"], cwd=ROOT)
        args = [shape, guarantee, str(interval), str(port), str(web), folder]
        wait_until("the broker listens", lambda: _listens(port))
        command = [sys.executable, __file__, "--worker", *args]
        runs = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            wait_until("the worker runs", lambda: figures(web)[1], 60)
            asyncio.run(feed(port, 0, 6_000, given.rate))
            wait_until("warm", lambda: figures(web) == (6_000, True), 60)
            before = [cpu(runs.pid), cpu(broker.pid)]
            asyncio.run(feed(port, 6_000, given.records, given.rate))
            wait_until("done", lambda: figures(web) == (6_000 + given.records, True), 120)
            after = [cpu(runs.pid), cpu(broker.pid)]
        finally:
            for process in (runs, broker):
                process.kill()
                process.wait(10)
    one, other = (b - a for a, b in zip(before, after, strict=True))
    return one / given.records * 1e6, other / given.records * 1e6


def cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--records", type=int, default=60_000)
    command.add_argument("--rate", type=int, default=6_000)
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--worker", nargs=6)
    given = command.parse_args()
    if given.worker:
        shape, guarantee, interval, port, web, folder = given.worker
        worker(shape, guarantee, int(interval), int(port), int(web), folder)
        return
    print(f"{'':16}{'commit':>9}  {'guarantee':15}{'worker':>9}{'broker':>9}  us a record")
    for shape in SHAPES:
        for interval in (250, 20):
            for guarantee in ("exactly_once", "at_least_once"):
                runs = [measured(shape, guarantee, interval, given) for _ in range(given.rounds)]
                own, log = (statistics.median(each) for each in zip(*runs, strict=True))
                print(f"{shape:16}{interval:6} ms  {guarantee:15}{own:9.1f}{log:9.1f}", flush=True)


if __name__ == "__main__":
    main()
