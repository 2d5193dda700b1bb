"""Tables of lookups are pinned from a real log and a real store, by the command."""

# confluent-kafka's admin client is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.conformance import sink_world
from tidemill.embedded_store.testing import StoreProcess
from tidemill.main import main

servers = sink_world.servers
DEADLINE = 30
DEFINITIONS = """apiVersion: tidemill/v1
kind: Lookup
name: clusters
description: Who clusters are for
owner: team
file: clusters.csv
key: cluster_id
---
apiVersion: tidemill/v1
kind: Metric
name: load.mean
description: Mean load of the hosts
owner: team
source:
  metric: load
  unit: "1"
  attributes:
    customer: {from: cluster_id, lookup: clusters, default: unknown}
space: {keep: [customer]}
time: {granularities: [10s], grace: 2s, corrections: 1m}
aggregate: {over_time: sum, over_space: sum}
"""
BEFORE = "cluster_id,customer,tier\nc1,acme,gold\nc9,hal,gold\n"
AFTER = 'cluster_id,customer,tier\nc1,acme,silver\nc2,"globex, inc",\nc3,7,true\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers: str) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDEMILL_SETTINGS", raising=False)
    (tmp_path / "d.yaml").write_text(DEFINITIONS)
    (tmp_path / "clusters.csv").write_text(BEFORE)
    (tmp_path / "settings.json").write_text(json.dumps({"bootstrap": servers}))
    return tmp_path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with StoreProcess(tmp_path_factory.mktemp("store") / "data") as process:
        client = clickhouse_connect.get_client(
            host="127.0.0.1", port=process.port, autogenerate_session_id=False
        )
        client.command("CREATE DATABASE inventory")
        client.command(
            "CREATE TABLE inventory.clusters (cluster_id String, customer Nullable(String), "
            "tier String, size UInt64, share Float64, since Date, tags Array(String)) "
            "ENGINE = MergeTree ORDER BY cluster_id"
        )
        client.command(
            "INSERT INTO inventory.clusters VALUES "
            "('c2', 'globex, inc', 'gold', 18446744073709551615, 0.5, '2026-01-02', []), "
            "('c1', NULL, 'si\"lver\\n', 1, inf, '2026-01-03', ['x'])"
        )
        yield process


def made(servers: str, topic: str, partitions: int = 2, policy: str = "compact") -> None:
    settings = {"cleanup.policy": policy}
    admin = AdminClient({"bootstrap.servers": servers})
    topics = [NewTopic(topic, partitions, 1, config=settings)]
    admin.create_topics(topics)[topic].result(DEADLINE)


def row(**columns: object) -> bytes:
    return json.dumps(columns).encode()


def pin(*words: str) -> int:
    return main(["registry", "lookup", "clusters", "d.yaml", "--settings", "settings.json", *words])


def test_a_topic_is_read_to_what_is_committed(
    folder: Path, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Updates, deletions, an aborted transaction, and one that is still open."""
    made(servers, "inventory")
    plain = Producer({"bootstrap.servers": servers})
    for key, value in (
        ("c9", row(customer="hal", tier="gold")),
        ("c1", row(customer="other", tier="gold")),
        ("c3", row(customer=7, tier=True, cluster_id="c3", more={})),
        ("c2", row(customer="globex, inc", tier=None)),
        ("c1", row(customer="acme", tier="silver")),
        ("c9", None),
    ):
        plain.produce("inventory", value, key)
    assert plain.flush(DEADLINE) == 0
    aborted = Producer({"bootstrap.servers": servers, "transactional.id": "aborted"})
    aborted.init_transactions(DEADLINE)
    aborted.begin_transaction()
    for key in ("c1", "c2", "c5"):
        aborted.produce("inventory", row(customer="never", tier="x"), key)
    assert aborted.flush(DEADLINE) == 0
    aborted.abort_transaction(DEADLINE)
    still = Producer({"bootstrap.servers": servers, "transactional.id": "open"})
    still.init_transactions(DEADLINE)
    still.begin_transaction()
    for key in ("c1", "c2", "c3", "c6", "c7"):
        still.produce("inventory", b"not yet", key)
    assert still.flush(DEADLINE) == 0

    assert pin("--topic", "inventory", "--dry-run", "--exit-code") == 1
    said = capsys.readouterr().out
    assert (
        "clusters: 3 keys, 2 before; 2 keys added (c2: globex, inc, nothing; c3: 7, true)" in said
    )
    assert "1 key changed (c1: tier gold -> silver), 1 key removed (c9)" in said
    assert "would be written" in said
    assert (folder / "clusters.csv").read_text() == BEFORE

    (folder / "clusters.csv").chmod(0o640)
    assert pin("--topic", "inventory") == 0
    assert "in force until `tidemill registry apply`" in capsys.readouterr().out
    assert (folder / "clusters.csv").read_bytes() == AFTER.encode()
    assert (folder / "clusters.csv").stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in folder.glob("clusters*")) == ["clusters.csv"]

    assert pin("--topic", "inventory", "--exit-code") == 0
    assert "no key differs\nclusters.csv is that table already" in capsys.readouterr().out
    shuffled = "".join(
        f"{line}\r\n" for line in (AFTER.splitlines()[each] for each in (0, 3, 2, 1))
    )
    (folder / "clusters.csv").write_bytes(shuffled.encode())
    assert pin("--topic", "inventory", "--exit-code") == 0
    assert "no version changes" in capsys.readouterr().out
    assert (folder / "clusters.csv").read_bytes() == AFTER.encode()
    still.abort_transaction(DEADLINE)


def test_a_header_alone_says_which_columns_and_in_which_order(
    folder: Path, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made(servers, "first", policy="compact,delete")
    plain = Producer({"bootstrap.servers": servers})
    plain.produce("first", row(customer="acme", tier="gold"), "c1")
    assert plain.flush(DEADLINE) == 0
    (folder / "clusters.csv").write_text("customer,cluster_id\n")
    assert pin("--topic", "first", "-o", "json") == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert "first has cleanup.policy=compact,delete: a key that was not sent for long" in err
    assert (folder / "clusters.csv").read_text() == "customer,cluster_id\nacme,c1\n"
    assert told["added"] == {"c1": {"customer": "acme", "cluster_id": "c1"}}
    assert (told["written"], told["file"]) == (True, "clusters.csv")


def test_a_topic_that_is_no_table_leaves_the_file(
    folder: Path, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(said: str, *words: str, code: int = 2) -> None:
        assert pin(*words) == code
        told = capsys.readouterr()
        assert said in told.err, told
        assert (folder / "clusters.csv").read_text() == BEFORE

    refused("there is no topic nowhere", "--topic", "nowhere")
    made(servers, "bare", partitions=1)
    refused("the topic bare holds no row", "--topic", "bare")
    plain = Producer({"bootstrap.servers": servers})
    plain.produce("bare", b"{", "c1")
    assert plain.flush(DEADLINE) == 0
    refused("bare/0@0, key `c1`: no JSON", "--topic", "bare")
    plain.produce("bare", row(customer="acme"), "c1")
    assert plain.flush(DEADLINE) == 0
    refused("has no column `tier`", "--topic", "bare")
    plain.produce("bare", row(customer="x" * 200_000, tier=1), "c1")
    assert plain.flush(DEADLINE) == 0
    refused("TM519", "--topic", "bare")
    plain.produce("bare", None, "c1")
    assert plain.flush(DEADLINE) == 0
    refused("--allow-empty writes it", "--topic", "bare")
    away = ("--bootstrap-servers", "127.0.0.1:9")
    refused("no log answers at 127.0.0.1:9", "--topic", "bare", *away, code=4)
    assert pin("--topic", "bare", "--allow-empty") == 0
    assert (folder / "clusters.csv").read_text() == "cluster_id,customer,tier\n"


def test_a_table_that_spoils_another_definition_is_not_written(
    folder: Path, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file may be two lookups' table, and its rows must be one row a key to both."""
    made(servers, "shared")
    plain = Producer({"bootstrap.servers": servers})
    for key in ("c1", "c2"):
        plain.produce("shared", row(customer="acme", tier="gold"), key)
    assert plain.flush(DEADLINE) == 0
    other = DEFINITIONS.split("---")[0].replace("clusters\n", "customers\n", 1)
    (folder / "d.yaml").write_text(
        f"{DEFINITIONS}---\n{other.replace('key: cluster_id', 'key: customer')}"
    )
    assert pin("--topic", "shared") == 2
    said = capsys.readouterr().err
    assert "nothing is written" in said
    assert "TM520: the key `acme` stands in line 2 already" in said
    assert (folder / "clusters.csv").read_text() == BEFORE


def test_a_query_of_the_store_is_a_table(
    folder: Path, store: StoreProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"store_url": f"http://127.0.0.1:{store.port}"}
    (folder / "settings.json").write_text(json.dumps(settings))

    def refused(said: str, query: str, code: int = 2) -> None:
        before = (folder / "clusters.csv").read_bytes()
        assert pin("--query", query) == code
        told = capsys.readouterr()
        assert said in told.err, told
        assert (folder / "clusters.csv").read_bytes() == before

    every = "SELECT * FROM inventory.clusters"
    _with(folder, "tags")
    refused("the key `c1`: `tags` is an array", every)
    _with(folder, "tier,cluster_id,share,size,customer,since")
    assert pin("--query", f"{every} -- all of them;\n") == 0
    assert (folder / "clusters.csv").read_bytes() == (
        b"tier,cluster_id,share,size,customer,since\n"
        b'"si""lver\n",c1,inf,1,,2026-01-03\n'
        b'gold,c2,0.5,18446744073709551615,"globex, inc",2026-01-02\n'
    )
    _with(folder, "customer,cluster_id")
    named = "SELECT {} AS cluster_id, customer FROM inventory.clusters"
    assert pin("--query", named.format("size") + " WHERE size < 2;") == 0
    assert (folder / "clusters.csv").read_text() == "customer,cluster_id\n,1\n"
    refused("first column of the query is `customer`", "SELECT customer FROM inventory.clusters")
    refused("has no column `customer`", "SELECT cluster_id FROM inventory.clusters")
    refused("two rows of the key `1`", named.format("1"))
    refused("has no key", named.format("NULL"))
    many = "SELECT toString(number) AS cluster_id, '' AS customer FROM numbers({})"
    refused("more than 20,000 rows", many.format(10**12))
    refused("the query has no row", f"{named.format('cluster_id')} WHERE size > 1 AND size < 2")
    refused("no such table", "SELECT 1 AS cluster_id FROM inventory.nothing")
    refused("the store refused", "SELECT cluster_id FROM")
    refused("the store refused", "DROP TABLE inventory.clusters")
    assert pin("--query", many.format(20_000)) == 0
    assert len((folder / "clusters.csv").read_text().splitlines()) == 20_001
    (folder / "settings.json").write_text(json.dumps({"store_url": "http://127.0.0.1:9"}))
    refused("no store answers", every, code=4)


def _with(folder: Path, columns: str) -> None:
    """A table of these columns and no row; of what no definition looks up, so that any will do."""
    header = columns if "cluster_id" in columns else f"cluster_id,{columns}"
    (folder / "d.yaml").write_text(DEFINITIONS.split("---")[0])
    (folder / "clusters.csv").write_text(f"{header}\n")
