"""Histograms beside rows: their bytes, what has changed of them, and where they are published."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Histogram,
    HistogramDataPoint,
)

from metric_registry import over_points
from streams.aggregates import Points, explicit, made
from streams.aggregates.explicit import ExplicitValue
from streams.aggregates.exponential import ExponentialValue
from streams.batch import BytesColumn
from streams.event_time.windows import EARLIEST
from streams.kernels.rows import GROUP_POINTS, GROUP_WIDTH, STREAMS
from topologies.cardinality import share_of
from topologies.encodings.otlp_histograms import bodies, histogram_points
from topologies.partials import PartialRows
from topologies.results import differ, finished, joined, message_of, nothing, repeated
from topologies.rollup.final import Closing, Contract, FinalSeries
from topologies.rollup.groups import Published
from topologies.states import Piece
from topologies.windows import level_of

SPELLINGS = ["exponential_histogram(160)", "exponential_histogram(4)"]
SPELLINGS += ["explicit_histogram([-1.0,0.0,1.5,10.0])", "explicit_histogram([3.0])"]
HARD = [0.0, 1.0, 2.0, 5e-324, 1.7e308, math.nan, math.inf, 0.75, 3.0, 1e-9, 123.456]


def plain(value: ExponentialValue | ExplicitValue) -> bytes:
    """The histogram by protobuf's own serializer."""
    point: HistogramDataPoint | ExponentialHistogramDataPoint
    if isinstance(value, ExplicitValue):
        point = HistogramDataPoint(
            count=value.count, bucket_counts=value.bucket_counts, explicit_bounds=value.bounds
        )
    else:
        point = ExponentialHistogramDataPoint(
            count=value.count,
            scale=value.scale,
            zero_count=value.zero_count,
            zero_threshold=value.zero_threshold,
        )
        if value.positive_counts:
            point.positive.offset = value.positive_offset
            point.positive.bucket_counts.extend(value.positive_counts)
        if value.negative_counts:
            point.negative.offset = value.negative_offset
            point.negative.bucket_counts.extend(value.negative_counts)
    if not value.min < 0:
        point.sum = value.sum
    if value.count:
        point.min, point.max = value.min, value.max
    return point.SerializeToString(deterministic=True)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_bodies_are_what_protobuf_writes(spelling: str):
    rng, aggregate = random.Random(spelling), made(spelling)
    for size in (0, 1, 5, 60, 3000) * 6:
        signed = rng.random() < 0.5
        values = [rng.choice([*HARD, rng.lognormvariate(0, 4)]) for _ in range(size)]
        values = [-value if signed and rng.random() < 0.3 else value for value in values]
        state = aggregate.empty(4)
        rows = np.array([rng.randrange(4) for _ in values], np.int64)
        aggregate.add(state, rows, Points.of_doubles(values))
        found = aggregate.finish(state)
        assert list(bodies(found)) == [plain(found[row]) for row in range(4)]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_points_have_times_body_and_labels_or_the_flag_that_there_is_none(spelling: str):
    instrument = "exponential_histogram" if spelling.startswith("exp") else "histogram"
    column = BytesColumn.of([nothing(spelling), body_of(spelling, [1.0, 2.5] * 40)])
    labels = BytesColumn.of([b'{"host":"a","tenant":"t"}', b'{"k":"%b"}' % (b"x" * 20_000)])
    text = np.frombuffer(labels.data, np.uint8).copy()
    starts, ends = np.array([5, 6]), np.array([15, 16])
    for recorded in (True, False):
        data, places = histogram_points(
            text, labels.offsets, np.array([1, 0]), starts, ends, column, instrument, recorded
        )
        assert places[-1] == len(data)
        shape = type(message_of(instrument, b""))
        whole = Histogram if instrument == "histogram" else ExponentialHistogram
        parts = [bytes(data[a:b]) for a, b in itertools.pairwise(places)]
        for row, part in zip((1, 0), parts, strict=True):
            want = shape.FromString(column[row]) if recorded else shape(flags=1)
            want.start_time_unix_nano, want.time_unix_nano = int(starts[row]), int(ends[row])
            (found,) = whole.FromString(part).data_points
            assert {one.key for one in found.attributes} == (
                {"host", "tenant"} if row == 0 else {"k"}
            )
            del found.attributes[:]
            assert found == want


def body_of(spelling: str, values: list[float]) -> bytes:
    aggregate = made(spelling)
    state = aggregate.empty(1)
    aggregate.add(state, np.zeros(len(values), np.int64), Points.of_doubles(values))
    return bodies(aggregate.finish(state))[0]


def rows_of(groups: list[int], points: int = 1) -> PartialRows:
    n = len(groups)
    fields = np.zeros((n, GROUP_WIDTH), np.int64)
    fields[:, STREAMS], fields[:, GROUP_POINTS] = 1, points
    level = level_of(10, "")
    return PartialRows(
        np.zeros(n, np.uint16),
        np.full(n, level),
        np.full(n, level),
        np.zeros(n, np.uint64),
        np.array(groups, np.uint64),
        BytesColumn.of([b"{}"] * n),
        fields,
        {},
    )


def published(groups: list[int], shapes: list[bytes]) -> Published:
    nan = np.full(len(groups), np.nan)
    return Published.of(rows_of(groups), nan, BytesColumn.of(shapes))


def test_a_histogram_has_changed_if_its_bytes_have():
    before, _ = published([1, 2, 3], [b"a", b"b", b"c"]).after(None, closes=True)
    after, changed = published([1, 2, 3], [b"a", b"x", b"c"]).after(before, closes=False)
    assert changed.tolist() == [1]
    assert after.revisions.tolist() == [1, 2, 1]


def test_histograms_stay_with_their_rows_among_tombstones():
    before, _ = published([1, 2, 3, 4], [b"a", b"b", b"c", b"d"]).after(None, closes=True)
    after, changed = published([2, 4], [b"b", b"d"]).after(before, closes=False)
    assert after.rows.low.tolist() == [1, 2, 3, 4]
    assert after.histograms is not None
    assert list(after.histograms) == [b"", b"b", b"", b"d"]
    assert changed.tolist() == [0, 2]
    again, changed = published([1, 2, 4], [b"a", b"b", b"d"]).after(after, closes=False)
    assert changed.tolist() == [0]
    assert again.revisions.tolist() == [3, 1, 2, 1]


def test_columns_of_numbers_and_of_histograms_join_and_differ():
    some = BytesColumn.of([b"a", b""])
    assert joined([(None, 2), (None, 1)]) is None
    assert list(joined([(None, 1), (some, 2), (None, 1)]) or []) == [b"", b"a", b"", b""]
    assert differ(None, None, np.array([0])) is False
    assert np.array_equal(differ(some, None, np.array([0, 1])), [True, False])
    assert np.array_equal(differ(None, some, np.array([1, 0])), [False, True])
    assert repeated([b"", b""], np.array([0, 1])) is None
    assert list(repeated([b"", b"x"], np.array([1, 0, 1])) or []) == [b"x", b"", b"x"]


def test_rows_finish_as_numbers_and_histograms_beside_each_other():
    states = {}
    for row, spelling in enumerate([*SPELLINGS, "stddev"]):
        aggregate = made(spelling)
        state = aggregate.empty(1)
        aggregate.add(state, np.zeros(2, np.int64), Points.of_doubles([1.0, 3.0]))
        states[spelling] = (Piece(np.array([row]), np.zeros(1, np.int64), state),)
    numbers, has, histograms = finished(states, 6)
    assert has.tolist() == [True] * 5 + [False]
    assert numbers[4] == 1.0
    assert np.isnan(numbers[:4]).all()
    assert histograms is not None
    want = [body_of(spelling, [1.0, 3.0]) for spelling in SPELLINGS]
    assert list(histograms) == [*want, b"", b""]


def test_hopping_windows_of_a_histogram_are_not_on_the_final_topic():
    empty = nothing(SPELLINGS[0])
    for granularity, shown in ((10, 1), ("20s/10s", 0)):
        level = level_of(granularity, "")
        contract = Contract(True, True, False, False, {level: 1}, "states", share_of(1000), empty)
        series = FinalSeries()
        series.define(0, contract)
        end = 10**12
        closing = Closing(
            level, end, rows_of([1]), np.full(1, np.nan), True, BytesColumn.of([b"a"])
        )
        points = series.close("live", "10/0/100", end, EARLIEST, [closing])
        assert [list(part.histograms or []) for part in points] == [[b"a"]] * shown


def test_bounds_that_nobody_states_are_the_same_in_definitions_and_in_topologies():
    assert over_points.DEFAULT_BOUNDS == explicit.DEFAULT_BOUNDS
