"""Tests of definitions: what a test sends, as OTLP requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)

from metric_registry.cases.models import CaseDocument, Point, Step, Stream

Origin = tuple[str, str]
"""A tenant and a resource, as text."""
_TEMPORALITIES = {
    None: AggregationTemporality.AGGREGATION_TEMPORALITY_UNSPECIFIED,
    "delta": AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA,
    "cumulative": AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE,
}


def origin_of(stream: Stream) -> Origin:
    """Who sends it; each origin has a partition of its own."""
    return stream.tenant, repr(sorted(stream.resource.items()))


def requests(case: CaseDocument, step: Step) -> Iterator[tuple[Origin, bytes]]:
    """A step as requests, one an origin, in the order in which they are named."""
    sent = step.send or {}
    origins = dict.fromkeys(origin_of(case.streams[name]) for name in sent)
    for origin in origins:
        message = ExportMetricsServiceRequest()
        block = message.resource_metrics.add()
        metrics = block.scope_metrics.add().metrics
        for name, points in sent.items():
            stream = case.streams[name]
            if origin_of(stream) == origin:
                if not metrics:
                    block.resource.attributes.extend(_attributes(stream.resource))
                metric = metrics.add(name=stream.metric, unit=stream.unit)
                data = _points_of(metric, stream)
                for time, point in points.items():
                    data.append(_point(stream, point, time.after(case.start), case.start))
        yield origin, message.SerializeToString()


def _points_of(metric: Metric, stream: Stream) -> Any:
    """Where a metric's points go; what they have in common is said."""
    data: Any = getattr(metric, stream.instrument)
    data.SetInParent()
    if stream.instrument != "gauge":
        data.aggregation_temporality = _TEMPORALITIES[stream.temporality]
    if stream.instrument == "sum":
        data.is_monotonic = stream.monotonic
    return data.data_points


def _point(stream: Stream, point: Point, time: int, start: int) -> Any:
    made: Any = _MADE[stream.instrument](point)
    made.time_unix_nano = time
    began = point.start or stream.start
    if began is not None:
        made.start_time_unix_nano = began.after(start)
    made.attributes.extend(_attributes(stream.attributes))
    return made


def _number(point: Point) -> NumberDataPoint:
    if point.value is None:
        return NumberDataPoint(flags=DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK)
    if isinstance(point.value, int):
        return NumberDataPoint(as_int=point.value)
    return NumberDataPoint(as_double=point.value)


def _histogram(point: Point) -> HistogramDataPoint:
    if point.bucket_counts is None:
        return HistogramDataPoint(flags=DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK)
    count = sum(point.bucket_counts) if point.count is None else point.count
    return HistogramDataPoint(
        count=count,
        explicit_bounds=point.explicit_bounds or (),
        bucket_counts=point.bucket_counts,
        **_summary(point),
    )


def _exponential(point: Point) -> ExponentialHistogramDataPoint:
    if point.scale is None:
        flags = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
        return ExponentialHistogramDataPoint(flags=flags)
    made = ExponentialHistogramDataPoint(
        scale=point.scale,
        zero_count=point.zero_count or 0,
        zero_threshold=point.zero_threshold or 0,
        **_summary(point),
    )
    made.count = made.zero_count if point.count is None else point.count
    for side, buckets in ((made.positive, point.positive), (made.negative, point.negative)):
        if buckets is not None:
            side.offset = buckets.offset
            side.bucket_counts.extend(buckets.bucket_counts)
            made.count += sum(buckets.bucket_counts) if point.count is None else 0
    return made


_MADE = {
    "gauge": _number,
    "sum": _number,
    "histogram": _histogram,
    "exponential_histogram": _exponential,
}


def _summary(point: Point) -> dict[str, Any]:
    """The sum, least and greatest value as far as they are said."""
    found = {name: getattr(point, name) for name in ("sum", "min", "max")}
    return {name: value for name, value in found.items() if value is not None}


def _attributes(attributes: Mapping[str, str | bool | int | float]) -> Iterator[KeyValue]:
    for key, value in attributes.items():
        made = KeyValue(key=key)
        if isinstance(value, bool):
            made.value.bool_value = value
        elif isinstance(value, int):
            made.value.int_value = value
        elif isinstance(value, float):
            made.value.double_value = value
        else:
            made.value.string_value = value
        yield made
