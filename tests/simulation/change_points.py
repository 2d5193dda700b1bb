"""What is sent in a world in which definitions change.

Hosts send counters, gauges, deltas and histograms on two partitions; one is heard of rarely, one is
silent around the change, and some points come late.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from metric_registry.plan import Plan

SECOND = 10**9
HOUR = 3_600 * SECOND
ORIGIN = 19_800 * 24 * HOUR
"""A midnight of UTC, in March 2024."""
PARTITIONS = 2
HOSTS = {"a": ("eu", 0), "b": ("us", 1), "c": ("eu", 0), "d": ("us", 1)}
"""Their regions and partitions."""
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA


class Sent(NamedTuple):
    """A request: when it came, and on which partition."""

    time: int
    partition: int
    request: bytes


@dataclass(frozen=True, slots=True)
class Log:
    """What is sent, and the change in its midst; unix ns."""

    sent: tuple[Sent, ...]
    announced: int
    since: int
    end: int

    def known_by(self, before: Plan | None) -> Log:
        """The same as if before the announcement only that had been sent which these count."""
        kept = [
            one if one.time >= self.announced else _counted(one, before)
            for one in self.sent
            if before is not None or one.time >= self.announced
        ]
        return replace(self, sent=tuple(kept))


def _drawn(*parts: object) -> float:
    """A number in [0, 1) that follows from these."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=4).digest()
    return int.from_bytes(digest) / (1 << 32)


@cache
def _total(host: str, name: str, second: int) -> int:
    """A counter: what it has counted in the seconds up to this one."""
    if second <= 0:
        return 0
    return _total(host, name, second - 1) + int(_drawn(host, name, second) * 9)


def _counted(one: Sent, plan: Plan | None) -> Sent:
    """A request without the points that no definition of the plan counts."""
    message = ExportMetricsServiceRequest.FromString(one.request)
    assert plan is not None
    for resource in message.resource_metrics:
        said = _texts(resource.resource.attributes)
        for metric in (each for scope in resource.scope_metrics for each in scope.metrics):
            points = getattr(metric, metric.WhichOneof("data") or "").data_points
            names = [{**said, **_texts(point.attributes)} for point in points]
            for at in reversed(range(len(points))):
                if not plan.matches(metric.name, names[at].get):
                    del points[at]
    return one._replace(request=message.SerializeToString())


def _texts(attributes: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in attributes}


class _Request:
    """A request of one host."""

    def __init__(self, host: str, second: int) -> None:
        self.host, self.second = host, second
        self.message = ExportMetricsServiceRequest()
        resource = self.message.resource_metrics.add()
        _label(resource.resource.attributes, host=host, region=HOSTS[host][0])
        self._metrics = resource.scope_metrics.add().metrics

    def _point(self, data: Any, second: int, labels: dict[str, str]) -> Any:
        point = data.data_points.add(time_unix_nano=ORIGIN + second * SECOND)
        _label(point.attributes, **labels)
        return point

    def counter(self, name: str, second: int, **labels: str) -> None:
        metric: Metric = self._metrics.add(name=name, unit="{request}")
        metric.sum.aggregation_temporality = CUMULATIVE
        metric.sum.is_monotonic = True
        point = self._point(metric.sum, second, labels)
        point.start_time_unix_nano = ORIGIN
        point.as_int = _total(self.host, f"{name}{labels}", second)

    def gauge(self, name: str, second: int, unit: str = "", late: bool = False) -> None:
        point = self._point(self._metrics.add(name=name, unit=unit).gauge, second, {})
        point.as_double = round(_drawn(self.host, name, second) * 100, 2) + 10 * second * late

    def delta(self, name: str, second: int) -> None:
        metric = self._metrics.add(name=name, unit="{job}")
        metric.sum.aggregation_temporality = DELTA
        metric.sum.is_monotonic = True
        self._point(metric.sum, second, {}).as_int = 1 + int(_drawn(self.host, name, second) * 9)

    def histogram(self, name: str, second: int) -> None:
        metric = self._metrics.add(name=name, unit="ms")
        metric.histogram.aggregation_temporality = CUMULATIVE
        point = self._point(metric.histogram, second, {})
        point.start_time_unix_nano = ORIGIN
        point.explicit_bounds.extend([10, 50])
        counts = [_total(self.host, f"{name}{at}", second) for at in range(3)]
        point.bucket_counts.extend(counts)
        point.count, point.sum = sum(counts), float(sum(counts) * 7)

    def sent(self) -> Iterator[Sent]:
        if self._metrics:
            at = ORIGIN + self.second * SECOND
            yield Sent(at, HOSTS[self.host][1], self.message.SerializeToString())


def _label(attributes: Any, **labels: str) -> None:
    for name, value in labels.items():
        attributes.add(key=name).value.string_value = value


@cache
def minutes() -> Log:
    """Five and a half minutes of four hosts; definitions change at 150 s, inside of a minute."""
    sent: list[Sent] = []
    for second in range(330):
        for host in HOSTS:
            sent += _second(host, second)
    return Log(
        tuple(sent),
        announced=ORIGIN + 130 * SECOND,
        since=ORIGIN + 150 * SECOND,
        end=ORIGIN + 330 * SECOND,
    )


LATE = {91: 52, 96: 42, 170: 143, 200: 92, 280: 226, 281: 242}
"""Second at which host `a` sends a point of an earlier one."""
DELAYED = {230: 237, 300: 307}
"""What host `a` has to say of a second comes at a later one, past a short grace."""


def _second(host: str, second: int) -> Iterator[Sent]:
    request = _Request(host, second)
    times = [second] if second % (90 if host == "c" else 5) == (20 if host == "c" else 0) else []
    if host == "d" and 118 <= second < 205:
        times = []
    if host == "a":
        times = [] if second in DELAYED else times
        times += [early for early, at in DELAYED.items() if at == second]
        times += [LATE[second]] if second in LATE else []
    for time in times:
        late = time != second
        request.counter("requests", time, type="Fetch", zone=f"{HOSTS[host][0]}-1")
        request.counter("requests", time, type="Produce", zone=f"{HOSTS[host][0]}-2")
        request.counter("requests.v2", time, type="Fetch", zone=f"{HOSTS[host][0]}-1")
        request.histogram("latency", time)
        if host != "c":
            request.gauge("load", time, late=late)
            request.delta("jobs", time)
            request.gauge("took", time, "" if host == "a" else "ms")
    yield from request.sent()


@cache
def days() -> Log:
    """Five days of two hosts, a point every other hour; definitions change on the second."""
    sent: list[Sent] = []
    for hour in range(0, 120, 2):
        for host in "ab":
            request = _Request(host, hour * 3_600 + 60)
            request.gauge("load", hour * 3_600 + 60)
            sent += request.sent()
    return Log(
        tuple(sent),
        announced=ORIGIN + 40 * HOUR - 20 * SECOND,
        since=ORIGIN + 40 * HOUR,
        end=ORIGIN + 120 * HOUR,
    )
