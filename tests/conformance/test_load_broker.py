"""Loads before a real broker: once, whole, closed by markers, and carried on when broken off."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

DEADLINE = 30.0
ROOT = Path(__file__).parents[2]
SLOW_LOAD = """
import asyncio, sys
from pathlib import Path
from topologies.load.app import run_load
from topologies.load.config import LoadConfig
config = LoadConfig("x", (Path(sys.argv[1]),), sys.argv[2], points_per_record=2, marker_days=1)
print(asyncio.run(run_load(config, print)).text())
"""


class Broker:
    """A broker process on a free port."""

    def __init__(self, data: Path) -> None:
        words = ("--data", str(data), "--port", "0", "--metrics-port", "-1")
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "broker", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
        assert self._popen.stdout is not None
        output = b""
        until = time.monotonic() + DEADLINE
        while (found := re.search(rb"ready on [^:]+:(\d+)", output)) is None:
            assert time.monotonic() < until, output
            if select.select([self._popen.stdout], [], [], 0.1)[0]:
                output += os.read(self._popen.stdout.fileno(), 65536)
        self.bootstrap = f"127.0.0.1:{int(found[1])}"

    def end(self) -> None:
        self._popen.kill()
        self._popen.wait(DEADLINE)
        assert self._popen.stdout is not None
        self._popen.stdout.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    running = Broker(tmp_path_factory.mktemp("broker"))
    yield running
    running.end()


def load(broker: Broker, *words: str) -> tuple[int, str]:
    """Run a load; its exit code and all it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "topologies.load", *words, "--bootstrap", broker.bootstrap],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=DEADLINE,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def read_all(broker: Broker, topic: str) -> dict[int, list[Message]]:
    """Every record that a topic has now, by partition and in order: each up to its own end."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader"})
    found: dict[int, list[Message]] = defaultdict(list)
    try:
        described = consumer.list_topics(topic, timeout=DEADLINE).topics[topic]
        assigned = [TopicPartition(topic, number, 0) for number in described.partitions]
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
                partition = message.partition() or 0
                if (message.offset() or 0) < ends[partition]:
                    found[partition].append(message)
                    left -= 1
    finally:
        consumer.close()
    return found


def headers_of(message: Message) -> dict[str, bytes]:
    return {name: value or b"" for name, value in message.headers() or []}


def points_of(message: Message) -> list[tuple[str, int, float]]:
    (resource,) = ExportMetricsServiceRequest.FromString(message.value() or b"").resource_metrics
    names = {each.key: each.value.string_value for each in resource.resource.attributes}
    return [
        (names["cloud.resource_id"], point.time_unix_nano, point.as_double)
        for metric in resource.scope_metrics[0].metrics
        for point in metric.gauge.data_points
    ]


def check_history(
    partitions: dict[int, list[Message]], expected: list[tuple[str, int, float]]
) -> None:
    """Each partition: nothing after a marker that it closed, an end marker, every sample once."""
    seen: dict[bytes, list[tuple[str, int, float]]] = {}
    last = max(when for _, when, _ in expected)
    for number in range(4):
        complete, ended = 0, False
        for message in partitions[number]:
            headers = headers_of(message)
            assert int(headers["received"])
            if headers.get("control") == b"marker":
                mark = json.loads(message.value() or b"")
                complete, ended = max(complete, mark["time"]), ended or mark["end"]
                continue
            assert all(when > complete for _, when, _ in points_of(message))
            seen.setdefault(headers["digest"], points_of(message))
        assert ended
        assert complete == last
    assert sorted(point for points in seen.values() for point in points) == sorted(expected)


def write_series(folder: Path, days: int) -> list[tuple[str, int, float]]:
    """Five CloudWatch-like files, unordered, over some days; the samples they hold."""
    expected: list[tuple[str, int, float]] = []
    folder.mkdir()
    for number in range(5):
        rows: list[str] = []
        for hour in range(24 * days):
            rows.append(f"2014-02-{1 + hour // 24:02d} {hour % 24:02d}:0{number}:00,{hour * 0.1!r}")
            when = (1_391_212_800 + hour * 3600 + number * 60) * 10**9
            expected.append((f"id{number}", when, hour * 0.1))
        rows = rows[len(rows) // 2 :] + rows[: len(rows) // 2]
        text = "timestamp,value\n" + "\n".join(rows) + "\n"
        (folder / f"ec2_cpu_utilization_id{number}.csv").write_text(text, encoding="utf-8")
    return expected


def test_a_load_is_whole_and_a_second_run_of_it_changes_nothing(
    broker: Broker, tmp_path: Path
) -> None:
    expected = write_series(tmp_path / "data", days=20)
    words = (str(tmp_path / "data"), "--name", "once")
    code, text = load(broker, *words)
    assert code == 0, text
    assert "2400 points of 5 series, from 5 files, in 4 partitions" in text
    assert "aws.ec2.cpu_utilization" in text
    first = read_all(broker, "telemetry.history.once")
    check_history(first, expected)
    markers = [m for m in first[0] if headers_of(m).get("control") == b"marker"]
    assert len(markers) == 4  # at weeks' ends of the epoch, and the end
    code, text = load(broker, *words)
    assert code == 0
    assert "had been done already: nothing was appended" in text
    again = read_all(broker, "telemetry.history.once")
    assert sum(map(len, again.values())) == sum(map(len, first.values()))


def test_another_load_under_the_same_name_is_refused(broker: Broker, tmp_path: Path) -> None:
    write_series(tmp_path / "data", days=1)
    assert load(broker, str(tmp_path / "data"), "--name", "same")[0] == 0
    code, text = load(broker, str(tmp_path / "data"), "--name", "same", "--tenant", "other")
    assert code == 1
    assert "holds another load" in text
    assert "--name" in text


def test_rows_that_hold_no_sample_are_dead_letters_with_file_and_line(
    broker: Broker, tmp_path: Path
) -> None:
    file = tmp_path / "any.csv"
    file.write_text("when,n,disk\n1000,1,sda\nsoon,2,sda\n1001,x,sdb\n", encoding="utf-8")
    words = ["--name", "bad", "--metric", "disk.n", "--time", "when", "--value", "n"]
    words += ["--time-format", "unix-s", "--attribute", "disk", "--resource", "host.name=h"]
    code, text = load(broker, str(file), *words)
    assert code == 0, text
    assert "2 of 3 rows hold no sample" in text
    assert "any.csv:3: 'soon' is no time" in text
    letters = read_all(broker, "telemetry.dead-letter")[0]
    kept = {letter.key(): (letter.value(), headers_of(letter)["code"]) for letter in letters}
    assert kept[b"any.csv:3"] == (b"soon,2,sda\n", b"bad-row")
    assert kept[b"any.csv:4"] == (b"1001,x,sdb\n", b"bad-row")
    data = [
        message
        for messages in read_all(broker, "telemetry.history.bad").values()
        for message in messages
        if "control" not in headers_of(message)
    ]
    (resource,) = ExportMetricsServiceRequest.FromString(data[0].value() or b"").resource_metrics
    (metric,) = resource.scope_metrics[0].metrics
    assert metric.name == "disk.n"
    assert metric.gauge.data_points[0].attributes[0].value.string_value == "sda"
    assert resource.resource.attributes[0].key == "host.name"


def test_a_load_that_is_killed_is_carried_on_and_is_whole(broker: Broker, tmp_path: Path) -> None:
    expected = write_series(tmp_path / "data", days=20)
    words = [sys.executable, "-c", SLOW_LOAD, str(tmp_path / "data"), broker.bootstrap]
    for reach in (20, 400):
        broken = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)
        until = time.monotonic() + DEADLINE
        while appended(broker) < reach:
            assert time.monotonic() < until
            assert broken.poll() is None, "it ended before it could be killed"
        broken.send_signal(signal.SIGKILL)
        broken.wait(DEADLINE)
    partial = sum(map(len, read_all(broker, "telemetry.history.x").values()))
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    assert f"{partial} were there from before" in done.stdout
    whole = read_all(broker, "telemetry.history.x")
    assert sum(map(len, whole.values())) > partial
    check_history(whole, expected)


def appended(broker: Broker) -> int:
    """How many records the broken load's topic holds."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader"})
    try:
        topics = consumer.list_topics(timeout=DEADLINE).topics
        if "telemetry.history.x" not in topics:
            return 0
        partitions = topics["telemetry.history.x"].partitions
        assigned = [TopicPartition("telemetry.history.x", number) for number in partitions]
        return sum(consumer.get_watermark_offsets(tp, timeout=DEADLINE)[1] for tp in assigned)
    finally:
        consumer.close()


def test_a_broker_that_is_not_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    write_series(tmp_path / "data", days=1)
    words = (str(tmp_path / "data"), "--name", "n", "--bootstrap", "127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, "-m", "topologies.load", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 1
    assert "start the broker" in done.stderr
    assert "Traceback" not in done.stderr
