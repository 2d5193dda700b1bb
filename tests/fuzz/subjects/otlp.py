"""OTLP in protobuf: the scanner of the workers, and the edge's cut; the reference is upb."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tests.fuzz.subject import DATA, ROOT, Outcome, shown
from topologies.edge.cut import UnparsableError, cut
from topologies.host.record import read_requests

sys.path.insert(0, str(ROOT / "tests" / "unit" / "encodings"))

import otlp_reference

_KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
_SERIES = 50_000
"""So many new streams, and the subject begins anew: damage makes streams without an end."""


def requests() -> list[bytes]:
    """The protocol's example with all that OTLP has, and requests of a real machine."""
    return otlp_reference.corpus() + _real() + _histograms()


def _real() -> list[bytes]:
    """A few metrics of each of some requests that a host sent, two points each."""
    found: list[bytes] = []
    for at, raw in enumerate(read_requests(DATA / "host_10m.otlp.zst")):
        request = ExportMetricsServiceRequest.FromString(raw)
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                del scope.metrics[: at % 5], scope.metrics[3:]
                for metric in scope.metrics:
                    del getattr(metric, metric.WhichOneof("data")).data_points[2:]
        found.append(request.SerializeToString())
        if len(found) == 8:
            break
    return found


def _histograms() -> list[bytes]:
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    explicit = scope.metrics.add(name="h").histogram
    explicit.aggregation_temporality = 2
    point = explicit.data_points.add(time_unix_nano=9, start_time_unix_nano=4, count=3, sum=4.5)
    point.bucket_counts.extend([1, 2])
    point.explicit_bounds.append(1.5)
    point.min, point.max = 0.5, 3.0
    exponential = scope.metrics.add(name="e").exponential_histogram
    exponential.aggregation_temporality = 1
    wide = exponential.data_points.add(time_unix_nano=8, count=306, scale=-2, zero_count=3)
    wide.positive.bucket_counts.extend([1, 300])
    wide.negative.bucket_counts.extend([2])
    wide.positive.offset, wide.negative.offset, wide.zero_threshold = -3, 70000, 0.25
    return [request.SerializeToString()]


class Scanning:
    """`Scanner` and `SeriesTable`."""

    def __init__(self) -> None:
        self._subject = otlp_reference.Subject()

    def corpus(self) -> list[bytes]:
        return requests()

    def check(self, messages: Sequence[bytes]) -> Outcome:
        given = list(messages)
        if len(self._subject.series) > _SERIES:
            self._subject = otlp_reference.Subject()
        readings = self._subject.read(given, "acme")
        differences: list[str] = []
        for message, ours in zip(given, readings, strict=True):
            if difference := otlp_reference.difference(message, ours, "acme"):
                differences.append(difference)
        return Outcome(sum(each.refused is None for each in readings), differences)


class Recalling:
    """The same with messages that are known by heart: those of the corpus, and damaged ones."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._subject = otlp_reference.Subject(recalls=True)
        for _ in range(3):
            self._subject.read(self.corpus(), "acme")

    def corpus(self) -> list[bytes]:
        return [message for message in requests() if not _has_shapes(message)]

    def check(self, messages: Sequence[bytes]) -> Outcome:
        if len(self._subject.series) > _SERIES:
            self._begin()
        given = list(messages)
        accepted, differences = 0, list[str]()
        for _ in range(3):  # it comes, is kept, and is recalled
            readings = self._subject.read(given, "acme")
            accepted = sum(each.refused is None for each in readings)
            for message, ours in zip(given, readings, strict=True):
                if difference := otlp_reference.difference(message, ours, "acme"):
                    differences.append(difference)
        return Outcome(accepted, differences)


def _has_shapes(message: bytes) -> bool:
    return any(
        metric.WhichOneof("data") not in ("gauge", "sum")
        for resource in ExportMetricsServiceRequest.FromString(message).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )


class Cutting:
    """`topologies.edge.cut`: pieces a resource, which together hold what the request held."""

    def corpus(self) -> list[bytes]:
        every = requests()
        return [*every, *(one + other for one, other in itertools.pairwise(every))]

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for message in messages:
            try:
                ours: object = _pieces(message)
                accepted += 1
            except UnparsableError:
                continue
            theirs = _whole(message)
            if ours != theirs:
                differences.append(shown(message, ours, theirs))
        return Outcome(accepted, differences)


def _pieces(message: bytes) -> tuple[list[bytes], bool]:
    """Every resource's metrics, sorted, and whether each of the pieces could be a repeat."""
    found = cut(message, tenant="a", topic="t", partitions=3, received_ns=1, limit=1 << 20)
    parts: list[bytes] = []
    timed = True
    for record in found.records:
        piece = ExportMetricsServiceRequest.FromString(record.value)
        parts += [each.SerializeToString(deterministic=True) for each in piece.resource_metrics]
        if ("digest" in dict(record.headers)) != _all_timed(piece):
            timed = False
    return sorted(parts), timed


def _whole(message: bytes) -> object:
    try:
        request = ExportMetricsServiceRequest.FromString(message)
    except DecodeError as error:
        return f"refused: {error}"
    parts = [each.SerializeToString(deterministic=True) for each in request.resource_metrics]
    return sorted(parts), True


def _all_timed(request: ExportMetricsServiceRequest) -> bool:
    return all(
        point.time_unix_nano
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for kind in _KINDS
        for point in getattr(metric, kind).data_points
    )
