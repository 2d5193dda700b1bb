"""Good streams of every kind: lists of requests that keep all rules, for tests to edit."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

SECOND = 1_000_000_000
EPOCH = 1_700_000_000 * SECOND
DELTA, CUMULATIVE = 1, 2
REQUESTS = 6


class Story:
    """Six requests, ten seconds apart, each with one metric of two points (a=x and a=y)."""

    def __init__(self, kind: str, temporality: int = 0, monotonic: bool = False) -> None:
        self.kind = kind
        self.requests = [ExportMetricsServiceRequest() for _ in range(REQUESTS)]
        for number, request in enumerate(self.requests):
            resource = request.resource_metrics.add()
            resource.resource.attributes.add(key="host").value.string_value = "h"
            resource.resource.attributes.add(key="pid").value.int_value = 7
            scoped = resource.scope_metrics.add()
            scoped.scope.name, scoped.scope.version = "test", "1"
            scoped.scope.attributes.add(key="s").value.bool_value = True
            metric = scoped.metrics.add(name="m", unit="By", description="What m is")
            data: Any = getattr(metric, kind)
            data.SetInParent()
            if temporality:
                data.aggregation_temporality = temporality
            if monotonic:
                data.is_monotonic = True
            for value in ("x", "y"):
                point = data.data_points.add()
                point.attributes.add(key="a").value.string_value = value
                point.attributes.add(key="b").value.double_value = 0.5
                point.time_unix_nano = EPOCH + (number + 1) * 10 * SECOND
                since = number if temporality == DELTA else 0
                point.start_time_unix_nano = EPOCH + since * 10 * SECOND
                many = 1 if temporality == DELTA else number + 1
                _fill(kind, point, many, monotonic)

    def metric(self, request: int) -> Any:
        return self.requests[request].resource_metrics[0].scope_metrics[0].metrics[0]

    def data(self, request: int) -> Any:
        return getattr(self.metric(request), self.kind)

    def point(self, request: int, number: int = 0) -> Any:
        return self.data(request).data_points[number]

    def bodies(self) -> list[bytes]:
        return [request.SerializeToString() for request in self.requests]


def _fill(kind: str, point: Any, many: int, monotonic: bool) -> None:
    """Values that grow with `many`, as cumulative ones do."""
    if kind in ("gauge", "sum"):
        point.as_double = 2.5 * many if monotonic or kind == "gauge" else -2.5 * many
        point.exemplars.add(as_double=1.0)
    elif kind == "histogram":
        point.count, point.sum, point.min, point.max = 3 * many, 12.5 * many, 0.5, 9.0
        point.explicit_bounds.extend([1.0, 5.0])
        point.bucket_counts.extend([many, 0, 2 * many])
    elif kind == "exponential_histogram":
        point.count, point.sum, point.scale, point.zero_count = 6 * many, 22.0 * many, 1, many
        point.zero_threshold, point.min, point.max = 0.25, 0.0, 8.0
        point.positive.offset = -2
        point.positive.bucket_counts.extend([2 * many, 0, many, 0, 2 * many])
    else:
        point.count, point.sum = 4 * many, 10.0 * many
        point.quantile_values.add(quantile=0.0, value=1.0)
        point.quantile_values.add(quantile=0.5, value=2.0)
        point.quantile_values.add(quantile=1.0, value=5.0)


def good(name: str) -> Story:
    """A story by name: `gauge`, `summary`, `counter/delta`, `updown/cumulative`, ..."""
    kind, _, way = name.partition("/")
    temporality = {"delta": DELTA, "cumulative": CUMULATIVE, "": 0}[way]
    if kind in ("counter", "updown"):
        return Story("sum", temporality, kind == "counter")
    return Story({"exponential": "exponential_histogram"}.get(kind, kind), temporality)


NAMES = ["gauge", "summary"] + [
    f"{kind}/{way}"
    for kind in ("counter", "updown", "histogram", "exponential")
    for way in ("delta", "cumulative")
]
