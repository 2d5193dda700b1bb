"""The checker: OTLP metric requests in their order in, broken rules out. A pure core."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from topologies.otlp_check import points
from topologies.otlp_check.attributes import Attributes, canonical, text, wrong_keys
from topologies.otlp_check.bounded import Recent
from topologies.otlp_check.findings import Finding, Problem
from topologies.otlp_check.sequence import Step, Stream, cumulative, delta, sampled

MAX_STREAMS = 500_000
MAX_METRICS = 50_000
MAX_REQUESTS = 20_000
_VARIANTS = 16
"""How many identities and descriptions of one name are remembered."""

_UNSPECIFIED, _DELTA, _CUMULATIVE = 0, 1, 2
_NAMES = ("unspecified", "delta", "cumulative")
_OVER_TIME: dict[int, Step] = {_UNSPECIFIED: sampled, _DELTA: delta, _CUMULATIVE: cumulative}


@dataclass(frozen=True, slots=True)
class Identity:
    """What identifies a metric beside its name."""

    kind: str
    unit: str
    temporality: int
    monotonic: bool

    def conflicts(self, other: Identity) -> Iterator[Problem]:
        """Where two identities of one name differ."""
        if self.kind != other.kind:
            yield "kind-conflict", other.kind, self.kind
            return
        if self.unit != other.unit:
            yield "unit-conflict", repr(other.unit), repr(self.unit)
        if self.temporality != other.temporality and self.temporality and other.temporality:
            yield "temporality-conflict", _NAMES[other.temporality], _NAMES[self.temporality]
        if self.monotonic != other.monotonic:
            shown = {True: "monotonic", False: "not monotonic"}
            yield "monotonicity-conflict", shown[other.monotonic], shown[self.monotonic]


@dataclass(slots=True)
class _Scope:
    """A scope of a resource, as text for people."""

    resource: str
    name: str


@dataclass(slots=True)
class _Name:
    """What was seen of one metric name in one scope of one resource."""

    where: str
    families: dict[Identity, int] = field(default_factory=dict[Identity, int])
    descriptions: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class _Place:
    """Where the checker is in a request: for findings."""

    where: str
    scope: _Scope
    path: str = ""
    metric: str = ""
    attributes: Attributes = ()
    point: int = -1
    time: int | None = None


@dataclass(slots=True)
class Counts:
    """What was examined so far. `forgotten` streams may have hidden something."""

    requests: int = 0
    points: int = 0
    forgotten: int = 0


class Checker:
    """Checks OTLP metric requests of one stream of requests, in order.

    Memory is bounded: of `max_streams` streams at least, and twice as many at most, the last
    points are remembered (1.1 KB each with four attributes, more for histograms).
    A stream that was forgotten begins anew unseen: that can hide a broken rule, and makes none up.
    """

    def __init__(self, max_streams: int = MAX_STREAMS) -> None:
        self._streams: Recent[tuple[int, Attributes], Stream] = Recent(max_streams)
        self._names: Recent[tuple[Any, ...], _Name] = Recent(MAX_METRICS)
        self._scopes: Recent[tuple[Any, ...], _Scope] = Recent(MAX_METRICS)
        self._seen: Recent[bytes, str] = Recent(MAX_REQUESTS)
        self._families = 0
        self._counts = Counts()
        self._found: list[Finding] = []

    @property
    def counts(self) -> Counts:
        """Requests and points examined, and streams forgotten."""
        self._counts.forgotten = self._streams.forgotten
        return self._counts

    def feed(self, request: bytes, where: str = "") -> list[Finding]:
        """What is wrong with the next request: a serialized ExportMetricsServiceRequest.

        Args:
            where: Which one it is, for the findings: an offset, a line, a number.
        """
        self._found = []
        self._counts.requests += 1
        where = where or f"request {self._counts.requests}"
        place = _Place(where, _Scope("", ""))
        digest = hashlib.blake2b(request, digest_size=16).digest()
        if (before := self._seen.get(digest)) is not None:
            self._report(place, [("repeated-request", f"first at {before}", "the same bytes")])
            return self._found
        self._seen.put(digest, where)
        try:
            decoded = ExportMetricsServiceRequest.FromString(request)
        except DecodeError as error:
            return [self.undecodable(str(error) or "undecodable", where)]
        if not decoded.resource_metrics:
            self._report(place, [("empty-envelope", "points", "a request without resources")])
        for number, resource in enumerate(decoded.resource_metrics):
            self._resource(resource, where, number)
        return self._found

    def undecodable(self, reason: str, where: str) -> Finding:
        """The finding for what could not be made a request."""
        expected = "an ExportMetricsServiceRequest"
        return Finding("undecodable-request", where, "", "", "", "", "", None, expected, reason)

    def _report(self, place: _Place, problems: list[Problem]) -> None:
        for code, expected, found in problems:
            point = place.path if place.point < 0 else f"{place.path} point {place.point}"
            self._found.append(
                Finding(
                    code, place.where, point.strip(), place.scope.resource, place.scope.name,
                    place.metric, text(place.attributes) if place.metric else "", place.time,
                    expected, found,
                )
            )  # fmt: skip

    def _resource(self, resource: Any, where: str, number: int) -> None:
        attributes = canonical(resource.resource.attributes)
        place = _Place(where, _Scope(text(attributes), ""), f"resource {number}")
        self._report(place, list(wrong_keys(attributes)))
        if not resource.scope_metrics:
            self._report(place, [("empty-envelope", "points", "a resource without scopes")])
        for index, scoped in enumerate(resource.scope_metrics):
            scope = scoped.scope
            about = canonical(scope.attributes)
            key = (attributes, scope.name, scope.version, scoped.schema_url, about)
            known = self._scopes.get(key)
            if known is None:
                named = " ".join(filter(None, (scope.name, scope.version)))
                known = _Scope(place.scope.resource, named + text(about))
                self._scopes.put(key, known)
            here = _Place(where, known, f"resource {number} scope {index}")
            self._report(here, list(wrong_keys(about)))
            if not scoped.metrics:
                self._report(here, [("empty-envelope", "points", "a scope without metrics")])
            path = here.path
            for at, metric in enumerate(scoped.metrics):
                here.path, here.metric, here.attributes = f"{path} metric {at}", metric.name, ()
                here.point, here.time = -1, None
                self._metric(metric, key, here)

    def _metric(self, metric: Metric, scope: tuple[Any, ...], place: _Place) -> None:
        kind = metric.WhichOneof("data")
        if not metric.name:
            self._report(place, [("empty-metric-name", "a name", "none")])
        if kind is None:
            self._report(place, [("metric-without-data", "a kind of points", "none")])
            return
        data: Any = getattr(metric, kind)
        temporality = _UNSPECIFIED
        if kind == "summary":
            temporality = _CUMULATIVE
        elif kind != "gauge":
            temporality = data.aggregation_temporality
            temporality = temporality if temporality in _OVER_TIME else _UNSPECIFIED
        monotonic = kind == "sum" and data.is_monotonic
        identity = Identity(kind, metric.unit, temporality, monotonic)
        family = self._family(metric, scope, identity, place)
        if not data.data_points:
            self._report(place, [("empty-envelope", "points", "a metric without points")])
        step = _OVER_TIME[temporality]
        if kind in ("gauge", "sum"):
            self._numbers(data.data_points, family, identity, step, place)
        else:
            self._distributions(data.data_points, family, identity, step, place)

    def _family(
        self, metric: Metric, scope: tuple[Any, ...], identity: Identity, place: _Place
    ) -> int:
        """The number of this identity under this name; what disagrees is told once."""
        key = (scope, metric.name)
        name = self._names.get(key)
        if name is None:
            name = _Name(place.where)
            self._names.put(key, name)
        family = name.families.get(identity)
        if family is None:
            self._families += 1
            family = self._families
            if len(name.families) < _VARIANTS:
                first = next(iter(name.families), identity)
                problems = [(code, f"{expected} at {name.where}", found)
                            for code, expected, found in identity.conflicts(first)]  # fmt: skip
                if identity.kind != "gauge" and identity.temporality == _UNSPECIFIED:
                    problems.append(("unspecified-temporality", "delta or cumulative", "neither"))
                self._report(place, problems)
                name.families[identity] = family
        if metric.description not in name.descriptions and len(name.descriptions) < _VARIANTS:
            if name.descriptions:
                before = f"{name.descriptions[0]!r} at {name.where}"
                problem = ("description-conflict", before, repr(metric.description))
                self._report(place, [problem])
            name.descriptions.append(metric.description)
        return family

    def _stream(self, key: tuple[int, Attributes], place: _Place) -> Stream:
        stream = Stream()
        self._streams.put(key, stream)
        self._report(place, list(wrong_keys(key[1])))
        return stream

    def _numbers(
        self, data_points: Any, family: int, identity: Identity, step: Step, place: _Place
    ) -> None:
        streams, where, monotonic = self._streams, place.where, identity.monotonic
        timed = identity.kind == "sum"
        for index, point in enumerate(data_points):
            attributes = canonical(point.attributes)
            key = (family, attributes)
            stream = streams.get(key)
            start, time = point.start_time_unix_nano, point.time_unix_nano
            kind = point.WhichOneof("value")
            value = None if kind is None else point.as_int if kind == "as_int" else point.as_double
            place.attributes, place.point, place.time = attributes, index, time
            if stream is None:
                stream = self._stream(key, place)
            if point.flags or value is None:
                flagged = bool(point.flags & points.NO_RECORDED_VALUE)
                if flagged and value is not None:
                    problem = ("no-recorded-value-with-value", "no value", f"{value}")
                    self._report(place, [problem])
                elif value is None and not flagged:
                    self._report(place, [("missing-value", "an int or a double", "neither")])
                value = None if flagged else value
            if (
                point.flags > 1
                or not time
                or (timed and not 0 < start <= time)
                or len(point.exemplars)
            ) and not self._times(place, point, stream, timed, value is None):
                continue
            if value is not None or point.flags & points.NO_RECORDED_VALUE:
                problems = step(stream, start, time, value, where, monotonic)
                if problems:
                    self._report(place, problems)
        self._counts.points += len(data_points)

    def _times(self, place: _Place, point: Any, s: Stream, timed: bool, empty: bool) -> bool:
        """Flags, times and exemplars of a point; False if it has no place in time."""
        problems: list[Problem] = []
        start, time, flags = point.start_time_unix_nano, point.time_unix_nano, point.flags
        if flags > 1:
            problems.append(("reserved-flags", "0 or 1", f"flags {flags}"))
        if any(each.WhichOneof("value") is None for each in getattr(point, "exemplars", ())):
            problems.append(("exemplar-without-value", "an int or a double", "neither"))
        placed = True
        if not time:
            problems.append(("zero-time", "a time", "0"))
            placed = False
        elif timed and start > time:
            problems.append(("start-after-time", f"time {time}", f"start {start}"))
            placed = False
        elif timed and not start and not s.told and not empty:
            s.told = True
            problems.append(("missing-start-time", "a start time", "0"))
        self._report(place, problems)
        return placed

    def _distributions(
        self, data_points: Any, family: int, identity: Identity, step: Step, place: _Place
    ) -> None:
        read, wrong = _DISTRIBUTIONS[identity.kind]
        for index, point in enumerate(data_points):
            attributes = canonical(point.attributes)
            place.attributes, place.point, place.time = attributes, index, point.time_unix_nano
            key = (family, attributes)
            stream = self._streams.get(key) or self._stream(key, place)
            value: points.Distribution | None = None
            problems: list[Problem] = []
            if not point.flags & points.NO_RECORDED_VALUE:
                value = read(point)
                problems = list(wrong(value, point))
            elif carried := points.carries(point):
                problems = [("no-recorded-value-with-value", "no value", carried)]
            self._report(place, problems)
            timed = identity.kind != "summary" or bool(point.start_time_unix_nano)
            if self._times(place, point, stream, timed, value is None):
                start, time = point.start_time_unix_nano, point.time_unix_nano
                self._report(place, step(stream, start, time, value, place.where, False))
        self._counts.points += len(data_points)


_Read = Callable[[Any], points.Distribution]
_Wrong = Callable[[points.Distribution, Any], Iterator[Problem]]
_DISTRIBUTIONS: dict[str, tuple[_Read, _Wrong]] = {
    "histogram": (points.explicit, points.wrong_histogram),
    "exponential_histogram": (points.exponential, points.wrong_exponential),
    "summary": (points.summary, points.wrong_summary),
}
