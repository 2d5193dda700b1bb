"""A worker that lacks an aggregate computes nothing with it, whichever way it hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from examples.apdex import Apdex
from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from metric_registry.over_points import Added
from metric_registry.plan import Plan
from metric_registry.rules import Settings as Allowed
from streams.aggregates import register_family
from streams.aggregates.encoding import array, pack, unpack
from streams.aggregates.registry import own, put_back
from streams.batch import Table, decode_table, encode_table
from streams.errors import Fatal
from streams.task.processor import InputRecord
from tidemill.own_aggregates import load
from topologies.deployment import Deployment
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


FILES = [SourceFile("shop.yaml", DEFINITION)]


def plan(over_points: str | None = None) -> Plan:
    (definition,) = check_files(FILES, Allowed(own_aggregates=ADDED)).definitions
    if over_points is not None:
        definition = replace(definition, over_points=over_points, version="another")
    return compile_plan([definition])


def task(given: Plan) -> PreaggregateProcessor:
    config = PreaggregateConfig(
        deployed=Deployment(given), sources=1, shard_partitions=1, key=bytes(16)
    )
    return PreaggregateProcessor(config, "telemetry.raw", 0)


def records(after: int = 0) -> list[InputRecord]:
    """Three points within ten seconds after this time, and an idle mark that seals them."""
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="latency")
    for at, value in ((1, 200.0), (2, 900.0), (3, 1100.0)):
        metric.gauge.data_points.add(time_unix_nano=(after + at) * SECOND, as_double=value)
    headers = (
        ("encoding", b"otlp"),
        ("tenant", b"t"),
        ("received", b"%d" % ((after + 4) * SECOND)),
    )
    idle = (("control", b"idle"),)
    return [
        InputRecord(0, 0, None, message.SerializeToString(), headers),
        InputRecord(1, 0, None, b'{"time": %d}' % ((after + 10) * SECOND), idle),
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


class Finer(Apdex):
    """The same number of another state: it counts in halves."""

    version = 2

    def encode(self, state):
        halves = np.ascontiguousarray(2 * state)
        return pack(self.name, self.version, len(state), halves.astype("<i8").tobytes())

    def decode(self, data):
        n, (part,) = unpack(self.name, self.version, data, 1)
        return array(self.name, part, (n, 3)) // 2


@pytest.fixture
def two_versions() -> Iterator[Added]:
    """What definitions may use once the next version is registered beside the first."""
    before = own()
    register_family("apdex", Finer, version=2, unit="1", example=0.5)
    yield {"apdex": replace(ADDED["apdex"], version=2)}
    put_back(before)


def blocks(processor: PreaggregateProcessor) -> list[tuple[bytes, bytes]]:
    held = processor.snapshot(2)
    return [(key, value) for key, value in held.items() if value is not None]


def test_the_states_of_the_version_before_are_read_while_its_class_is_there(two_versions: Added):
    first = plan("apdex@1(250)")
    older = task(first)
    older.process(records())
    older.outputs()
    kept = blocks(older)
    (definition,) = check_files(FILES, Allowed(own_aggregates=two_versions)).definitions
    assert definition.over_points == "apdex@2(250)"
    second = compile_plan([definition])
    assert second.hash != plan().hash
    newer = task(second)
    newer.restore(kept)
    assert newer.deployed.plan == first  # what was in force, until the log says otherwise
    (change,) = newer.before_commit(2)
    assert change.headers == (("control", b"plan"),)
    newer.process([InputRecord(2, 0, None, change.value, change.headers)])
    assert newer.deployed.plan == second
    later = [replace(record, offset=record.offset + 3) for record in records(20)]
    newer.process(later)
    said = [o.value for o in newer.outputs() if o.topic == "telemetry.partials"]
    reducer = RollupProcessor(0)
    reducer.process([InputRecord(i, 0, None, value) for i, value in enumerate(said)])
    tables = [decode_table(o.value) for o in reducer.outputs() if o.topic == "telemetry.rollups"]
    rows = [
        (definition["version"], value, end // SECOND)
        for table in tables
        for definition in table.meta["definitions"]
        for value, end in zip(table.array("value"), table.array("window_end"), strict=True)
    ]
    assert rows == [(definition.version, 0.5, 30)]


def test_without_the_class_of_the_version_before_its_states_are_refused(two_versions: Added):
    second = task(plan("apdex@2(250)"))
    second.process(records())
    second.outputs()
    kept = blocks(second)
    put_back({name: one for name, one in own().items() if name != "apdex"})
    register_family("apdex", Apdex, unit="1", example=0.5)
    refused = refusal(lambda: task(plan("apdex@1(250)")).restore(kept))
    assert "shop.happy needs 'apdex@2(250)'" in refused
    assert "Register that version too" in refused


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
