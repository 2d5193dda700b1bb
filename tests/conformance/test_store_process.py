"""The store as a process: start, stop, kill -9, limits, and what it says when it cannot start."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from tidemill.embedded_store.testing import StoreProcess


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[StoreProcess]:
    process = StoreProcess(tmp_path / "data")
    yield process
    process.stop()


def connect(store: StoreProcess, **options: Any) -> Any:
    return clickhouse_connect.get_client(
        host="127.0.0.1", port=store.port, autogenerate_session_id=False, **options
    )


def test_tables_outlive_a_stop_and_a_kill(stopped: StoreProcess) -> None:
    stopped.start()
    client = connect(stopped)
    client.command("CREATE DATABASE other")
    for name in ("mine", "other.mine"):
        client.command(f"CREATE TABLE {name} (a Int64) ENGINE = MergeTree ORDER BY a")
    for end in (stopped.stop, stopped.kill, stopped.stop):
        for name in ("mine", "other.mine"):
            client.insert(name, [[1]], ["a"])
        end()
        stopped.start()
    for name in ("mine", "other.mine"):
        assert client.query(f"SELECT count() FROM {name}").result_rows == [(3,)]


def test_an_empty_store_starts_again(stopped: StoreProcess) -> None:
    for _ in range(3):
        stopped.start()
        stopped.kill()
    stopped.start()
    assert connect(stopped).query("SELECT 1").result_rows == [(1,)]


def test_sigterm_stops_within_five_seconds_whatever_is_running(stopped: StoreProcess) -> None:
    stopped.start()

    def endless() -> None:
        with contextlib.suppress(ClickHouseError):
            connect(stopped).query("SELECT sum(cityHash64(number)) FROM numbers(10000000000000)")

    threads = [threading.Thread(target=endless) for _ in range(3)]
    for thread in threads:
        thread.start()
    client = connect(stopped)
    deadline = time.monotonic() + 20
    sql = "SELECT count() FROM system.processes WHERE query LIKE '%cityHash64%'"
    while client.query(sql + " AND query NOT LIKE '%processes%'").result_rows != [(3,)]:
        assert time.monotonic() < deadline
    assert stopped.stop() < 5
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_acknowledged_inserts_outlive_each_end_and_repeated_ones_count_once(
    stopped: StoreProcess, how: str
) -> None:
    """Batches over three partitions; after each end the last is sent again under its token."""
    chance = random.Random(7)
    end = {"kill": stopped.kill, "stop": stopped.stop}[how]
    rows = 3_000
    stopped.start()
    connect(stopped).command(
        "CREATE TABLE crash (batch Int64, part Int64, a Int64) ENGINE = MergeTree "
        "PARTITION BY part ORDER BY a SETTINGS non_replicated_deduplication_window = 1000"
    )
    acknowledged = 0
    for _ in range(4):
        killer = threading.Timer(chance.uniform(0.05, 0.6), end)
        killer.start()
        while killer.is_alive() or stopped.process is not None:
            try:
                client = connect(stopped)
                send(client, acknowledged, rows)
                acknowledged += 1
            except (ClickHouseError, OSError):
                if stopped.process is None:
                    break
        killer.join()
        stopped.start()
        send(connect(stopped), acknowledged, rows)
        acknowledged += 1
    found = dict(connect(stopped).query("SELECT batch, count() FROM crash GROUP BY 1").result_rows)
    assert found == dict.fromkeys(range(acknowledged), rows)


def send(client: Any, batch: int, rows: int) -> None:
    columns = [[batch] * rows, [i % 3 for i in range(rows)], list(range(rows))]
    client.insert(
        "crash",
        columns,
        ["batch", "part", "a"],
        column_oriented=True,
        settings={"insert_deduplication_token": f"batch-{batch}"},
    )


def test_a_full_disk_is_told_before_anything_is_lost(stopped: StoreProcess) -> None:
    """None may begin on a full disk."""
    stopped.start()
    client = connect(stopped)
    client.command("CREATE TABLE full (a UInt64) ENGINE = MergeTree ORDER BY a")
    client.insert("full", [[1], [2]], ["a"])
    stopped.stop()
    more_than_there_is = (shutil.disk_usage(stopped.data).total >> 20) + 1
    with StoreProcess(stopped.data, "--reserve-mib", str(more_than_there_is)) as store:
        client = connect(store)
        for act in (
            lambda: client.insert("full", [[4]], ["a"]),
            lambda: client.command("CREATE TABLE more (a UInt64) ENGINE = Memory"),
        ):
            with pytest.raises(DatabaseError) as error:
                act()
            assert error.value.code == 243
            assert "make room" in str(error.value)
        assert client.query("SELECT sum(a) FROM full").result_rows == [(3,)]
        client.command("DROP TABLE full")
        assert client.command("EXISTS TABLE full") == 0


def test_the_memory_cap_holds_for_the_whole_store(tmp_path: Path) -> None:
    with StoreProcess(tmp_path / "data", "--memory-mib", "400") as store:
        client = connect(store)
        with pytest.raises(DatabaseError) as error:
            client.query("SELECT length(groupArray(toString(number))) FROM numbers(100000000)")
        assert error.value.code == 241
        assert client.query("SELECT 1").result_rows == [(1,)]


def test_more_queries_than_may_wait_are_told_to_come_again(tmp_path: Path) -> None:
    with StoreProcess(tmp_path / "data", "--threads", "1", "--queue", "1") as store:
        clients = [connect(store) for _ in range(4)]
        codes: list[int | None] = []

        def ask(client: Any) -> None:
            try:
                client.query("SELECT sleep(1)")
                codes.append(None)
            except ClickHouseError as error:
                codes.append(getattr(error, "code", -1))

        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # A client tries a refused read again by itself, so more than two may have had their turn.
    assert codes.count(None) >= 2
    assert set(codes) <= {None, 202}
    assert 202 in codes


def test_a_password_is_asked_for(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    with StoreProcess(tmp_path / "data", "--password-file", str(secret)) as store:
        with pytest.raises(DatabaseError) as error:
            connect(store)
        assert error.value.code == 516
        assert connect(store, password="s3cret").query("SELECT 1").result_rows == [(1,)]


def start_error(data: Path, *arguments: str) -> str:
    with pytest.raises(RuntimeError) as error:
        StoreProcess(data, *arguments).start()
    return str(error.value)


def test_a_folder_in_use_is_told(stopped: StoreProcess) -> None:
    stopped.start()
    said = start_error(stopped.data)
    assert "another process holds the store's folder" in said
    assert "--data" in said
    assert "Traceback" not in said


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = start_error(tmp_path / "data", "--port", port)
    assert f"127.0.0.1:{port} is in use" in said
    assert "Traceback" not in said


def test_a_folder_of_another_version_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text("7\n")
    said = start_error(tmp_path)
    assert "version '7'" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["VERSION"]


def test_a_folder_that_is_not_a_stores_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    assert "not a store's folder" in start_error(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis.txt"]


def test_listening_for_everybody_needs_a_password(tmp_path: Path) -> None:
    assert "set a password" in start_error(tmp_path / "data", "--host", "0.0.0.0")
