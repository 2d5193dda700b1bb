"""From the log to the table, exactly once: a real broker, a real store, kill -9 of each part."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from tests.conformance import sink_world
from tests.conformance.sink_world import (
    BASE,
    DEFINITIONS,
    PARTITIONS,
    World,
    producing,
    sinking,
    stored_all,
    until,
)
from tidemill.embedded_store.testing import StoreProcess
from topologies.sink.app import SinkService
from topologies.sink.queries import query_rollups
from topologies.sink.store import StoreAddress, StoreMismatch

store, servers, world = sink_world.store, sink_world.servers, sink_world.world

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
    limits=BatchLimits(max_rows=500, linger_ms=20, interval_ms=20, behind_interval_ms=20),
    session_timeout_ms=3000,
)
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await SinkService(config).run(stop)
asyncio.run(main())
"""


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


def test_a_correction_replaces_a_deletion_removes_and_what_comes_again_is_seen(
    world: World,
) -> None:
    async def act() -> None:
        async with sinking(world.config), producing(world) as producer:
            for revision, deleted, rows in ((1, 0, 30), (2, 0, 20), (3, 1, 10), (4, 0, 4)):
                world.made = 0
                value = world.message(rows, partition=0, revision=revision, deleted=deleted)
                await producer.send_and_wait(world.config.topic, value, partition=0)

            async def there() -> bool:
                sql = "SELECT count() FROM $DB.rollups_v1 WHERE revision = 4"
                return await asyncio.to_thread(world.rows, sql) == [(4,)]

            await until(there)

    asyncio.run(act())
    shown = world.rows("SELECT revision, count() FROM $DB.rollups GROUP BY 1 ORDER BY 1")
    assert shown == [(1, 10), (2, 10), (4, 4)]
    view = world.rows("SELECT revision, count() FROM $DB.`it\\'s \\`odd\\`` GROUP BY 1 ORDER BY 1")
    assert view == [(1, 5), (2, 5), (4, 2)]
    since, until_ = (datetime.fromtimestamp(BASE + s, UTC) for s in (0, 100))
    name, schema = DEFINITIONS[0]["name"], world.config.schema
    found = query_rollups(world.client(), name, 10, since, until_, schema=schema)
    assert sorted(row.revision for row in found) == [1] * 5 + [2] * 5 + [4] * 2


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
            # Something for the last one to store, so that it is up when it is told to end.
            await producer.send_and_wait(
                world.config.topic, world.message(9, partition=0), partition=0
            )
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
    with StoreProcess(tmp_path / "data") as own:
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
    giant = random.Random(1).randbytes(700_000).hex().encode()  # half of it, packed

    async def act() -> list[Any]:
        async with (
            sinking(world.config) as service,
            producing(world, compression_type="zstd") as producer,
        ):
            for value in (
                world.message(5, partition=0),
                b"not a table",
                giant,
                world.message(5, partition=0),
            ):
                await producer.send_and_wait(world.config.topic, value, partition=0)
            await stored_all(world)
            await until(lambda: service.status.dead_letters == 2)
        consumer = AIOKafkaConsumer(
            world.config.dead_letter_topic,
            bootstrap_servers=world.servers,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            return [await asyncio.wait_for(consumer.getone(), 20) for _ in range(2)]
        finally:
            await consumer.stop()

    letter, large = asyncio.run(act())
    assert letter.value == b"not a table"
    assert letter.key == f"{world.config.topic}/0/1".encode()
    assert dict(letter.headers)["code"] == b"rollups-malformed"
    assert large.value == giant
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
