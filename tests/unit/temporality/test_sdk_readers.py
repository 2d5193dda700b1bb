"""The OpenTelemetry SDK reads instruments cumulatively and as deltas: each gives the other.

Two readers of one provider collect one after the other, with no measurement in between. What is
recorded are multiples of 1/8, so that the SDK's own sums in doubles are exact.
"""

import random
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from temporality.columns import buckets, shape, total
from temporality.reference import coarse

from streams.aggregates import Points
from streams.aggregates.exponential import ExponentialHistogram
from streams.aggregates.increase import Increase
from streams.aggregates.sum import Sum
from streams.kernels.exponential import NEGATIVE, POSITIVE, SCALE, ZEROS
from streams.kernels.moments import COUNT
from streams.kernels.rows import IS_CUMULATIVE, IS_INTEGER
from topologies.temporality.chain import Chain, Kind, Loaded
from topologies.temporality.cumulatives import Cumulatives
from topologies.temporality.otlp import explicit_samples, exponential_samples

READS = 12
PANE = GAP = 10**18


def reader(temporality):
    return InMemoryMetricReader(
        preferred_temporality={Counter: temporality, Histogram: temporality}
    )


def collected(found):
    """Metric name -> {attributes: data point} of one collection."""
    points = {}
    request = encode_metrics(found.get_metrics_data())
    for scope in (s for r in request.resource_metrics for s in r.scope_metrics):
        for metric in scope.metrics:
            data = getattr(metric, metric.WhichOneof("data")).data_points
            points[metric.name] = {p.attributes[0].value.int_value: p for p in data}
    return points


@pytest.fixture(scope="module")
def recorded():
    """[(cumulative, delta)] of each name, stream by stream."""
    cumulative = reader(AggregationTemporality.CUMULATIVE)
    delta = reader(AggregationTemporality.DELTA)
    exponential = View(
        instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation()
    )
    provider = MeterProvider([cumulative, delta], views=[exponential], shutdown_on_exit=False)
    meter = provider.get_meter("tests")
    counter = meter.create_counter("counter")
    histograms = [meter.create_histogram(name) for name in ("explicit", "exponential")]
    chance = random.Random(5)
    pairs = {}
    for _ in range(READS):
        for stream in (0, 1, 2):
            for _ in range(chance.randrange(0, 30)):
                value = chance.choice([1, 40, 7000, 2**30]) * chance.randrange(0, 9) / 8
                counter.add(value, {"s": stream})
                for histogram in histograms:
                    histogram.record(value, {"s": stream})
        both = [collected(each) for each in (cumulative, delta)]
        for name in ("counter", "explicit", "exponential"):
            for stream, point in both[0].get(name, {}).items():
                other = both[1].get(name, {}).get(stream)  # none: nothing was recorded since
                pairs.setdefault(name, {}).setdefault(stream, []).append((point, other))
    provider.shutdown()
    return pairs


def numbers(points, bits):
    values = [p.as_int if p.WhichOneof("value") == "as_int" else p.as_double for p in points]
    raws = np.array([np.float64(v).view(np.int64) if isinstance(v, float) else v for v in values])
    metas = [bits | (0 if isinstance(v, float) else IS_INTEGER) for v in values]
    return Points(
        np.array([p.time_unix_nano for p in points], np.int64),
        np.array([p.start_time_unix_nano for p in points], np.int64),
        raws.astype(np.int64),
        np.array(metas, np.uint8),
    )


def test_increases_of_a_counter_are_the_deltas_of_the_sdk_and_their_totals_its_sums(recorded):
    for pairs in recorded["counter"].values():
        whole = [point for point, _ in pairs]
        increase = Increase(PANE, GAP)
        for n in range(1, len(pairs)):  # the increase from one reading to the next
            state = increase.empty(1)
            increase.add_base_lines(
                state, np.zeros(1, np.int64), numbers(whole[n - 1 : n], IS_CUMULATIVE)
            )
            increase.add(state, np.zeros(1, np.int64), numbers(whole[n : n + 1], IS_CUMULATIVE))
            other = pairs[n][1]
            assert increase.finish(state)[0] == (0 if other is None else other.as_double)
        parts = [point for _, point in pairs if point is not None]
        state = Sum().empty(len(parts))
        Sum().add(state, np.arange(len(parts)), numbers(parts, 0))
        starts, times = starts_and_times(parts)
        found = Cumulatives(Sum()).advance(np.zeros(len(parts), np.int64), starts, times, state)
        sums = {point.as_double for point in whole}
        runs = np.flatnonzero(found.starts == found.starts[0])
        assert len(runs)
        assert {Sum().finish(found.state)[r] for r in runs} <= sums


def starts_and_times(points):
    return (
        np.array([p.start_time_unix_nano for p in points], np.int64),
        np.array([p.time_unix_nano for p in points], np.int64),
    )


@pytest.mark.parametrize("name", ["explicit", "exponential"])
def test_deltas_of_a_histogram_are_those_of_the_sdk(recorded, name):
    convert = explicit_samples if name == "explicit" else exponential_samples
    compared = 0
    for pairs in recorded[name].values():
        whole = [point for point, _ in pairs]
        given = convert([0] * len(whole), whole)
        bounds = list(whole[0].explicit_bounds) if name == "explicit" else []
        kind = Kind.explicit(bounds) if name == "explicit" else Kind.exponential()
        loaded = Loaded.of(kind, given.streams, given.starts, given.times, given.points)
        back, notices = Chain(kind, PANE, GAP).advance(loaded, 0, 2**62)
        assert not len(notices)
        assert len(back) == len(pairs)
        for r, (_, other) in enumerate(pairs):
            if other is None:
                assert back.state.rows[r, COUNT] == 0
                continue
            assert back.state.rows[r, COUNT] == other.count
            assert total(back.state, r) == Fraction(other.sum)
            if name == "explicit":
                assert shape(back, r)[1] == tuple(other.bucket_counts)
            else:
                same_buckets(back.state, r, other)
            compared += 1
    assert compared > 20


def same_buckets(state, r, other):
    """Those of the SDK's delta, taken to the scale of the running total."""
    by = other.scale - int(state.rows[r, SCALE])
    assert by >= 0
    assert state.rows[r, ZEROS] == other.zero_count
    for c, side in ((POSITIVE, other.positive), (NEGATIVE, other.negative)):
        counts = [(side.offset + k, n) for k, n in enumerate(side.bucket_counts)]
        assert buckets(state, r, c) == coarse(counts, by)


@pytest.mark.parametrize("name", ["explicit", "exponential"])
def test_totals_of_a_histogram_are_those_of_the_sdk(recorded, name):
    convert = explicit_samples if name == "explicit" else exponential_samples
    compared = 0
    for pairs in recorded[name].values():
        run = contiguous(pairs)
        parts = [point for _, point in run]
        given = convert([0] * len(parts), parts)
        bounds = list(parts[0].explicit_bounds) if name == "explicit" else []
        kind = Kind.explicit(bounds) if name == "explicit" else Kind.exponential()
        adds = kind.aggregate if name == "explicit" else ExponentialHistogram()
        state = kind.aggregate.load(given.points)
        found = Cumulatives(adds).advance(given.streams, given.starts, given.times, state)
        values = adds.finish(found.state)
        for r, (point, _) in enumerate(run):
            value = values[r]
            assert (value.count, value.sum) == (point.count, point.sum)
            assert (value.min, value.max) == (point.min, point.max)
            if name == "explicit":
                assert value.bucket_counts == tuple(point.bucket_counts)
            else:
                assert value.zero_count == point.zero_count
                positive = enumerate(value.positive_counts, value.positive_offset)
                stated = enumerate(point.positive.bucket_counts, point.positive.offset)
                by = value.scale - point.scale
                assert coarse(list(positive), max(0, by)) == coarse(list(stated), max(0, -by))
            compared += 1
    assert compared > 15


def contiguous(pairs):
    """The readings before the first in which nothing was recorded: there the SDK leaves a hole."""
    end = next((n for n, (_, other) in enumerate(pairs) if other is None), len(pairs))
    return pairs[:end]
