"""A scrape as OTLP, by the rules of OpenTelemetry's "Prometheus and OpenMetrics Compatibility"."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tidemill.traffic.prometheus import requests_of

NOW = 1_700_000_000_000_000_000


def metrics_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for request in requests_of(text, NOW):
        for block in ExportMetricsServiceRequest.FromString(request).resource_metrics:
            for scope in block.scope_metrics:
                found |= {metric.name: metric for metric in scope.metrics}
    return found


def test_a_counter_is_a_cumulative_monotonic_sum_under_the_name_of_its_sample() -> None:
    text = '# TYPE a_total counter\na_total{b="c"} 7 1600000000123\n'
    (metric,) = metrics_of(text).values()
    assert metric.name == "a_total"
    assert (metric.sum.is_monotonic, metric.sum.aggregation_temporality) == (True, 2)
    (point,) = metric.sum.data_points
    assert (point.as_double, point.time_unix_nano) == (7.0, 1_600_000_000_123_000_000)
    assert [(a.key, a.value.string_value) for a in point.attributes] == [("b", "c")]


@pytest.mark.parametrize("kind", ["# TYPE a gauge\n", "# TYPE a untyped\n", ""])
def test_what_has_no_other_type_is_a_gauge(kind: str) -> None:
    (metric,) = metrics_of(f"# HELP a Said.\n{kind}a 1.5\n").values()
    assert (metric.description, metric.WhichOneof("data")) == ("Said.", "gauge")
    assert metric.gauge.data_points[0].time_unix_nano == NOW


def test_buckets_hold_what_is_above_the_one_before() -> None:
    text = """# TYPE a histogram
a_bucket{x="1",le="0.1"} 2
a_bucket{x="1",le="1"} 5
a_bucket{x="1",le="+Inf"} 6
a_sum{x="1"} 4.5
a_count{x="1"} 6
a_bucket{x="2",le="1"} 0
a_bucket{x="2",le="+Inf"} 1
a_sum{x="2"} 9
a_count{x="2"} 1
"""
    (metric,) = metrics_of(text).values()
    one, two = metric.histogram.data_points
    assert metric.histogram.aggregation_temporality == 2
    assert (list(one.explicit_bounds), list(one.bucket_counts)) == ([0.1, 1.0], [2, 3, 1])
    assert (one.count, one.sum) == (6, 4.5)
    assert (list(two.explicit_bounds), list(two.bucket_counts), two.sum) == ([1.0], [0, 1], 9.0)
    assert [(a.key, a.value.string_value) for a in two.attributes] == [("x", "2")]


def test_a_summary_stays_one() -> None:
    text = '# TYPE a summary\na{quantile="0.5"} 1\na_sum 3\na_count 2\n# TYPE b summary\n'
    found = metrics_of(text)
    assert {name: m.WhichOneof("data") for name, m in found.items()} == {
        "a": "summary",
        "b": "summary",
    }
    assert len(found["a"].summary.data_points) == 1
