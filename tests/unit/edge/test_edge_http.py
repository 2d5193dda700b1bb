"""The edge's HTTP side, over real sockets, with a log in memory that can be slow, full or away."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from google.rpc import status_pb2
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from topologies.edge.app import EdgeService
from topologies.edge.config import EdgeConfig, EdgeConfigError, tokens_of
from topologies.edge.records import Outcome, Record
from topologies.epochs import ONE_EPOCH, Epochs

TOKEN = "a-token-of-enough-length"
DEADLINE = 10.0


class MemoryLog:
    """A log that behaves: appends in memory, or is away, or takes no more until let go."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.up = True
        self.lost = 0
        self.known: Epochs | None = ONE_EPOCH
        self.go = threading.Event()
        self.go.set()

    async def start(self) -> None:
        """Always there."""

    async def stop(self) -> None:
        """Nothing to flush."""

    def partitions(self, topic: str) -> int | None:
        return (4 if topic == "telemetry.raw" else 1) if self.up else None

    def epochs(self) -> Epochs | None:
        return self.known

    async def append(self, records: Sequence[Record], timeout: float) -> list[Outcome]:
        until = time.monotonic() + timeout
        while not self.go.is_set():
            if time.monotonic() > until:
                return [Outcome.UNKNOWN] * len(records)
            await asyncio.sleep(0.005)
        if not self.up:
            return [Outcome.UNKNOWN] * len(records)
        self.records += records
        return [Outcome.APPENDED] * len(records)


class Running:
    """An edge in a thread of its own."""

    def __init__(self, config: EdgeConfig, log: MemoryLog) -> None:
        self.log = log
        self._config = config
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(DEADLINE)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.service = EdgeService(self._config, self.log)
        running = asyncio.create_task(self.service.run(self._stop))
        await self.service.started.wait()
        self._ready.set()
        await running

    @property
    def port(self) -> int:
        return self.service.port

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()

    def post(self, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        given = {"content-type": "application/x-protobuf"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", "/v1/metrics", body, given)
        response = connection.getresponse()
        answer = response.status, {n.lower(): v for n, v in response.getheaders()}, response.read()
        connection.close()
        return answer

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        connection.request("GET", path)
        response = connection.getresponse()
        answer = response.status, response.read().decode()
        connection.close()
        return answer

    def raw(self, data: bytes, *, finish: bool = False) -> bytes:
        """Send bytes as they are; all that comes back until the edge closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as peer:
            found = b""
            try:
                peer.sendall(data)
                if finish:
                    peer.shutdown(socket.SHUT_WR)
                while chunk := peer.recv(65536):
                    found += chunk
            except OSError:  # closed by the edge, with something of ours unread
                pass
            return found


@contextmanager
def edge(**changes: object) -> Iterator[Running]:
    settings = {
        "bootstrap": "127.0.0.1:1",
        "port": 0,
        "tokens": tokens_of({TOKEN: "acme"}),
        "head_timeout": 0.5,
        "body_idle_timeout": 0.5,
        "body_timeout": 2.0,
        "append_timeout": 2.0,
    }
    running = Running(EdgeConfig(**(settings | changes)), MemoryLog())  # type: ignore[arg-type]
    try:
        yield running
    finally:
        running.log.go.set()
        running.stop()


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with edge() as running:
        yield running


@pytest.fixture
def server(shared: Running) -> Running:
    shared.log.records.clear()
    return shared


def body_of(*hosts: str, size: int = 0) -> bytes:
    request = ExportMetricsServiceRequest()
    for host in hosts:
        resource = request.resource_metrics.add()
        resource.resource.attributes.add(key="host.name").value.string_value = host
        metric = resource.scope_metrics.add().metrics.add(name="m" + "x" * size)
        metric.gauge.data_points.add(time_unix_nano=1, as_double=1.5)
    return request.SerializeToString()


def wait_until(true: object) -> None:
    assert callable(true)
    until = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.01)


def head(length: int, path: str = "/v1/metrics", more: str = "") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
        f"Content-Length: {length}\r\n{more}\r\n"
    ).encode()


def test_the_stock_exporter_delivers_and_its_tenant_is_that_of_its_token(server: Running) -> None:
    for compression in Compression:
        exporter = OTLPMetricExporter(
            endpoint=f"http://127.0.0.1:{server.port}/v1/metrics",
            headers={"Authorization": f"Bearer {TOKEN}"},
            compression=compression,
        )
        provider = MeterProvider([PeriodicExportingMetricReader(exporter, float("inf"))])
        provider.get_meter("test").create_counter("hits").add(3, {"a": "b"})
        assert provider.force_flush()
        provider.shutdown()
    assert len(server.log.records) == len(Compression)
    for record in server.log.records:
        assert dict(record.headers)["tenant"] == b"acme"
        request = ExportMetricsServiceRequest.FromString(record.value)
        assert request.resource_metrics[0].scope_metrics[0].metrics[0].name == "hits"


def test_a_repeated_request_is_two_records_with_one_digest(server: Running) -> None:
    for _ in range(2):
        assert server.post(body_of("a", "b"))[0] == 200
    digests = [dict(record.headers)["digest"] for record in server.log.records]
    assert len(digests) == 4
    assert digests[:2] == digests[2:]


def test_an_agent_that_never_saw_its_answer_sends_the_same_bytes_again() -> None:
    with edge(append_timeout=0.2, retry_after_log_away=0) as server:
        server.log.go.clear()
        exporter = OTLPMetricExporter(endpoint=f"http://127.0.0.1:{server.port}/v1/metrics")
        provider = MeterProvider([PeriodicExportingMetricReader(exporter, float("inf"))])
        provider.get_meter("test").create_counter("hits").add(3)
        flushing = threading.Thread(target=provider.force_flush)
        flushing.start()
        wait_until(lambda: 'status="503"' in server.get("/metrics")[1])
        server.log.go.set()
        flushing.join(DEADLINE)
        provider.shutdown()
        digests = {dict(record.headers)["digest"] for record in server.log.records[:1]}
        values = {record.value for record in server.log.records}
        assert len(digests) == 1
        assert len(values) <= 2  # what force_flush delivered, and the last of shutdown


def test_errors_are_status_messages_in_the_encoding_of_the_request(server: Running) -> None:
    status, headers, body = server.post(b"\xff\xff")
    assert (status, headers["content-type"]) == (400, "application/x-protobuf")
    assert status_pb2.Status.FromString(body).code == 3
    status, headers, body = server.post(b"{]", content_type="application/json")
    assert (status, headers["content-type"]) == (400, "application/json")
    assert json.loads(body)["code"] == 3
    letters = [record for record in server.log.records if record.topic == "telemetry.dead-letter"]
    assert [letter.value for letter in letters] == [b"\xff\xff", b"{]"]


def test_wrong_tokens_types_paths_and_methods_have_an_answer_each(server: Running) -> None:
    assert server.post(body_of("a"), authorization="Bearer x")[0] == 401
    assert server.post(body_of("a"), content_type="text/plain")[0] == 415
    assert server.post(body_of("a"), content_encoding="br")[0] == 415
    assert server.get("/v1/metrics")[0] == 405
    assert server.get("/nowhere")[0] == 404
    assert not server.log.records


def test_a_body_over_the_limit_is_refused_by_its_length_as_it_comes_and_when_inflated() -> None:
    with edge(max_body=100_000) as server:
        assert b" 413 " in server.raw(head(100_001))
        chunked = b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        chunked += b"Content-Type: application/x-protobuf\r\n\r\n" + b"4000\r\n" + bytes(0x4000)
        found = server.raw(chunked + (b"\r\n4000\r\n" + bytes(0x4000)) * 8)
        assert b" 413 " in found
        bomb = gzip.compress(bytes(50_000_000))
        assert len(bomb) < 100_000
        assert server.post(bomb, content_encoding="gzip")[0] == 413
        assert server.post(body_of("a"))[0] == 200
        assert server.service.budget.used == 0


def test_more_than_may_be_under_way_is_told_to_come_again_and_nothing_leaks() -> None:
    with edge(max_in_flight=300_000) as server:
        server.log.go.clear()
        answers: list[tuple[int, dict[str, str], bytes]] = []
        body = body_of("a", size=100_000)
        first = threading.Thread(target=lambda: answers.append(server.post(body)))
        first.start()
        wait_until(lambda: server.service.budget.used > 200_000)
        status, headers, _ = server.post(body)
        assert (status, headers["retry-after"]) == (503, "1")
        server.log.go.set()
        first.join(DEADLINE)
        assert answers[0][0] == 200
        assert server.post(body)[0] == 200
        assert server.service.budget.used == 0
        assert 'reason="busy"} 1' in server.get("/metrics")[1]


def test_a_log_that_is_away_or_silent_is_503_with_retry_after_and_never_an_acknowledgement() -> (
    None
):
    with edge(append_timeout=0.1) as server:
        server.log.go.clear()
        status, headers, _ = server.post(body_of("a"))
        assert (status, headers.get("retry-after")) == (503, "2")
        server.log.up = False
        server.log.go.set()
        assert server.post(body_of("a"))[0] == 503
        assert server.get("/health")[0] == 503
        assert server.post(b"\xff")[0] == 503  # refused for good only once it is kept
        assert not server.log.records
        server.log.up = True
        assert server.post(body_of("a"))[0] == 200
        assert server.get("/health") == (200, '{"status": "ok", "bootstrap": "127.0.0.1:1"}')


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GARBAGE\r\n\r\n" * 20,
        b"POST /v1/metrics HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/metrics HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST /v1/metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /%ff%fe\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/metrics HTTP/1.1\r\nX: " + b"a" * 200_000,
        b"POST /v1/metrics HTTP/1.1\r\n" + b"X: a\r\n" * 50_000,
        head(10) + b"abc",
        b"\x00" * 1000,
    ],
    ids=range(10),
)
def test_garbage_ends_its_connection_and_nothing_else(server: Running, garbage: bytes) -> None:
    server.raw(garbage, finish=True)
    good = body_of("a")
    server.raw(head(len(good)) + good + garbage, finish=True)
    assert server.post(good)[0] == 200


def test_requests_sent_ahead_are_answered_in_order(server: Running) -> None:
    good = body_of("a")
    last = head(len(good), more="Connection: close\r\n") + good
    found = server.raw(head(len(good)) + good + head(2) + b"\xff\xff" + last)
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", found)]
    assert statuses == [200, 400, 200]


def test_a_client_that_dawdles_is_let_go(server: Running) -> None:
    started = time.monotonic()
    assert server.raw(b"") == b""
    assert server.raw(b"POST /v1/metrics HT") == b""
    assert b" 408 " in server.raw(head(100) + b"x")
    assert time.monotonic() - started < 5
    wait_until(lambda: server.service.budget.used == 0)


def test_a_client_that_goes_away_leaves_nothing_behind(server: Running) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as peer:
            peer.sendall(head(1_000_000) + bytes(100_000))
    wait_until(lambda: server.service.budget.used == 0)
    assert server.post(body_of("a"))[0] == 200


def test_a_port_in_use_is_said_with_what_to_do(server: Running) -> None:
    async def second() -> None:
        config = EdgeConfig(bootstrap="127.0.0.1:1", port=server.port)
        await EdgeService(config, MemoryLog()).run(asyncio.Event())

    with pytest.raises(EdgeConfigError, match=r"in use .* --port"):
        asyncio.run(second())


def test_the_edge_ends_within_five_seconds_and_answers_what_is_under_way() -> None:
    with edge() as server:
        server.log.go.clear()
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(server.post(body_of("a"))[0]))
        asking.start()
        wait_until(lambda: server.service.budget.used > 0)
        started = time.monotonic()
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        server.log.go.set()
        asking.join(DEADLINE)
        stopping.join(DEADLINE)
        assert time.monotonic() - started < 5
        assert answers == [200]


def test_counts_are_told_as_prometheus_text(server: Running) -> None:
    server.post(body_of("a", "b"))
    text = server.get("/metrics")[1]
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["tidemill_edge_pieces_total"]) >= 2
    assert float(values["tidemill_edge_in_flight_bytes"]) == 0
    assert float(values["tidemill_edge_log_up"]) == 1
