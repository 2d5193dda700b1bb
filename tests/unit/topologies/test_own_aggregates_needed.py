"""A worker that lacks an aggregate computes nothing with it, whichever way it hears of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from metric_registry.plan import Plan
from metric_registry.rules import Settings as Allowed
from streams.batch import Table, decode_table, encode_table
from streams.errors import Fatal
from streams.task.processor import InputRecord
from tidemill.own_aggregates import load
from topologies.preaggregate.intake import Deployment
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor
from topologies.rollup.processor import RollupProcessor

ADDED = load([Path(__file__).resolve().parents[3] / "examples" / "apdex.py"])
SECOND = 10**9
DEFINITION = b"""
apiVersion: tidemill/v1
kind: Metric
name: shop.happy
description: How satisfied customers are
owner: test
source: {metric: latency, unit: ms}
space: {keep: []}
time: {granularities: [10s], grace: 0s, corrections: 1h}
aggregate: {over_points: {apdex: 250}}
"""


def plan(over_points: str | None = None) -> Plan:
    files = [SourceFile("shop.yaml", DEFINITION)]
    (definition,) = check_files(files, Allowed(own_aggregates=ADDED)).definitions
    if over_points is not None:
        definition = replace(definition, over_points=over_points, version="another")
    return compile_plan([definition])


def task(given: Plan) -> PreaggregateProcessor:
    config = PreaggregateConfig(
        deployed=Deployment(given), sources=1, shard_partitions=1, key=bytes(16)
    )
    return PreaggregateProcessor(config, "telemetry.raw", 0)


def records() -> list[InputRecord]:
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="latency")
    for at, value in ((1, 200.0), (2, 900.0), (3, 1100.0)):
        metric.gauge.data_points.add(time_unix_nano=at * SECOND, as_double=value)
    headers = (("encoding", b"otlp"), ("tenant", b"t"), ("received", b"%d" % (4 * SECOND)))
    idle = (("control", b"idle"),)
    return [
        InputRecord(0, 0, None, message.SerializeToString(), headers),
        InputRecord(1, 0, None, b'{"time": %d}' % (10 * SECOND), idle),
    ]


def partials(given: Plan) -> list[bytes]:
    processor = task(given)
    processor.process(records())
    said = [o.value for o in processor.outputs() if o.topic == "telemetry.partials"]
    return [value for value in said if value is not None]


def refusal(call: Callable[[], object]) -> str:
    """How the call stops the worker; empty if it does not."""
    try:
        call()
    except Fatal as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("spelling", "said"),
    [
        ("nobodys@1(250)", "no aggregate is called 'nobodys'"),
        ("apdex@2(250)", "'apdex' is not there in version 2, only in 1"),
        ("apdex@1(0)", "cannot make: the threshold is above zero"),
    ],
)
def test_a_plan_with_an_aggregate_that_is_not_there_is_refused(spelling: str, said: str):
    refused = refusal(lambda: task(plan(spelling)))
    assert "shop.happy needs" in refused
    assert said in refused
    running = task(plan())
    change = Deployment(plan(spelling)).to_json()
    joins = InputRecord(0, 0, None, change, (("control", b"plan"),))
    assert said in refusal(lambda: running.process([joins]))
    assert not running.outputs()


def test_partials_of_an_aggregate_that_is_not_there_are_refused():
    values = partials(plan())
    reducer = RollupProcessor(0)
    reducer.process([InputRecord(i, 0, None, value) for i, value in enumerate(values)])
    (row,) = [o.value for o in reducer.outputs() if o.topic == "telemetry.rollups"]
    table = decode_table(row or b"")
    assert table.array("value").tolist() == [0.5]  # (1 + 1/2) / 3
    assert table.meta["definitions"][0]["unit"] == "1"

    def newer(value: bytes) -> bytes:
        table = decode_table(value)
        told = [{**d, "over_points": "apdex@2(250)"} for d in table.meta["definitions"]]
        return encode_table(Table(table.columns, {**table.meta, "definitions": told}))

    late = RollupProcessor(0)
    refused = refusal(
        lambda: late.process([InputRecord(i, 0, None, newer(v)) for i, v in enumerate(values)])
    )
    assert "shop.happy needs 'apdex@2(250)'" in refused
    assert "only in 1" in refused
    assert not [o for o in late.outputs() if o.topic == "telemetry.rollups"]
