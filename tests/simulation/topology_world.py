"""The real processors over a log in memory: pre-aggregation, then roll-up, with restarts.

    rows = Pipeline(definitions, log, random.Random(7)).run()

`log` maps (topic, partition) to records as the oracle reads them. The seed draws how the input is
cut into batches, when a task dies and comes back from its snapshot, and how the sources' partials
reach the roll-up interleaved.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import struct
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
)
from oracle import windows
from oracle.definitions import Definition
from oracle.histograms import Histogram, of_json, of_point
from oracle.log import Partition, Record
from oracle.oracle import Key
from oracle.upserts import row_of

from metric_registry import granularities, zones
from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.derive import Derivation
from metric_registry.load import SourceFile
from metric_registry.over_points import Written, spelled
from metric_registry.plan import ResolvedDefinition
from streams.batch import decode_table
from streams.task.processor import InputRecord
from tidemill.own_aggregates import load
from topologies.deployment import Deployment
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor
from topologies.rollup.processor import RollupProcessor

SECOND = 1_000_000_000
SHARD_PARTITIONS = 2
ADDED = load([Path(__file__).resolve().parents[2] / "examples" / "apdex.py"])
"""Aggregates of users' own."""
PLAIN: dict[str, Any] = {
    "apiVersion": "tidemill/v1", "kind": "Metric", "name": "n", "description": "d", "owner": "o",
    "source": {"metric": "m", "unit": "1"}, "space": {"keep": []},
    "time": {"granularities": ["1m"]}, "aggregate": {"over_time": "increase"},
}  # fmt: skip
RESTARTS = int(os.environ.get("TIDEMILL_RESTARTS", "1"))


@dataclass
class Rows:
    """What was published, by key.

    first: (domain, value, points) of revision 1; latest: (value, points), where a value is the bits
    of a number or a histogram; raw: the bytes
    of the latest row, all that must not depend on how its points came; late: points that came
    after the first publication; certificates: of all publications, in order; ledger: the account
    that each source gives in the end.
    """

    first: dict[Key, tuple[str, int | Histogram, int]] = field(default_factory=dict)
    latest: dict[Key, tuple[int | Histogram, int]] = field(default_factory=dict)
    raw: dict[Key, bytes] = field(default_factory=dict)
    late: dict[Key, int] = field(default_factory=dict)
    revisions: dict[Key, int] = field(default_factory=dict)
    certificates: list[dict] = field(default_factory=list)
    finals: list[bytes] = field(default_factory=list)
    refused: int = 0
    ledger: dict[str, dict] = field(default_factory=dict)
    upserts: dict[Key, dict] = field(default_factory=dict)

    def take(self, value: bytes) -> None:
        """Add a record of `telemetry.rollups`; a row's revisions must rise by one."""
        table = decode_table(value)
        certificates = {
            (c["granularity"], c["zone"], c["window_end"]): c for c in table.meta["certificates"]
        }
        assert len(certificates) == len(table.meta["certificates"]), "a window twice in a record"
        self.certificates.extend(certificates.values())
        columns = ("definition", "granularity", "window_start", "window_end", "group_hi")
        columns += ("group_lo", "points", "revision", "deleted", "late")
        rows = enumerate(zip(*(table.array(name).tolist() for name in columns), strict=True))
        values = table.array("value").view("uint64").tolist()
        bodies = table.strings("histogram") if "histogram" in table.columns else None
        labels = list(table.strings("labels"))
        for at, (index, kind, start, end, high, low, points, revision, deleted, late) in rows:
            definition = table.meta["definitions"][index]
            name = definition["name"]
            described = table.meta["granularities"][kind]
            granularity, zone = described["granularity"], described["zone"]
            size = windows.parse(granularity, zone)
            assert start == windows.start_of(end, size)
            key = Key(name, size, end, labels_of(labels[at]))
            before = self.revisions.get(key, 0)
            expected = [before + 1] if before else [1, 2]  # 2: its first points came late
            assert revision in expected, f"{key}: revision {revision} after {before}"
            self.revisions[key] = revision
            if deleted:
                assert key in self.latest, f"{key}: deleted, and was not there"
                assert points == late == 0, f"{key}: deleted, and counts something"
                del self.latest[key], self.raw[key], self.late[key]
                continue
            shown, body = values[at], bodies[at] if bodies else b""
            if definition["instrument"] in ("histogram", "exponential_histogram"):
                assert shown == 0x7FF8 << 48, "the number of a histogram is NaN"
                shown = of_point(definition["instrument"], parsed(definition["instrument"], body))
            else:
                assert not body
            if revision == 1:
                domain = certificates[granularity, zone, end]["domain"]
                self.first[key] = (domain, shown, points)
            self.latest[key] = (shown, points)
            group = struct.pack(">QQ", high, low)
            row = struct.pack(">QQB", values[at], points, deleted)
            self.raw[key] = group + labels[at] + row + body
            self.late[key] = late

    def upsert(self, name: bytes, value: bytes | None) -> None:
        """Replace a record of the upsert topic; a revision is newer than the one that it replaces.

        A row's record comes with the row, whose revisions are counted there.
        """
        told, key = json.loads(name), row_of(name)
        if value is None:
            del self.upserts[key]
            return
        record = json.loads(value)
        assert {name: record[name] for name in told} == told
        start = int(datetime.fromisoformat(record["window_start"]).timestamp()) * SECOND
        assert start == windows.start_of(key.window_end, key.size)
        assert record["revision"] > self.upserts.get(key, {"revision": 0})["revision"]
        assert record["status"] == ("final" if record["revision"] == 1 else "corrected")
        self.upserts[key] = record

    def compare_upserts(self) -> None:
        """The last record of each key says what the row says."""
        assert self.upserts.keys() == self.latest.keys()
        for key, record in self.upserts.items():
            value, points = self.latest[key]
            if isinstance(value, Histogram):
                assert of_json(record["histogram"]) == value
                assert "value" not in record
            else:
                assert struct.unpack("<Q", struct.pack("<d", float(record["value"]))) == (value,)
            assert record["points"] == points
            assert record["late"] == self.late[key]
            assert record["revision"] == self.revisions[key]


@contextlib.contextmanager
def again(file: str, test: str, **setting: object) -> Iterator[None]:
    """A failure within says which one command repeats it; `setting` is TIDEMILL_... of it."""
    try:
        yield
    except AssertionError as error:
        given = {"RESTARTS": RESTARTS} | setting
        words = " ".join(f"TIDEMILL_{name}={value}" for name, value in given.items())
        name = f"{Path(file).relative_to(Path(__file__).parents[2])}::test_{test}"
        error.add_note(f"again: {words} .venv/bin/python -m pytest '{name}'")
        raise


class Pipeline:
    """The real processors over an in-memory log, driven step by step.

    deployed: the definitions that are in force at first, if not those given. restless: see `drive`;
    and what the first source says reaches the roll-up before the second one speaks.
    """

    def __init__(
        self,
        definitions: Sequence[Definition],
        log: Mapping[tuple[str, int], Sequence[Record]],
        rng: random.Random,
        deployed: Deployment | None = None,
        *,
        restless: bool = False,
    ) -> None:
        self.rng = rng
        self.restless = restless
        self.log = log
        self.deployed = deployed or Deployment(compile_plan([resolved(d) for d in definitions]))
        self.partials: list[list[bytes]] = [[] for _ in range(SHARD_PARTITIONS)]
        self.rows = Rows()
        self.keep_from = rng.choice([0, 0, 10, 300]) * SECOND

    def run(self) -> Rows:
        """Feed everything through; each row's history is checked on the way."""
        outputs = {source: self.preaggregate(*source) for source in sorted(self.log)}
        while outputs:  # reach each shard in order; interleaved at random, or source by source
            source = next(iter(outputs)) if self.restless else self.rng.choice(list(outputs))
            if not outputs[source]:
                del outputs[source]
                continue
            partition, value = outputs[source].popleft()
            self.partials[partition].append(value)
        for partition in range(SHARD_PARTITIONS):
            self._rollup(partition)
        self.rows.compare_upserts()
        return self.rows

    def _config(self, topic: str) -> PreaggregateConfig:
        return PreaggregateConfig(
            deployed=self.deployed,
            sources=sum(1 for other, _ in self.log if other == topic),
            shard_partitions=SHARD_PARTITIONS,
            key=bytes(16),
            keep_from=self.keep_from,
            forget_above=0,
            compact_above=0,
        )

    def preaggregate(self, topic: str, partition: int) -> deque[tuple[int, bytes]]:
        """What one source puts out for `telemetry.partials`, as (partition, value)."""
        records = [
            InputRecord(r.offset, 0, None, r.value, tuple(r.headers.items()))
            for r in self.log[topic, partition]
        ]

        def make() -> PreaggregateProcessor:
            return PreaggregateProcessor(self._config(topic), topic, partition)

        outputs, processor = drive(make, records, self.rng, self.restless)
        self.rows.ledger[f"{topic}/{partition}"] = processor.stats()
        return deque((o.partition, o.value) for o in outputs if o.topic == "telemetry.partials")

    def _rollup(self, partition: int) -> None:
        values = self.partials[partition]
        records = [InputRecord(i, 0, None, value) for i, value in enumerate(values)]
        outputs, processor = drive(
            lambda: RollupProcessor(partition), records, self.rng, self.restless
        )
        self.rows.refused += processor.stats()["rows_refused"]
        for output in outputs:
            if output.topic == "telemetry.rollups":
                self.rows.take(output.value)
            elif output.topic == "metrics":
                self.rows.finals.append(output.value)
            elif output.topic == "rollups":
                self.rows.upsert(output.key, output.value)


def parsed(kind: str, body: bytes) -> Any:
    """The body of a histogram is an OTLP data point without attributes and times."""
    shape = HistogramDataPoint if kind == "histogram" else ExponentialHistogramDataPoint
    return shape.FromString(body)


def labels_of(raw: bytes) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(json.loads(raw).items()))


def drive(make, records, rng: random.Random, restless: bool = False):
    """Run a processor over its whole input; sometimes it dies and comes back from a snapshot.

    After a restart what it had put out is muted, as the framework does it. A restless one takes a
    record at a time, and a snapshot and a restart after each.
    """
    processor, blocks, position = make(), {}, 0
    processor.restore([])
    by_offset = {record.offset: record for record in records}
    restarts = rng.choice([0, 0, 1, 3]) * RESTARTS
    outputs = []

    def feed(part):
        done = 0
        while done < len(part):
            done += processor.process(part[done:])
            while (wanted := processor.needs()) is not None:
                past = [by_offset[o] for o in range(wanted.start, wanted.end) if o in by_offset]
                cut = rng.randrange(len(past) + 1)
                processor.supply(past[:cut], False)
                processor.supply(past[cut:], True)
        return processor.outputs()

    at = 0
    while at < len(records):
        size = 1 if restless else rng.choice([1, 2, 5, 100])
        outputs.extend(feed(records[at : at + size]))
        at += size
        if restless or rng.random() < 0.3:
            for key, block in processor.snapshot(min(at, len(records))).items():
                if block is None:
                    blocks.pop(key, None)
                else:
                    blocks[key] = block
            position = min(at, len(records))
        if restless or (restarts and rng.random() < 0.2):
            restarts -= 1
            committed = min(at, len(records))
            processor = make()
            processor.restore(list(blocks.items()))
            first = processor.replay_from()
            start = (
                0
                if first is None
                else next((i for i, r in enumerate(records) if r.offset >= first), len(records))
            )
            assert start <= position
            while start < committed:
                size = rng.choice([1, 3, 100])
                feed(records[start : min(start + size, committed)])  # muted
                start += size
    return outputs, processor


def resolved(definition) -> ResolvedDefinition:
    """The product's definition for one of the oracle's."""
    where = definition.sources[0].where
    sizes = sorted(map(granularity, definition.sizes), key=granularities.order)
    expiry = {granularity(size): definition.expires_after(size) for size in definition.sizes}
    zone = zones.find(
        next((s.split("@")[1] for s in map(str, definition.sizes) if "@" in s), "UTC")
    )
    pane = granularities.pane_of(sizes, zone.whole)
    return ResolvedDefinition(
        name=definition.name,
        version=definition.name.ljust(16, "0"),
        sources=tuple(sorted({s.metric for s in definition.sources if "*" not in s.metric})),
        patterns=tuple(sorted({s.metric for s in definition.sources if "*" in s.metric})),
        attributes=tuple(derivation(name, made) for name, made in sorted(definition.attributes)),
        where=tuple((a, tuple(str(v) for v in values)) for a, values in where),
        source_unit=definition.source_unit,
        read_unit=definition.unit,
        unit=definition.unit,
        keep=tuple(sorted(definition.keep)),
        over_time=definition.over_time,
        over_space=definition.over_space,
        over_points=over_points_of(definition),
        source_instrument=definition.instrument,
        granularities=tuple(sizes),
        grace_ns=definition.grace,
        corrections_ns=definition.corrections,
        series_limit=definition.groups,
        beyond="other",
        publish_final=True,
        publish_upsert=True,
        publish_temporality="cumulative" if definition.cumulative else "delta",
        publish_late="carry" if definition.carry else "drop",
        publish_expire_after=tuple((size, expiry[size]) for size in sizes),
        retention=tuple((size, 86_400) for size in sizes),
        zone_rules=zone.rules if any(map(granularities.is_calendar, sizes)) else "",
        pane=0 if pane in sizes else pane,
    )


def derivation(name: str, made: object) -> Derivation:
    """An attribute of a definition, by the product's own reading of it."""
    files: list[SourceFile] = []
    if isinstance(made, dict) and "lookup" in made:
        table = made["lookup"]
        made = {**made, "lookup": "table", "column": table["column"]}
        files = table_files("table", table["key"], table["rows"])
    text = json.dumps({**PLAIN, "source": {**PLAIN["source"], "attributes": {name: made}}})
    text = text.replace('"keep": []', f'"keep": {json.dumps([name])}')
    (found,) = check_files([SourceFile("story.yaml", text.encode()), *files]).definitions
    return found.attributes[0]


def table_files(name: str, key: str, rows: Sequence[Mapping[str, str]]) -> list[SourceFile]:
    """A lookup, and the table that it names."""
    document = {"apiVersion": "tidemill/v1", "kind": "Lookup", "name": name, "key": key}
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return [
        SourceFile(f"{name}.yaml", json.dumps({**document, "file": f"{name}.csv"}).encode()),
        SourceFile(f"{name}.csv", text.getvalue().encode()),
    ]


def granularity(size: windows.Size) -> granularities.Granularity:
    """The product's granularity for one of the oracle's sizes."""
    return size // SECOND if isinstance(size, int) else size.split("@")[0]


def over_points_of(definition: Definition) -> str:
    """The aggregate over points as a plan spells it."""
    if not definition.over_points:
        return ""
    return spelled(Written(*definition.over_points), ADDED, definition.instrument)


def certify(certificate: dict, partitions: Sequence[Partition]) -> None:
    """A certificate is true: at that record, and not before, the window's time had passed."""
    grace = int(certificate["pane"].split("/")[1])
    end = certificate["window_end"] + grace
    for source, offset in certificate["sources"].items():
        topic, _, number = source.rpartition("/")
        partition = next(p for p in partitions if (p.topic, p.number) == (topic, int(number)))
        assert offset in partition.offsets
        index = partition.offsets.index(offset)
        assert partition.before(index) < end <= partition.watermark[index]
