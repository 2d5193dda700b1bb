"""What a request's points are, by the reference parser, and the same by the compiled scanner.

`otlp_example.json` is opentelemetry-proto's example request (Apache-2.0).
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from topologies.encodings import points as columns
from topologies.encodings.otlp import Scanner
from topologies.encodings.recurring import Recurring
from topologies.identity.canonical import attribute_map, origin, text
from topologies.identity.series import SeriesTable

Row = tuple[bytes, int, int, int, int, int]
_COUNTED = {"summary": columns.SUMMARY}
_SHAPES = {
    "histogram": columns.HISTOGRAM,
    "exponential_histogram": columns.EXPONENTIAL_HISTOGRAM,
}


@dataclass
class Reading:
    """A message's rows (canonical bytes, kind, time, start, value bits, flags), points of other
    kinds by kind, and why it was refused."""

    rows: list[Row] = field(default_factory=list)
    not_aggregated: Counter[int] = field(default_factory=Counter)
    refused: str | None = None


def example() -> bytes:
    text_form = (Path(__file__).parent / "otlp_example.json").read_text()
    return json_format.ParseDict(
        json.loads(text_form), ExportMetricsServiceRequest()
    ).SerializeToString()


def corpus() -> list[bytes]:
    """The protocol's example, the same with all that OTLP has, and a small request."""
    request = ExportMetricsServiceRequest.FromString(example())
    number = request.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0]
    exemplar = number.exemplars.add(time_unix_nano=1, as_double=2.5, span_id=b"12345678")
    exemplar.filtered_attributes.add(key="e").value.string_value = "é"
    nested = number.attributes.add(key="nested").value.kvlist_value.values.add(key="k")
    nested.value.array_value.values.add().int_value = -1
    number.flags = 1
    small = ExportMetricsServiceRequest()
    metric = small.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    metric.gauge.data_points.add(time_unix_nano=5, as_int=7).attributes.add(key="a")
    return [example(), request.SerializeToString(), small.SerializeToString()]


def by_reference(message: bytes, tenant: str) -> Reading:
    """What upb says."""
    reading = Reading()
    try:
        request = ExportMetricsServiceRequest.FromString(message)
    except DecodeError as error:
        reading.refused = str(error)
        return reading
    for resource_metrics in request.resource_metrics:
        start = origin(tenant, resource_metrics.resource.attributes)
        for scope_metrics in resource_metrics.scope_metrics:
            scope = scope_metrics.scope
            named = text(scope.name) + text(scope.version) + attribute_map(scope.attributes)
            for metric in scope_metrics.metrics:
                _read_metric(metric, start + named + text(metric.name) + text(metric.unit), reading)
    return reading


def _read_metric(metric, context, reading):
    data = metric.WhichOneof("data")
    if data in _COUNTED:
        reading.not_aggregated[_COUNTED[data]] += len(getattr(metric, data).data_points)
    if data in _SHAPES:
        _read_shapes(getattr(metric, data), _SHAPES[data], context, reading)
    if data not in ("gauge", "sum"):
        return
    kind = columns.GAUGE
    if data == "sum":
        kinds = {1: columns.SUM_DELTA, 2: columns.SUM_CUMULATIVE}
        kind = kinds.get(metric.sum.aggregation_temporality, columns.SUM_UNSPECIFIED)
        kind |= columns.MONOTONIC if metric.sum.is_monotonic else 0
    for point in getattr(metric, data).data_points:
        flags = columns.NO_RECORDED_VALUE if point.flags & 1 else 0
        value = 0
        match point.WhichOneof("value"):
            case "as_int":
                value, flags = point.as_int, flags | columns.IS_INT
            case "as_double":
                (value,) = struct.unpack("<q", struct.pack("<d", point.as_double))
            case _:
                flags |= columns.NO_VALUE
        reading.rows.append(
            (
                context + bytes([kind]) + attribute_map(point.attributes),
                kind,
                _signed(point.time_unix_nano),
                _signed(point.start_time_unix_nano),
                value,
                flags,
            )
        )


def _read_shapes(shapes, kind, context, reading):
    """Bounds are part of what a stream is."""
    kind |= {1: columns.DELTA, 2: columns.CUMULATIVE}.get(shapes.aggregation_temporality, 0)
    for point in shapes.data_points:
        bounds = getattr(point, "explicit_bounds", ())
        identity = attribute_map(point.attributes) + struct.pack(f"<{len(bounds)}d", *bounds)
        flags = columns.NO_RECORDED_VALUE if point.flags & 1 else 0
        times = _signed(point.time_unix_nano), _signed(point.start_time_unix_nano)
        reading.rows.append((context + bytes([kind]) + identity, kind, *times, 0, flags))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


class Subject:
    """The scanner with its series table, kept from call to call.

    recalls: Whether messages of whatever size are known by heart when they come again; `recalled`
    counts the points that were not read.
    """

    def __init__(self, recalls: bool = False, **sizes: int) -> None:
        self.scanner = Scanner(b"a key of 16 bytes or more", **sizes)
        self.series = SeriesTable()
        self.series.recurring = Recurring(least=0)
        self.recalls = recalls
        self.recalled = 0

    def read(self, messages: list[bytes], tenant: str) -> list[Reading]:
        known = self.series.recurring if self.recalls else None
        points = self.scanner.scan(messages, [tenant] * len(messages), known)
        if points.slot is not None:
            self.recalled += int((points.slot >= 0).sum())
        slots, malformed = self.series.resolve(points)
        readings = [Reading() for _ in messages]
        for bad in (*points.malformed, *malformed):
            readings[bad.message].refused = bad.code
        for row in range(len(points)):
            reading = readings[points.message[row]]
            if reading.refused is None:
                reading.rows.append(
                    (
                        self.series.canonical(int(slots[row])),
                        int(points.kind[row]),
                        int(points.time[row]),
                        int(points.start[row]),
                        int(points.value[row]),
                        int(points.flags[row]),
                    )
                )
            else:
                assert slots[row] == -1
        for metric in points.not_aggregated():
            reading = readings[metric[columns.METRIC_MESSAGE]]
            if reading.refused is None:
                kind = int(metric[columns.METRIC_KIND])
                reading.not_aggregated[kind] += int(metric[columns.METRIC_POINTS])
        return readings


def difference(message: bytes, ours: Reading, tenant: str) -> str:
    """How a reading differs from the reference's; empty: it does not, or groups are in it."""
    theirs = by_reference(message, tenant)
    if ours.refused == "group":
        return ""
    if (ours.refused is None) != (theirs.refused is None):
        return f"{message.hex()}: {ours.refused} / {theirs.refused}"
    if ours.rows != theirs.rows:
        return f"{message.hex()}: {ours.rows} / {theirs.rows}"
    if +ours.not_aggregated != +theirs.not_aggregated:
        return f"{message.hex()}: {ours.not_aggregated} / {theirs.not_aggregated}"
    return ""


def differences(subject: Subject, messages: list[bytes], tenant: str = "acme") -> list[str]:
    """How the scanner differs from the reference, groups aside, which only it refuses."""
    readings = zip(messages, subject.read(messages, tenant), strict=True)
    found = [difference(message, ours, tenant) for message, ours in readings]
    return [each for each in found if each]
