"""From the log to the table, exactly once: a real broker, a real store, kill -9 of each part."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import clickhouse_connect
import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.batch import BytesColumn, Table, encode_table
from tidemill.embedded_store.testing import StoreProcess
from topologies.sink.app import SinkConfig, SinkService
from topologies.sink.core import BatchLimits
from topologies.sink.queries import query_certificates, query_rollups
from topologies.sink.schema import Schema, SchemaTooNew, migrations, preparation
from topologies.sink.store import Store, StoreAddress, StoreMismatch

SECOND = 1_000_000_000
BASE = 1_700_000_000
PARTITIONS = 3
DEFINITIONS = [
    {"name": "host.cpu.seconds", "version": "00000000000000aa", "unit": "s"},
    {"name": "it's `odd`", "version": "00000000000000bb", "unit": ""},
]

KILLS = int(os.environ.get("TIDEMILL_SINK_KILLS", "4"))

SINK = """
import asyncio, json, signal, sys
from topologies.sink.app import SinkConfig, SinkService
from topologies.sink.core import BatchLimits
from topologies.sink.schema import Schema
from topologies.sink.store import StoreAddress
given = json.loads(sys.argv[1])
config = SinkConfig(
    bootstrap_servers=given["servers"], topic=given["topic"], group=given["group"],
    store=StoreAddress(port=given["port"]), schema=Schema(database=given["database"]),
    limits=BatchLimits(max_rows=500, linger_ms=20, interval_ms=20), session_timeout_ms=3000,
)
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await SinkService(config).run(stop)
asyncio.run(main())
"""


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
        limits=BatchLimits(max_rows=1000, linger_ms=20, interval_ms=20),
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


def test_the_table_is_the_topic_to_the_bit(world: World) -> None:
    async def act() -> None:
        async with sinking(world.config), producing(world) as producer:
            for number in range(12):
                partition = number % PARTITIONS
                value = world.message(700, partition=partition)
                await producer.send_and_wait(world.config.topic, value, partition=partition)
            await stored_all(world)

    asyncio.run(act())
    assert world.stored() == world.expected
    assert world.stored("rollups_v1 FINAL") == world.expected
    (labels,) = world.rows(
        "SELECT labels, tenant, unit, version, window_start, window_end, points "
        "FROM $DB.rollups WHERE labels['é'] = '4'"
    )
    end = datetime.fromtimestamp(BASE + 10, UTC)
    assert labels == (
        {"host": "h4", "tenant": "t", "é": "4"},
        "t",
        "s",
        "00000000000000aa",
        (end - timedelta(seconds=10)).replace(tzinfo=labels[4].tzinfo),
        end.replace(tzinfo=labels[5].tzinfo),
        3,
    )


def test_what_a_transaction_did_not_commit_is_not_stored(world: World) -> None:
    async def act() -> None:
        async with (
            sinking(world.config),
            producing(world, transactional_id=f"{world.config.group}-t") as producer,
        ):
            for number in range(8):
                await producer.begin_transaction()
                kept = dict(world.expected)
                for partition in range(PARTITIONS):
                    value = world.message(20, partition=partition)
                    await producer.send_and_wait(world.config.topic, value, partition=partition)
                if number % 2:
                    await producer.abort_transaction()
                    world.expected = kept
                else:
                    await producer.commit_transaction()
            await stored_all(world)

    asyncio.run(act())
    assert world.stored() == world.expected


def test_a_correction_replaces_and_a_deletion_removes_what_people_see(world: World) -> None:
    async def act() -> None:
        async with sinking(world.config), producing(world) as producer:
            for revision, deleted, rows in ((1, 0, 30), (2, 0, 20), (3, 1, 10)):
                world.made = 0
                value = world.message(rows, partition=0, revision=revision, deleted=deleted)
                await producer.send_and_wait(world.config.topic, value, partition=0)

            async def there() -> bool:
                sql = "SELECT count() FROM $DB.rollups_v1 WHERE revision = 3"
                return await asyncio.to_thread(world.rows, sql) == [(10,)]

            await until(there)

    asyncio.run(act())
    shown = world.rows("SELECT revision, count() FROM $DB.rollups GROUP BY 1 ORDER BY 1")
    assert shown == [(1, 10), (2, 10)]
    view = world.rows("SELECT revision, count() FROM $DB.`it\\'s \\`odd\\`` GROUP BY 1 ORDER BY 1")
    assert view == [(1, 5), (2, 5)]


def test_kill_9_of_the_sink_at_any_moment_loses_and_doubles_nothing(world: World) -> None:
    chance = random.Random(11)
    given = {
        "servers": world.servers,
        "topic": world.config.topic,
        "group": world.config.group,
        "port": world.store.port,
        "database": world.config.schema.database,
    }

    def started() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", SINK, json.dumps(given)])

    async def act() -> None:
        process = started()
        kills = 0
        next_kill = time.monotonic() + 2.5
        async with producing(world) as producer:
            while kills < KILLS:
                partition = chance.randrange(PARTITIONS)
                value = world.message(chance.randrange(1, 400), partition=partition)
                await producer.send_and_wait(world.config.topic, value, partition=partition)
                await asyncio.sleep(0.05)  # the pace of the agents, not a wait for anything
                if time.monotonic() > next_kill:
                    process.kill()
                    process.wait()
                    process = started()
                    kills += 1
                    next_kill = time.monotonic() + chance.uniform(1.2, 4.5)
        try:
            await stored_all(world, 60)
        finally:
            process.terminate()
            assert process.wait(10) == 0

    asyncio.run(act())
    assert world.stored() == world.expected


def test_kill_9_of_the_store_is_waited_out_told_once_and_loses_nothing(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = StoreProcess(tmp_path / "data").start()
    world.store = own
    world.config = replace(world.config, store=StoreAddress(port=own.port, timeout_s=20))
    world.show_doubles()

    async def act() -> None:
        async with sinking(world.config) as service, producing(world) as producer:
            for number in range(60):
                partition = number % PARTITIONS
                value = world.message(200, partition=partition)
                await producer.send_and_wait(world.config.topic, value, partition=partition)
                if number in (20, 40):
                    own.kill()
                    await until(lambda: bool(service.status.away))
                    await asyncio.to_thread(own.start)
                    await until(lambda: not service.status.away)
            await stored_all(world)

    with caplog.at_level(logging.WARNING):
        asyncio.run(act())
    assert world.stored() == world.expected
    said = [r.message for r in caplog.records if "waits and tries again" in r.message]
    assert len(said) == 2
    assert f"127.0.0.1:{own.port}" in said[0]
    own.stop()


def test_two_sinks_share_the_partitions_and_one_takes_over(world: World) -> None:
    async def act() -> None:
        async with sinking(world.config) as first, producing(world) as producer:
            await until(lambda: len(first.status.partitions) == PARTITIONS)
            second = replace(world.config, client_id="second")
            async with sinking(second) as other:
                await until(
                    lambda: (
                        bool(first.status.partitions)
                        and bool(other.status.partitions)
                        and not first.status.partitions & other.status.partitions
                        and len(first.status.partitions | other.status.partitions) == PARTITIONS
                    )
                )
                for number in range(12):
                    partition = number % PARTITIONS
                    value = world.message(50, partition=partition)
                    await producer.send_and_wait(world.config.topic, value, partition=partition)
                await until(lambda: first.status.rows > 0 and other.status.rows > 0)
            for partition in range(PARTITIONS):
                value = world.message(50, partition=partition)
                await producer.send_and_wait(world.config.topic, value, partition=partition)
            await stored_all(world)
            assert first.status.partitions == set(range(PARTITIONS))

    asyncio.run(act())
    assert world.stored() == world.expected


def test_a_record_that_cannot_be_stored_is_kept_with_its_reason_and_holds_nothing_up(
    world: World,
) -> None:
    async def act() -> Any:
        async with sinking(world.config) as service, producing(world) as producer:
            for value in (
                world.message(5, partition=0),
                b"not a table",
                world.message(5, partition=0),
            ):
                await producer.send_and_wait(world.config.topic, value, partition=0)
            await stored_all(world)
            await until(lambda: service.status.dead_letters == 1)
        consumer = AIOKafkaConsumer(
            world.config.dead_letter_topic,
            bootstrap_servers=world.servers,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            return await asyncio.wait_for(consumer.getone(), 20)
        finally:
            await consumer.stop()

    letter = asyncio.run(act())
    assert letter.value == b"not a table"
    assert letter.key == f"{world.config.topic}/0/1".encode()
    assert dict(letter.headers)["code"] == b"rollups-malformed"
    assert world.stored() == world.expected


def test_the_sink_waits_for_a_log_and_a_store_that_are_not_there_yet(world: World) -> None:
    config = replace(world.config, bootstrap_servers="127.0.0.1:1", store=StoreAddress(port=1))

    async def act() -> None:
        async with sinking(config) as service:
            await until(lambda: "127.0.0.1:1" in service.status.away)

    asyncio.run(act())


def test_tables_that_were_changed_by_hand_stop_the_sink_with_what_to_do(world: World) -> None:
    world.client().command(f"ALTER TABLE {world.config.schema.rollups} DROP COLUMN points")

    async def act() -> None:
        async with producing(world) as producer:
            value = world.message(5, partition=0)
            await producer.send_and_wait(world.config.topic, value, partition=0)
        await asyncio.wait_for(SinkService(world.config).run(asyncio.Event()), 30)

    with pytest.raises(StoreMismatch, match=r"refused: .*changed by hand"):
        asyncio.run(act())


# Questions and the schema ------------------------------------------------------------------------


def test_questions_are_answered_by_name_time_and_labels(world: World) -> None:
    async def act() -> None:
        async with sinking(world.config), producing(world) as producer:
            value = world.message(70, partition=1)
            await producer.send_and_wait(world.config.topic, value, partition=1)
            value = world.message(70, partition=2)
            await producer.send_and_wait(world.config.topic, value, partition=2)
            await stored_all(world)

    asyncio.run(act())
    client, schema = world.client(), world.config.schema
    since = datetime.fromtimestamp(BASE, UTC)
    name = str(DEFINITIONS[0]["name"])

    def ask(**more: Any) -> list[Any]:
        until = more.pop("until", since + timedelta(days=1))
        start = more.pop("since", since)
        return query_rollups(client, name, 10, start, until, schema=schema, **more)

    everything = ask()
    assert len(everything) == 70
    assert everything == sorted(everything, key=lambda row: row.window_end)
    first = everything[0]
    assert (first.rollup, first.tenant, first.resolution) == (name, "t", 10)
    assert first.window_end - first.window_start == timedelta(seconds=10)
    assert first.window_end == since + timedelta(seconds=10)
    assert first.source_partition == 1
    (one,) = ask(labels={"é": "16", "host": "h7"})
    assert one.value == 16 * math.pi
    assert ask(labels={"host": "h7'"}) == []
    assert len(ask(labels={"absent": ""}, limit=3)) == 3
    assert ask(since=first.window_end, until=first.window_end) == []
    assert {row.window_end for row in ask(until=first.window_end)} == {first.window_end}
    assert ask(tenant="other") == ask(version="0") == []
    (certificate,) = query_certificates(client, first, schema=schema)
    assert certificate.domain == "live"
    assert certificate.sources == {"telemetry.raw/0": 17, "telemetry.raw/1": 2**53}
    assert certificate.idle == ("telemetry.raw/1",)
    with pytest.raises(ValueError, match="time zone"):
        ask(since=datetime(2024, 1, 1))


def opened(world: World, **changed: Any) -> Store:
    return Store(world.config.store, replace(world.config.schema, **changed))


def test_making_the_schema_again_changes_nothing_and_retention_follows_its_setting(
    world: World,
) -> None:
    for days in (2, 2, 3):
        store = opened(world, retention_days={10: days, 60: 14})
        store.ensure_schema()
        store.close()
        ((made,),) = world.rows(
            "SELECT create_table_query FROM system.tables "
            "WHERE database = '$DB' AND name = 'rollups_v1'"
        )
        assert f"multiIf(resolution <= 10, {days}, 14)" in made


def test_tables_of_a_later_version_are_left_alone(world: World) -> None:
    world.client().command(
        f"INSERT INTO {world.config.schema.applied} (version, lifetime) VALUES (99, '')"
    )
    store = opened(world)
    with pytest.raises(SchemaTooNew, match="upgrade it"):
        store.ensure_schema()
    store.close()


def test_old_windows_that_are_loaded_today_are_kept(world: World) -> None:
    """History of ten years ago would be past its retention the moment it is stored."""
    client, schema = world.client(), world.config.schema
    client.command(
        f"INSERT INTO {schema.rollups} (rollup, resolution, window_end) VALUES ('old', 10, 1000000)"
    )
    client.command(f"OPTIMIZE TABLE {schema.rollups} FINAL")
    assert world.rows("SELECT count() FROM $DB.rollups_v1") == [(1,)]


def test_the_statements_for_a_cluster_are_sql_that_the_engine_reads(world: World) -> None:
    schema = Schema(database="clustered", cluster="main")
    store = opened(world)
    for statement in [*preparation(schema), *migrations(schema)[0][1]]:
        assert store.rows(f"EXPLAIN AST {statement}")
    store.close()


def test_a_question_reads_only_the_stretch_of_time_it_asks_for(world: World) -> None:
    client, schema = world.client(), world.config.schema
    client.command(
        f"INSERT INTO {schema.rollups} (rollup, tenant, version, resolution, window_end, `group`) "
        "SELECT 'm', 't', 'v', 10, toDateTime64(1700000000 + intDiv(number, 100) * 10, 3, 'UTC'), "
        "number % 100 FROM numbers(800000)"
    )
    since = datetime.fromtimestamp(BASE + 20_000, UTC)
    before = client.query(
        f"EXPLAIN ESTIMATE SELECT * FROM {schema.rollups} WHERE rollup = 'm' AND resolution = 10 "
        "AND window_end > {s:DateTime64(3)} AND window_end <= {u:DateTime64(3)}",
        parameters={"s": since, "u": since + timedelta(minutes=10)},
    ).result_rows
    assert sum(row[3] for row in before) < 50_000
    found = query_rollups(
        client, "m", 10, since, since + timedelta(minutes=10), schema=schema, limit=100_000
    )
    assert len(found) == 6_000
