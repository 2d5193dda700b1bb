"""Records what real software sends: Apache Kafka, its exporters, and a Java service under the
OpenTelemetry agent.

    python tests/recording/record.py FOLDER [--kafka-exporter PATH]

Needs a JDK and Maven. FOLDER gets the samples of the starter library that are kept in tests/data:
OTLP requests, zstd of protobuf's delimited messages, and scrapes in Prometheus' text format.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import zstandard
from google.protobuf.internal.encoder import _VarintBytes  # pyright: ignore[reportPrivateUsage]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

HERE = Path(__file__).parent
INTERVAL_S = 5
SECONDS = 54
SERVICES = {
    "orders": ("-Dotel.semconv-stability.opt-in=rpc",),
    "orders-delta": ("-Dotel.exporter.otlp.metrics.temporality.preference=delta",),
    "orders-exponential": (
        "-Dotel.exporter.otlp.metrics.default.histogram.aggregation="
        "BASE2_EXPONENTIAL_BUCKET_HISTOGRAM",
    ),
}
"""The same service three times: with the newest names of remote procedure calls; with those before,
and deltas; with exponential histograms."""
KEPT = (
    "jvm_",
    "process_",
    "kafka_controller_kafkacontroller_",
    "kafka_controller_controllerstats_",
    "kafka_network_requestchannel_",
    "kafka_network_socketserver_",
    "kafka_server_brokertopicmetrics_",
    "kafka_server_replicamanager_",
)
"""What is kept of jmx_exporter's 800 families."""
MACHINE = (
    "host.",
    "os.",
    "process.command",
    "process.pid",
    "process.executable",
    "process.runtime",
)


class Received(ThreadingHTTPServer):
    """Takes OTLP requests and keeps them by service."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: dict[str, list[ExportMetricsServiceRequest]] = {}


class _Handler(BaseHTTPRequestHandler):
    server: Received

    def do_POST(self) -> None:
        request = ExportMetricsServiceRequest.FromString(
            self.rfile.read(int(self.headers["Content-Length"]))
        )
        for each in request.resource_metrics:
            named = {a.key: a.value.string_value for a in each.resource.attributes}
            kept = [a for a in each.resource.attributes if not a.key.startswith(MACHINE)]
            del each.resource.attributes[:]
            each.resource.attributes.extend(kept)
            self.server.requests.setdefault(named["service.name"], []).append(request)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing: the recording is what counts."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def agent(jars: Path, service: str, endpoint: str, *more: str) -> list[str]:
    (jar,) = jars.glob("opentelemetry-javaagent-*.jar")
    return [
        f"-javaagent:{jar}",
        f"-Dotel.service.name={service}",
        "-Dotel.traces.exporter=none",
        "-Dotel.logs.exporter=none",
        f"-Dotel.exporter.otlp.endpoint={endpoint}",
        "-Dotel.exporter.otlp.protocol=http/protobuf",
        f"-Dotel.metric.export.interval={INTERVAL_S * 1000}",
        *more,
    ]


@contextmanager
def kafka(folder: Path, jars: Path, endpoint: str, rules: Path) -> Iterator[tuple[str, int]]:
    """A broker of its own; its address, and the port of its scrape."""
    port, controller, scrape = free_port(), free_port(), free_port()
    file = folder / "server.properties"
    file.write_text(
        "process.roles=broker,controller\nnode.id=1\n"
        f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n"
        f"controller.quorum.voters=1@127.0.0.1:{controller}\n"
        "controller.listener.names=CONTROLLER\nnum.partitions=3\n"
        "offsets.topic.replication.factor=1\noffsets.topic.num.partitions=3\n"
        f"log.dirs={folder / 'log'}\n"
    )
    java = ["java", "-Xmx512m", "-cp", f"{jars}/*"]
    tool = [*java, "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg"]
    subprocess.run([*tool, "-c", str(file)], check=True, stdout=subprocess.DEVNULL)
    (jmx,) = jars.glob("jmx_prometheus_javaagent-*.jar")
    settings = agent(jars, "kafka-broker", endpoint, "-Dotel.jmx.target.system=kafka-broker")
    command = [
        *("java", "-Xmx512m", f"-javaagent:{jmx}=127.0.0.1:{scrape}:{rules}", *settings),
        *("-cp", f"{jars}/*", "kafka.Kafka", str(file)),
    ]
    with (folder / "broker.log").open("wb") as log:
        broker = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if broker.poll() is not None:
                raise SystemExit(f"the broker ended: {(folder / 'broker.log').read_text()}")
            time.sleep(0.2)
        yield f"127.0.0.1:{port}", scrape
    finally:
        broker.terminate()
        broker.wait()


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return answer.read().decode()


def cut(text: str) -> str:
    """The families of a scrape that are kept, as they came."""
    lines = text.splitlines(keepends=True)
    return "".join(
        line
        for line in lines
        if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith(KEPT)
    )


def write(path: Path, requests: list[ExportMetricsServiceRequest]) -> None:
    raw = [each.SerializeToString(deterministic=True) for each in requests]
    body = b"".join(_VarintBytes(len(each)) + each for each in raw)
    path.write_bytes(zstandard.ZstdCompressor(level=19).compress(body))
    print(f"{path}: {len(requests)} requests, {path.stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rules", type=Path, required=True, help="jmx_exporter's rules for Kafka")
    parser.add_argument("--jars", type=Path, help="jars that Maven has brought already")
    parser.add_argument("--kafka-exporter", type=Path)
    given = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="recording-"))
    jars: Path = given.jars or scratch / "jars"
    if given.jars is None:
        maven = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
        subprocess.run(maven, cwd=HERE, check=True)
    classes = scratch / "classes"
    compiler = ["javac", "-cp", f"{jars}/*", "-d", str(classes), str(HERE / "Workload.java")]
    subprocess.run(compiler, check=True)
    received = Received()
    threading.Thread(target=received.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{received.server_port}"
    given.folder.mkdir(parents=True, exist_ok=True)
    with kafka(scratch, jars, endpoint, given.rules.resolve()) as (bootstrap, scrape):
        services = [
            subprocess.Popen(
                [
                    *("java", "-Xmx256m", *agent(jars, name, endpoint, *settings)),
                    *("-cp", f"{classes}:{jars}/*", "Workload", bootstrap, str(SECONDS), name),
                ],
                stdout=subprocess.PIPE,
            )
            for name, settings in SERVICES.items()
        ]
        port = free_port()
        exporter = given.kafka_exporter and subprocess.Popen(
            [
                given.kafka_exporter,
                f"--kafka.server={bootstrap}",
                f"--web.listen-address=127.0.0.1:{port}",
            ]
        )
        for service in services:
            assert service.stdout
            service.stdout.readline()  # its first round is done
        for number in (1, 2):
            time.sleep(SECONDS / 3)
            broker = cut(scraped(scrape))
            (given.folder / f"jmx_exporter-{number}.txt").write_text(broker)
            if exporter:
                groups = scraped(port)
                (given.folder / f"kafka_exporter-{number}.txt").write_text(groups)
        for service in services:
            service.wait()
        if exporter:
            exporter.terminate()
            exporter.wait()
    for name, requests in received.requests.items():
        write(given.folder / f"{name}.otlp.zst", requests)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    os.environ.pop("JAVA_TOOL_OPTIONS", None)
    main()
