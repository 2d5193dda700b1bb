"""Cuts a request of one resource into smaller ones, where a record would be too large (C).

Deterministic, so that a repeated request is cut the same way and its pieces have the same digests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)


def split_oversize(value: bytes, limit: int) -> Iterator[bytes]:
    """Requests of at most `limit` bytes with the same points in the same order.

    Cuts the list of resources, else of scopes, else of metrics, else of points, until every part
    fits. A point that does not fit comes out in a request of its own, larger than
    the limit.
    """
    return _parts(ExportMetricsServiceRequest.FromString(value), limit)


def points_in(value: bytes) -> int:
    """How many data points a request holds."""
    return sum(
        len(getattr(metric, data).data_points)
        for resource in ExportMetricsServiceRequest.FromString(value).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if (data := metric.WhichOneof("data")) is not None
    )


def _parts(request: ExportMetricsServiceRequest, limit: int) -> Iterator[bytes]:
    data = request.SerializeToString(deterministic=True)
    level = next((level for level in range(4) if len(_items(request, level)) > 1), None)
    if len(data) <= limit or level is None:
        yield data
        return
    items = _items(request, level)
    # Somewhat more parts than if all items were of one size: seldom is a second cut needed.
    size = max(1, min(len(items) - 1, len(items) * limit // (len(data) + len(data) // 8)))
    frame = ExportMetricsServiceRequest()
    frame.CopyFrom(request)
    del _items(frame, level)[:]
    for first in range(0, len(items), size):
        part = ExportMetricsServiceRequest()
        part.CopyFrom(frame)
        _items(part, level).extend(items[first : first + size])
        yield from _parts(part, limit)


def _items(request: ExportMetricsServiceRequest, level: int) -> Any:
    """Level 0: the resources; 1: the first one's scopes; 2: its metrics; 3: its points."""
    resources = request.resource_metrics
    if level == 0 or not resources:
        return resources
    scopes = resources[0].scope_metrics
    if level == 1 or not scopes:
        return scopes
    metrics = scopes[0].metrics
    if level == 2 or not metrics:
        return metrics
    data = metrics[0].WhichOneof("data")
    return getattr(metrics[0], data).data_points if data is not None else ()
