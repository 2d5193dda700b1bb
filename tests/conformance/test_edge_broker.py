"""The edge as a process before a real broker: what it acknowledged is on the log, whatever dies."""

from __future__ import annotations

import http.client
import os
import random
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

DEADLINE = 30.0
TOKEN = "a-token-of-enough-length"


class Process:
    """A process of ours, its output read line by line; always ended, by its own handle."""

    def __init__(self, *words: str, file_blocks: int | None = None) -> None:
        command = [sys.executable, "-m", *words]
        if file_blocks is not None:
            command = ["sh", "-c", f'ulimit -f {file_blocks}; exec "$@"', "sh", *command]
        self.popen = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[2],
        )
        self.output = b""

    def wait_for(self, pattern: bytes) -> re.Match[bytes]:
        """The first match of `pattern` in what the process wrote."""
        assert self.popen.stdout is not None
        until = time.monotonic() + DEADLINE
        while (found := re.search(pattern, self.output)) is None:
            left = until - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.output!r}"
            if select.select([self.popen.stdout], [], [], left)[0]:
                chunk = os.read(self.popen.stdout.fileno(), 65536)
                assert chunk, f"it ended with {self.popen.wait()}: {self.output!r}"
                self.output += chunk
        return found

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        code = self.popen.wait(DEADLINE)
        assert self.popen.stdout is not None
        self.popen.stdout.close()
        return code


class Broker:
    """A broker that can be killed and started again on its port and data."""

    def __init__(self, data: Path, file_blocks: int | None = None) -> None:
        self._data = data
        self.port = 0
        self.start(file_blocks)

    def start(self, file_blocks: int | None = None) -> None:
        """file_blocks: a disk on which no file grows beyond so many blocks of 512 bytes."""
        words = ("--data", str(self._data), "--port", str(self.port), "--metrics-port", "-1")
        self.process = Process("broker", *words, file_blocks=file_blocks)
        self.port = int(self.process.wait_for(rb"ready on [^:]+:(\d+)")[1])

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"


class Edge:
    """An edge process."""

    def __init__(self, broker: Broker, *words: str) -> None:
        self.process = Process(
            "topologies.edge", "--bootstrap", broker.bootstrap, "--port", "0", *words
        )
        self.port = int(self.process.wait_for(rb"OTLP/HTTP at http://[^:]+:(\d+)")[1])

    def post(self, body: bytes, token: str | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        headers = {"content-type": "application/x-protobuf"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        try:
            connection.request("POST", "/v1/metrics", body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def healthy(self) -> None:
        until = time.monotonic() + DEADLINE
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    running = Broker(tmp_path / "broker")
    yield running
    running.process.end(signal.SIGKILL)


@pytest.fixture
def edge(broker: Broker, tmp_path: Path) -> Iterator[Edge]:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN} acme\n", encoding="ascii")
    running = Edge(broker, "--tokens", str(tokens))
    running.healthy()
    yield running
    running.process.end(signal.SIGKILL)


def read_all(broker: Broker, topic: str) -> list[Message]:
    """Every record that a topic has now, by a stock client.

    Each partition up to its own end: a request that was refused may still arrive meanwhile.
    """
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader"})
    found: list[Message] = []
    try:
        partitions = consumer.list_topics(topic, timeout=DEADLINE).topics[topic].partitions
        assigned = [TopicPartition(topic, number, 0) for number in partitions]
        ends = {
            place.partition: consumer.get_watermark_offsets(place, timeout=DEADLINE)[1]
            for place in assigned
        }
        consumer.assign(assigned)
        left = sum(ends.values())
        until = time.monotonic() + DEADLINE
        while left:
            assert time.monotonic() < until
            if (message := consumer.poll(0.2)) is not None:
                if message.error():
                    raise KafkaException(message.error())
                if (message.offset() or 0) < ends[message.partition() or 0]:
                    found.append(message)
                    left -= 1
    finally:
        consumer.close()
    return found


def body_of(*hosts: str, value: float = 1.5) -> bytes:
    request = ExportMetricsServiceRequest()
    for host in hosts:
        resource = request.resource_metrics.add()
        resource.resource.attributes.add(key="host.name").value.string_value = host
        metric = resource.scope_metrics.add().metrics.add(name="m")
        metric.gauge.data_points.add(time_unix_nano=1, as_double=value)
    return request.SerializeToString()


def values_of(messages: list[Message]) -> list[float]:
    requests = [
        ExportMetricsServiceRequest.FromString(message.value() or b"") for message in messages
    ]
    return [
        point.as_double
        for request in requests
        for point in request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    ]


def test_the_stock_exporters_points_are_read_by_a_stock_consumer_where_their_key_says(
    broker: Broker, edge: Edge
) -> None:
    exporter = OTLPMetricExporter(
        endpoint=f"http://127.0.0.1:{edge.port}/v1/metrics",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, float("inf"))])
    provider.get_meter("test").create_counter("hits").add(3)
    assert provider.force_flush()
    provider.shutdown()
    assert edge.post(body_of("a", "b", "c")) == 200
    messages = read_all(broker, "telemetry.raw")
    assert len(messages) == 4
    for message in messages:
        key, headers = message.key() or b"", dict(message.headers() or [])
        assert len(key) == 16
        assert message.partition() == int.from_bytes(key[:8], "big") % 4
        assert headers["encoding"] == b"otlp"
        assert len(headers["digest"]) == 16
        assert abs(int(headers["received"]) - time.time_ns()) < 60e9
    tenants = sorted(dict(message.headers() or [])["tenant"] for message in messages)
    assert tenants == [b"acme", b"default", b"default", b"default"]


def test_what_does_not_parse_is_in_the_dead_letters_with_its_reason(
    broker: Broker, edge: Edge
) -> None:
    assert edge.post(b"\x0a\xff", TOKEN) == 400
    (letter,) = read_all(broker, "telemetry.dead-letter")
    headers = dict(letter.headers() or [])
    assert letter.value() == b"\x0a\xff"
    assert letter.key() == b"edge"
    assert headers["code"] == b"unparsable"
    assert b"ExportMetricsServiceRequest" in headers["reason"]
    assert headers["tenant"] == b"acme"


def test_what_was_acknowledged_is_there_after_the_broker_was_killed_again_and_again(
    broker: Broker, edge: Edge
) -> None:
    acknowledged: list[float] = []
    refused = threading.Event()
    stop = threading.Event()

    def agent(first: int) -> None:
        """An agent that repeats a request until it is acknowledged."""
        number = first
        while not stop.is_set():
            status = edge.post(body_of("a", "b", value=number))
            if status == 200:
                acknowledged.append(float(number))
                number += 2
            else:
                assert status == 503
                refused.set()
                stop.wait(0.05)

    agents = [threading.Thread(target=agent, args=(first,)) for first in (0, 1)]
    for thread in agents:
        thread.start()
    for long_outage in (False, True):
        reached = len(acknowledged) + 20
        until = time.monotonic() + DEADLINE
        while len(acknowledged) < reached:
            assert time.monotonic() < until
            time.sleep(0.01)
        refused.clear()
        broker.process.end(signal.SIGKILL)
        assert not long_outage or refused.wait(DEADLINE)
        broker.start()
    reached = len(acknowledged) + 20
    until = time.monotonic() + DEADLINE
    while len(acknowledged) < reached:
        assert time.monotonic() < until
        time.sleep(0.01)
    stop.set()
    for thread in agents:
        thread.join(DEADLINE)
    messages = read_all(broker, "telemetry.raw")
    kept = values_of(messages)
    assert all(kept.count(value) >= 2 for value in acknowledged)
    by_digest = {dict(message.headers() or [])["digest"]: message for message in messages}
    unique = values_of(list(by_digest.values()))
    assert all(unique.count(value) == 2 for value in acknowledged)


def test_a_full_disk_under_the_log_refuses_loses_nothing_and_goes_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    broker = Broker(tmp_path / "broker", file_blocks=400)
    edge = Edge(broker)
    try:
        edge.healthy()
        noise = random.Random(5)
        acknowledged: list[float] = []
        status = 0
        for number in range(400):
            status = edge.post(body_of(noise.randbytes(10_000).hex(), value=number))
            if status != 200:
                break
            acknowledged.append(float(number))
        assert status == 503
        assert acknowledged
        assert sorted(values_of(read_all(broker, "telemetry.raw"))) == acknowledged
        broker.process.end(signal.SIGKILL)
        broker.start()
        until = time.monotonic() + DEADLINE
        while edge.post(body_of("room again", value=-1.0)) != 200:
            assert time.monotonic() < until
        kept = values_of(read_all(broker, "telemetry.raw"))
        assert set(acknowledged) | {-1.0} <= set(kept)
    finally:
        edge.process.end(signal.SIGKILL)
        broker.process.end(signal.SIGKILL)


def test_an_edge_that_is_killed_has_lost_nothing_that_it_acknowledged(
    broker: Broker, edge: Edge
) -> None:
    acknowledged: list[float] = []

    def agent() -> None:
        for number in range(10_000):
            try:
                if edge.post(body_of("a", value=number)) == 200:
                    acknowledged.append(float(number))
            except (OSError, http.client.HTTPException):
                return

    sending = threading.Thread(target=agent)
    sending.start()
    until = time.monotonic() + DEADLINE
    while len(acknowledged) < 50:
        assert time.monotonic() < until
        time.sleep(0.01)
    edge.process.end(signal.SIGKILL)
    sending.join(DEADLINE)
    kept = values_of(read_all(broker, "telemetry.raw"))
    assert set(acknowledged) <= set(kept)
    assert len(kept) <= len(acknowledged) + 1


def test_a_signal_ends_the_edge_within_five_seconds_even_without_a_broker(
    broker: Broker, edge: Edge
) -> None:
    started = time.monotonic()
    assert edge.process.end(signal.SIGTERM) == 0
    alone = Edge(broker)
    broker.process.end(signal.SIGKILL)
    assert alone.post(body_of("a")) == 503
    assert alone.process.end(signal.SIGINT) == 0
    assert time.monotonic() - started < 25


def test_the_host_source_delivers_this_machine(broker: Broker, edge: Edge) -> None:
    endpoint = f"http://127.0.0.1:{edge.port}"
    source = Process("topologies.host", "--endpoint", endpoint, "--interval", "0.2")
    source.wait_for(rb"measuring this machine")
    until = time.monotonic() + DEADLINE
    while len(messages := read_all(broker, "telemetry.raw")) < 3:
        assert time.monotonic() < until
    assert source.end(signal.SIGTERM) == 0
    (resource,) = ExportMetricsServiceRequest.FromString(
        messages[0].value() or b""
    ).resource_metrics
    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert attributes["service.name"] == "tidemill-host"
    assert attributes["host.name"]
    assert len({message.partition() for message in messages}) == 1


def test_wrong_settings_end_with_two_and_say_what_to_do(tmp_path: Path) -> None:
    for words, expected in [
        (("--host", "0.0.0.0"), b"--tokens"),
        (("--tokens", str(tmp_path / "none")), b"can't be read"),
    ]:
        process = Process("topologies.edge", "--port", "0", *words)
        process.wait_for(expected)
        assert process.popen.wait(DEADLINE) == 2
        process.end()
