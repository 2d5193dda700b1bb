"""Records of the raw topic that say what cannot be go to the dead-letter topic; the rest counts."""

import pytest

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from streams.task.processor import InputRecord
from topologies.deployment import Deployment
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor

DEFINITION = b"""
apiVersion: tidemill/v1
kind: Metric
name: rooms.temperature
description: Mean temperature of the rooms
owner: example
source: {metric: temperature, unit: Cel}
space: {keep: []}
time: {granularities: [10s], grace: 2s, corrections: 1h}
aggregate: {over_time: avg, over_space: avg}
"""
IDLE, EPOCH, PLAN = ((("control", kind),) for kind in (b"idle", b"epoch", b"plan"))
DEEP = b"[" * 5000 + b"]" * 5000


def received(written: bytes):
    return (("encoding", b"otlp"), ("tenant", b"t"), ("received", written))


@pytest.mark.parametrize(
    ("value", "headers", "code"),
    [
        (b"", received(b"99999999999999999999999"), "bad-header"),
        (b"", received(b"-5"), "bad-header"),
        (b"", received(b"1_0"), "bad-header"),
        (b"", received(b"9" * 5000), "bad-header"),
        (b'{"time": 99999999999999999999999}', IDLE, "bad-control"),
        (b'{"time": 1e400}', IDLE, "bad-control"),
        (b'{"time": "5"}', IDLE, "bad-control"),
        (b'{"end": false}', IDLE, "bad-control"),
        (b'{"time": 5, "more": ' + DEEP + b"}", IDLE, "bad-control"),
        (b'{"since": 99999999999999999999999, "partitions": 2}', EPOCH, "bad-epoch"),
        (b'{"since": 5, "partitions": ' + DEEP + b"}", EPOCH, "bad-epoch"),
        (b'{"since": {"\xff": 1}, "plan": {}}', PLAN, "bad-plan"),
        (b'{"since": {}, "plan": ' + DEEP + b"}", PLAN, "bad-plan"),
    ],
)
def test_what_a_record_says_of_time_is_within_64_bits(value, headers, code):
    plan = compile_plan(check_files([SourceFile("rooms.yaml", DEFINITION)]).definitions)
    config = PreaggregateConfig(
        deployed=Deployment(plan), sources=1, shard_partitions=1, key=bytes(16)
    )
    task = PreaggregateProcessor(config, "telemetry.raw", 0)
    good = InputRecord(1, 0, None, b"", received(b"5"))
    assert task.process([InputRecord(0, 0, None, value, headers), good]) == 2
    letters = [each for each in task.outputs() if each.topic == "telemetry.dead-letter"]
    assert [dict(each.headers)["code"].decode() for each in letters] == [code]
