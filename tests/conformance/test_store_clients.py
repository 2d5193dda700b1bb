"""An unmodified clickhouse-connect finds a ClickHouse server."""

from __future__ import annotations

import asyncio
import datetime
import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import lz4.frame
import msgspec
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

import tidemill.embedded_store
from tidemill.embedded_store.testing import StoreProcess


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with StoreProcess(tmp_path_factory.mktemp("store") / "data") as process:
        yield process


def connect(store: StoreProcess, **options: Any) -> Any:
    return clickhouse_connect.get_client(host="127.0.0.1", port=store.port, **options)


@pytest.fixture
def client(store: StoreProcess) -> Iterator[Any]:
    client = connect(store)
    yield client
    client.close()


def table(client: Any, name: str, columns: str = "a Int64, b String") -> str:
    client.command(f"DROP TABLE IF EXISTS {name} SYNC")
    client.command(
        f"CREATE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY tuple() "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    return name


@pytest.mark.parametrize("coding", ["lz4", "zstd", "gzip", False])
def test_rows_go_in_and_come_out_in_every_coding(store: StoreProcess, coding: str | bool) -> None:
    client = connect(store, compress=coding)
    name = table(client, "codings")
    rows = [(i, str(i) * (i % 5)) for i in range(100_000)]  # four blocks, so four lz4 frames
    written = client.insert(name, rows, ["a", "b"])
    assert written.written_rows == 100_000
    found = client.query(f"SELECT a, b FROM {name} ORDER BY a").result_rows
    assert found == rows
    parts = client.query(
        "SELECT count() FROM system.parts WHERE table = 'codings' AND active"
    ).result_rows
    assert parts == [(1,)], "one insert is one block, or a retry could double rows"


def test_every_frame_of_an_lz4_body_counts(client: Any) -> None:
    name = table(client, "frames", "a Int64")
    head = f"INSERT INTO {name} FORMAT CSV\n".encode()
    body = b"".join(lz4.frame.compress(part) for part in (head, b"1\n2\n", b"3\n", b"4\n"))
    client.raw_insert(insert_block=body, compression="lz4", table="", fmt="CSV")
    assert client.query(f"SELECT sum(a) FROM {name}").result_rows == [(10,)]


def test_floats_keep_their_bits(client: Any) -> None:
    name = table(client, "bits", "a Int64, v Float64")
    values = [math.nan, math.inf, -math.inf, -0.0, 0.1, 5e-324, 1.7976931348623157e308]
    client.insert(name, list(enumerate(values)), ["a", "v"])
    found = [row[0] for row in client.query(f"SELECT v FROM {name} ORDER BY a").result_rows]
    assert [struct.pack("<d", v) for v in found] == [struct.pack("<d", v) for v in values]


def test_parameters_are_bound_by_the_server(client: Any) -> None:
    given = {
        "text": "it's \\ a\ttab\nand 'more'",
        "numbers": [1, 2],
        "time": datetime.datetime(2024, 1, 2, 3, 4, 5),
        "none": None,
    }
    sql = (
        "SELECT {text:String}, {numbers:Array(Int32)}, {time:DateTime('UTC')}, "
        "{none:Nullable(Int32)}"
    )
    (row,) = client.query(sql, parameters=given).result_rows
    assert row[0] == given["text"]
    assert list(row[1]) == [1, 2]
    assert row[2].replace(tzinfo=None) == given["time"]
    assert row[3] is None


def test_settings_are_for_one_query(client: Any) -> None:
    sql = "SELECT value, changed FROM system.settings WHERE name = 'max_threads'"
    before = client.query(sql).result_rows
    assert client.query(sql, settings={"max_threads": 3}).result_rows == [("3", 1)]
    assert client.query(sql).result_rows == before


def test_a_session_keeps_temporary_tables_and_its_own_settings(store: StoreProcess) -> None:
    one, two = connect(store, session_id="one"), connect(store, session_id="two")
    one.command("CREATE TEMPORARY TABLE mine (a Int32)")
    one.insert("mine", [[1], [2]], ["a"])
    assert one.query("SELECT sum(a) FROM mine").result_rows == [(3,)]
    with pytest.raises(DatabaseError) as error:
        two.query("SELECT * FROM mine")
    assert error.value.code == 60
    one.command("SET max_result_rows = 17")
    sql = "SELECT value FROM system.settings WHERE name = 'max_result_rows'"
    assert one.query(sql, settings={"max_threads": 2}).result_rows == [("17",)]
    assert two.query(sql).result_rows == [("0",)]


def test_a_database_is_for_one_query_of_a_session(store: StoreProcess) -> None:
    client = connect(store, session_id="roaming")
    client.command("CREATE DATABASE IF NOT EXISTS other")
    client.database = "other"
    assert client.query("SELECT currentDatabase()").result_rows == [("other",)]
    client.database = None
    assert client.query("SELECT currentDatabase()").result_rows == [("default",)]


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT nothing_like_it", 47),
        ("SELECT * FROM no_such_table", 60),
        ("SELEC 1", 62),
        ("SELECT 1 FORMAT NoSuchFormat", 62),  # the client adds its own FORMAT
        ("SELECT throwIf(number = 3) FROM numbers(10)", 395),
    ],
)
def test_an_error_carries_its_code(client: Any, sql: str, code: int) -> None:
    with pytest.raises(DatabaseError) as error:
        client.query(sql)
    assert error.value.code == code


def test_an_unknown_setting_is_an_error(client: Any) -> None:
    with pytest.raises(DatabaseError) as error:
        client.raw_query("SELECT 1", settings={"no_such_setting": 1})
    assert error.value.code == 115


@pytest.mark.parametrize("coding", ["lz4", "zstd", False])
def test_an_error_in_mid_answer_is_raised_never_a_short_answer(
    store: StoreProcess, coding: str | bool
) -> None:
    client = connect(store, compress=coding)
    sizes: list[int] = []

    def read() -> None:
        sql = "SELECT number, throwIf(number = 900000) FROM numbers(1000000)"
        with client.query_row_block_stream(sql, settings={"max_block_size": 10_000}) as stream:
            sizes.extend(len(block) for block in stream)

    with pytest.raises(StreamFailureError) as error:
        read()
    assert error.value.code == 395
    assert 0 < sum(sizes) < 1_000_000


def test_a_large_answer_is_streamed(client: Any) -> None:
    with client.query_column_block_stream("SELECT number FROM numbers(3000000)") as stream:
        total = sum(sum(block[0]) for block in stream)
    assert total == 2_999_999 * 3_000_000 // 2


def test_a_query_is_stopped_when_its_time_is_over(client: Any) -> None:
    with pytest.raises(DatabaseError) as error:
        client.query(
            "SELECT sleepEachRow(0.1) FROM numbers(100)",
            settings={"max_execution_time": 0.5, "max_block_size": 1},
        )
    assert error.value.code == 159


def test_statements_that_cannot_be_streamed_are_answered(client: Any) -> None:
    name = table(client, "shown")
    assert name in client.command("SHOW TABLES").split("\n") or client.command("EXISTS shown") == 1
    assert [row[:2] for row in client.query(f"DESCRIBE TABLE {name}").result_rows] == [
        ("a", "Int64"),
        ("b", "String"),
    ]
    assert "ENGINE = MergeTree" in client.command(f"SHOW CREATE TABLE {name}")
    assert client.query(f"SELECT * FROM {name} LIMIT 0").column_names == ("a", "b")
    assert client.query(f"SELECT * FROM {name}").result_rows == []
    assert client.query("SELECT 1 AS format").result_rows == [(1,)]


def test_formats_with_head_and_foot_are_whole(client: Any) -> None:
    answer = client.raw_query("SELECT number FROM numbers(200000)", fmt="JSONCompact")
    assert len(msgspec.json.decode(answer)["data"]) == 200_000
    lines = client.raw_query("SELECT number FROM numbers(200000)", fmt="CSVWithNames").split()
    assert len(lines) == 200_001


def test_an_insert_with_a_token_counts_once_also_in_another_coding(store: StoreProcess) -> None:
    plain, packed = connect(store, compress=False), connect(store, compress="zstd")
    name = table(plain, "tokens", "a Int64")
    for client in (plain, packed, plain):
        client.insert(
            name,
            [[i] for i in range(70_000)],
            ["a"],
            settings={"insert_deduplication_token": "t1"},
        )
    assert plain.query(f"SELECT count() FROM {name}").result_rows == [(70_000,)]


def test_inserts_are_synchronous_unless_asked_otherwise(client: Any) -> None:
    sql = "SELECT value FROM system.settings WHERE name = 'async_insert'"
    assert client.query(sql).result_rows == [("0",)]


def test_values_may_stand_in_the_statement_or_be_parameters(client: Any) -> None:
    name = table(client, "inline")
    client.command(f"INSERT INTO {name} VALUES (1, 'x'), (2, 'it''s')")
    client.command(f"INSERT INTO {name} (a, b) VALUES ({{n:Int64}}, 'y')", parameters={"n": 3})
    client.command(f"INSERT INTO {name} SELECT a + 10, b FROM {name}")
    client.command(f"INSERT INTO {name} FORMAT JSONEachRow", data='{"a": 99, "b": "z"}')
    found = client.query(f"SELECT sum(a), count() FROM {name}").result_rows
    assert found == [(1 + 2 + 3 + 11 + 12 + 13 + 99, 7)]


def test_a_bad_row_inserts_nothing(client: Any) -> None:
    name = table(client, "bad", "a Int64")
    with pytest.raises(DatabaseError) as error:
        client.raw_insert(name, ["a"], b"1\n2\nx\n", fmt="CSV")
    assert error.value.code in (27, 6, 117, 72)
    assert client.query(f"SELECT count() FROM {name}").result_rows == [(0,)]


def test_an_insert_of_a_wrong_shape_is_refused(client: Any) -> None:
    name = table(client, "shape", "a Int64")
    with pytest.raises(DatabaseError) as error:
        client.raw_insert(name, ["nope"], b"1\n", fmt="CSV")
    assert error.value.code == 16


def test_the_async_client_works(store: StoreProcess) -> None:
    async def act() -> tuple[list[Any], int]:
        client = await clickhouse_connect.get_async_client(host="127.0.0.1", port=store.port)
        await client.command("CREATE TABLE IF NOT EXISTS later (a Int64) ENGINE = Memory")
        summary = await client.insert("later", [[1], [2]], ["a"])
        rows = (await client.query("SELECT sum(a) FROM later")).result_rows
        await client.close()
        return rows, summary.written_rows

    assert asyncio.run(act()) == ([(3,)], 2)


def test_many_clients_at_once_each_get_their_own_answer(store: StoreProcess) -> None:
    async def act() -> list[int]:
        client = await clickhouse_connect.get_async_client(
            host="127.0.0.1", port=store.port, autogenerate_session_id=False
        )

        async def ask(number: int) -> int:
            found = await client.query(
                "SELECT {n:Int64} + count() FROM numbers(1000)", parameters={"n": number}
            )
            return found.result_rows[0][0]

        answers = await asyncio.gather(*(ask(n) for n in range(64)))
        await client.close()
        return answers

    assert asyncio.run(act()) == [n + 1000 for n in range(64)]


def test_what_a_memory_limit_stops_is_told_and_the_store_goes_on(client: Any) -> None:
    with pytest.raises(DatabaseError) as error:
        client.query(
            "SELECT length(groupArray(toString(number))) FROM numbers(100000000)",
            settings={"max_memory_usage": 50_000_000},
        )
    assert error.value.code == 241
    assert client.query("SELECT 1").result_rows == [(1,)]


def test_files_of_the_machine_are_out_of_reach(client: Any, tmp_path: Path) -> None:
    for sql in (
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT * FROM sqlite('/tmp/none.db', 't')",
    ):
        with pytest.raises(DatabaseError) as error:
            client.query(sql)
        assert error.value.code == 497
    target = tmp_path / "out.txt"
    with pytest.raises(DatabaseError) as error:
        client.command(f"SELECT 1 INTO OUTFILE '{target}'")
    assert error.value.code == 48
    assert not target.exists()
    with pytest.raises(DatabaseError) as error:
        client.command("INSERT INTO x FROM INFILE '/etc/hostname' FORMAT CSV")
    assert error.value.code == 48


def test_the_example_of_the_page_about_the_store_runs(
    store: StoreProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(tidemill.embedded_store.__file__).parent / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code.replace("8123", str(store.port)), {})
    assert capsys.readouterr().out == "[(3,)]\n"
