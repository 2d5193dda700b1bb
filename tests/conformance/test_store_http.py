"""ClickHouse's HTTP interface, byte by byte, as curl and health checks use it."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tidemill.embedded_store.testing import StoreProcess


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with StoreProcess(
        tmp_path_factory.mktemp("store") / "data", "--threads", "4", "--max-body-mib", "4"
    ) as process:
        yield process


class Reply:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = answer.headers
        try:
            self.body = answer.read()
            self.cut = False
        except http.client.IncompleteRead as error:
            self.body = error.partial
            self.cut = True

    @property
    def code(self) -> str | None:
        return self.headers["X-ClickHouse-Exception-Code"]


def ask(
    store: StoreProcess,
    method: str = "POST",
    body: bytes | str | None = None,
    path: str = "/",
    headers: dict[str, str] | None = None,
    **params: str,
) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", store.port, timeout=30)
    address = f"{path}?{urlencode(params)}" if params else path
    connection.request(method, address, body, headers or {})
    try:
        return Reply(connection.getresponse())
    finally:
        connection.close()


def test_health_checks(store: StoreProcess) -> None:
    assert ask(store, "GET", path="/ping").body == b"Ok.\n"
    assert ask(store, "GET", path="/replicas_status").status == 200
    assert ask(store, "GET").body == b"Ok.\n"
    missing = ask(store, "GET", path="/nowhere")
    assert missing.status == 404
    assert b"/ping" in missing.body


def test_a_query_may_be_in_the_address_the_body_or_both(store: StoreProcess) -> None:
    assert ask(store, "GET", query="SELECT 1").body == b"1\n"
    assert ask(store, body="SELECT 2").body == b"2\n"
    assert ask(store, body="2 + 1", query="SELECT").body == b"3\n"
    assert ask(store, "GET", query="SELECT {x:UInt8} + 1", param_x="4").body == b"5\n"


def test_get_reads_only(store: StoreProcess) -> None:
    for sql in ("CREATE TABLE nope (a Int8) ENGINE = Memory", "INSERT INTO t VALUES (1)"):
        reply = ask(store, "GET", query=sql)
        assert (reply.code, reply.status) == ("164", 500)
        assert b"readonly" in reply.body
    assert ask(store, "GET", query="SHOW DATABASES").status == 200


def test_formats_and_their_types(store: StoreProcess) -> None:
    reply = ask(store, body="SELECT 1 AS a, 'x' AS b FORMAT JSON")
    assert reply.headers["Content-Type"].startswith("application/json")
    assert reply.headers["X-ClickHouse-Format"] == "JSON"
    assert json.loads(reply.body)["data"] == [{"a": 1, "b": "x"}]
    assert ask(store, body="SELECT 1, 'x'", default_format="CSV").body == b'1,"x"\n'
    by_header = ask(store, body="SELECT 1, 'x'", headers={"X-ClickHouse-Format": "CSV"})
    assert by_header.body == b'1,"x"\n'


def test_the_query_id_comes_back_or_is_made(store: StoreProcess) -> None:
    assert ask(store, body="SELECT 1", query_id="mine").headers["X-ClickHouse-Query-Id"] == "mine"
    assert len(ask(store, body="SELECT 1").headers["X-ClickHouse-Query-Id"]) == 36
    assert ask(store, body="SELEC", query_id="bad").headers["X-ClickHouse-Query-Id"] == "bad"


def test_an_error_has_code_status_and_version(store: StoreProcess) -> None:
    reply = ask(store, body="SELECT * FROM nowhere")
    assert (reply.status, reply.code) == (404, "60")
    assert reply.body.startswith(b"Code: 60. DB::Exception: ")
    assert b"(UNKNOWN_TABLE)" in reply.body
    assert b"(version " in reply.body
    assert ask(store, body="SELEC 1").status == 400
    assert ask(store, body="").code == "62"


def test_an_error_in_mid_answer_is_in_band_and_the_answer_is_cut(store: StoreProcess) -> None:
    """Whoever knows the tag reads the reason; whoever does not sees a broken answer."""
    reply = ask(store, body="SELECT number, throwIf(number = 300000) FROM numbers(400000)")
    tag = reply.headers["X-ClickHouse-Exception-Tag"].encode()
    assert reply.status == 200
    assert reply.cut
    block = reply.body[reply.body.index(b"__exception__\r\n" + tag) :]
    assert b"Code: 395." in block
    assert block.endswith(b" " + tag + b"\r\n__exception__\r\n")
    length = int(block.rsplit(b"\n", 3)[-3].split()[0])
    message = block.split(b"\r\n", 2)[2].rsplit(b"\n", 3)[0]
    assert length == len(message) + 1


def test_with_wait_end_of_query_the_same_error_is_a_plain_one(store: StoreProcess) -> None:
    reply = ask(
        store,
        body="SELECT number, throwIf(number = 300000) FROM numbers(400000)",
        wait_end_of_query="1",
    )
    assert (reply.status, reply.code) == (500, "395")


def test_several_statements_at_once_are_refused(store: StoreProcess) -> None:
    reply = ask(store, body="SELECT 1; SELECT 2")
    assert (reply.code, b"Multi-statements" in reply.body) == ("62", True)
    assert ask(store, body="SELECT 1;").body == b"1\n"


def test_answers_are_packed_when_asked_for(store: StoreProcess) -> None:
    wanted = {"Accept-Encoding": "gzip"}
    packed = ask(store, body="SELECT 7", headers=wanted, enable_http_compression="1")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == b"7\n"
    assert ask(store, body="SELECT 7", headers=wanted).body == b"7\n"


def test_bodies_that_cannot_be_unpacked_insert_nothing(store: StoreProcess) -> None:
    ask(store, body="CREATE TABLE IF NOT EXISTS packed (a Int64) ENGINE = MergeTree ORDER BY a")
    whole = gzip.compress(b"INSERT INTO packed FORMAT CSV\n" + b"1\n" * 100_000)
    cut = ask(store, body=whole[:-20], headers={"Content-Encoding": "gzip"})
    assert (cut.code, cut.status) == ("271", 400)
    assert b"cut short" in cut.body
    damaged = ask(store, body=b"nonsense", headers={"Content-Encoding": "lz4"})
    assert damaged.code == "271"
    unknown = ask(store, body=whole, headers={"Content-Encoding": "br"})
    assert unknown.code == "89"
    assert b"lz4, zstd, gzip" in unknown.body
    assert ask(store, body="SELECT count() FROM packed").body == b"0\n"


@pytest.mark.parametrize("name", ["compress", "decompress"])
def test_native_block_framing_is_refused_with_what_to_do(store: StoreProcess, name: str) -> None:
    reply = ask(store, body="SELECT 1", **{name: "1"})
    assert reply.status == 501
    assert b"Content-Encoding" in reply.body


def test_external_data_is_refused_with_what_to_do(store: StoreProcess) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n1\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    reply = ask(store, body=body, headers=headers, query="SELECT * FROM t")
    assert reply.status == 501
    assert b"temporary table" in reply.body


def test_a_form_carries_query_and_parameters(store: StoreProcess) -> None:
    parts = {"query": "SELECT {x:String}", "param_x": "é"}
    body = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'
        for k, v in parts.items()
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert ask(store, body=(body + "--b--\r\n").encode(), headers=headers).body == "é\n".encode()


def test_sessions_are_checked_and_locked(store: StoreProcess) -> None:
    assert ask(store, body="SELECT 1", session_id="no", session_check="1").code == "372"
    assert ask(store, body="SELECT 1", session_id="s", session_timeout="9999").code == "374"
    slow = threading.Thread(
        target=ask,
        args=(store,),
        kwargs={"body": "SELECT sleepEachRow(1) FROM numbers(3)", "session_id": "busy"},
    )
    slow.start()
    wait_until(store, running("sleepEachRow(1) FROM numbers(3)"), b"1\n")
    assert ask(store, body="SELECT 1", session_id="busy").code == "373"
    slow.join()
    assert ask(store, body="SELECT 1", session_id="busy").body == b"1\n"


def running(text: str) -> str:
    """A question for how many queries with this text are running."""
    return (
        f"SELECT count() FROM system.processes WHERE query LIKE '%{text}%' "
        "AND query NOT LIKE '%processes%'"
    )


def test_a_client_that_goes_away_stops_its_query(store: StoreProcess) -> None:
    sql = "SELECT sleepEachRow(1) FROM numbers(3600) SETTINGS max_block_size = 1"
    query = urlencode({"query": sql, "cancel_http_readonly_queries_on_client_close": "1"})
    with socket.create_connection(("127.0.0.1", store.port)) as client:
        client.sendall(f"GET /?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(store, running("sleepEachRow(1) FROM numbers(3600)"), b"1\n")
    wait_until(store, running("sleepEachRow(1) FROM numbers(3600)"), b"0\n")


def test_an_insert_whose_commit_fails_is_refused_with_the_engines_reason(
    store: StoreProcess,
) -> None:
    made = ask(
        store,
        body="CREATE TABLE strict (a UInt64, CONSTRAINT small CHECK a < 100) ENGINE = MergeTree "
        "PARTITION BY a ORDER BY a",
    )
    assert made.status == 200, made.body
    limited = "INSERT INTO strict SETTINGS max_partitions_per_insert_block = 1 FORMAT CSV\n1\n2\n"
    for sql, code in (
        ("INSERT INTO strict VALUES (1), (100)", "469"),
        ('INSERT INTO strict (a) FORMAT JSONEachRow {"a": 1}\n{"a": 100}', "469"),
        (limited, "252"),
        ("INSERT INTO strict FORMAT CSV\n1\nx\n", "117"),
    ):
        reply = ask(store, body=sql)
        assert (reply.code, reply.status) != (None, 200), sql
        assert reply.code == code, reply.body
        assert reply.body.count(b"Code: ") == 1
        assert b"/fd/" not in reply.body
    assert ask(store, body="SELECT count() FROM strict").body == b"0\n"
    named = ask(store, body="INSERT INTO {t:Identifier} FORMAT CSV\n1\n", param_t="strict")
    assert named.status == 200, named.body
    assert ask(store, body="SELECT count() FROM strict").body == b"1\n"


def test_an_insert_that_is_cancelled_is_not_acknowledged(store: StoreProcess) -> None:
    ask(store, body="CREATE TABLE cut (n UInt64) ENGINE = MergeTree PARTITION BY n % 3 ORDER BY n")
    rows = 3_000
    acknowledged: list[int] = []
    cancelled = threading.Event()

    def insert() -> None:
        number = 0
        while not cancelled.is_set():
            values = "\n".join(map(str, range(number * rows, (number + 1) * rows)))
            reply = ask(store, body=f"INSERT INTO cut FORMAT CSV\n{values}")
            if reply.status == 200:
                acknowledged.append(number)
            elif reply.code == "394":
                cancelled.set()
            number += 1

    inserting = threading.Thread(target=insert)
    inserting.start()
    while not cancelled.is_set():
        ask(store, body="KILL QUERY WHERE query_kind = 'Insert' ASYNC")
    inserting.join()
    counted = (
        f"SELECT intDiv(n, {rows}) AS batch, count() FROM cut GROUP BY batch FORMAT JSONEachRow"
    )
    counts = [json.loads(line) for line in ask(store, body=counted).body.splitlines()]
    whole = {int(row["batch"]) for row in counts if int(row["count()"]) == rows}
    assert set(acknowledged) <= whole


def wait_until(store: StoreProcess, sql: str, answer: bytes) -> None:
    deadline = time.monotonic() + 20
    while (found := ask(store, body=sql).body) != answer:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_more_queries_than_threads_wait_their_turn(store: StoreProcess) -> None:
    replies: list[bytes] = []

    def one() -> None:
        replies.append(ask(store, body="SELECT sleep(0.1)").body)

    threads = [threading.Thread(target=one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [b"0\n"] * 12


def test_a_page_of_another_site_may_not_ask(store: StoreProcess) -> None:
    reply = ask(store, body="SELECT 1", headers={"Sec-Fetch-Site": "cross-site"})
    assert reply.status == 403


def test_another_user_is_refused(store: StoreProcess) -> None:
    assert ask(store, body="SELECT 1", user="nobody").code == "516"
    assert ask(store, body="SELECT 1", headers={"X-ClickHouse-User": "nobody"}).status == 403
    assert ask(store, body="SELECT 1", user="default", password="").status == 200
    assert ask(store, body="SELECT 1", user="default", password="x").status == 403


def test_a_body_over_the_limit_is_refused_and_nothing_of_it_is_inserted(
    store: StoreProcess,
) -> None:
    ask(store, body="CREATE TABLE IF NOT EXISTS large (a String) ENGINE = MergeTree ORDER BY a")
    reply = ask(store, body=b"INSERT INTO large FORMAT CSV\n" + b"x\n" * (3 << 20))
    assert (reply.status, reply.code) == (413, "229")
    assert b"smaller requests" in reply.body
    assert ask(store, body="SELECT count() FROM large").body == b"0\n"
    long = ask(store, body=b"SELECT '" + b"x" * (2 << 20) + b"'")
    assert long.code == "62", "the engine's own limit on the length of a statement"


def test_a_body_that_stops_half_way_inserts_nothing(store: StoreProcess) -> None:
    ask(store, body="CREATE TABLE IF NOT EXISTS half (a String) ENGINE = MergeTree ORDER BY a")
    with socket.create_connection(("127.0.0.1", store.port)) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
            b"INSERT INTO half FORMAT CSV\nx\n"
        )
    assert ask(store, body="SELECT count() FROM half").body == b"0\n"
