"""Rows per second into the store: the sink's encoder, the store's interface, and the sink whole.

    python tests/benchmarks/bench_store.py [--rows 1000000]

Rows as the roll-up writes them: 10,000 groups with five labels, ten-second windows, 20,000 rows a
message. CPU seconds are per million rows: ours (this process), the store's process, the broker's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import clickhouse_connect
import msgspec
import numpy as np
import psutil
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.batch import BytesColumn, Table, decode_table, encode_table
from tidemill.embedded_store.testing import StoreProcess
from topologies.sink import histograms
from topologies.sink import rows as sink_rows
from topologies.sink.app import SinkConfig, SinkService
from topologies.sink.queries import query_rollups
from topologies.sink.schema import Schema
from topologies.sink.store import Store, StoreAddress

GROUPS = 10_000
MESSAGE_ROWS = 20_000
BASE = 1_700_000_000


def messages(count: int, each: int = MESSAGE_ROWS) -> list[bytes]:
    """Messages of `each` rows, window after window."""
    chance = np.random.default_rng(1)
    labels = [
        b'{"cluster":"c%d","host":"host-%05d","region":"r%d","service":"s%d","tenant":"t"}'
        % (g % 7, g, g % 3, g % 40)
        for g in range(GROUPS)
    ]
    made: list[bytes] = []
    for first in range(0, count, each):
        number = np.arange(first, first + each)
        group = number % GROUPS
        ends = BASE + 10 * (number // GROUPS) + 10
        columns: dict[str, Any] = {
            "definition": (group % 10).astype(np.uint16),
            "resolution": np.full(len(number), 10, np.uint32),
            "window_end": ends.astype(np.int64) * 1_000_000_000,
            "group_hi": group.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15),
            "group_lo": group.astype(np.uint64),
            "labels": BytesColumn.of(labels[g] for g in group.tolist()),
            "value": np.round(chance.normal(100, 20, len(number)), 3),
            "points": chance.integers(1, 100, len(number)).astype(np.uint64),
            "revision": np.ones(len(number), np.uint32),
            "deleted": np.zeros(len(number), np.uint8),
            "late": np.zeros(len(number), np.uint64),
        }
        definitions = [
            {"name": f"bench.metric.{d}", "version": f"{d:016x}", "unit": "s"} for d in range(10)
        ]
        made.append(encode_table(Table(columns, {"definitions": definitions})))
    return made


def cpu(process: int) -> float:
    times = psutil.Process(process).cpu_times()
    return times.user + times.system


class Meter:
    """Wall and CPU time of a stretch, told per million rows."""

    def __init__(self, **processes: int) -> None:
        self._processes = {"ours": os.getpid(), **processes}
        self._wall = time.perf_counter()
        self._cpu = {name: cpu(pid) for name, pid in self._processes.items()}

    def told(self, rows: int) -> str:
        wall = time.perf_counter() - self._wall
        used = {name: cpu(pid) - self._cpu[name] for name, pid in self._processes.items()}
        shares = ", ".join(f"{name} {s * 1e6 / rows:.2f}" for name, s in used.items())
        return f"{rows / wall:>10,.0f} rows/s   CPU s per million: {shares}"


def fresh(store: StoreProcess, name: str) -> tuple[Store, Schema]:
    schema = Schema(database=name)
    opened = Store(StoreAddress(port=store.port), schema)
    opened.ensure_schema()
    return opened, schema


def bench_encoder(values: list[bytes], rows: int) -> None:
    reader = sink_rows.MessageReader()
    for label in ("labels new", "labels known"):
        meter = Meter()
        for offset, value in enumerate(values):
            reader.read(0, offset, value)
        print(f"encode, {label:14}", meter.told(rows))


def bench_insert(store: StoreProcess, rows: int, batch: int) -> None:
    """The sink's inserts without the log: one token a batch."""
    assert store.process is not None
    opened, schema = fresh(store, f"insert_{batch}")
    reader = sink_rows.MessageReader()
    each = min(batch, MESSAGE_ROWS)
    ready = [reader.read(0, offset, value) for offset, value in enumerate(messages(rows, each))]
    meter = Meter(store=store.process.pid)
    step = batch // each
    for at in range(0, len(ready), step):
        for number, chunk in enumerate(sink_rows.chunks(ready[at : at + step])):
            opened.insert(
                schema.rollups, sink_rows.ROLLUP_COLUMNS, "Native", chunk.body, f"{at}#{number}"
            )
    print(f"insert, {step * each:>7,} a batch", meter.told(rows))
    quiet = 0
    while quiet < 4:  # a merge often follows another
        time.sleep(0.25)
        merging = opened.rows("SELECT count() FROM system.merges")[0][0]
        quiet = 0 if merging else quiet + 1
    print(f"   and merged, {_parts(opened, schema):>3} parts   ", meter.told(rows))
    opened.close()


def _parts(store: Store, schema: Schema) -> int:
    name = schema.rollups.split(".")[1]
    where = f"active AND database = '{schema.database}' AND table = '{name}'"
    return int(store.rows(f"SELECT count() FROM system.parts WHERE {where}")[0][0])


def bench_plain_client(store: StoreProcess, values: list[bytes], rows: int) -> None:
    """The same rows through ``client.insert`` of clickhouse-connect, for comparison."""
    assert store.process is not None
    opened, schema = fresh(store, "plain")
    client: Any = clickhouse_connect.get_client(
        host="127.0.0.1", port=store.port, compress=False, autogenerate_session_id=False
    )

    meter = Meter(store=store.process.pid)
    for at in range(0, len(values), 5):
        left_out = ("hop", "zone", "window_start", *histograms.COLUMNS)
        names = [n for n in sink_rows.ROLLUP_COLUMNS if n not in left_out]
        columns: dict[str, list[Any]] = {name: [] for name in names}
        for value in values[at : at + 5]:
            table = decode_table(value)
            named = [table.meta["definitions"][d] for d in table.array("definition").tolist()]
            labels = [msgspec.json.decode(raw) for raw in table.strings("labels")]
            columns["rollup"] += [d["name"] for d in named]
            columns["version"] += [d["version"] for d in named]
            columns["unit"] += [d["unit"] for d in named]
            columns["tenant"] += [one["tenant"] for one in labels]
            columns["labels"] += labels
            ends = table.array("window_end") // 1_000_000_000
            columns["window_end"] += [datetime.fromtimestamp(e, UTC) for e in ends.tolist()]
            high, low = table.array("group_hi").tolist(), table.array("group_lo").tolist()
            columns["group"] += [h << 64 | n for h, n in zip(high, low, strict=True)]
            for name in ("resolution", "value", "points", "late", "revision"):
                columns[name] += table.array(name).tolist()
            columns["is_deleted"] += table.array("deleted").tolist()
            columns["source_partition"] += [0] * table.rows
            columns["source_offset"] += [at] * table.rows
        client.insert(schema.rollups, list(columns.values()), list(columns), column_oriented=True)
    print("client.insert, 100,000  ", meter.told(rows))
    opened.close()


def bench_questions(store: StoreProcess, rows: int) -> None:
    client: Any = clickhouse_connect.get_client(
        host="127.0.0.1", port=store.port, autogenerate_session_id=False
    )
    schema = Schema(database="insert_100000")
    start = datetime.fromtimestamp(BASE, UTC)
    until = start + timedelta(seconds=10 * (rows // GROUPS))

    def one_group() -> int:
        labels = {"host": "host-00010"}
        return len(query_rollups(client, "bench.metric.0", 10, start, until, labels, schema=schema))

    def last_minute() -> int:
        since = until - timedelta(minutes=1)
        return len(query_rollups(client, "bench.metric.1", 10, since, until, schema=schema))

    for name, ask in (("one group, all time", one_group), ("all groups, a minute", last_minute)):
        print(f"ask: {name:24}", _latency(ask))


def _latency(ask: Callable[[], int]) -> str:
    times: list[float] = []
    found = 0
    for _ in range(30):
        began = time.perf_counter()
        found = ask()
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    return f"{found:>6} rows   p50 {statistics.median(times):.1f} ms   p99 {times[-1]:.1f} ms"


def start_broker(data: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "broker", "--data", str(data), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--metrics-port", "-1"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    select.select([process.stdout], [], [], 30)
    return process, process.stdout.readline().split()[3]


async def bench_log(store: StoreProcess, values: list[bytes], rows: int, data: Path) -> None:
    """The whole sink: from the log's first record to the table's last row."""
    assert store.process is not None
    broker, servers = start_broker(data)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic("telemetry.rollups", 4, 1)])
    await admin.close()
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        max_request_size=16 << 20,
        max_batch_size=4 << 20,
        compression_type="zstd",
    )
    await producer.start()
    for number, value in enumerate(values):
        await producer.send_and_wait("telemetry.rollups", value, partition=number % 4)
    await producer.stop()
    service = SinkService(
        SinkConfig(servers, StoreAddress(port=store.port), Schema(database="through_log"))
    )
    stop = asyncio.Event()
    meter = Meter(store=store.process.pid, broker=broker.pid)
    running = asyncio.create_task(service.run(stop))
    while service.status.rows < rows and not running.done():
        await asyncio.wait({running}, timeout=0.02)
    told = meter.told(rows)
    print(f"log to table, {service.status.batches} batches", told)
    stop.set()
    await running
    broker.terminate()
    broker.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    values = messages(rows)
    with tempfile.TemporaryDirectory() as folder, StoreProcess(Path(folder) / "store") as store:
        bench_encoder(values, rows)
        for batch in (8_000, 20_000, 60_000, 100_000, 500_000):
            bench_insert(store, rows, batch)
        bench_plain_client(store, values, rows)
        bench_questions(store, rows)
        asyncio.run(bench_log(store, values, rows, Path(folder) / "broker"))


if __name__ == "__main__":
    main()
