"""What the pages of definitions tell of the store is so: their queries run there, and answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest

from metric_registry.check import check, check_files
from metric_registry.granularities import (
    Granularity,
    is_calendar,
    is_hopping,
    size_of,
    step_of,
    text_of,
)
from metric_registry.load import SourceFile
from metric_registry.pages.queries import queries
from metric_registry.plan import ResolvedDefinition
from tidemill.embedded_store.testing import StoreProcess
from tidemill.live_figures import figures
from tidemill.main import main
from topologies.sink.histograms import KINDS
from topologies.sink.schema import Schema, definition_view
from topologies.sink.store import Store, StoreAddress

STARTER = Path(__file__).resolve().parents[2] / "metric_registry" / "definitions"
NOW = datetime.now(UTC).replace(microsecond=0)
SCHEMA = Schema()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with StoreProcess(tmp_path_factory.mktemp("store") / "data") as process:
        made = Store(StoreAddress("127.0.0.1", process.port), SCHEMA)
        made.ensure_schema()
        made.close()
        yield process


def connected(store: StoreProcess) -> Any:
    return clickhouse_connect.get_client(
        host="127.0.0.1", port=store.port, autogenerate_session_id=False
    )


def made(name: str, **sections: Any) -> ResolvedDefinition:
    text = {
        "apiVersion": "tidemill/v1", "kind": "Metric", "name": name, "description": "d",
        "owner": "me", "source": {"metric": f"of.{name}", "unit": "s"},
        "space": {"keep": ["it's `odd` \\ {x}"]}, "time": {"granularities": ["10s", "1h"]},
        "aggregate": {"over_time": "increase"}, **sections,
    }  # fmt: skip
    report = check_files([SourceFile("d.yaml", json.dumps(text).encode())])
    assert not report.errors, report.text()
    return report.definitions[0]


OWN = [
    made("odd/name-with.all_"),
    made("days", time={"granularities": ["1h", "1d", "1mo"], "zone": "Europe/London"}),
    made("hops", time={"granularities": ["5m/1m"]}),
    made("peak", aggregate={"over_time": "max", "over_space": "max"}),
    made("shape", aggregate={"over_points": "exponential_histogram"}),
    made("buckets", aggregate={"over_points": {"explicit_histogram": [1.0, 2.0]}}),
    made("none", space={"keep": []}),
]


def insert(
    client: Any, one: ResolvedDefinition, size: Granularity, group: int, **more: Any
) -> None:
    """A row as the sink writes it."""
    row: dict[str, Any] = {
        "rollup": one.name,
        "version": one.version,
        "unit": one.unit,
        "tenant": "t",
        "resolution": size_of(size),
        "window_end": NOW - timedelta(seconds=30),
        "group": group,
        "labels": dict.fromkeys(one.keep, f"v{group}") | {"tenant": "t"},
        "value": float(group),
        "revision": 1,
        "hop": step_of(size) if is_hopping(size) else 0,
        "zone": one.zone if is_calendar(size) else "",
        "recorded_at": NOW - timedelta(seconds=26),
        **more,
    }
    client.insert(SCHEMA.rollups, [list(row.values())], column_names=list(row))


@pytest.mark.parametrize("one", OWN, ids=lambda one: one.name)
def test_every_query_of_a_page_answers_with_its_rows(
    store: StoreProcess, one: ResolvedDefinition
) -> None:
    client = connected(store)
    client.command(f"TRUNCATE TABLE {SCHEMA.rollups}")
    client.command(definition_view(SCHEMA, one.name, KINDS.get(one.instrument, "")) or "")
    for size in one.granularities:
        for group in (1, 2, 3):
            insert(client, one, size, group)
        insert(client, one, size, 2, version="another", value=99.0)
        insert(client, one, size, 3, value=5.0, revision=2)
    asked = {query.title: client.query(query.sql).result_rows for query in queries(one)}
    newest = asked.pop(f"The newest windows of {text_of(one.granularities[0])}")
    assert len(newest) == 4, "one of another version"
    corrected = asked.pop("Rows that late points have corrected")
    assert len(corrected) == len(one.granularities)
    if one.instrument == "sum" and one.keep:
        (greatest,) = asked.values()
        assert [(row[1], row[2]) for row in greatest] == [("v3", 5.0), ("v2", 2.0), ("v1", 1.0)]
    else:
        assert asked == {}, "nothing is added up that does not add up"


def test_queries_of_the_starter_library_run(store: StoreProcess) -> None:
    client = connected(store)
    definitions = check([STARTER]).definitions
    assert len(definitions) > 20
    for one in definitions:
        client.command(definition_view(SCHEMA, one.name, KINDS.get(one.instrument, "")) or "")
        for query in queries(one):
            client.query(query.sql)


def test_live_figures_are_those_of_the_table(store: StoreProcess) -> None:
    client = connected(store)
    client.command(f"TRUNCATE TABLE {SCHEMA.rollups}")
    one, other = OWN[0], OWN[3]
    for seconds, group in ((4, 1), (4, 2), (9, 3)):
        end = NOW - timedelta(seconds=30)
        insert(client, one, 10, group, recorded_at=end + timedelta(seconds=seconds))
    insert(client, one, 10, 4, revision=2, recorded_at=NOW, window_end=NOW - timedelta(minutes=9))
    insert(client, one, 3600, 1, window_end=NOW - timedelta(hours=5))
    insert(client, other, 10, 1, version="another")
    found = figures(client, OWN).of
    assert set(found) == {one.name}
    fine, coarse = found[one.name]
    newest = (NOW - timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (fine.granularity, fine.newest, fine.series) == ("10s", newest, 4)
    assert (fine.usual, fine.longest) == (4, 9), "a corrected row does not say when it was first"
    assert (coarse.granularity, coarse.series, coarse.usual) == ("1h", 0, None)


def test_the_command_asks_the_store_when_told_to(
    store: StoreProcess, tmp_path: Path, broker_process: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = connected(store)
    client.command(f"TRUNCATE TABLE {SCHEMA.rollups}")
    report = check([STARTER])
    one = next(each for each in report.definitions if each.name == "host.cpu.seconds")
    insert(client, one, 10, 1)
    (tmp_path / "settings.json").write_text(
        json.dumps({"store_url": f"http://127.0.0.1:{store.port}", "bootstrap": broker_process})
    )
    words = ["registry", "docs", str(STARTER), "--settings", str(tmp_path / "settings.json")]
    assert main([*words, "--live", "--out", str(tmp_path / "out")]) == 0
    (page,) = (tmp_path / "out" / "definitions").glob("host-cpu-seconds-*.html")
    assert "As the store said at" in page.read_text()
    assert "No consumer group reads the topic" in page.read_text()
    capsys.readouterr()
    (tmp_path / "settings.json").write_text(json.dumps({"store_url": "http://127.0.0.1:9"}))
    assert main([*words, "--live", "--out", str(tmp_path / "none")]) == 4
    assert "leave out --live" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
