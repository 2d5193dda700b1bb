"""`tidemill up`: real measurements become sealed rollups; it ends, goes on, counts none twice."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint

SECOND = 1_000_000_000
Up = Any  # of conftest.py
Labels = tuple[tuple[str, str], ...]


def committed(up: Up, topic: str) -> Iterator[Message]:
    """Every committed record of a topic, as an unmodified client reads it."""
    consumer = Consumer(
        {
            "bootstrap.servers": f"127.0.0.1:{up.broker}",
            "group.id": "end-to-end",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    try:
        partitions = consumer.list_topics(topic, 10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, part, OFFSET_BEGINNING) for part in partitions])
        ended: set[int] = set()
        while len(ended) < len(partitions):
            message = consumer.poll(10)
            assert message is not None, f"{topic} ends nowhere"
            if message.error():
                ended.add(message.partition())
            else:
                yield message
    finally:
        consumer.close()


def points_of(metric: Metric) -> list[NumberDataPoint]:
    return list((metric.sum if metric.HasField("sum") else metric.gauge).data_points)


def published(up: Up) -> list[tuple[str, str, int, Labels, float]]:
    """(definition, interval, window end, labels, value) of every point on the final topic."""
    found = []
    for message in committed(up, "metrics"):
        for resource in ExportMetricsServiceRequest.FromString(message.value()).resource_metrics:
            for scope in resource.scope_metrics:
                assert scope.scope.name == "tidemill"
                about = {a.key: a.value for a in scope.scope.attributes}
                interval = about["tidemill.interval"].string_value
                for metric in scope.metrics:
                    for point in points_of(metric):
                        labels = tuple((a.key, a.value.string_value) for a in point.attributes)
                        found.append(
                            (metric.name, interval, point.time_unix_nano, labels, point.as_double)
                        )
    return found


def sent(up: Up, name: str) -> Counter[int]:
    """How many points of a metric the log holds, by the end of their ten seconds."""
    found: Counter[int] = Counter()
    for message in committed(up, "telemetry.raw"):
        if "control" in dict(message.headers() or []):
            continue
        for resource in ExportMetricsServiceRequest.FromString(message.value()).resource_metrics:
            for metric in (m for s in resource.scope_metrics for m in s.metrics):
                if metric.name == name:
                    for point in points_of(metric):
                        found[-(-point.time_unix_nano // (10 * SECOND)) * 10] += 1
    return found


def counted(up: Up, rollup: str) -> dict[int, int]:
    """How many points the table says were counted, by the end of their ten seconds."""
    rows = up.rows(
        "SELECT toUnixTimestamp(window_end), sum(points) FROM tidemill.rollups "
        f"WHERE rollup = '{rollup}' AND resolution = 10 GROUP BY 1"
    )
    return {int(end): int(points) for end, points in rows}


def first_rollup(up: Up) -> list[Any]:
    return up.rows(
        "SELECT rollup FROM tidemill.rollups WHERE rollup LIKE 'host.%' AND resolution = 10 LIMIT 1"
    )


def test_this_hosts_own_metrics_become_sealed_rollups_in_the_table(up: Up):
    up.wait(lambda: first_rollup(up), "sealed rollup in the table")
    up.wait(lambda: "first sealed rollup: host." in up.said(), "first rollup in the view")


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
            for name, interval, time, labels, value in published(up)
            if interval == "10s"
        }
        shared = rows.keys() & topic.keys()
        assert all(rows[key] == topic[key] for key in shared)
        return shared

    shared = up.wait(on_both, "rollup on both")
    assert {"host.cpu.processors"} <= {name for name, _, _ in shared}


def test_query_shows_what_the_table_holds(up: Up):
    up.wait(lambda: first_rollup(up), "sealed rollup in the table")
    rows = up.wait(lambda: up.json("query", "host.cpu.processors"), "row of query")
    assert rows[0]["labels"].keys() == {"host.name", "tenant"}
    assert rows[0]["value"] >= 1
    assert rows[0]["revision"] == 1
    assert rows[0]["window_end"] in up.tidemill("query", "host.cpu.processors")


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
    before = up.wait(lambda: counted(up, "host.cpu.utilization"), "window in the first run")
    assert len(up.processes()) >= 6
    assert up.interrupt() < 10
    assert "everything has ended" in up.said()

    up.start()
    newest = max(before)
    after = up.wait(
        lambda: {
            end: points
            for end, points in counted(up, "host.cpu.utilization").items()
            if any(later > newest + 20 for later in counted(up, "host.cpu.utilization"))
        },
        "window in the second run",
    )
    arrived = sent(up, "system.cpu.utilization")
    assert before.items() <= after.items()
    assert after == {end: points for end, points in arrived.items() if end in after}
    windows = Counter(entry[:4] for entry in published(up))
    assert max(windows.values()) == 1
    assert up.interrupt() < 10
