"""What is asked of the tables, and how they are made and kept."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conformance import sink_world
from tests.conformance.sink_world import (
    BASE,
    DEFINITIONS,
    World,
    producing,
    sinking,
    stored_all,
    until,
)
from topologies.sink.queries import query_certificates, query_rollups
from topologies.sink.schema import Schema, SchemaTooNew, migrations, preparation
from topologies.sink.store import Kept, Store, StoreUnreachable

KNOWN = ("min_parts_to_merge_at_once", "merge_selector_base")

store, servers, world = sink_world.store, sink_world.servers, sink_world.world


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


def test_tables_of_the_first_version_take_calendar_and_hopping_windows_beside_what_they_have(
    world: World,
) -> None:
    client, schema = world.client(), replace(world.config.schema, database="first")
    for statement in [*preparation(schema), *migrations(schema)[0][1]]:
        client.command(statement)
    client.command(f"INSERT INTO {schema.applied} (version, lifetime) VALUES (1, '')")
    plain = f"INSERT INTO {schema.rollups} (rollup, resolution, window_end, value, revision"
    client.command(f"{plain}) VALUES ('m', 300, 1200, 1, 1)")
    store = Store(world.config.store, schema)
    store.ensure_schema()
    store.close()
    client.command(f"{plain}) VALUES ('m', 300, 1200, 2, 2)")  # the next revision of the old row
    client.command(f"{plain}, hop) VALUES ('m', 300, 1200, 3, 1, 60)")
    client.command(f"{plain}) VALUES ('m', 86400, 864000, 4, 1)")
    for size, zone, start in (
        (86400, "Europe/Berlin", 781200),
        (604800, "UTC", 259200),
        (2592000, "Europe/Berlin", -3600),
    ):
        client.command(
            f"{plain}, zone, window_start) VALUES ('m', {size}, 864000, 5, 1, '{zone}', "
            f"fromUnixTimestamp64Milli({1000 * start}, 'UTC'))"
        )
    found = client.query(
        "SELECT granularity, zone, value, toUnixTimestamp64Milli(window_start) / 1000 "
        "FROM first.rollups ORDER BY value, resolution"
    ).result_rows
    assert found == [
        ("5m", "", 2.0, 900.0),
        ("5m/1m", "", 3.0, 900.0),
        ("1d", "", 4.0, 777600.0),
        ("1d", "Europe/Berlin", 5.0, 781200.0),
        ("1w", "UTC", 5.0, 259200.0),
        ("1mo", "Europe/Berlin", 5.0, -3600.0),
    ]
    client.command("DROP DATABASE first")


def test_tables_merge_many_parts_at_a_time_where_the_store_knows_the_settings(world: World) -> None:
    known = {name for (name,) in world.rows("SELECT name FROM system.merge_tree_settings")}
    assert known.issuperset(KNOWN)
    made = world.rows(
        "SELECT create_table_query FROM system.tables "
        "WHERE database = '$DB' AND name IN ('rollups_v1', 'certificates_v1')"
    )
    assert len(made) == 2
    for (statement,) in made:
        assert "min_parts_to_merge_at_once = 10, merge_selector_base = 8" in statement
    assert migrations(Schema())[-1] == (4, [])
    ((rollups, _),) = [all_ for _, all_ in migrations(Schema(), KNOWN[1:])[-1:]]
    assert rollups.endswith("MODIFY SETTING merge_selector_base = 8")


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
    for statement in [
        *preparation(schema),
        *(s for _, made in migrations(schema, KNOWN) for s in made),
    ]:
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


def test_views_and_retention_follow_the_definitions_in_force(world: World) -> None:
    """A view is of the version in force, whichever rows come; new ones are there before rows."""
    days = {10: 2, 60: 14}
    store = opened(world)
    store.keep(Kept(days, {"plain": "", "shaped": "explicit"}))
    assert columns_of(world, "plain") == set()  # as soon as rows come
    store.ensure_views({("plain", ""), ("shaped", "explicit"), ("gone", "explicit")})
    assert "explicit_bounds" in columns_of(world, "shaped")
    store.keep(Kept({10: 5, 60: 14}, {"plain": "", "shaped": "exponential", "new": ""}))
    assert "value" in columns_of(world, "new")
    assert "positive_offset" in columns_of(world, "shaped")
    store.ensure_views({("shaped", "explicit"), ("gone", "explicit")})  # late ones of the old
    assert "positive_offset" in columns_of(world, "shaped")
    assert "explicit_bounds" in columns_of(world, "gone")
    store.keep(Kept({10: 5, 60: 14}, {"plain": "", "shaped": "explicit"}))
    assert "explicit_bounds" in columns_of(world, "shaped")
    assert "positive_offset" not in columns_of(world, "shaped")
    (made,) = store.rows(
        "SELECT create_table_query FROM system.tables WHERE database = %(database)s "
        "AND name = 'rollups_v1'",
        {"database": world.config.schema.database},
    )[0]
    assert "resolution <= 10, 5, 14" in made
    store.close()


def test_a_view_that_could_not_be_made_is_made_when_it_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = {10: 2, 60: 14}
    store = opened(world)
    store.keep(Kept(days))
    command = store.command

    def away(sql: str) -> None:
        if "VIEW" in sql:
            raise StoreUnreachable("gone for a moment")
        command(sql)

    with monkeypatch.context() as broken:
        broken.setattr(store, "command", away)
        with pytest.raises(StoreUnreachable):
            store.keep(Kept(days, {"again": "explicit", "never": "explicit"}))
    store.keep(Kept(days, {"again": "explicit"}))
    assert "explicit_bounds" in columns_of(world, "again")
    assert columns_of(world, "never") == set()
    store.close()


def columns_of(world: World, view: str) -> set[str]:
    database = world.config.schema.database
    found = world.rows(
        f"SELECT name FROM system.columns WHERE database = '{database}' AND table = '{view}'"
    )
    return {name for (name,) in found}


def test_a_running_sink_goes_over_to_other_definitions(world: World) -> None:
    async def act() -> None:
        async with sinking(world.config) as service:
            service.keep(Kept({10: 7, 60: 14}, {"first": ""}))
            await until(lambda: bool(service.status.partitions))  # the store is open before it
            service.keep(Kept({10: 7, 60: 14}, {"first": "", "second": "exponential"}))

            async def there() -> bool:
                return "positive_offset" in await asyncio.to_thread(columns_of, world, "second")

            await until(there)

    asyncio.run(act())
