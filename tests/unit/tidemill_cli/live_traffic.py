"""Traffic written point by point, for what is held against it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from metric_registry.check import Entry, check_files
from metric_registry.load import SourceFile
from tidemill.preview import Given

SECOND = 10**9
START = 1_800_000_000
"""Unix seconds, and a whole number of minutes."""
BASE = {
    "apiVersion": "tidemill/v1",
    "kind": "Metric",
    "name": "served",
    "description": "Requests served",
    "owner": "me",
    "source": {"metric": "requests", "unit": "s"},
    "space": {"keep": ["route"]},
    "time": {"granularities": ["10s", "1m"], "grace": "5s", "corrections": "20s"},
    "aggregate": {"over_time": "increase", "over_space": "sum"},
}


@dataclass(frozen=True, slots=True)
class Point:
    """A point; times in seconds after START, `came` None: half a second after it was measured."""

    at: float
    value: Any = 0
    route: str | None = "/a"
    host: str | None = "h1"
    metric: str = "requests"
    kind: str = "cumulative"
    unit: str = "s"
    begin: float | None = 0.0
    came: float | None = None
    tenant: str = "t"
    partition: str = "telemetry.raw/0"
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def received(self) -> int:
        """Unix ns."""
        came = self.at + 0.5 if self.came is None else self.came
        return round((START + came) * SECOND)

    def request(self) -> bytes:
        """The point as an OTLP request of its own."""
        request = ExportMetricsServiceRequest()
        block = request.resource_metrics.add()
        if self.host is not None:
            block.resource.attributes.add(key="host.name").value.string_value = self.host
        metric = block.scope_metrics.add().metrics.add(name=self.metric, unit=self.unit)
        if self.kind == "summary":
            metric.summary.data_points.add(time_unix_nano=self._time(self.at), count=3)
            return request.SerializeToString()
        data: Any = metric.gauge
        if self.kind in ("cumulative", "delta", "updown"):
            data = metric.sum
            data.aggregation_temporality = 1 if self.kind == "delta" else 2
            data.is_monotonic = self.kind != "updown"
        if self.kind == "histogram":
            data = metric.histogram
            data.aggregation_temporality = 1
        point = data.data_points.add(time_unix_nano=self._time(self.at))
        if self.begin is not None and self.kind != "gauge":
            point.start_time_unix_nano = self._time(self.begin)
        if self.kind == "histogram":
            point.count, point.sum = 1, self.value
            point.explicit_bounds.extend([1.0])
            point.bucket_counts.extend([1, 0])
        else:
            point.as_double = self.value
        labels = (("route", self.route), *self.extra)
        for name, text in labels:
            if text is not None:
                point.attributes.add(key=name).value.string_value = text
        return request.SerializeToString()

    def _time(self, seconds: float) -> int:
        return round((START + seconds) * SECOND)


def good() -> list[Point]:
    """Two hosts with two routes each, a sample every two seconds for two minutes."""
    return [
        Point(at=second, value=float(second), route=route, host=host)
        for second in range(2, 121, 2)
        for host in ("h1", "h2")
        for route in ("/a", "/b")
    ]


def given(points: Iterable[Point]) -> list[Given]:
    """Requests in the order in which they came, each partition by itself."""
    ordered = sorted(points, key=lambda point: (point.partition, point.received))
    return [Given(one.partition, one.tenant, one.received, one.request()) for one in ordered]


def mark(second: float, partition: str = "telemetry.raw/0") -> Given:
    """An idle mark of a partition."""
    time = round((START + second) * SECOND)
    body = json.dumps({"time": time, "end": False}).encode()
    return Given(partition, "", time, body, idle=True)


def entries(**sections: Any) -> tuple[Entry, ...]:
    """The base definition with other sections, checked."""
    text = json.dumps({**BASE, **sections}).encode()
    report = check_files([SourceFile("served.yaml", text)])
    assert not report.errors, report.text()
    return report.entries


def changed(points: Iterable[Point], chosen: Any, **fields: Any) -> list[Point]:
    """The points, with these fields in those that `chosen` says."""
    return [replace(one, **fields) if chosen(one) else one for one in points]
