"""The stack as a person starts it: `tidemill up` in a folder of its own, on free ports."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import psutil
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint, ScopeMetrics

from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
SECOND = 1_000_000_000
WORKERS = 4
"""Of a deployment, at most."""
Labels = tuple[tuple[str, str], ...]
HAPPY = """apiVersion: tidemill/v1
kind: Metric
name: happy.processors
description: How seldom a processor state takes more than a tenth of the time
owner: me
source: {metric: system.cpu.utilization, unit: "1"}
space: {keep: [host.name]}
time: {granularities: [10s, 1m], grace: 2s, corrections: 1h}
aggregate: {over_points: {apdex: 0.1}}
---
apiVersion: tidemill/v1
kind: Metric
name: shape.processors
description: What share of the time processor states take
owner: me
source: {metric: system.cpu.utilization, unit: "1"}
space: {keep: [host.name]}
time: {granularities: [10s, 1m], grace: 2s, corrections: 1h}
aggregate: {over_points: exponential_histogram}
"""
"""Of an aggregate that is the user's own: `examples/apdex.py`, copied beside."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole stacks begin first, since they take longest, and each file's stay in one process."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group(item.path.name))


def points_of(metric: Metric) -> list[NumberDataPoint]:
    return list((metric.sum if metric.HasField("sum") else metric.gauge).data_points)


class Up:
    """One deployment: its folder and ports; started and ended as often as one likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / ".tidemill"
        ports = free_ports(4 + WORKERS)  # each worker's is the one before's plus 1
        self.broker, self.metrics, self.edge, self.store, self.worker, *_ = ports
        self.process: subprocess.Popen[bytes] | None = None
        self._log = folder / "up.log"

    @property
    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "tidemill", "up"),
            *("--broker-port", str(self.broker), "--broker-metrics-port", str(self.metrics)),
            *("--edge-port", str(self.edge), "--store-port", str(self.store)),
            *("--worker-port", str(self.worker)),
        ]

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT
            )

    def said(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def wait(self, done: Callable[[], Any], what: str, seconds: float = 90) -> Any:
        """What `done` returns as soon as that is true."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.process is not None:
                assert self.process.poll() is None, f"tidemill up ended: {self.explanation()}"
            if found := done():
                return found
            time.sleep(0.4)
        raise AssertionError(f"no {what} within {seconds} s: {self.explanation()}")

    def explanation(self) -> str:
        logs = [*sorted((self.data / "logs").glob("*.log")), *self.folder.glob("faust*.log")]
        tails = [f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs]
        return "\n".join([self.said(), *tails])

    def rows(self, query: str) -> list[Any]:
        """The rows of a query; none while the store or its tables are not there yet."""
        try:
            client = clickhouse_connect.get_client(host="127.0.0.1", port=self.store)
        except clickhouse_connect.driver.exceptions.ClickHouseError:
            return []
        try:
            return list(client.query(query).result_rows)
        except clickhouse_connect.driver.exceptions.DatabaseError as error:
            if "UNKNOWN_" in str(error):
                return []
            raise
        finally:
            client.close()

    def committed(self, topic: str) -> Iterator[Message]:
        """Every committed record of a topic, as an unmodified client reads it."""
        consumer = Consumer(
            {
                "bootstrap.servers": f"127.0.0.1:{self.broker}",
                "group.id": "end-to-end",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        try:
            partitions = consumer.list_topics(topic, 10).topics[topic].partitions
            consumer.assign([TopicPartition(topic, part, OFFSET_BEGINNING) for part in partitions])
            ended: set[int] = set()
            while len(ended) < len(partitions):
                message = consumer.poll(10)
                assert message is not None, f"{topic} ends nowhere"
                if message.error():
                    ended.add(message.partition())
                else:
                    yield message
        finally:
            consumer.close()

    def published(self) -> list[tuple[str, str, int, Labels, float]]:
        """(definition, interval, window end, labels, value) of every point on the final topic."""
        found: list[tuple[str, str, int, Labels, float]] = []
        for scope in self._scopes("metrics"):
            assert scope.scope.name == "tidemill"
            about = {a.key: a.value.string_value for a in scope.scope.attributes}
            for metric in scope.metrics:
                for point in points_of(metric):
                    labels = tuple((a.key, a.value.string_value) for a in point.attributes)
                    window = (about["tidemill.interval"], point.time_unix_nano)
                    found.append((metric.name, *window, labels, point.as_double))
        return found

    def sent(self, name: str) -> Counter[int]:
        """How many points of a metric the log holds, by the end of their ten seconds."""
        return Counter(
            -(-point.time_unix_nano // (10 * SECOND)) * 10
            for scope in self._scopes("telemetry.raw")
            for metric in scope.metrics
            if metric.name == name
            for point in points_of(metric)
        )

    def values(self, name: str) -> dict[int, list[float]]:
        """The points of a gauge that the log holds, by the end of their ten seconds."""
        found: dict[int, list[float]] = {}
        for scope in self._scopes("telemetry.raw"):
            for metric in scope.metrics:
                if metric.name == name:
                    for point in points_of(metric):
                        end = -(-point.time_unix_nano // (10 * SECOND)) * 10
                        found.setdefault(end, []).append(point.as_double)
        return found

    def _scopes(self, topic: str) -> Iterator[ScopeMetrics]:
        for message in self.committed(topic):
            if "control" not in dict(message.headers() or []):
                request = ExportMetricsServiceRequest.FromString(message.value())
                for resource in request.resource_metrics:
                    yield from resource.scope_metrics

    def counted(self, rollup: str) -> dict[int, int]:
        """How many points the table says were counted, by the end of their ten seconds."""
        rows = self.rows(
            "SELECT toUnixTimestamp(window_end), sum(points) FROM tidemill.rollups "
            f"WHERE rollup = '{rollup}' AND resolution = 10 GROUP BY 1"
        )
        return {int(end): int(points) for end, points in rows}

    def counts_all_once(self, after: int, rollup: str = "host.cpu.utilization") -> dict[int, int]:
        """Wait until the table counts each point of the log, and each once; windows and points.

        Points that come late, since the machine was busy, are counted by a later revision.

        Args:
            after: At least one window has to end after this unix time.
            rollup: It counts the points of system.cpu.utilization.
        """
        counted: dict[int, int] = {}
        sent: Counter[int] = Counter()

        def equal() -> bool:
            nonlocal counted, sent
            counted = self.counted(rollup)
            if max(counted, default=0) <= after:
                return False
            sent = self.sent("system.cpu.utilization")
            return all(counted.get(end) == sent[end] for end in sent if end <= max(counted))

        try:
            self.wait(equal, "agreement of table and log", 60)
        except AssertionError:
            assert counted == {end: sent[end] for end in counted}
            raise
        return counted

    def tidemill(self, *words: str, code: int = 0) -> str:
        """Standard output of a command in the deployment's folder."""
        done = subprocess.run(
            [sys.executable, "-m", "tidemill", *words],
            cwd=self.folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.tidemill(*words, "-o", "json"))

    def processes(self) -> list[psutil.Process]:
        """Everything that `tidemill up` started, and itself."""
        assert self.process is not None
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def interrupt(self) -> float:
        """Ctrl-C; returns the seconds until every process has ended."""
        assert self.process is not None
        running = self.processes()
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        _, alive = psutil.wait_procs(running, timeout=30)
        took = time.monotonic() - began
        assert not alive, f"still there: {alive}"
        self.process.wait()
        self.process = None
        return took

    def end(self) -> None:
        """End what is left, however."""
        if self.process is not None and self.process.poll() is None:
            self.interrupt()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A running stack with the README's definition; a file's tests share it, change nothing."""
    stack = Up(tmp_path_factory.mktemp("up"))
    definition = re.search(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert definition is not None
    (stack.folder / "definitions").mkdir()
    (stack.folder / "definitions" / "busy.yaml").write_text(definition[1])
    (stack.folder / "definitions" / "happy.yaml").write_text(HAPPY)
    (stack.folder / "aggregates").mkdir()
    shutil.copy(ROOT / "examples" / "apdex.py", stack.folder / "aggregates")
    stack.start()
    try:
        stack.wait((stack.data / "settings.json").exists, "file of settings, which commands read")
        yield stack
    finally:
        stack.end()


@pytest.fixture
def own_up(tmp_path: Path) -> Iterator[Up]:
    """A stack for one test alone, not started yet."""
    stack = Up(tmp_path)
    try:
        yield stack
    finally:
        stack.end()
