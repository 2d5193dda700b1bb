"""What OpenTelemetry's SDK sends of a histogram comes out as it was recorded.

`http.server.request.duration` by the semantic conventions, explicit and exponential, read by the
SDK's own reader, as deltas or cumulatively, and written by its own OTLP exporter; then the real
processors.
"""

import random
import sys
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import definitions as oracle_definitions
from oracle import log as oracle_log
from oracle.arithmetic import of_bits
from oracle.log import Record
from oracle.oracle import compute

from tests.simulation.comparison import compare
from tests.simulation.topology_world import Pipeline

SECOND = 1_000_000_000
EPOCH = 1_700_006_400 * SECOND
NAME = "http.server.request.duration"
ADVISED = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
"""Bounds by the semantic conventions."""
ROUTES = ["/", "/cart", "/pay"]


def definition(name: str, instrument: str, over_points, keep=("http.route",)):
    return oracle_definitions.parse(
        {
            "apiVersion": "tidemill/v1",
            "kind": "Metric",
            "name": name,
            "source": {"metric": NAME, "unit": "s", "instrument": instrument},
            "space": {"keep": list(keep)},
            "time": {"granularities": ["10s", "1m"], "grace": "2s", "corrections": "1h"},
            "aggregate": {"over_points": over_points},
        }
    )


def sent(exponential: bool, temporality: AggregationTemporality):
    """(requests of some collections, what was recorded by route).

    The collections come three seconds apart, whenever they were made.
    """
    reader = InMemoryMetricReader(preferred_temporality={Histogram: temporality})
    view = View(instrument_name=NAME, aggregation=ExponentialBucketHistogramAggregation())
    views = [view] if exponential else []
    provider = MeterProvider([reader], views=views, shutdown_on_exit=False)
    histogram = provider.get_meter("http").create_histogram(
        NAME, "s", explicit_bucket_boundaries_advisory=ADVISED
    )
    chance = random.Random(exponential)
    recorded = {route: [] for route in ROUTES}
    requests = []
    for collection in range(5):
        for _ in range(200):
            route, value = chance.choice(ROUTES), round(chance.lognormvariate(-3, 2), 6)
            recorded[route].append(value)
            attributes = {"http.route": route, "http.request.method": chance.choice("AB")}
            histogram.record(value, attributes)
        request = encode_metrics(reader.get_metrics_data())
        (metric,) = request.resource_metrics[0].scope_metrics[0].metrics
        for point in getattr(metric, metric.WhichOneof("data")).data_points:
            point.start_time_unix_nano = EPOCH + SECOND
            point.time_unix_nano = EPOCH + (2 + 3 * collection) * SECOND
        requests.append(request)
    provider.shutdown()
    return requests, recorded


@pytest.mark.parametrize("temporality", ["DELTA", "CUMULATIVE"])
@pytest.mark.parametrize("exponential", [False, True], ids=["explicit", "exponential"])
def test_histograms_of_the_sdk_come_out_as_they_were_recorded(exponential: bool, temporality: str):
    instrument = "exponential_histogram" if exponential else "histogram"
    shape = "exponential_histogram" if exponential else {"explicit_histogram": ADVISED}
    wanted = [definition("shape", instrument, shape), definition("all", instrument, "count", ())]
    wanted += [definition(which, instrument, which) for which in ("count", "sum", "min", "max")]
    requests, recorded = sent(exponential, AggregationTemporality[temporality])
    headers = {"encoding": b"otlp", "tenant": b"t"}
    records = []
    for request in requests:
        points = request.resource_metrics[0].scope_metrics[0].metrics[0]
        newest = max(p.time_unix_nano for p in getattr(points, instrument).data_points)
        received = {"received": str(newest).encode()}
        value = request.SerializeToString()
        records.append(Record(len(records), headers | received, value))
    idle = b'{"time": %d}' % (newest + 1000 * SECOND)
    for _ in range(2):
        records.append(Record(len(records), {"control": b"idle"}, idle))
    log = {("telemetry.raw", 0): records}
    want = compute(oracle_log.read(log), wanted)
    got = Pipeline(wanted, log, random.Random(1)).run()
    compare(want, got, wanted, True)
    for route, values in recorded.items():
        minutes = {key: value for key, (value, _) in got.latest.items() if key.size == 60 * SECOND}
        mine = {key: value for key, value in minutes.items() if ("http.route", route) in key.labels}
        whole = [value for key, value in mine.items() if key.definition == "shape"]
        assert sum(one.count for one in whole) == len(values)
        of_deltas = [("min", min), ("max", max)] if temporality == "DELTA" else []
        for which, fold in (("count", sum), ("sum", sum), *of_deltas):
            found = fold(of_bits(v) for key, v in mine.items() if key.definition == which)
            expected = {"count": float(len(values)), "sum": pytest.approx(sum(values))}
            assert found == expected.get(which, fold(values)), which
        if not exponential:
            buckets = [sum(each) for each in zip(*(one.buckets[1] for one in whole), strict=True)]
            edges = [*ADVISED, float("inf")]
            assert [sum(buckets[: n + 1]) for n in range(len(edges))] == [
                sum(value <= edge for value in values) for edge in edges
            ]
