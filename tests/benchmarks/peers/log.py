"""The broker that all peers share, as a real process; filling topics, and reading results."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from traffic import PARTITIONS, Record, Result

from streams.batch import decode_table
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
READY_S = 30


class Log:
    """tidemill's broker on a free port. It does not sync each batch, as Apache Kafka does not."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.address = f"127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "broker", "--data", str(folder / "broker"),
                   "--port", self.address.rsplit(":", 1)[1], "--metrics-port", "-1",
                   "--fsync", "none", "--retention-ms", "-1"]  # fmt: skip
        with (folder / "broker.log").open("ab") as out:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
        until = time.monotonic() + READY_S
        while not self._listens():
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(f"the broker does not come up: see {folder / 'broker.log'}")
            time.sleep(0.05)
        self._admin = AdminClient({"bootstrap.servers": self.address, "log_level": 2})

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def create(self, topic: str, partitions: int = PARTITIONS) -> None:
        config = {"max.message.bytes": str(16 << 20)}
        made = self._admin.create_topics([NewTopic(topic, partitions, 1, config=config)])
        made[topic].result(30)

    def remove_all_but(self, topic: str) -> None:
        """What an earlier run of the product has left, whose topics have fixed names."""
        found = self._admin.list_topics(timeout=30).topics
        known = [name for name in found if name != topic and not name.startswith("__")]
        for removed in self._admin.delete_topics(known).values() if known else ():
            removed.result(30)

    def append(self, topic: str, records: Iterable[Record]) -> int:
        """Append all; how many they were."""
        producer = Producer({
            "bootstrap.servers": self.address, "log_level": 2,
            "compression.type": "zstd", "linger.ms": 50, "batch.size": 1 << 17,
            "batch.num.messages": 100_000, "message.max.bytes": 8 << 20,
            "queue.buffering.max.kbytes": 1 << 18, "enable.idempotence": True,
        })  # fmt: skip
        count = 0
        for each in records:
            while True:
                try:
                    producer.produce(
                        topic, each.value, each.key, each.partition,
                        timestamp=each.timestamp_ms, headers=each.headers,
                    )  # fmt: skip
                    break
                except BufferError:
                    producer.poll(0.05)
            count += 1
            if count % 1000 == 0:
                producer.poll(0)
        producer.flush(60)
        return count

    def _listens(self) -> bool:
        host, port = self.address.rsplit(":", 1)
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return True
        return False


class Results:
    """What a peer has written by now, read committed: the latest row of each group and window."""

    def __init__(self, log: Log, topic: str, before_ms: int) -> None:
        self.found: Result = {}
        self.rows = 0
        self._before = before_ms
        self._parse = rollup_rows if topic == "telemetry.rollups" else json_rows
        self._consumer = Consumer({
            "bootstrap.servers": log.address, "log_level": 2, "group.id": f"results-{topic}",
            "isolation.level": "read_committed", "enable.auto.commit": False,
            "fetch.message.max.bytes": 8 << 20, "queued.max.messages.kbytes": 1 << 17,
        })  # fmt: skip
        self._consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
        self._parts: dict[tuple[str, str, int], dict[str, float]] = {}

    def poll(self, seconds: float) -> None:
        """Take what comes within so many seconds."""
        for message in self._consumer.consume(5000, seconds):
            if message.error() is not None or message.value() is None:
                continue
            for key, part in self._parse(message.value()):
                if key[2] < self._before:
                    self._add(key, part)

    def close(self) -> None:
        self._consumer.close()

    def _add(self, key: tuple[str, str, int], part: dict[str, float]) -> None:
        self.rows += 1
        whole = self._parts.setdefault(key, {})
        whole.update(part)
        if len(whole) == 4:
            self.found[key] = (int(whole["count"]), whole["sum"], whole["min"], whole["max"])


def json_rows(value: bytes) -> Iterator[tuple[tuple[str, str, int], dict[str, float]]]:
    """A group and window a message, or a line of it."""
    for line in value.splitlines():
        row: dict[str, Any] = json.loads(line)
        key = (row["host"], row["route"], row["window_start"])
        yield key, {name: row[name] for name in ("count", "sum", "min", "max")}


def rollup_rows(value: bytes) -> Iterator[tuple[tuple[str, str, int], dict[str, float]]]:
    """tidemill's rollups: columns, a row a definition, group and window."""
    table = decode_table(value)
    names = [each["name"].rsplit(".", 1)[1] for each in table.meta["definitions"]]
    columns: Any = table.columns
    for which, labels, end, size, number in zip(
        columns["definition"].tolist(), columns["labels"],
        columns["window_end"].tolist(), columns["resolution"].tolist(),
        columns["value"].tolist(), strict=True,
    ):  # fmt: skip
        group = json.loads(labels)
        start = end // 1_000_000 - size * 1000
        yield (group["host.name"], group["http.route"], start), {names[which]: number}
