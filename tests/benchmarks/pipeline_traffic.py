"""Traffic of the pipeline's benchmark: a fleet's OTLP, and the definitions that aggregate it.

A resource is one message of up to 1,000 points: ten metrics, four attributes a point, about 155
bytes a point. It is encoded once; a round only writes new times and values into it, as an agent
that reports at an interval does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from topologies.identity.split import canonical_resource_key

SECOND = 1_000_000_000
START = 1_700_000_040 * SECOND
METRICS = 10
POINTS_A_MESSAGE = 1000
TENANT = "acme"

_HEAD = """
apiVersion: tidemill/v1
kind: Metric
name: bench.{name}
description: Part of the benchmark
owner: bench
source:
  any_of: [{sources}]
  where: {{{where}}}
  unit: "1"
space: {{keep: [{keep}]}}
time: {{granularities: [{window}s], grace: 5s, corrections: {corrections}s}}
aggregate: {{over_time: {over_time}, over_space: {over_space}}}
publish: {{final: true, keep: {{{window}s: 14d}}}}
"""

_CLUSTER, _ROUTE, _STATUS = "cluster_id", "http.route", "http.response.status_code"
_FLEET = (  # name, first and last metric, where, kept, over time, over space; 3.9 match a point
    ("requests.by_cluster", 0, 4, "", _CLUSTER, "increase", "sum"),
    ("requests.by_route", 0, 4, "", f"{_CLUSTER}, {_ROUTE}", "increase", "sum"),
    ("requests.by_host", 0, 4, "", "host.name", "increase", "sum"),
    ("errors.by_cluster", 0, 4, f"{_STATUS}: ['500', '503']", _CLUSTER, "increase", "sum"),
    ("volume.by_service", 5, 5, "", "service.name", "sum", "sum"),
    ("level.by_cluster", 6, 9, "", _CLUSTER, "avg", "avg"),
    ("level.peak", 6, 9, "", "host.name", "max", "max"),
    ("level.by_route", 6, 9, "", f"{_CLUSTER}, {_ROUTE}", "last", "sum"),
    ("level.least", 6, 9, "", _CLUSTER, "min", "min"),
    ("samples.by_method", 5, 9, "", "host.name, http.request.method", "count", "sum"),
)
_EACH = f"{_CLUSTER}, {_ROUTE}, {_STATUS}, host.name"
_EVERY = tuple(  # every series is a group of its own
    (f"scraped.{metric}", metric, metric, "", _EACH, how, "sum")
    for metric, how in enumerate(["increase"] * 5 + ["sum"] + ["last"] * 4)
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is sent: `series` report every `interval` seconds, into windows of `window` seconds."""

    name: str
    series: int
    interval: int
    window: int
    rounds: int
    definitions: tuple[tuple[str, int, int, str, str, str, str], ...]
    corrections: int = 60

    @property
    def points(self) -> int:
        return self.series * self.rounds

    @property
    def messages(self) -> int:
        return -(-self.series // POINTS_A_MESSAGE)

    def yaml(self) -> str:
        """The definitions, as a file for the registry."""
        return "---".join(
            _HEAD.format(
                name=name, sources=_sources(first, last),
                where=where, keep=keep, over_time=time, over_space=space, window=self.window,
                corrections=self.corrections,
            )
            for name, first, last, where, keep, time, space in self.definitions
        )  # fmt: skip

    def of(self, points: int, series: int) -> Profile:
        """The same with about as many points (whole rounds, three windows at least) and series."""
        least = 3 * self.window // self.interval + 1
        return replace(self, series=series, rounds=max(least, points // series))


FLEET = Profile(
    name="A", series=100_000, interval=10, window=60, rounds=800, definitions=_FLEET
)  # fmt: skip
SCRAPES = Profile(name="B", series=1_000_000, interval=15, window=60, rounds=25, definitions=_EVERY)


def _sources(first: int, last: int) -> str:
    return ", ".join(f"{{metric: {_metric(each)}}}" for each in range(first, last + 1))


def _metric(number: int) -> str:
    return f"http.server.measure.{number}"


Record = tuple[int, bytes, bytes, list[tuple[str, bytes]]]
"""(partition, key, value, headers)"""


@dataclass(slots=True)
class _Template:
    """A message's bytes, and where its points' fixed fields stand."""

    content: npt.NDArray[np.uint8]
    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.int64]
    integer: npt.NDArray[np.bool_]
    current: npt.NDArray[np.int64]
    key: bytes


class Traffic:
    """All messages of a profile, round by round."""

    def __init__(self, profile: Profile, start: int = START) -> None:
        self.profile = profile
        self.start = start
        self._chance = np.random.default_rng(7)
        self._messages = [
            self._template(number, min(POINTS_A_MESSAGE, profile.series - first))
            for number, first in enumerate(range(0, profile.series, POINTS_A_MESSAGE))
        ]

    def round(self, number: int) -> Iterator[tuple[bytes, bytes, int]]:
        """(routing key, value, received in unix ns) of every message of one round, in order."""
        for index, message in enumerate(self._messages):
            phase = index * self.profile.interval * SECOND // len(self._messages)
            time = self.start + number * self.profile.interval * SECOND + phase
            n = len(message.current)
            message.current += self._chance.integers(0, 2000, n)
            doubles = message.current * 0.25
            values = np.where(message.integer, message.current, doubles.view(np.int64))
            _put(message.content, message.times, np.full(n, time))
            _put(message.content, message.values, values)
            yield message.key, message.content.tobytes(), time + 50_000_000

    def records(self, partitions: int) -> Iterator[Record]:
        """The whole log, ended by a mark in each partition that seals all."""
        for number in range(self.profile.rounds):
            for key, value, received in self.round(number):
                headers = [
                    ("encoding", b"otlp"),
                    ("tenant", TENANT.encode()),
                    ("received", str(received).encode()),
                    ("digest", number.to_bytes(4) + key[:12]),
                ]
                yield int.from_bytes(key[:8], "big") % partitions, key, value, headers
        end = self.end()
        for partition in range(partitions):
            mark = [("control", b"idle"), ("received", str(end).encode())]
            yield partition, bytes(16), b'{"time": %d, "end": false}' % end, mark

    def end(self) -> int:
        """A time by which every window of the traffic has sealed, unix ns."""
        last = self.start + self.profile.rounds * self.profile.interval * SECOND
        return last + (self.profile.window + 10) * SECOND

    def _template(self, number: int, points: int) -> _Template:
        metrics: list[bytes] = []
        integer: list[bool] = []
        for metric in range(METRICS):
            indexes = range(metric, points, METRICS)
            first = number * POINTS_A_MESSAGE
            began = self.start - 3600 * SECOND
            metrics.append(
                _metric_bytes(metric, [_point(first + i, metric, began) for i in indexes])
            )
            integer.extend([metric % 2 == 0] * len(indexes))
        scope = _field(1, _field(1, b"io.example.http") + _field(2, b"1.4.2"))
        resource = _resource(number)
        scoped = scope + b"".join(_field(2, metric) for metric in metrics)
        content = bytearray(_field(1, _field(1, resource) + _field(2, scoped)))
        times: list[int] = []
        at = content.find(_TIME_MARK)
        while at >= 0:
            times.append(at + 1)
            at = content.find(_TIME_MARK, at + 18)
        assert len(times) == points
        where = np.array(times)
        return _Template(
            np.frombuffer(content, np.uint8), where, where + 9, np.array(integer),
            self._chance.integers(0, 1 << 40, points), canonical_resource_key(TENANT, resource),
        )  # fmt: skip


_TIME_MARK = b"\x19mark_now"  # field 3, fixed64


def _resource(number: int) -> bytes:
    found = Resource()
    for key, value in (
        ("service.name", f"shop-{number % 7}"),
        ("host.name", f"host-{number:06d}"),
        ("cloud.region", ("eu-west-1", "us-east-1", "ap-south-1")[number % 3]),
        ("service.instance.id", f"instance-{number:08d}"),
    ):
        found.attributes.add(key=key).value.string_value = value
    return found.SerializeToString()


def _point(series: int, metric: int, start: int) -> bytes:
    value = b"\x31" if metric % 2 == 0 else b"\x21"
    attributes = b"".join(
        _field(7, _field(1, key) + _field(2, _field(1, text)))
        for key, text in (
            (b"http.request.method", (b"GET", b"POST", b"PUT", b"HEAD")[series // 10 % 4]),
            (_ROUTE.encode(), b"/api/v1/items/%05d" % (series // 10 % 100)),
            (_STATUS.encode(), b"%d" % (200, 201, 404, 500, 503)[series // 40 % 5]),
            (_CLUSTER.encode(), b"lkc-%05d" % (series // 1000 % 97)),
        )
    )
    return b"\x11" + start.to_bytes(8, "little") + _TIME_MARK + value + bytes(8) + attributes


def _metric_bytes(metric: int, points: list[bytes]) -> bytes:
    data = b"".join(_field(1, point) for point in points)
    head = _field(1, _metric(metric).encode()) + _field(3, b"1")
    if metric >= 6:
        return head + _field(5, data)
    temporality = 1 if metric == 5 else 2
    return head + _field(7, data + bytes((0x10, temporality, 0x18, 1)))


def _field(number: int, content: bytes) -> bytes:
    length = bytearray()
    rest = len(content)
    while rest > 127:
        length.append(rest & 127 | 128)
        rest >>= 7
    length.append(rest)
    return bytes((number << 3 | 2,)) + bytes(length) + content


def _put(
    content: npt.NDArray[np.uint8], at: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64]
) -> None:
    content[at[:, None] + np.arange(8)] = numbers.astype("<i8").view(np.uint8).reshape(-1, 8)
