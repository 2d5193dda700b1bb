"""Canonical bytes of one point's stream by way of the reference parser: the plain form.

It serves what the compiled form leaves out, and says what that has to equal.
"""

from __future__ import annotations

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)

from topologies.encodings import points as columns
from topologies.encodings.points import Points
from topologies.identity.canonical import attribute_map, origin, text


def canonical_parts(points: Points, row: int) -> tuple[bytes, bytes, bytes]:
    """What a row's origin, its context and its stream add to the canonical bytes, in turn."""
    of = points.metrics[points.metric[row]]

    def span(begin: int, end: int) -> bytes:
        return points.buffer[begin:end].tobytes()

    resource = ResourceMetrics.FromString(
        span(of[columns.RESOURCE_METRICS_BEGIN], of[columns.RESOURCE_METRICS_END])
    ).resource
    scope = ScopeMetrics.FromString(
        span(of[columns.SCOPE_METRICS_BEGIN], of[columns.SCOPE_METRICS_END])
    ).scope
    metric = Metric.FromString(span(of[columns.METRIC_BEGIN], of[columns.METRIC_END]))
    point = NumberDataPoint.FromString(span(points.begin[row], points.end[row]))
    context = (
        text(scope.name),
        text(scope.version),
        attribute_map(scope.attributes),
        text(metric.name),
        text(metric.unit),
        bytes([of[columns.METRIC_KIND]]),
    )
    tenant = points.tenants[int(points.message[row])]
    return origin(tenant, resource.attributes), b"".join(context), attribute_map(point.attributes)
