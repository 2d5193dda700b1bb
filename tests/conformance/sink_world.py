"""A log, a store and the rows that must be in the table: what the tests of the sink share."""

from __future__ import annotations

import asyncio
import json
import math
import select
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import clickhouse_connect
import numpy as np
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.batch import BytesColumn, Table, encode_table
from tidemill.embedded_store.testing import StoreProcess
from topologies.sink.app import SinkConfig, SinkService
from topologies.sink.core import BatchLimits
from topologies.sink.schema import Schema
from topologies.sink.store import Store, StoreAddress

SECOND = 1_000_000_000
BASE = 1_700_000_000
PARTITIONS = 3
DEFINITIONS = [
    {"name": "host.cpu.seconds", "version": "00000000000000aa", "unit": "s"},
    {"name": "it's `odd`", "version": "00000000000000bb", "unit": ""},
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with StoreProcess(tmp_path_factory.mktemp("store") / "data") as process:
        yield process


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data = str(tmp_path_factory.mktemp("broker") / "data")
    command = [sys.executable, "-m", "broker", "--data", data]
    process = subprocess.Popen(
        [*command, "--port", "0", "--metrics-port", "-1", "--fsync", "none"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 30)
    line = process.stdout.readline() if ready else ""
    assert line.startswith("broker ready on "), line
    yield line.split()[3]
    process.terminate()
    process.wait(20)


@dataclass
class World:
    servers: str
    store: StoreProcess
    config: SinkConfig
    expected: dict[tuple[str, int, int, int], tuple[bytes, int]]
    made: int = 0

    def client(self) -> Any:
        return clickhouse_connect.get_client(
            host="127.0.0.1", port=self.store.port, autogenerate_session_id=False
        )

    def rows(self, sql: str) -> list[Any]:
        sql = sql.replace("$DB", self.config.schema.database)
        return [tuple(row) for row in self.client().query(sql).result_rows]

    def show_doubles(self) -> None:
        """Make the tables, without merges: those would hide a row that is there twice."""
        made = Store(self.config.store, self.config.schema)
        made.ensure_schema()
        made.command(
            f"ALTER TABLE {self.config.schema.rollups} MODIFY SETTING "
            "max_bytes_to_merge_at_max_space_in_pool = 1, "
            "max_bytes_to_merge_at_min_space_in_pool = 1"
        )
        made.close()

    def message(self, rows: int, *, partition: int, revision: int = 1, deleted: int = 0) -> bytes:
        """Rows that no other message has, unless ``made`` is turned back."""
        ends = [BASE + 10 * (self.made // 7) + 10] * rows
        numbers = range(self.made, self.made + rows)
        self.made += rows
        values = [n * math.pi if n % 5 else (math.nan, math.inf, -0.0)[n % 3] for n in numbers]
        for n, end, value in zip(numbers, ends, values, strict=True):
            key = (DEFINITIONS[n % 2]["name"], end, n, partition)
            self.expected[key] = (struct.pack("<d", value), revision)
        return encode_table(
            Table(
                {
                    "definition": np.array([n % 2 for n in numbers], np.uint16),
                    "resolution": np.full(rows, 10, np.uint32),
                    "window_end": np.array(ends, np.int64) * SECOND,
                    "group_hi": np.full(rows, partition, np.uint64),
                    "group_lo": np.array(numbers, np.uint64),
                    "labels": BytesColumn.of(
                        json.dumps({"host": f"h{n % 9}", "tenant": "t", "é": str(n)}).encode()
                        for n in numbers
                    ),
                    "value": np.array(values),
                    "points": np.full(rows, 3, np.uint64),
                    "revision": np.full(rows, revision, np.uint32),
                    "deleted": np.full(rows, deleted, np.uint8),
                    "late": np.full(rows, revision - 1, np.uint64),
                },
                {
                    "definitions": DEFINITIONS,
                    "certificates": [
                        {
                            "resolution": 10,
                            "window_end": end * SECOND,
                            "domain": "live",
                            "sources": {"telemetry.raw/0": 17, "telemetry.raw/1": 2**53},
                            "idle": ["telemetry.raw/1"],
                        }
                        for end in sorted(set(ends))
                    ],
                    "shard_of": "partition",
                },
            )
        )

    def stored(self, source: str = "rollups_v1") -> dict[Any, Any]:
        """Every row of the table, by its key; twice the same key fails."""
        found: dict[Any, Any] = {}
        sql = (
            "SELECT rollup, toUnixTimestamp(window_end), toUInt64(group), "
            "toUInt64(bitShiftRight(group, 64)), reinterpretAsUInt64(value), revision "
            f"FROM $DB.{source}"
        )
        for rollup, end, low, high, bits, revision in self.rows(sql):
            key = (rollup, end, low, high)
            assert key not in found, f"{key} is there twice"
            found[key] = (struct.pack("<Q", bits), revision)
        return found


@pytest.fixture
def world(servers: str, store: StoreProcess, request: pytest.FixtureRequest) -> World:
    name = f"w{abs(hash(request.node.nodeid)) % 10**8}"
    config = SinkConfig(
        bootstrap_servers=servers,
        store=StoreAddress(port=store.port, timeout_s=20),
        schema=Schema(database=name),
        limits=BatchLimits(max_rows=1000, linger_ms=20, interval_ms=20, behind_interval_ms=20),
        topic=f"{name}.rollups",
        group=f"{name}-sink",
        dead_letter_topic=f"{name}.dead-letter",
    )
    made = World(servers, store, config, {})
    asyncio.run(make_topics(made))
    made.show_doubles()
    return made


async def make_topics(world: World) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=world.servers)
    await admin.start()
    await admin.create_topics(
        [
            NewTopic(world.config.topic, PARTITIONS, 1),
            NewTopic(world.config.dead_letter_topic, 1, 1),
        ]
    )
    await admin.close()


@asynccontextmanager
async def producing(world: World, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=world.servers, max_request_size=16 << 20, **options
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def sinking(config: SinkConfig) -> AsyncIterator[SinkService]:
    service = SinkService(config)
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    try:
        yield service
        assert not running.done() or running.result() is None
    finally:
        began = time.monotonic()
        stop.set()
        await asyncio.wait_for(running, 15)
        assert time.monotonic() - began < 5


async def until(true: Callable[[], bool | Awaitable[bool]], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while True:
        found = true()
        if (found if isinstance(found, bool) else await found) is True:
            return
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


async def stored_all(world: World, seconds: float = 40) -> None:
    async def there() -> bool:
        found = await asyncio.to_thread(world.rows, "SELECT count() FROM $DB.rollups_v1")
        return found == [(len(world.expected),)]

    await until(there, seconds)
