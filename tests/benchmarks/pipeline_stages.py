"""The pipeline in one process, with the CPU time of every stage.

The same bytes as on the log go through decompression, the real processors and the sink's encoder,
partition by partition, as the tasks of one worker would take them. Kept apart from the rest of a
run is what happens once a stream: `learn`.
"""

from __future__ import annotations

import struct
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pipeline_traffic import Profile, Record, Traffic

from streams.task.processor import InputRecord, OutputRecord
from streams.worker.batches import Entry, encode
from streams.worker.unpacking import FetchedBatches
from tidemill.settings import Settings
from tidemill.wiring import load_plan
from topologies.deployment import Deployment
from topologies.encodings.otlp import Scanner
from topologies.identity.series import SeriesTable
from topologies.preaggregate import aggregation, cells, intake, panes
from topologies.preaggregate.known import KnownStreams
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor
from topologies.rollup import processor as rollup
from topologies.rollup import windows
from topologies.rollup.final import FinalSeries
from topologies.rollup.processor import RollupProcessor
from topologies.sink.rows import MessageReader, chunks

PARTITIONS = 4
FETCH_BYTES = 1 << 20
BATCH_RECORDS = 256
SNAPSHOT_POINTS = 4_000_000
"""A worker snapshots every ten seconds; these are the points it should take in that time."""


class Stages:
    """CPU time of the calling thread by stage, each without the stages inside it."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._open: list[float] = []

    def timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work` with its time booked under the stage."""

        def wrapped(*args: Any, **keywords: Any) -> Any:
            self._open.append(0.0)
            begin = time.thread_time()
            try:
                return work(*args, **keywords)
            finally:
                taken = time.thread_time() - begin
                self.spent[stage] += taken - self._open.pop()
                if self._open:
                    self._open[-1] += taken

        return wrapped

    def watch(self, stage: str, owner: Any, name: str) -> None:
        """Time a function or method where the pipeline looks it up."""
        setattr(owner, name, self.timed(stage, getattr(owner, name)))


def watch_pipeline(stages: Stages) -> None:
    """Time every stage of the processors, for the rest of this process."""
    for stage, owner, name in (
        ("scan", Scanner, "scan"),
        ("resolve", SeriesTable, "resolve"),
        ("intake", intake.Intake, "read"),
        ("learn", KnownStreams, "learn"),
        ("keep", aggregation.Aggregation, "add"),
        ("sort", panes, "in_order"),
        ("fold", panes, "fold"),
        ("merge up", panes.Panes, "_feed"),
        ("groups", cells.Cells, "fold"),
        ("encode partials", PreaggregateProcessor, "_emit"),
        ("encode partials", aggregation.Aggregation, "partial_rows"),
        ("snapshot (pre-aggregate)", PreaggregateProcessor, "snapshot"),
        ("pre-aggregate, rest", PreaggregateProcessor, "process"),
        ("roll-up decode", rollup, "decode_table"),
        ("roll-up decode", rollup, "from_table"),
        ("roll-up take", windows.Windows, "take"),
        ("roll-up merge", windows, "merged"),
        ("roll-up finish", windows, "values"),
        ("roll-up revisions", windows.Published, "after"),
        ("roll-up series", FinalSeries, "close"),
        ("encode rollups", rollup, "rollup_tables"),
        ("encode metrics", rollup, "final_requests"),
        ("snapshot (roll-up)", RollupProcessor, "snapshot"),
        ("roll-up, rest", RollupProcessor, "process"),
    ):
        work = getattr(owner, name)
        if name in ("rollup_tables", "final_requests"):
            setattr(owner, name, stages.timed(stage, lambda *a, f=work: list(f(*a))))
        else:
            stages.watch(stage, owner, name)


@dataclass(slots=True)
class Fetched:
    """What a fetch brings of a partition: a batch, compressed, of values of these sizes."""

    partition: int
    sizes: list[int]
    batch: bytes

    def unpack(self) -> list[InputRecord]:
        """The records, as a worker reads them."""
        return [
            InputRecord(each.offset, each.timestamp, each.key, each.value, tuple(each.headers))
            for each in FetchedBatches(self.batch).next_batch()
        ]


def fetches(traffic: Traffic) -> list[Fetched]:
    """The whole log as fetches, in the order in which partitions advance together."""
    waiting: dict[int, list[Record]] = defaultdict(list)
    offsets: Counter[int] = Counter()
    made: list[Fetched] = []

    def flush(partition: int) -> None:
        records = waiting.pop(partition)
        entries = [Entry(record[1], record[2], tuple(record[3])) for record in records]
        (ready,) = encode(entries, 1 << 30, transactional=False)
        ready._set_producer_state(-1, -1, -1)
        batch = struct.pack(">q", offsets[partition]) + bytes(ready._build())[8:]
        made.append(Fetched(partition, [len(record[2]) for record in records], batch))
        offsets[partition] += len(records)

    for record in traffic.records(PARTITIONS):
        waiting[record[0]].append(record)
        if sum(len(each[2]) for each in waiting[record[0]]) >= FETCH_BYTES:
            flush(record[0])
    for partition in sorted(waiting):
        flush(partition)
    return made


@dataclass(slots=True)
class Run:
    """What one run through the processors took, in CPU seconds, and brought."""

    seconds: float
    stages: Counter[str]
    rows: int = 0
    bytes_out: Counter[str] = field(default_factory=Counter)


class InProcess:
    """The tasks of one worker, fed in turn."""

    def __init__(self, profile: Profile, stages: Stages) -> None:
        deployed = Deployment(plan_of(profile))
        config = PreaggregateConfig(
            deployed=deployed, sources=PARTITIONS, shard_partitions=PARTITIONS, key=bytes(16)
        )
        self.stages = stages
        self.before = [PreaggregateProcessor(config, "telemetry.raw", p) for p in range(PARTITIONS)]
        self.behind = [RollupProcessor(p) for p in range(PARTITIONS)]
        self.offsets: Counter[int] = Counter()
        self.reader = MessageReader()
        self.rows = 0
        self.bytes_out: Counter[str] = Counter()
        for each in (*self.before, *self.behind):
            each.restore([])

    def feed(self, fetched: Fetched) -> None:
        """What the worker does with one fetch."""
        records = self.stages.timed("decompress", fetched.unpack)()
        task = self.before[fetched.partition]
        while records:
            records = records[task.process(records) :]
        outputs = task.outputs()
        partials = [out for out in outputs if out.topic == "telemetry.partials"]
        for out in partials:
            self.bytes_out[out.topic] += len(out.value or b"")
            self._roll_up(out)

    def _roll_up(self, out: OutputRecord) -> None:
        partition = out.partition or 0
        self.offsets[partition] += 1
        record = InputRecord(self.offsets[partition], 0, out.key, out.value, out.headers)
        self.behind[partition].process([record])
        for found in self.behind[partition].outputs():
            self.bytes_out[found.topic] += len(found.value or b"")
            if found.topic == "telemetry.rollups" and found.value is not None:
                self.stages.timed("encode for the store", self._encode)(partition, found.value)

    def _encode(self, partition: int, value: bytes) -> None:
        message = self.reader.read(partition, 0, value)
        self.rows += sum(chunk.rows for chunk in chunks([message]))

    def snapshot(self) -> None:
        """What rides along with a transaction every ten seconds."""
        for each in (*self.before, *self.behind):
            blocks = each.snapshot(0)
            self.bytes_out["state"] += sum(len(block or b"") for block in blocks.values())


def plan_of(profile: Profile) -> Any:
    """The plan of the profile's definitions and the starter set, as a worker makes it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bench.yaml").write_text(profile.yaml())
        return load_plan(Settings(definitions=(folder,)))


def run_in_process(profile: Profile, log: list[Fetched], stages: Stages) -> tuple[Run, Run]:
    """One run: (until all streams are known, the rest)."""
    tasks = InProcess(profile, stages)
    cold = 2 * profile.messages
    runs: list[Run] = []
    seen = since = 0
    stages.spent.clear()
    begin = time.thread_time()

    def end() -> None:
        nonlocal begin
        now = time.thread_time()
        runs.append(Run(now - begin, stages.spent.copy(), tasks.rows, tasks.bytes_out.copy()))
        stages.spent.clear()
        begin = time.thread_time()

    for fetched in log:
        if not runs and seen >= cold:
            end()
        tasks.feed(fetched)
        seen += len(fetched.sizes)
        since += len(fetched.sizes) * 1000
        if since >= SNAPSHOT_POINTS:
            since = 0
            tasks.snapshot()
    end()
    return runs[0], runs[1]


def ceiling(size: int, points: int) -> float:
    """CPU ns a point that NumPy takes to sum as many bytes as u64."""
    words = np.ones(min(size, 1 << 28) // 8, np.uint64)
    begin = time.thread_time()
    words.sum()
    return (time.thread_time() - begin) * (size / words.nbytes) / points * 1e9
