"""A day of event time through one task of each kind, while series come and go: memory stays flat.

    .venv/bin/python tests/soak/memory.py [--hours 24] [--interval 60] [--series 10000]

Pre-aggregation, the roll-up behind it and an aggregation of the DSL, each a task over a log in
memory with its state in RocksDB. Every `--churn` minutes a tenth of the series is replaced by new
ones; now and then a message comes five minutes late. The log keeps what a correction may ask for,
changelogs are compacted. Each hour is a row: resident memory, state on disk, changelogs, streams
that tasks know. Fails if any of them is larger in the last quarter of the time than it was in the
first, by more than a tenth (memory and disk: and 16 MB; streams, of which those that are gone are
looked for when there are half as many again: by more than half).
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import resource
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from pipeline_stages import plan_of
from pipeline_traffic import FLEET, POINTS_A_MESSAGE, SECOND, TENANT, Traffic

from streams.batch import BytesColumn
from streams.codecs import Columnar
from streams.config import TaskSettings, Topology
from streams.event_time.windows import SECOND as NS
from streams.operators.windows import TimeWindows
from streams.schema import Schema, f64, string
from streams.schema import time as at_time
from streams.state.rocks import RocksStore
from streams.task.phase import Phase
from streams.testing import MemoryLog, TaskDriver
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.values import Values
from topologies.deployment import Deployment
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor
from topologies.rollup.processor import RollupProcessor

RAW, PARTIALS, ROWS = "telemetry.raw", "telemetry.partials", "rows"
SETTINGS = TaskSettings(snapshot_interval_ms=30_000, commit_interval_ms=1_000)
CORRECTIONS = 600  # s
GAP = 900  # s
LATE = 300  # s
MORE, SPARE = 1.1, 16.0  # times, MB
STREAMS_MORE = 1.5


class Disk:
    """State in RocksDB, as a driver opens it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> RocksStore:
        return RocksStore(self.folder)

    def megabytes(self) -> float:
        return sum(f.stat().st_size for f in self.folder.rglob("*.sst")) / 1e6


class Fleet(Traffic):
    """Traffic whose messages' series are replaced, one message after the other."""

    def replace_some(self, first: int) -> None:
        """A tenth of the messages are of new series, the first of which has this number."""
        count = max(1, len(self._messages) // 10)
        for n in range(count):
            at = (first + n) % len(self._messages)
            number = len(self._messages) + first + n
            self._messages[at] = self._template(number, POINTS_A_MESSAGE)


def dsl_plan():
    schema = Schema(path=string, seconds=f64, at=at_time)
    builder = StreamsBuilder("soak")
    stream = builder.stream(ROWS, Columnar(schema), time="at", partitions=1)
    windows = stream.group_by("path").windowed_by(TimeWindows.of(300 * NS).revisions(600 * NS))
    windows.aggregate(n=agg.count(), total=agg.sum("seconds"), p99=agg.p99("seconds")).to("out")
    return builder.build(), Columnar(schema)


class World:
    """The log, three tasks, and what is fed to them."""

    def __init__(self, folder: Path, series: int, interval: int) -> None:
        self.interval = interval
        self.series = series
        self.fleet = Fleet(
            replace(FLEET, series=series, interval=interval, corrections=CORRECTIONS)
        )
        self.folder = folder
        self.log = MemoryLog(
            dict.fromkeys((RAW, PARTIALS, ROWS, "out", "telemetry.rollups", "metrics"), 1)
            | dict.fromkeys(("telemetry.progress", "telemetry.ledger", "rollups"), 1)
            | dict.fromkeys(("telemetry.dead-letter",), 1)
        )
        config = PreaggregateConfig(
            deployed=Deployment(plan_of(self.fleet.profile)), sources=1, shard_partitions=1,
            key=bytes(16), stream_gap=GAP * SECOND,
        )  # fmt: skip
        plan, self.codec = dsl_plan()
        made = (
            Topology(
                "before", lambda t, p: PreaggregateProcessor(config, t, p), (RAW,),
                settings=SETTINGS,
            ),
            Topology("behind", lambda t, p: RollupProcessor(p), (PARTIALS,), settings=SETTINGS),
            Topology("dsl", plan.factory(plan.subs[0]), (ROWS,), settings=SETTINGS),
        )  # fmt: skip
        self.disks = [Disk(folder / each.name) for each in made]
        self.tasks = [
            TaskDriver(self.log, each, each.topics[0], disk=disk)
            for each, disk in zip(made, self.disks, strict=True)
        ]
        self.offsets: list[int] = []

    def round(self, number: int, churn: int) -> None:
        if number and number % churn == 0:
            self.fleet.replace_some(number // churn * max(1, self.series // 10_000))
        late = number % 29 == 0 and number * self.interval > LATE
        for count, (key, value, received) in enumerate(self.fleet.round(number)):
            self._send(key, value, received, number)
            if late and count == 0:
                before = number - LATE // self.interval
                key, value, _ = next(iter(self.fleet.round(before)))
                self._send(key, value, received, -before)
        now = self.fleet.start + number * self.interval * SECOND
        first = number * self.series // 20
        names = BytesColumn.of([b"/path/%d" % (first + n) for n in range(self.series)])
        columns = {
            "path": Values(string, names),
            "seconds": Values(f64, np.linspace(0, 1, self.series)),
            "at": Values(at_time, np.full(self.series, now)),
        }
        for _, value in self.codec.encode(columns, self.series):
            self.log.append(ROWS, 0, value)
        for task in self.tasks:
            task.advance(self.interval * 1000)
            task.settle()
            if task.task.phase is not Phase.RUNNING:
                raise SystemExit(f"{task.id} is {task.task.phase}: {task.task.error}")
        self._trim()

    def _send(self, key: bytes, value: bytes, received: int, number: int) -> None:
        headers = (
            ("encoding", b"otlp"), ("tenant", TENANT.encode()), ("received", b"%d" % received),
            ("digest", number.to_bytes(4, signed=True) + key[:12]),
        )  # fmt: skip
        self.log.append(RAW, 0, value, key=key, headers=headers)

    def _trim(self) -> None:
        """Retention: raw records stay as long as a correction may ask for them."""
        kept = (CORRECTIONS + 2 * GAP + 600) // self.interval
        self.offsets.append(self.log.bounds(RAW, 0)[1])
        if len(self.offsets) % 10:
            return
        if len(self.offsets) > kept:
            self.offsets = self.offsets[-kept:]
            self.log.trim(RAW, 0, self.offsets[0])
        for topic in self.log.topics():
            if topic.endswith("-changelog"):
                self.log.compact(topic, 0)
            elif topic != RAW:
                self.log.trim(topic, 0, self.log.bounds(topic, 0)[1])

    def figures(self) -> dict[str, float]:
        """Megabytes, and streams."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        found = {"memory": resident()}
        for task, disk in zip(self.tasks, self.disks, strict=True):
            name = task.id.topology
            found[f"{name} disk"] = disk.megabytes()
            changelog = self.log.read(task.changelog)
            found[f"{name} changelog"] = sum(len(r.value or b"") for r in changelog) / 1e6
        found["streams"] = self.tasks[0].host.processor.stats()["streams"]
        return found


def resident() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def grown(rows: list[dict[str, float]]) -> list[str]:
    """What is larger at the end than by a quarter of the time, by more than is allowed."""
    quarter = len(rows) // 4
    wrong: list[str] = []
    for name in rows[0]:
        early = max(row[name] for row in rows[:quarter])
        late = max(row[name] for row in rows[-quarter:])
        more = STREAMS_MORE if name == "streams" else MORE
        spare = SPARE if name == "memory" or name.endswith("disk") else 1.0
        if late > early * more + spare:
            wrong.append(f"{name}: {early:.1f} -> {late:.1f}")
    return wrong


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("--hours", type=int, default=24)
    command.add_argument("--interval", type=int, default=60, help="seconds")
    command.add_argument("--series", type=int, default=10_000)
    command.add_argument("--churn", type=int, default=10, help="minutes")
    given = command.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemill-soak-") as folder:
        world = World(Path(folder), given.series, given.interval)
        rounds = 3600 // given.interval
        churn = given.churn * 60 // given.interval
        rows: list[dict[str, float]] = []
        for hour in range(given.hours):
            for number in range(hour * rounds, (hour + 1) * rounds):
                world.round(number, churn)
            rows.append(world.figures())
            if hour == 0:
                print("hour " + " ".join(f"{name:>17}" for name in rows[0]))
            print(f"{hour + 1:4} " + " ".join(f"{n:17,.1f}" for n in rows[-1].values()), flush=True)
    if wrong := grown(rows):
        raise SystemExit("not flat: " + "; ".join(wrong))
    print("flat")


if __name__ == "__main__":
    main()
