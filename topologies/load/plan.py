"""From samples to the records of a history topic, always the same ones in the same order (C).

Event time is cut into slices; a slice's points come first, then a marker to every partition that
says so: "complete up to here". So a load that was broken off is carried on by leaving out what is
there already, and nothing that a marker closed is ever added to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from topologies.edge.cut import digest, partition_of
from topologies.edge.records import Headers, Record
from topologies.identity.split import canonical_resource_key
from topologies.load.config import DAY_NS
from topologies.load.rows import Attributes, Samples, SeriesKey

SCOPE = "tidemill.load"


@dataclass(frozen=True, slots=True)
class Slice:
    """The points of event times up to `until` (unix ns) that no earlier slice had.

    `data` are the records that hold them; `last` says that nothing follows.
    """

    until: int
    data: tuple[Record, ...]
    points: int
    last: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """What every record of the load carries."""

    topic: str
    tenant: str
    partitions: int
    fingerprint: bytes  # 16 bytes: tells this load from another one under its name
    points_per_record: int
    slice_ns: int


def fingerprint(settings: str, contents: Mapping[str, bytes]) -> bytes:
    """16 bytes that differ when settings, a file's name or a file's content (its hash) do."""
    tell = [settings, *(f"{name} {contents[name].hex()}" for name in sorted(contents))]
    return hashlib.blake2b("\n".join(tell).encode(), digest_size=16).digest()


def slices(series: Mapping[SeriesKey, Samples], planned: Planned) -> Iterator[Slice]:
    """The load, in order of event time. `series` holds at least one sample."""
    ordered = sorted(series.items(), key=lambda item: _sort_key(item[0]))
    columns: list[tuple[SeriesKey, np.ndarray[tuple[int], np.dtype[np.int64]], list[float]]] = []
    for key, samples in ordered:
        times = np.frombuffer(samples.times, np.int64)
        order = np.argsort(times, kind="stable")
        columns.append((key, times[order], np.frombuffer(samples.values)[order].tolist()))
    first = min(int(times[0]) for _, times, _ in columns)
    end = max(int(times[-1]) for _, times, _ in columns)
    until = -(-first // planned.slice_ns) * planned.slice_ns
    begin = [0] * len(columns)
    while True:
        until = min(until, end)
        data: list[Record] = []
        points = 0
        for index, (key, times, values) in enumerate(columns):
            after = int(np.searchsorted(times, until, side="right"))
            part = slice(begin[index], after)
            data += _records(key, times[part].tolist(), values[part], planned)
            points += after - begin[index]
            begin[index] = after
        if points:
            yield Slice(until, tuple(data), points, until == end)
        if until == end:
            return
        # Straight to the slice that holds the next point: years without any cost nothing.
        upcoming = min(
            int(times[at])
            for at, (_, times, _) in zip(begin, columns, strict=True)
            if at < len(times)
        )
        until = -(-upcoming // planned.slice_ns) * planned.slice_ns


def marker(planned: Planned, partition: int, *, time: int, end: bool, received_ns: int) -> Record:
    """A partition's word that it is complete up to event time `time` (unix ns); `end`: for ever."""
    headers: Headers = (
        ("control", b"marker"),
        ("tenant", planned.tenant.encode()),
        ("received", str(received_ns).encode()),
        ("load", planned.fingerprint),
    )
    value = json.dumps({"time": time, "end": end}).encode()
    return Record(planned.topic, partition, b"", value, headers)


def stamped(record: Record, received_ns: int) -> Record:
    """The record with the time at which it is sent."""
    headers = (*record.headers, ("received", str(received_ns).encode()))
    return Record(record.topic, record.partition, record.key, record.value, headers)


def digest_of(headers: Sequence[tuple[str, bytes]]) -> bytes | None:
    """The digest that a record carries."""
    return dict(headers).get("digest")


def slice_length(days: int) -> int:
    """Nanoseconds of a slice."""
    return days * DAY_NS


def _records(
    key: SeriesKey, times: list[int], values: list[float], planned: Planned
) -> Iterator[Record]:
    """A series' points in records that all differ: equal ones would count as one, repeated.

    So no two records share an event time: one that many points have makes a longer record.
    """
    at = 0
    while at < len(times):
        to = min(at + planned.points_per_record, len(times))
        while to < len(times) and times[to] == times[to - 1]:
            to += 1
        yield _record(key, times[at:to], values[at:to], planned)
        at = to


def _record(key: SeriesKey, times: list[int], values: list[float], planned: Planned) -> Record:
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    for name, text in key.resource:
        resource.resource.attributes.add(key=name).value.string_value = text
    scope = resource.scope_metrics.add()
    scope.scope.name = SCOPE
    metric = scope.metrics.add(name=key.metric, unit=key.unit)
    for time, value in zip(times, values, strict=True):
        point = metric.gauge.data_points.add(time_unix_nano=time, as_double=value)
        for name, text in key.attributes:
            point.attributes.add(key=name).value.string_value = text
    route = canonical_resource_key(planned.tenant, resource.resource.SerializeToString())
    value_bytes = request.SerializeToString(deterministic=True)
    headers: Headers = (
        ("encoding", b"otlp"),
        ("tenant", planned.tenant.encode()),
        ("digest", digest(planned.tenant, value_bytes)),
        ("load", planned.fingerprint),
    )
    partition = partition_of(route, planned.partitions)
    return Record(planned.topic, partition, route, value_bytes, headers)


def _sort_key(key: SeriesKey) -> tuple[Attributes, str, str, Attributes]:
    return key.resource, key.metric, key.unit, key.attributes
