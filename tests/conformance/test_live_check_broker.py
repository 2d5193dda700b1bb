"""`tidemill registry live-check` over a topic of a broker: records, idle marks, times."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tidemill.main import main
from topologies.edge.cut import cut
from topologies.preaggregate.intake import idle_mark

SECOND = 10**9
RAW = "telemetry.raw"
DEFINITION = """\
apiVersion: tidemill/v1
kind: Metric
name: served
description: Requests served
owner: me
source: {metric: requests, unit: "1"}
space: {keep: [host.name]}
time: {granularities: [10s], grace: 2s, corrections: 1h}
aggregate: {over_time: sum, over_space: sum}
service_level: {freshness: 5s}
"""
Records = Sequence[tuple[int, bytes, tuple[tuple[str, bytes], ...]]]


def sent(host: str, measured: int, received: int, metric: str = "requests") -> Records:
    """The records that the edge makes of a point; times unix ns."""
    request = ExportMetricsServiceRequest()
    block = request.resource_metrics.add()
    block.resource.attributes.add(key="host.name").value.string_value = host
    made = block.scope_metrics.add().metrics.add(name=metric, unit="1")
    made.sum.aggregation_temporality, made.sum.is_monotonic = 1, True
    made.sum.data_points.add(
        start_time_unix_nano=measured - SECOND, time_unix_nano=measured, as_int=1
    )
    cutting = cut(
        request.SerializeToString(), tenant="t", topic=RAW, partitions=2, received_ns=received,
        limit=1 << 20,
    )  # fmt: skip
    return [(record.partition, record.value, record.headers) for record in cutting.records]


async def put(broker: str, records: Records) -> None:
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    known = await admin.list_topics()
    if RAW in known:
        await admin.delete_topics([RAW])
    await admin.create_topics([NewTopic(RAW, 2, 1)])
    await admin.close()
    producer: Any = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    for partition, value, headers in records:
        await producer.send_and_wait(RAW, value, partition=partition, headers=list(headers))
    await producer.stop()


@pytest.fixture
def definition(tmp_path: Path) -> Path:
    (tmp_path / "served.yaml").write_text(DEFINITION)
    return tmp_path / "served.yaml"


def checked(
    broker: str, definition: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, Any]]:
    words = ("registry", "live-check", str(definition), "--bootstrap-servers", broker)
    code = main([*words, "--since", "30m", "-o", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_what_is_on_the_topic_is_held_against_definitions(
    broker_process: str, definition: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time_ns()
    begin = now - now % (60 * SECOND) - 300 * SECOND
    good: list[Any] = []
    for second in range(1, 240):
        measured = begin + second * SECOND
        for host in ("a", "b", "c"):
            good += sent(host, measured, measured + SECOND // 2)
    asyncio.run(put(broker_process, good))
    code, told = checked(broker_process, definition, capsys)
    assert (code, told["findings"]) == (0, [])
    assert told["looked_at"]["points"] == 3 * 239
    assert told["looked_at"]["received"] is True

    value, headers = idle_mark(begin + 262 * SECOND)
    end = begin + 240 * SECOND
    bad = [
        *good,
        *[(partition, value, headers) for partition in (0, 1)],
        *sent("a", end - 3 * SECOND - 1, end + 30 * SECOND),  # its window was sealed by the mark
        *sent("b", end + 400 * SECOND, end + 31 * SECOND),
    ]
    asyncio.run(put(broker_process, bad))
    code, told = checked(broker_process, definition, capsys)
    found = {each["code"]: each["message"] for each in told["findings"]}
    assert code == 1
    assert set(found) == {"TM714", "TM716", "TM721"}
    assert "0.139 % of the points" in found["TM714"]
    assert "1 of 719 points" in found["TM716"]
    assert "were sealed later than 5s after their end" in found["TM721"]
    assert told["looked_at"]["points"] == 3 * 239 + 1


def test_a_topic_without_traffic_is_no_topic_without_faults(
    broker_process: str, definition: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(put(broker_process, []))
    words = ("registry", "live-check", str(definition), "--bootstrap-servers", broker_process)
    assert main([*words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "nothing came in the last 10m" in said.err
