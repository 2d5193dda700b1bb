"""Requests for the benchmarks: like a Collector's, 1,000 points a message, 4 attributes a point."""

from __future__ import annotations

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

METRICS_A_RESOURCE = 10
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def requests(series: int, points_a_message: int = 1000, time: int = START) -> list[bytes]:
    """Messages that together hold one point of each series, cumulative monotonic sums."""
    return [
        _request(first, min(points_a_message, series - first), time)
        for first in range(0, series, points_a_message)
    ]


def _request(first: int, points: int, time: int) -> bytes:
    request = ExportMetricsServiceRequest()
    resource_metrics = request.resource_metrics.add()
    for key, value in (
        ("service.name", "checkout"),
        ("host.name", f"host-{first:08d}"),
        ("cloud.region", "eu-west-1"),
        ("service.instance.id", f"instance-{first:08d}"),
    ):
        resource_metrics.resource.attributes.add(key=key).value.string_value = value
    scope_metrics = resource_metrics.scope_metrics.add()
    scope_metrics.scope.name = "io.example.instrumentation"
    for metric_index in range(METRICS_A_RESOURCE):
        metric = scope_metrics.metrics.add(name=f"http.server.requests.{metric_index}", unit="1")
        metric.sum.aggregation_temporality = 2
        metric.sum.is_monotonic = True
        for index in range(metric_index, points, METRICS_A_RESOURCE):
            number = first + index
            point = metric.sum.data_points.add(
                start_time_unix_nano=START,
                time_unix_nano=time + number % 1000,
                as_double=number * 1.25 + time % 1000,
            )
            for key, value in (
                ("http.method", ("GET", "POST", "PUT", "HEAD")[number % 4]),
                ("http.route", f"/api/v1/resource/{number:09d}"),
                ("status", str(200 + number % 7)),
                ("cluster_id", f"lkc-{number % 97:05d}"),
            ):
                point.attributes.add(key=key).value.string_value = value
    return request.SerializeToString()
