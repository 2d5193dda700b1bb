"""`tidemill up`: real measurements become sealed rollups; it ends, goes on, counts none twice."""

from __future__ import annotations

import re
import struct
from collections import Counter
from typing import Any

import yaml

SECOND = 1_000_000_000
Up = Any  # of conftest.py


def first_rollup(up: Up) -> list[Any]:
    return up.rows(
        "SELECT rollup FROM tidemill.rollups WHERE rollup LIKE 'host.%' AND resolution = 10 LIMIT 1"
    )


def test_this_hosts_own_metrics_become_sealed_rollups_in_the_table(up: Up):
    up.wait(lambda: first_rollup(up), "sealed rollup in the table")
    up.wait(lambda: "first sealed rollup: " in up.said(), "first rollup in the view")


def test_the_topic_and_the_table_hold_the_same_bits(up: Up):
    up.wait(lambda: first_rollup(up), "sealed rollup in the table")

    def on_both() -> set[Any]:
        table = up.rows(
            "SELECT rollup, toUnixTimestamp(window_end), labels, value FROM tidemill.rollups "
            "WHERE resolution = 10 AND revision = 1"
        )
        rows = {
            (name, end, tuple(sorted(labels.items()))): struct.pack(">d", value)
            for name, end, labels, value in table
        }
        topic = {
            (name, time // SECOND, labels): struct.pack(">d", value)
            for name, interval, time, labels, value in up.published()
            if interval == "10s"
        }
        shared = rows.keys() & topic.keys()
        assert all(rows[key] == topic[key] for key in shared)
        return {name for name, _, _ in shared} >= {"host.cpu.processors", "host.cpu.seconds"}

    up.wait(on_both, "rollups of two shards on both")


def test_the_final_topic_keeps_opentelemetrys_data_model(up: Up):
    up.wait(lambda: first_rollup(up), "sealed rollup in the table")
    up.wait(lambda: up.published(), "point on the final topic")
    assert up.tidemill("check-otlp", "--topic", "metrics", "--until-end", "--strict") == ""


def test_an_aggregate_of_the_users_own_counts_the_points_of_the_log(up: Up):
    def counted() -> dict[int, tuple[float, int]]:
        rows = up.rows(
            "SELECT toUnixTimestamp(window_end), value, points FROM tidemill.rollups "
            "WHERE rollup = 'happy.processors' AND resolution = 10"
        )
        return {int(end): (value, int(points)) for end, value, points in rows}

    def agrees() -> dict[int, tuple[float, int]]:
        found, values = counted(), up.values("system.cpu.utilization")
        wanted = {end: (apdex(values[end], 0.1), len(values[end])) for end in found}
        return found if found == wanted else {}

    up.wait(lambda: first_rollup(up), "sealed rollup in the table")
    up.wait(agrees, "window of the user's own aggregate that counts the log's points", 120)
    assert "1 by aggregates of your own" in up.tidemill("doctor")
    rows = up.json("query", "happy.processors")
    assert (rows[0]["unit"], rows[0]["labels"].keys()) == ("1", {"host.name", "tenant"})


def apdex(values: list[float], threshold: float) -> float:
    good = sum(value <= threshold for value in values)
    fair = sum(threshold < value <= 4 * threshold for value in values)
    return (2 * good + fair) / (2 * len(values))


def test_definitions_are_drafted_from_live_traffic(up: Up):
    up.wait(lambda: first_rollup(up), "sealed rollup in the table")
    drafts = up.tidemill("registry", "infer", "--match", "system.cpu.*", "--owner", "me")
    made = {one["name"]: one for one in yaml.safe_load_all(drafts) if one}
    cpu = made["system.cpu.time.increase"]
    assert cpu["source"] == {"metric": "system.cpu.time", "unit": "s"}
    assert "cpu.mode" in cpu["space"]["keep"]
    assert cpu["aggregate"] == {"over_time": "increase"}
    assert made["system.cpu.utilization.mean"]["time"]["granularities"][0] == "10s"
    (up.folder / "drafts.yaml").write_text(drafts)
    assert "nothing to complain about" in up.tidemill(
        "registry", "check", "--strict", "drafts.yaml"
    )


def test_live_traffic_is_what_the_starter_definitions_claim(up: Up):
    up.wait(lambda: first_rollup(up), "sealed rollup in the table")
    names = ("host.cpu.seconds", "host.cpu.utilization", "host.cpu.processors")
    chosen = [word for name in names for word in ("--name", name)]
    told = up.json("registry", "live-check", *chosen)
    assert told["errors"] == 0, told["findings"]
    assert told["looked_at"]["received"] is True
    assert all(one["streams"] and one["points"] for one in told["definitions"])


def test_pages_say_how_fresh_and_how_many_rows_are_now(up: Up):
    up.wait(lambda: first_rollup(up), "sealed rollup in the table")
    up.tidemill("registry", "docs", "--live", "--out", "pages")
    (page,) = (up.folder / "pages" / "definitions").glob("host-cpu-seconds-*.html")
    assert "As the store said at" in page.read_text()
    assert "onsumer group" in page.read_text()
    assert re.search(r"<code>10s</code></td><td>20[^<]+Z</td><td>[1-9]", page.read_text())


def test_query_shows_what_the_table_holds(up: Up):
    up.wait(lambda: first_rollup(up), "sealed rollup in the table")
    rows = up.wait(lambda: up.json("query", "host.cpu.processors"), "row of query")
    assert rows[0]["labels"].keys() == {"host.name", "tenant"}
    assert rows[0]["value"] >= 1
    assert rows[0]["revision"] == 1
    assert rows[0]["window_end"] in up.tidemill("query", "host.cpu.processors")


def test_query_shows_histograms_by_their_quantiles(up: Up):
    up.wait(lambda: first_rollup(up), "sealed rollup in the table")
    words = ("query", "shape.processors", "--quantile", "0", "--quantile", "0.999")
    row = up.wait(lambda: up.json(*words), "row of a histogram")[0]
    shape = row["histogram"]
    assert row["points"] == row["count"] == shape["count"] > 0
    buckets = sum(shape["positive_bucket_counts"]) + shape["zero_count"]
    assert buckets == row["count"]
    assert row["p0"] == row["min"] <= row["p99.9"] <= row["max"]
    assert "value" not in row
    assert "p99" in up.tidemill("query", "shape.processors")
    up.tidemill("query", "host.cpu.processors", "--quantile", "0.5", code=2)  # numbers have none


def test_why_and_doctor_find_nothing_wrong_with_a_running_stack(up: Up):
    up.wait(lambda: first_rollup(up), "sealed rollup in the table")
    assert "windows up to" in up.tidemill("why", "host.cpu.utilization")
    answers = {check["name"]: check for check in up.json("doctor")}
    for name in ("broker", "edge", "store", "worker-0"):
        assert answers[name]["level"] == "ok", answers[name]


def test_topics_are_listed_with_what_they_hold(up: Up):
    up.wait(lambda: first_rollup(up), "sealed rollup in the table")
    topics = {row["topic"]: row for row in up.json("topic", "list")}
    assert topics["telemetry.raw"]["partitions"] == 4
    assert topics["metrics"]["records"] > 0
    assert topics["telemetry.dead-letter"]["records"] == 0


def test_ctrl_c_ends_everything_and_a_second_start_counts_nothing_twice(own_up: Up):
    up = own_up
    up.start()
    before = up.wait(lambda: up.counted("host.cpu.utilization"), "window in the first run")
    assert len(up.processes()) >= 6
    assert up.interrupt() < 10
    assert "everything has ended" in up.said()

    up.start()
    after = up.counts_all_once(after=max(before) + 10)
    assert before.keys() < after.keys()
    windows = Counter(entry[:4] for entry in up.published())
    assert max(windows.values()) == 1
    assert up.tidemill("check-otlp", "--topic", "metrics", "--until-end", "--strict") == ""
    assert up.interrupt() < 10


CHANGING = """apiVersion: tidemill/v1
kind: Metric
name: changing
description: How many points say what processors do
owner: me
source: {{metric: system.cpu.utilization, unit: "1"}}
space: {{keep: [{}]}}
time: {{granularities: [10s, 1m], grace: 2s, corrections: 1h}}
aggregate: {{over_points: count}}
"""


def test_a_definition_that_changes_loses_no_window_and_counts_none_twice(own_up: Up):
    up = own_up
    file = up.folder / "definitions" / "changing.yaml"
    file.parent.mkdir()
    file.write_text(CHANGING.format("cpu.mode"))
    up.start()
    up.wait(lambda: up.counted("changing"), "window of the first version")
    assert up.interrupt() < 10

    file.write_text(CHANGING.format("host.name"))
    up.start()
    versions = "SELECT count(DISTINCT version) FROM tidemill.rollups WHERE rollup = 'changing'"
    up.wait(lambda: up.rows(versions) == [(2,)], "window of the second version", 120)
    assert "changing changes from version " in up.said()
    counted = up.counts_all_once(after=max(up.counted("changing")), rollup="changing")
    assert sum(counted.values()) > 0
    windows = up.rows(
        "SELECT window_end, count(DISTINCT version) FROM tidemill.rollups "
        "WHERE rollup = 'changing' GROUP BY resolution, window_end"
    )
    assert {versions for _, versions in windows} == {1}
