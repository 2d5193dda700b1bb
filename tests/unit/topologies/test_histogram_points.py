"""Histogram points as tasks read them: what is refused and where it is told, what is kept."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from oracle import log, scenario

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from streams.aggregates import made
from streams.batch import decode_table
from streams.kernels.fold import POINT_RAW, POINT_WIDTH
from streams.kernels.rows import IS_HISTOGRAM
from streams.task.processor import InputRecord
from tidemill.accounts import refused as refusals
from topologies.deployment import Deployment
from topologies.encodings.otlp import Scanner
from topologies.partials import from_table
from topologies.preaggregate.columns import PointColumns
from topologies.preaggregate.contents import Contents
from topologies.preaggregate.panes import empty_bases, fold
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor
from topologies.rollup.groups import values

SECOND = 10**9
DEFINITION = """
apiVersion: tidemill/v1
kind: Metric
name: {name}
description: How long requests took
owner: example
source: {{metric: {metric}, unit: s, instrument: {instrument}}}
space: {{keep: []}}
time: {{granularities: [10s], grace: 2s, corrections: 1h}}
aggregate: {{over_points: {over_points}}}
"""
IDLE = (("control", b"idle"),)


def task_of(*definitions: tuple[str, str, str]) -> PreaggregateProcessor:
    """A task with these definitions (name, instrument, aggregate) of the metric `m`."""
    files = [
        SourceFile(
            f"{name}.yaml",
            DEFINITION.format(
                name=name, metric="m", instrument=instrument, over_points=aggregate
            ).encode(),
        )
        for name, instrument, aggregate in definitions
    ]
    report = check_files(files)
    assert not report.findings, report.text()
    config = PreaggregateConfig(
        deployed=Deployment(compile_plan(report.definitions)), sources=1, shard_partitions=1,
        key=bytes(16),
    )  # fmt: skip
    return PreaggregateProcessor(config, "telemetry.raw", 0)


def record(offset: int, seconds: int, value: bytes) -> InputRecord:
    headers = (("encoding", b"otlp"), ("tenant", b"t"), ("received", b"%d" % (seconds * SECOND)))
    return InputRecord(offset, 0, None, value, headers)


def at(text: str) -> bytes:
    """A request in the language of scenarios, whose second 0 is that of 1970."""
    return shifted(scenario.request(text))


def shifted(value: bytes) -> bytes:
    request = log.ExportMetricsServiceRequest.FromString(value)
    for metric in request.resource_metrics[0].scope_metrics[0].metrics:
        for point in getattr(metric, metric.WhichOneof("data")).data_points:
            point.time_unix_nano -= scenario.EPOCH
    return request.SerializeToString()


WRONG = [
    ("m@3+=h,bounds=1;5,counts=1;2;0,count=4", "its bounds do not rise, or its buckets"),
    ("m@3+=h,bounds=5;1,counts=1;2;0", "its bounds do not rise, or its buckets"),
    ("m@3+=h,bounds=1;5,counts=1;2;0,min=2,max=1", "contradict each other"),
    ("m@3+=h,bounds=1;5,counts=0;0;0,sum=2", "contradict each other"),
    ("m@3+=e,scale=0,counts=1;2,count=4", "the buckets do not add up to the count"),
    ("m@3+=e,scale=40,counts=1;2", "a scale is not within -10 to 31"),
    ("m@3+=e,scale=0,counts=1,offset=1024", "a bucket holds no double"),
    ("m@3+=e,scale=0,counts=1,threshold=-1", "a zero threshold is no finite number"),
]


@pytest.mark.parametrize(("wrong", "why"), WRONG)
def test_a_point_that_contradicts_itself_is_a_dead_letter_and_the_rest_of_its_record_counts(
    wrong: str, why: str
):
    task = task_of(("x", "histogram", "count"), ("e", "exponential_histogram", "count"))
    good = "m@4+=h,bounds=1,counts=1;1 m@4+=e,scale=0,counts=3"
    value = at(f"[host=a] {wrong} {good}")
    idle = InputRecord(1, 0, None, b'{"time": %d}' % (20 * SECOND), IDLE)
    assert task.process([record(0, 5, value), idle]) == 2
    outputs = task.outputs()
    letters = [each for each in outputs if each.topic == "telemetry.dead-letter"]
    assert [each.key for each in letters] == [b"telemetry.raw/0/0"]
    letter = letters[0]
    headers = dict(letter.headers)
    assert headers["code"] == b"contradictory-histogram"
    assert letter.value == value
    reason = headers["reason"].decode()
    assert reason.startswith("1 point of histograms cannot be counted; the first, of m at ")
    assert why in reason
    assert reason.endswith("The rest of the record counts")
    account = json.loads([each for each in outputs if each.topic == "telemetry.ledger"][-1].value)
    assert account["contradictory"] == 1
    assert account["malformed"] == 0
    assert numbers_of(outputs) == {"x": 2.0, "e": 3.0}


def numbers_of(outputs) -> dict[str, float]:
    """What each definition's one row of the sealed windows comes to."""
    found = {}
    for each in outputs:
        if each.topic == "telemetry.partials":
            table = decode_table(each.value)
            rows = from_table(table)
            shown, _ = values(rows, ["states"] * len(table.meta["definitions"]))
            for definition, value in zip(rows.definition.tolist(), shown.tolist(), strict=True):
                found[table.meta["definitions"][definition]["name"]] = value
    return found


def test_the_ledger_names_the_bounds_of_streams_that_lack_one_and_those_that_are_wanted():
    task = task_of(("x", "histogram", "{explicit_histogram: [0.25, 5]}"))
    task.process([record(0, 5, at("[host=a] m@3+=h,bounds=1;5,counts=1;2;0"))])
    (refused,) = task.stats()["refused"]
    assert refused["reason"] == "bounds"
    assert refused["detail"] == "bounds 1.0, 5.0, which lack some of 0.25, 5.0"
    assert sentences(task)[0].endswith(
        "they have the bounds 1.0, 5.0, which lack some of 0.25, 5.0"
    )
    assert (refused["streams"], refused["points"]) == (1, 1)


@pytest.mark.parametrize(
    ("point", "reason", "detail"),
    [
        ("m@3+=e,scale=0,counts=1", "kind", "exponential histogram delta"),
        ("m@3=1.5", "kind", "gauge"),
        ("m:ms@3+=h,bounds=1;5,counts=1;2;0", "unit", "ms"),
    ],
)
def test_what_is_no_delta_histogram_of_the_wanted_kind_and_unit_is_told(point, reason, detail):
    task = task_of(("x", "histogram", "sum"))
    task.process([record(0, 5, at(f"[host=a] {point}"))])
    (refused,) = task.stats()["refused"]
    assert (refused["reason"], refused["detail"]) == (reason, detail)
    (said,) = sentences(task)
    assert detail in said


def test_extremes_of_cumulative_histograms_are_of_no_window():
    task = task_of(("x", "histogram", "max"), ("n", "histogram", "count"))
    task.process([record(0, 5, at("[host=a] m@3=h,bounds=1;5,counts=1;2;0"))])
    (refused,) = task.stats()["refused"]
    assert (refused["definition"], refused["reason"]) == ("x", "temporality")
    assert refused["detail"] == "histogram cumulative"
    assert sentences(task)


def test_how_many_there_are_does_not_depend_on_the_unit():
    task = task_of(("x", "histogram", "count"))
    task.process([record(0, 5, at("[host=a] m:ms@3+=h,bounds=1;5,counts=1;2;0"))])
    assert task.stats()["refused"] == []


def sentences(task: PreaggregateProcessor) -> list[str]:
    """What `tidemill why` says of streams that do not count."""
    tasks = {"raw/0": {"position": 1, "processor": task.stats()}}
    return refusals({"worker-0": {"preaggregate": tasks}})


def columns(values: list[int]) -> PointColumns:
    n = len(values)
    zeros = np.zeros(n, np.int64)
    metas = np.full(n, IS_HISTOGRAM, np.uint8)
    return PointColumns(np.zeros(n, np.int32), zeros, zeros, np.array(values, np.int64), metas)


def test_contents_that_are_put_together_again_are_those_of_open_panes():
    words = [f"m@3+=h,bounds=1,counts={k};{k * k}" for k in range(40)]
    scanned = Scanner(bytes(16)).scan([scenario.request(" ".join(words))], ["t"])
    contents = Contents(0)
    for cut in (slice(0, 10), slice(10, 40)):
        points = columns(list(range(40))[cut])
        contents.put(scanned, points)
        assert points.raws.tolist() == list(range(40))[cut]
    part = np.zeros((7, POINT_WIDTH), np.int64)
    part[:, POINT_RAW] = [3, 39, 3, 17, 0, 21, 5]
    part[:, 3] = [IS_HISTOGRAM] * 6 + [0]  # the last is a number
    before = counts_of(contents, part[:6, POINT_RAW])
    assert before[:2] == [(3, 9), (39, 39 * 39)]
    size = contents.size
    contents.compact([part])
    assert (len(contents), part[6, POINT_RAW]) == (5, 5)
    assert contents.size < size / 4
    assert counts_of(contents, part[:6, POINT_RAW]) == before


def counts_of(contents: Contents, numbers) -> list[tuple[int, ...]]:
    aggregate = made("explicit_histogram([1.0])")
    state = aggregate.empty(len(numbers))
    contents.join(aggregate, state, np.arange(len(numbers)), numbers)
    return [each.bucket_counts for each in aggregate.finish(state)]


def test_where_contents_are_is_seen_in_no_row_of_a_stream():
    points = np.zeros((3, POINT_WIDTH), np.int64)
    points[:, 0] = 5
    points[:, 3] = IS_HISTOGRAM
    found = []
    for places in ([0, 1, 2], [7, 5, 6]):
        points[:, POINT_RAW] = places
        rows, _ = fold([points], 0, 10, 10, 100, empty_bases(1))
        found.append(rows.rows.tobytes())
    assert found[0] == found[1]
