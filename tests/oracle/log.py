"""What a partition holds, read by the rules: which points are accepted, and where time stands.

Input: for each (topic, partition) the ordered records. Output: for each the decoded points with
their fate, and the watermark after every record. Nothing here knows definitions.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags
from oracle import contents, epochs

MINUTE = 60_000_000_000
AHEAD = 2 * MINUTE  # a live point further ahead of `received` than this is rejected
REPEAT = 10 * MINUTE  # for so long after its first sight a digest marks a repeat
FORGOTTEN = 12 * MINUTE  # and not when the newest receipt before it is so long after that
NO_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
NUMBERS = ("gauge", "sum")
SHAPES = ("histogram", "exponential_histogram")
LIVE = epochs.LIVE


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the log as a Kafka consumer sees it."""

    offset: int
    headers: Mapping[str, bytes]
    value: bytes
    key: bytes = b""


Log = Mapping[tuple[str, int], Sequence[Record]]


@dataclass(slots=True)
class Point:
    """One data point. Times are unix nanoseconds; `record` indexes the partition's records."""

    record: int
    fate: str  # accepted, repeat, ahead, no value, negative
    metric: str
    kind: str  # gauge, delta, cumulative, unspecified; histogram, ... are not read
    monotonic: bool
    unit: str
    stream: str  # canonical text of tenant, resource, scope, instrument, attributes
    lookup: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]  # point, scope, resource
    tenant: str
    time: int
    start: int
    value: int | float | None
    content: contents.Content | None = None  # of a histogram point, whose value is 0


@dataclass(slots=True)
class Partition:
    """A partition, read. `watermark[k]` is the watermark after record k (never decreasing).

    received[k]: the edge's clock at record k, or the time of an idle mark, or 0; marked[k]: whether
    it is a marker of a history.
    """

    topic: str
    number: int
    points: list[Point] = field(default_factory=list[Point], repr=False)
    watermark: list[float] = field(default_factory=list[float], repr=False)
    offsets: list[int] = field(default_factory=list[int], repr=False)
    received: list[int] = field(default_factory=list[int], repr=False)
    marked: list[bool] = field(default_factory=list[bool], repr=False)
    since: float = -math.inf  # the points that it counts are those in (since, until]
    until: float = math.inf
    malformed: int = 0
    repeated_records: int = 0
    wrong_digests: int = 0

    @property
    def live(self) -> bool:
        """Live topics are moved by their data, history topics by markers alone."""
        return epochs.domain_of(self.topic) == LIVE

    def before(self, record: int) -> float:
        """The watermark just before record `record` was applied."""
        return self.watermark[record - 1] if record else -math.inf


def read(log: Log, out_of_orderness: int = 0) -> list[Partition]:
    """Apply the rules of acceptance and of event time to every partition."""
    return [
        _read_partition(topic, number, records, out_of_orderness)
        for (topic, number), records in sorted(log.items())
    ]


def _read_partition(
    topic: str, number: int, records: Sequence[Record], out_of_orderness: int
) -> Partition:
    partition = Partition(topic, number)
    first_seen: dict[tuple[bytes, bytes], int] = {}
    time = -math.inf
    newest = 0
    for index, record in enumerate(records):
        partition.offsets.append(record.offset)
        control = record.headers.get("control")
        if control == b"epoch":
            bounds = epochs.bounds(record.value, partition.since, partition.until)
            partition.since, partition.until = bounds
        if control is not None:
            mark = control_time(control, record.value, partition.live)
            time = max(time, mark)
            idle = partition.live and mark > -math.inf
            partition.received.append(int(mark) if idle else 0)
            partition.marked.append(not partition.live and mark > -math.inf)
        else:
            received = _clock(record)
            newest = max(newest, received)
            partition.received.append(received)
            partition.marked.append(False)
            points = _points(partition, index, record, first_seen, newest)
            partition.points.extend(points)
            if partition.live:
                moving = [p.time for p in points if p.fate in ("accepted", "no value")]
                if moving:
                    time = max(time, min(max(moving), received) - out_of_orderness)
                    if received > partition.until:  # what is newer goes to the next epoch
                        time = max(time, received - AHEAD)
        partition.watermark.append(time)
    return partition


def _clock(record: Record) -> int:
    try:
        return int(record.headers.get("received", b"0"))
    except ValueError:
        return 0


def control_time(control: bytes, body: bytes, live: bool) -> float:
    """Idle marks move live partitions, markers move history partitions; `end` ends the domain."""
    if control != (b"idle" if live else b"marker"):
        return -math.inf
    mark = json.loads(body)
    return math.inf if mark.get("end") else mark["time"]


def _points(
    partition: Partition,
    index: int,
    record: Record,
    first_seen: dict[tuple[bytes, bytes], int],
    newest: int,
) -> list[Point]:
    headers = record.headers
    request = ExportMetricsServiceRequest()
    try:
        if headers["encoding"] != b"otlp":
            raise ValueError("unknown encoding")
        tenant, received = headers["tenant"], int(headers["received"])
        request.ParseFromString(record.value)
    except (DecodeError, KeyError, ValueError):
        partition.malformed += 1
        return []
    digest = headers.get("digest")
    repeat = False
    if digest is not None:
        if digest != hashlib.blake2b(tenant + b"\0" + record.value, digest_size=16).digest():
            partition.wrong_digests += 1
        seen = first_seen.get((tenant, digest))
        repeat = seen is not None and received - seen < REPEAT and newest - seen < FORGOTTEN
        if not repeat:
            first_seen[tenant, digest] = received
        partition.repeated_records += repeat
    points = list(decode(request, tenant.decode(), received, index))
    for point in points:
        if repeat:
            point.fate = "repeat"
        elif (partition.live and point.time - received > AHEAD) or point.time >= 1 << 63:
            point.fate = "ahead"
        elif point.value is None:
            point.fate = "no value"
        elif point.monotonic and point.value < 0:
            point.fate = "negative"
    return points


def decode(
    request: ExportMetricsServiceRequest, tenant: str, received: int, index: int = 0
) -> Iterator[Point]:
    """Every data point of a request; those without a timestamp get `received`."""
    for of_resource in request.resource_metrics:
        resource = attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_metrics:
            scope = attributes(of_scope.scope.attributes)
            named = [of_scope.scope.name, of_scope.scope.version, scope]
            for metric in of_scope.metrics:
                shape = metric.WhichOneof("data")
                if shape is None:
                    continue
                body = getattr(metric, shape)
                kind = _kind(shape, body)
                monotonic = shape == "sum" and body.is_monotonic
                temporality = body.aggregation_temporality if kind in SHAPES else 0
                instrument = [metric.name, metric.unit, kind, monotonic, temporality]
                owner = _canonical([tenant, resource, named, instrument])[:-1]
                for point in body.data_points:
                    own = attributes(point.attributes)
                    yield Point(
                        record=index,
                        fate="accepted",
                        metric=metric.name,
                        kind=kind,
                        monotonic=monotonic,
                        unit=metric.unit,
                        stream=f"{owner},{_canonical(own)},{_bounds(point, kind)}]",
                        lookup=(own, scope, resource),
                        tenant=tenant,
                        time=point.time_unix_nano or received,
                        start=point.start_time_unix_nano,
                        value=_value(shape, point),
                        content=_content(kind, point, temporality),
                    )


def _kind(shape: str, body: Any) -> str:
    if shape == "gauge":
        return "gauge"
    if shape == "sum":
        return {CUMULATIVE: "cumulative", DELTA: "delta"}.get(
            body.aggregation_temporality, "unspecified"
        )
    return shape


def _content(kind: str, point: Any, temporality: int) -> contents.Content | None:
    return (
        contents.read(kind, point, temporality == DELTA, temporality == CUMULATIVE)
        if kind in SHAPES
        else None
    )


def _bounds(point: Any, kind: str) -> list[float]:
    """Explicit histograms of other bounds are another stream's."""
    return list(point.explicit_bounds) if kind == "histogram" else []


def _value(shape: str, point: Any) -> int | float | None:
    """None: the point says that nothing was recorded."""
    if point.flags & NO_VALUE:
        return None
    if shape not in NUMBERS:
        return 0
    held = point.WhichOneof("value")
    return None if held is None else getattr(point, held)


def attributes(pairs: Any) -> dict[str, Any]:
    """Key to plain value: str, bool, int, float, list, dict, bytes or None."""
    return {pair.key: _plain(pair.value) for pair in pairs}


def _plain(value: Any) -> Any:
    held = value.WhichOneof("value")
    if held is None:
        return None
    inner = getattr(value, held)
    if held == "array_value":
        return [_plain(item) for item in inner.values]
    return attributes(inner.values) if held == "kvlist_value" else inner


def render(value: Any) -> str:
    """A label: strings as they are, all else as compact JSON (bytes in base64)."""
    if isinstance(value, str):
        return value
    return _canonical(value, lambda raw: base64.b64encode(raw).decode())


def _canonical(value: Any, of_bytes: Callable[[bytes], Any] = lambda raw: [raw.hex(), 0]) -> str:
    compact = (",", ":")
    return json.dumps(
        value, sort_keys=True, separators=compact, ensure_ascii=False, default=of_bytes
    )
