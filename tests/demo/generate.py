"""A bad day of three hosts, made out of one recording: deterministic from a seed.

The recording's times are moved so that the last event is at `end`. Three hosts are made of the
one; a process restarts, counters drop, requests come late, shuffled, twice, damaged, or from a
clock that is ahead. What the right numbers are is not said here: that is the oracle's matter.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from oracle.log import CUMULATIVE, NO_VALUE

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOSTS = ("demo-a", "demo-b", "demo-c")
Request = Any  # ExportMetricsServiceRequest; its generated class is known at run time only


@dataclass(frozen=True, slots=True)
class Delivery:
    """A body that an agent sends `at` seconds after the start. `story` says what is odd in it."""

    agent: int
    at: float
    body: bytes
    story: str = "in order"


@dataclass(frozen=True, slots=True)
class Moment:
    """One request of a host: its event time, when it would be sent, and the message."""

    time: int
    at: float
    request: Request


def deliveries(recording: list[bytes], *, seed: int, seconds: float, end: int) -> list[Delivery]:
    """Everything that is sent, in order of time; each agent sends its own in this order.

    recording: OTLP requests of one resource in order; seconds: how long sending takes; end: unix
    nanoseconds of the last event.
    """
    found: list[Delivery] = []
    for agent, host in enumerate(HOSTS):
        rng = random.Random(f"{seed}/{host}")
        moments = list(_moments(recording, host, agent, seconds, end))
        if agent == 1:
            moments = _restarted(moments, at=len(moments) // 2, down=5)
        if agent == 2:
            _dropped(moments, at=len(moments) // 3, metrics={"system.network.io"})
            _restamped(moments, at=len(moments) * 2 // 3, metrics={"system.disk.io"})
        speed = (moments[-1].time - moments[0].time) / SECOND / seconds
        found += _sent(rng, agent, moments, speed)
        found += _oddities(rng, agent, moments, end)
    return sorted(found, key=lambda delivery: delivery.at)


def _moments(
    recording: list[bytes], host: str, agent: int, seconds: float, end: int
) -> Iterator[Moment]:
    """The recording as this host's: other names, times moved, a little apart from the others."""
    requests = [ExportMetricsServiceRequest.FromString(body) for body in recording]
    times = [max(point.time_unix_nano for _, point in points(request)) for request in requests]
    first, last = min(times), max(times)
    shift = end - last - agent * 137_000_001
    for request, time in zip(requests, times, strict=True):
        for resource in request.resource_metrics:
            for attribute in resource.resource.attributes:
                if attribute.key in ("host.name", "host.id"):
                    attribute.value.string_value = host
        for _, point in points(request):
            point.time_unix_nano += shift
            if point.start_time_unix_nano:
                point.start_time_unix_nano += shift
        yield Moment(time + shift, seconds * (time - first) / (last - first), request)


def points(request: Request) -> Iterator[tuple[Any, Any]]:
    """(metric, data point) of every gauge and sum."""
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                shape = metric.WhichOneof("data")
                if shape in ("gauge", "sum"):
                    for point in getattr(metric, shape).data_points:
                        yield metric, point


# ---------------------------------------------------------------- what happens to the counters


def _counters(
    moments: list[Moment], wanted: Callable[[Any], bool]
) -> Iterator[tuple[Any, tuple[str, str]]]:
    """Points of cumulative monotonic sums that are wanted, with what tells streams apart."""
    for moment in moments:
        for metric, point in points(moment.request):
            cumulative = metric.WhichOneof("data") == "sum" and metric.sum.is_monotonic
            if cumulative and metric.sum.aggregation_temporality == CUMULATIVE and wanted(metric):
                yield point, (metric.name, str(point.attributes))


def _lower(found: Iterator[tuple[Any, tuple[str, str]]]) -> None:
    """Count from zero again: every stream less its first value."""
    zero: dict[tuple[str, str], int | float] = {}
    for point, stream in found:
        held = point.WhichOneof("value")
        value = getattr(point, held)
        setattr(point, held, value - zero.setdefault(stream, value))


def _restarted(moments: list[Moment], at: int, down: int) -> list[Moment]:
    """The process is gone for `down` requests; then all counters are new, with a new start."""
    after = moments[at + down :]
    start = after[0].time - SECOND // 2
    _lower(_counters(after, lambda metric: True))
    for point, _ in _counters(after, lambda metric: True):
        point.start_time_unix_nano = start
    return moments[:at] + after


def _dropped(moments: list[Moment], at: int, metrics: set[str]) -> None:
    """Counters fall to zero and nobody says so: the start time stays."""
    _lower(_counters(moments[at:], lambda metric: metric.name in metrics))


def _restamped(moments: list[Moment], at: int, metrics: set[str]) -> None:
    """A new start time, though the values go on."""
    for point, _ in _counters(moments[at:], lambda metric: metric.name in metrics):
        point.start_time_unix_nano = moments[at].time - SECOND


# ---------------------------------------------------------------- what happens on the way


def _sent(
    rng: random.Random, agent: int, moments: list[Moment], speed: float
) -> Iterator[Delivery]:
    """Most in order; some overtaken, some late, some twice. `speed`: event seconds a second."""
    for moment in moments:
        body = moment.request.SerializeToString()
        chance = rng.random()
        if chance < 0.15:
            delay, story = rng.uniform(2, 6), "shuffled"
        elif chance < 0.18:
            delay, story = rng.uniform(10, 60), "late"
        elif chance < 0.19:
            delay, story = rng.uniform(120, 300), "very late"
        else:
            delay, story = 0.0, "in order"
        at = moment.at + delay / speed
        yield Delivery(agent, at, body, story)
        if rng.random() < 0.06:
            yield Delivery(agent, at + rng.uniform(0.05, 20), body, "repeated")


def _oddities(
    rng: random.Random, agent: int, moments: list[Moment], end: int
) -> Iterator[Delivery]:
    """Bodies that cannot be used, or only in part."""
    for number in range(3):
        moment = moments[rng.randrange(len(moments) // 4, len(moments))]
        yield Delivery(agent, moment.at, _damaged(rng, moment), "malformed")
        ahead = end + (10 + number) * MINUTE  # the receiving clock is near `end` at most
        half = _with(moment, lambda n, p, to=ahead + agent: _set_time(p, to) if n % 2 else None)
        yield Delivery(agent, moment.at, half, "clock ahead")
        old = moments[0].time - (62 + number) * MINUTE
        past = _with(moment, lambda n, p, to=old: _set_time(p, to + n))
        yield Delivery(agent, moment.at, past, "beyond corrections")
    blank = moments[len(moments) // 4]
    body = _with(
        blank, lambda n, p: _blank(p) if n % 3 == 0 else _set_time(p, p.time_unix_nano + 1)
    )
    yield Delivery(agent, blank.at, body, "no recorded value")
    undated = moments[-1]  # it counts as of now: earlier it would push time past all the rest
    gauges = ExportMetricsServiceRequest.FromString(undated.request.SerializeToString())
    for metric, point in points(gauges):
        if metric.WhichOneof("data") == "gauge":
            point.time_unix_nano = 0
    yield Delivery(agent, undated.at, gauges.SerializeToString(), "no timestamp")


def _with(moment: Moment, change: Callable[[int, Any], None]) -> bytes:
    request = ExportMetricsServiceRequest.FromString(moment.request.SerializeToString())
    for number, (_, point) in enumerate(points(request)):
        change(number, point)
    return request.SerializeToString()


def _set_time(point: Any, time: int) -> None:
    point.time_unix_nano = time


def _blank(point: Any) -> None:
    point.ClearField("value")
    point.flags = NO_VALUE


def _damaged(rng: random.Random, moment: Moment) -> bytes:
    """A body that no parser accepts: cut off, or with bytes overwritten."""
    whole = moment.request.SerializeToString()
    while True:
        body = bytearray(whole[: rng.randrange(len(whole) // 2, len(whole))])
        for _ in range(rng.randrange(4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        try:
            ExportMetricsServiceRequest.FromString(bytes(body))
        except DecodeError:
            return bytes(body)
