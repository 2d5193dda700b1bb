"""Whole tasks: damaged records of their topics, and damaged blocks of their state.

What becomes of good records is shown elsewhere; here any bytes may be refused, by the dead-letter
topic or by an exception of Python's that stops the worker, and nothing worse may happen: no index
out of bounds, no crash, no time or memory without a bound.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import cramjam
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from streams.batch import decode_table
from streams.task.processor import InputRecord
from tests.fuzz.subject import Outcome, shown
from tests.fuzz.subjects.otlp import requests
from tests.fuzz.subjects.tables import naive
from topologies.deployment import Deployment
from topologies.partials import from_table
from topologies.preaggregate.intake import idle_mark
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor

_SECOND = 10**9
_NOW = 1_800_000_000 * _SECOND
_TOPIC = "telemetry.raw"
_DEFINITION = b"""
apiVersion: tidemill/v1
kind: Metric
name: cpu.mean
description: What a host does
owner: example
source: {metric: system.cpu.utilization, unit: "1"}
space: {keep: []}
time: {granularities: [10s, 1h], grace: 2s, corrections: 1h}
aggregate: {over_time: avg, over_space: avg}
---
apiVersion: tidemill/v1
kind: Metric
name: cpu.quantile
description: What a host does
owner: example
source: {metric: system.cpu.utilization, unit: "1"}
space: {keep: []}
time: {granularities: [10s, 1h], grace: 2s, corrections: 1h}
aggregate: {over_points: {quantile: 0.9}}
---
apiVersion: tidemill/v1
kind: Metric
name: m.sum
description: A sum
owner: example
source: {metric: my.counter, unit: "1"}
space: {keep: []}
time: {granularities: [10s, 1h], grace: 2s, corrections: 1h}
aggregate: {over_time: increase, over_space: sum}
"""
_NO_INDEX = "index is out of bounds"
"""What a kernel says that was compiled with NUMBA_BOUNDSCHECK=1."""


@cache
def _deployed() -> Deployment:
    return Deployment(compile_plan(check_files([SourceFile("f.yaml", _DEFINITION)]).definitions))


def _task() -> PreaggregateProcessor:
    config = PreaggregateConfig(deployed=_deployed(), sources=1, shard_partitions=1, key=bytes(16))
    return PreaggregateProcessor(config, _TOPIC, 0)


@cache
def _telemetry() -> tuple[bytes, ...]:
    """Requests of two hosts: gauges, running totals and an increase that is late."""
    found: list[bytes] = []
    for at in range(10):
        request = ExportMetricsServiceRequest()
        resource = request.resource_metrics.add()
        resource.resource.attributes.add(key="host").value.string_value = f"h{at % 2}"
        scope = resource.scope_metrics.add()
        gauge = scope.metrics.add(name="system.cpu.utilization", unit="1").gauge
        total = scope.metrics.add(name="my.counter", unit="1").sum
        total.aggregation_temporality, total.is_monotonic = 2, True
        time = _NOW + (at - (20 if at == 8 else 0)) * 4 * _SECOND
        for point in (gauge.data_points.add(), total.data_points.add()):
            point.time_unix_nano = time
            point.start_time_unix_nano = _NOW - 60 * _SECOND
            point.as_double = 0.1 + at
            point.attributes.add(key="cpu").value.int_value = at % 3
        found.append(request.SerializeToString())
    return tuple(found)


def _record(offset: int, message: bytes) -> InputRecord:
    """The first byte says what the record is."""
    kind, value = message[0] % 5 if message else 0, message[1:]
    if kind == 0:
        received = str(_NOW + offset * _SECOND).encode()
        headers: Any = (("encoding", b"otlp"), ("tenant", b"t"), ("received", received))
    elif kind == 1:
        headers = (("control", b"idle"),)
    elif kind == 2:
        headers = (("control", b"epoch"),)
    elif kind == 3:
        headers = (("control", b"plan"),)
    else:
        at, small = 4, requests()[2]
        parts = [value[i * at : (i + 1) * at] for i in range(4)]
        headers = (
            ("encoding", parts[0]), ("tenant", parts[1]), ("received", value[16:]),
            ("digest", parts[2] * 4), ("control", parts[3]),
        )[: 5 if value[:1] == b"c" else 4]  # fmt: skip
        value = small
    return InputRecord(offset, 0, None, value, headers)


class PreaggregateRecords:
    """Records of the raw topic: points, marks, epochs, definitions, and headers."""

    def corpus(self) -> list[bytes]:
        deployed = _deployed().to_json()
        marks = [idle_mark(_NOW + at * 5 * _SECOND)[0] for at in range(4)]
        return [
            *(b"\0" + each for each in (*requests()[:5], *_telemetry())),
            *(b"\1" + each for each in marks),
            b'\2{"since":%d,"partitions":2}' % _NOW, b'\2{"until":%d}' % (_NOW + 1000 * _SECOND),
            b"\3" + deployed, b"\4otlptena1234----%d" % _NOW, b"\4c..otena1234idle%d" % _NOW,
        ]  # fmt: skip

    def check(self, messages: Sequence[bytes]) -> Outcome:
        task, refused = _task(), 0
        records = [_record(at, each) for at, each in enumerate(messages)]
        consumed = 0
        while consumed < len(records):
            consumed += task.process(records[consumed:])
            while (wanted := task.needs()) is not None:
                task.supply(records[wanted.start : wanted.end], done=True)
        for output in task.outputs():
            refused += output.topic == "telemetry.dead-letter"
        task.snapshot(len(messages))
        return Outcome(len(messages) - refused, [])


def _worked() -> tuple[PreaggregateProcessor, list[Any]]:
    """A task with open and sealed windows and streams, and what it sent."""
    task = _task()
    good = [b"\0" + each for each in _telemetry()]
    seal = b"\1" + idle_mark(_NOW + 25 * _SECOND)[0]
    given = [*good[:7], seal, *good[7:9], seal, good[9]]
    task.process([_record(at, each) for at, each in enumerate(given)])
    return task, task.outputs()


class PreaggregateBlocks:
    """Blocks of a task's state; its parts that are compressed are damaged within."""

    def __init__(self) -> None:
        task, _ = _worked()
        found = task.snapshot(12)
        self._blocks = {key: value for key, value in found.items() if value is not None}
        self._packed = {
            key for key, value in self._blocks.items() if value[:4] == b"\x28\xb5\x2f\xfd"
        }
        self._keys = sorted(self._blocks)

    def corpus(self) -> list[bytes]:
        found: list[bytes] = []
        for number, key in enumerate(self._keys):
            value = self._blocks[key]
            if key in self._packed:
                value = bytes(cramjam.zstd.decompress(value))
            found.append(bytes([number]) + value)
        return found

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted = 0
        for message in messages:
            key = self._keys[message[0] % len(self._keys) if message else 0]
            value = message[1:]
            if key in self._packed:
                value = bytes(cramjam.zstd.compress(value, 1))
            accepted += _restored({**self._blocks, key: value})
        return Outcome(accepted, [])


def _restored(blocks: dict[bytes, bytes]) -> bool:
    task = _task()
    rng = random.Random(len(blocks))
    try:
        task.restore(blocks.items())
        good = [_record(12 + at, b"\0" + each) for at, each in enumerate(_telemetry()[7:])]
        task.process([*good, _record(15, b"\1" + idle_mark(_NOW + rng.randrange(90) * _SECOND)[0])])
        task.outputs()
        task.snapshot(16)
    except Exception as error:
        if str(error) == _NO_INDEX:
            raise
        return False
    return True


class Partials:
    """Partials, as the task that rolls them up reads them; the reference is the naive reader."""

    def corpus(self) -> list[bytes]:
        return [each.value for each in _worked()[1] if each.topic == "telemetry.partials"]

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for message in messages:
            try:
                rows = from_table(decode_table(message))
            except Exception as error:
                if str(error) == _NO_INDEX:
                    raise
                continue
            accepted += 1
            columns = naive(message)[1]
            ours = {
                "definition": rows.definition.tolist(), "end": rows.end.tolist(),
                "high": rows.high.tolist(), "labels": list(rows.labels),
            }  # fmt: skip
            theirs = {name: columns.get(name, []) for name in ours}  # none: no rows
            if ours != theirs:
                differences.append(shown(message, ours, theirs))
        return Outcome(accepted, differences)
