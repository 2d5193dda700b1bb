"""The two inputs, and what every peer's result has to be.

Values are multiples of a quarter and small: sums of doubles are exact in any order. No event lies
on a window's edge, so that windows [start, end) and (start, end] hold the same. Events come up to
two seconds out of order and the grace is five: nothing is late. A record of each group (JSON) or
host (OTLP) behind the end closes the windows; its own window counts for nobody.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from topologies.identity.split import canonical_resource_key

PARTITIONS = 2
MS = 1_000_000
GRACE_S = 5
BEHIND_MS = 120_000
TENANT = "acme"

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

Result = dict[tuple[str, str, int], tuple[int, float, float, float]]
"""(host, route, start of the window in unix ms) -> (count, sum, min, max)"""


class Record(NamedTuple):
    """What is appended to the input topic."""

    partition: int
    timestamp_ms: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Events:
    """What happened, in columns: the oracle's view. All of one length."""

    host: I64
    route: I64
    at_ms: I64
    value: F64


@dataclass(frozen=True, slots=True)
class Input:
    """An input topic: `size` events in it, windows of `window_s`, all before `end_ms`."""

    topic: str
    format: str
    size: int
    window_s: int
    start_ms: int

    def records(self) -> Iterator[Record]:
        """The topic's records, in order."""
        return json_records(self) if self.format == "json" else otlp_records(self)

    @property
    def end_ms(self) -> int:
        """Behind all windows that count."""
        span = self.size // 10 if self.format == "json" else self.rounds * OTLP_INTERVAL_MS
        step = self.window_s * 1000
        return -(-(self.start_ms + span) // step) * step

    @property
    def rounds(self) -> int:
        """How often each series of the OTLP input reports."""
        return max(1, self.size // OTLP_SERIES)


JSON_HOSTS, JSON_ROUTES = 50, 20
LINE = (
    b'{"host":"host-%04d","route":"/api/v1/items/%03d","method":"GET","status":200,'
    b'"value":%.2f,"at":%d}'
)


def json_events(of: Input) -> Events:
    """10,000 events a second of event time, to 1,000 groups."""
    chance = np.random.default_rng(11)
    n = of.size
    late = chance.integers(0, 2000, n)
    at = np.maximum(of.start_ms + np.arange(n) // 10 - late, of.start_ms)
    return Events(
        chance.integers(0, JSON_HOSTS, n), chance.integers(0, JSON_ROUTES, n),
        at + (at % 1000 == 0), chance.integers(0, 4000, n) * 0.25,
    )  # fmt: skip


def json_records(of: Input) -> Iterator[Record]:
    """One event a record; its key names the group and decides the partition."""
    events = json_events(of)
    keys = [
        [b"host-%04d|/api/v1/items/%03d" % (host, route) for route in range(JSON_ROUTES)]
        for host in range(JSON_HOSTS)
    ]
    parts = [[zlib.crc32(key) % PARTITIONS for key in row] for row in keys]
    columns = (events.host, events.route, events.at_ms, events.value)
    for host, route, at, value in zip(*(each.tolist() for each in columns), strict=True):
        line = LINE % (host, route, value, at)
        yield Record(parts[host][route], at, keys[host][route], line, [])
    at = of.end_ms + BEHIND_MS + 1
    for host in range(JSON_HOSTS):
        for route in range(JSON_ROUTES):
            line = LINE % (host, route, 0.25, at)
            yield Record(parts[host][route], at, keys[host][route], line, [])


OTLP_HOSTS, OTLP_METRICS, OTLP_ROUTES, OTLP_METHODS = 100, 10, 25, 4
OTLP_MESSAGE = OTLP_METRICS * OTLP_ROUTES * OTLP_METHODS
OTLP_SERIES = OTLP_HOSTS * OTLP_MESSAGE
OTLP_INTERVAL_MS = 10_000
TIME_MARK, VALUE_MARK = b"mark_now", b"mark_val"


def otlp_values(of: Input) -> Iterator[tuple[int, int, F64]]:
    """(host, time in ms, values of the points in order) of every message."""
    chance = np.random.default_rng(12)
    for number in range(of.rounds):
        for host in range(OTLP_HOSTS):
            at = of.start_ms + number * OTLP_INTERVAL_MS + 1 + host * 97
            yield host, at, chance.integers(0, 4000, OTLP_MESSAGE) * 0.25


def otlp_events(of: Input) -> Events:
    """Every point, in columns."""
    messages = list(otlp_values(of))
    routes = np.tile(np.repeat(np.arange(OTLP_ROUTES), OTLP_METHODS), OTLP_METRICS)
    return Events(
        np.repeat([host for host, _, _ in messages], OTLP_MESSAGE),
        np.tile(routes, len(messages)),
        np.repeat([at for _, at, _ in messages], OTLP_MESSAGE),
        np.concatenate([values for _, _, values in messages]),
    )


def otlp_records(of: Input) -> Iterator[Record]:
    """1,000 gauge points a record, all of one host, as an agent sends them; about 155 bytes each.

    Key, partition and headers are those that tidemill's edge gives them.
    """
    templates = [_Template(host) for host in range(OTLP_HOSTS)]
    number = 0
    for host, at, values in otlp_values(of):
        number += 1
        yield templates[host].record(at, values, number)
    for host in range(OTLP_HOSTS):
        number += 1
        at = of.end_ms + BEHIND_MS + 1
        yield templates[host].record(at, np.full(OTLP_MESSAGE, 0.25), number)


class _Template:
    """A host's message: only times and values change."""

    def __init__(self, host: int) -> None:
        resource = Resource()
        for key, text in (
            ("service.name", f"shop-{host % 7}"),
            ("host.name", f"host-{host:04d}"),
            ("cloud.region", ("eu-west-1", "us-east-1", "ap-south-1")[host % 3]),
            ("service.instance.id", f"instance-{host:08d}"),
        ):
            resource.attributes.add(key=key).value.string_value = text
        self.key = canonical_resource_key(TENANT, resource.SerializeToString())
        request = ExportMetricsServiceRequest()
        part = request.resource_metrics.add(resource=resource).scope_metrics.add()
        part.scope.name, part.scope.version = "io.example.http", "1.4.2"
        for number in range(OTLP_METRICS):
            metric = part.metrics.add(name=f"http.server.measure.{number}", unit="1")
            for route in range(OTLP_ROUTES):
                for method in ("GET", "POST", "PUT", "HEAD"):
                    point = metric.gauge.data_points.add(
                        time_unix_nano=int.from_bytes(TIME_MARK, "little"),
                        as_double=float(np.frombuffer(VALUE_MARK, "<f8")[0]),
                    )
                    for key, text in (
                        ("http.request.method", method),
                        ("http.route", f"/api/v1/items/{route:03d}"),
                        ("http.response.status_code", "200"),
                        ("cluster_id", f"lkc-{host:05d}"),
                    ):
                        point.attributes.add(key=key).value.string_value = text
        self._content = np.frombuffer(bytearray(request.SerializeToString()), np.uint8)
        self._times = self._places(TIME_MARK)
        self._values = self._places(VALUE_MARK)

    def record(self, at_ms: int, values: F64, number: int) -> Record:
        content = self._content
        content[self._times] = np.frombuffer((at_ms * MS).to_bytes(8, "little"), np.uint8)
        content[self._values] = values.astype("<f8").view(np.uint8).reshape(-1, 8)
        headers = [
            ("encoding", b"otlp"),
            ("tenant", TENANT.encode()),
            ("received", b"%d" % ((at_ms + 50) * MS)),
            ("digest", number.to_bytes(16, "big")),
        ]
        partition = int.from_bytes(self.key[:8], "big") % PARTITIONS
        return Record(partition, at_ms, self.key, content.tobytes(), headers)

    def _places(self, mark: bytes) -> I64:
        content, found = self._content.tobytes(), []
        at = content.find(mark)
        while at >= 0:
            found.append(at)
            at = content.find(mark, at + len(mark))
        assert len(found) == OTLP_MESSAGE
        return np.array(found)[:, None] + np.arange(8)


def oracle(of: Input) -> Result:
    """The result, by DuckDB over the generator's columns."""
    events = json_events(of) if of.format == "json" else otlp_events(of)
    columns = {
        "host": events.host, "route": events.route, "at_ms": events.at_ms, "value": events.value,
    }  # fmt: skip
    step = of.window_s * 1000
    with duckdb.connect() as database:
        database.register("events", columns)
        rows = database.execute(
            f"""SELECT host, route, at_ms - at_ms % {step}, count(*), sum(value), min(value),
            max(value) FROM events GROUP BY ALL"""
        ).fetchall()
    return {
        (f"host-{host:04d}", f"/api/v1/items/{route:03d}", start): (n, total, least, greatest)
        for host, route, start, n, total, least, greatest in rows
    }
