"""A window of more rows than a message holds arrives whole, and closes with its last message."""

import json
from collections import Counter

import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from streams.batch import BytesColumn, decode_table
from streams.kernels.rows import GROUP_WIDTH
from streams.task.processor import InputRecord, OutputRecord
from topologies import partials
from topologies.deployment import Deployment
from topologies.partials import PartialRows, from_table, split
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor
from topologies.rollup import messages
from topologies.rollup.processor import RollupProcessor

SECOND = 10**9
MORE = 45_000
SOURCES = 2
DEFINITION = b"""
apiVersion: tidemill/v1
kind: Metric
name: rooms.load
description: Load by room
owner: test
source: {metric: load, unit: "1"}
space: {keep: [room]}
time: {granularities: [10s], grace: 0s, corrections: 1h}
aggregate: {over_time: max, over_space: sum}
"""


def many(n: int) -> PartialRows:
    """n rows of one window, each of another group; every hundredth has a sum outside its limbs."""
    numbers = np.random.default_rng(1).permutation(n).astype(np.uint64)
    rows = np.zeros((n, GROUP_WIDTH), np.int64)
    rows[:, 1] = numbers.astype(np.int64)
    return PartialRows(
        np.zeros(n, np.uint16),
        np.full(n, 10 * SECOND, np.int64),
        np.full(n, 10 * SECOND, np.int64),
        np.zeros(n, np.uint64),
        numbers,
        BytesColumn.of([b"%d" % number for number in numbers]),
        rows,
        {row: int(numbers[row]) + 1 for row in range(0, n, 100)},
    )


def told(rows: PartialRows) -> list[tuple[int, bytes, int, int]]:
    """(group, label, points, spill) of each row."""
    labels = list(rows.labels)
    points = rows.rows[:, 1].tolist()
    return [
        (group, labels[row], points[row], rows.spills.get(row, 0))
        for row, group in enumerate(rows.low.tolist())
    ]


@pytest.mark.parametrize("n", [0, 1, partials.MAX_ROWS, partials.MAX_ROWS + 1, MORE])
@pytest.mark.parametrize("partitions", [1, 3])
def test_every_row_is_in_one_message_with_all_that_belongs_to_it(n: int, partitions: int):
    rows = many(n)
    found: Counter[tuple[int, bytes, int, int]] = Counter()
    shards = (rows.low % np.uint64(64)).astype(np.int64)
    for partition, parts in split(rows, shards, partitions):
        assert parts, "a partition without rows hears of the seal too"
        for part in parts:
            assert len(part) <= partials.MAX_ROWS
            assert {group % 64 % partitions for group in part.low.tolist()} <= {partition}
            found.update(told(part))
    assert found == Counter(told(rows))


def request(rooms: int, host: str) -> bytes:
    message = ExportMetricsServiceRequest()
    block = message.resource_metrics.add()
    block.resource.attributes.add(key="host").value.string_value = host
    metric = block.scope_metrics.add().metrics.add(name="load")
    for room in range(rooms):
        point = metric.gauge.data_points.add(time_unix_nano=5 * SECOND, as_int=room)
        point.attributes.add(key="room").value.string_value = str(room)
    return message.SerializeToString()


def sealed(partition: int, rooms: int = MORE, shard_partitions: int = 1) -> list[OutputRecord]:
    """What one source says of so many groups that it sealed."""
    plan = compile_plan(check_files([SourceFile("load.yaml", DEFINITION)]).definitions)
    config = PreaggregateConfig(
        deployed=Deployment(plan), sources=SOURCES, shard_partitions=shard_partitions, key=bytes(16)
    )
    task = PreaggregateProcessor(config, "telemetry.raw", partition)
    headers = (("encoding", b"otlp"), ("tenant", b"t"), ("received", b"%d" % (6 * SECOND)))
    task.process([InputRecord(0, 0, None, request(rooms, str(partition)), headers)])
    task.outputs()  # what ended before that record
    idle = (("control", b"idle"),)
    task.process([InputRecord(1, 0, None, b'{"time": %d}' % (10 * SECOND), idle)])
    return [output for output in task.outputs() if output.topic == "telemetry.partials"]


def test_all_partitions_hear_of_a_seal_and_each_group_goes_to_one():
    said = sealed(0, rooms=2, shard_partitions=8)
    assert [output.partition for output in said] == list(range(8))
    tables = [decode_table(output.value or b"") for output in said]
    assert all((each.meta["until"], each.meta["last"]) == (10 * SECOND, True) for each in tables)
    assert sum(each.rows for each in tables) == 2
    assert all(bool(each.columns) == bool(each.rows) for each in tables)
    assert all(len(from_table(each)) == each.rows for each in tables)
    named = [[one["name"] for one in each.meta["definitions"]] for each in tables]
    assert named == [["rooms.load"] if each.rows else [] for each in tables]


def test_a_window_of_many_messages_is_published_once_and_whole():
    said = [sealed(partition) for partition in range(SOURCES)]
    for parts in said:
        last = [decode_table(output.value or b"").meta["last"] for output in parts]
        assert last == [False] * (len(parts) - 1) + [True]
        assert sum(len(from_table(decode_table(output.value or b""))) for output in parts) == MORE
    reducer = RollupProcessor(0)
    values = [output.value for parts in zip(*said, strict=True) for output in parts]
    reducer.process([InputRecord(i, 0, None, value) for i, value in enumerate(values)])
    published = [o.value for o in reducer.outputs() if o.topic == "telemetry.rollups"]
    found: dict[str, tuple[float, int, int]] = {}
    for value in published:
        table = decode_table(value or b"")
        assert table.rows <= messages.MAX_ROWS
        (certificate,) = table.meta["certificates"]
        assert certificate["sources"] == {"telemetry.raw/0": 1, "telemetry.raw/1": 1}
        for row, label in enumerate(table.strings("labels")):
            room = json.loads(label)["room"]
            assert room not in found
            found[room] = (
                float(table.array("value")[row]),
                int(table.array("points")[row]),
                int(table.array("revision")[row]),
            )
    assert found == {str(room): (2.0 * room, 2, 1) for room in range(MORE)}
