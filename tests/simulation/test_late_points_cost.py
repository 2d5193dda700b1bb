"""What a late point costs: the log is read again where it lies, not over its longest window."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle.scenario import EPOCH, request

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from streams.batch import decode_table
from streams.event_time.windows import SECOND
from streams.task.processor import InputRecord
from topologies.deployment import Deployment
from topologies.partials import from_table
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor

DEFINITION = b"""
apiVersion: tidemill/v1
kind: Metric
name: m
description: one
owner: test
source: {metric: load, unit: "1"}
space: {keep: []}
time: {granularities: [10s, 1h, 1d], grace: 0s, corrections: 1h}
aggregate: {over_time: %s, over_space: sum}
"""
HOURS = 6


def record(offset: int, received: int, text: str) -> InputRecord:
    headers = (
        ("encoding", b"otlp"), ("tenant", b"t"), ("received", b"%d" % (EPOCH + received * SECOND)),
    )  # fmt: skip
    return InputRecord(offset, 0, None, request(text), headers)


@pytest.mark.parametrize(
    ("over_time", "point", "most", "hour"),
    [("sum", "load@{}={}", 2, 3600 + 5), ("increase", "load@{}={}^-", 4, 36000)],
)
def test_a_late_point_asks_for_the_records_around_it_alone(
    over_time: str, point: str, most: int, hour: float
) -> None:
    """One point every ten seconds for six hours; then one that is half an hour late."""
    report = check_files([SourceFile("m.yaml", DEFINITION % over_time.encode())])
    assert not report.errors, report.text()
    plan = compile_plan(report.definitions)
    config = PreaggregateConfig(
        deployed=Deployment(plan), sources=1, shard_partitions=1, key=bytes(16)
    )
    task = PreaggregateProcessor(config, "telemetry.raw", 0)
    log = [
        record(n, 10 * n + 10, point.format(10 * n + 10, 10 if over_time == "sum" else 100 * n))
        for n in range(HOURS * 360)
    ]
    end = HOURS * 3600
    late = record(
        len(log) + 1, end, point.format(end - 1805, 5 if over_time == "sum" else 100 * 1979 - 50)
    )
    idle = InputRecord(
        len(log),
        0,
        None,
        b'{"time": %d}' % (EPOCH + (end + 5) * SECOND),
        (("control", b"idle"),),
    )
    after = record(len(log) + 2, end + 10, point.format(end + 10, 0))
    log += [idle, late, after]
    assert task.process(log[:-3]) == len(log) - 3
    task.outputs()
    position = len(log) - 3
    read = 0
    while position < len(log):
        position += task.process(log[position:])
        while (wanted := task.needs()) is not None:
            read += wanted.end - wanted.start
            task.supply(log[wanted.start : wanted.end], True)
    assert read <= most
    sent = [decode_table(o.value) for o in task.outputs() if o.topic == "telemetry.partials"]
    revised = [from_table(table) for table in sent if table.meta["kind"] == "revision"]
    rows = {
        (int(level) // SECOND, int(end)): int(mid) / 2**32 + int(high) * 2**32
        for part in revised
        for level, end, mid, high in zip(
            part.level, part.end, part.rows[:, 3], part.rows[:, 4], strict=True
        )
    }
    assert rows[3600, EPOCH + end * SECOND] == hour
