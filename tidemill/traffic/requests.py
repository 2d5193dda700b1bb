"""Samples as OTLP requests, so that what is learned of them is what the product would read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_IN_A_REQUEST = 5_000


@dataclass(frozen=True, slots=True)
class Sample:
    """A number of a gauge, or of a counter since its beginning."""

    metric: str
    unit: str
    resource: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, str], ...]
    time: int
    value: float
    counter: bool = False
    description: str = ""


def as_requests(samples: Iterable[Sample]) -> Iterator[bytes]:
    """In their order; neighbours of one metric share it."""
    request = ExportMetricsServiceRequest()
    last: tuple[object, ...] = ()
    points = None
    held = 0
    for one in samples:
        key = one.resource, one.metric, one.unit, one.counter, one.description
        if points is None or key != last:
            block = request.resource_metrics.add()
            for name, text in one.resource:
                block.resource.attributes.add(key=name).value.string_value = text
            metric = block.scope_metrics.add().metrics.add(
                name=one.metric, unit=one.unit, description=one.description
            )
            if one.counter:
                metric.sum.is_monotonic = True
                metric.sum.aggregation_temporality = CUMULATIVE
            points = metric.sum.data_points if one.counter else metric.gauge.data_points
            last = key
        point = points.add(time_unix_nano=one.time, as_double=one.value)
        for name, text in one.attributes:
            point.attributes.add(key=name).value.string_value = text
        held += 1
        if held == _IN_A_REQUEST:
            yield request.SerializeToString()
            request, points, held = ExportMetricsServiceRequest(), None, 0
    if held:
        yield request.SerializeToString()
