"""Canonical bytes of one point's stream by way of the reference parser: the plain form.

It serves what the compiled form leaves out, part by part, and says what that has to equal.
"""

from __future__ import annotations

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from topologies.encodings import points as columns
from topologies.encodings.points import Points
from topologies.encodings.wire import next_field
from topologies.identity.canonical import attribute_map, doubles, origin, text

_FIRST_FIELD = 0x0A  # `resource` in a ResourceMetrics, `scope` in a ScopeMetrics


def origin_of(points: Points, row: int) -> bytes:
    """Tenant and resource."""
    begin, end = _span(points, row, columns.RESOURCE_METRICS_BEGIN, columns.RESOURCE_METRICS_END)
    resource = Resource.FromString(_first_field(points, begin, end))
    return origin(points.tenants[int(points.message[row])], resource.attributes)


def scope_of(points: Points, row: int) -> bytes:
    """Scope name, version and attributes."""
    begin, end = _span(points, row, columns.SCOPE_METRICS_BEGIN, columns.SCOPE_METRICS_END)
    scope = InstrumentationScope.FromString(_first_field(points, begin, end))
    return text(scope.name) + text(scope.version) + attribute_map(scope.attributes)


def metric_of(points: Points, row: int) -> bytes:
    """Metric name, unit and kind."""
    begin, end = _span(points, row, columns.METRIC_BEGIN, columns.METRIC_END)
    metric = Metric.FromString(points.buffer[begin:end].tobytes())
    kind = int(points.metrics[points.metric[row], columns.METRIC_KIND])
    return text(metric.name) + text(metric.unit) + bytes([kind])


def attributes_of(points: Points, row: int) -> bytes:
    """The point's attributes, and its bounds if it is an explicit histogram."""
    data = points.buffer[points.begin[row] : points.end[row]].tobytes()
    kind = int(points.kind[row]) & columns.KIND_MASK
    if kind == columns.HISTOGRAM:
        point = HistogramDataPoint.FromString(data)
        return attribute_map(point.attributes) + doubles(point.explicit_bounds)
    shape = ExponentialHistogramDataPoint
    if kind != columns.EXPONENTIAL_HISTOGRAM:
        shape = NumberDataPoint
    return attribute_map(shape.FromString(data).attributes)


def _span(points: Points, row: int, begin: int, end: int) -> tuple[int, int]:
    of = points.metrics[points.metric[row]]
    return int(of[begin]), int(of[end])


def _first_field(points: Points, position: int, end: int) -> bytes:
    """The payload of field 1 of a message; several occurrences are one, joined."""
    found: list[bytes] = []
    while position < end:
        tag, begin, position = next_field(points.buffer, position, end)
        if tag == _FIRST_FIELD:
            found.append(points.buffer[begin:position].tobytes())
    return b"".join(found)
