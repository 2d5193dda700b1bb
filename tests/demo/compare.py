"""Recomputes every rollup from the log and compares it with what was published, to the bit.

    python tests/demo/compare.py --bootstrap 127.0.0.1:9092 --clickhouse 127.0.0.1:8123

Exit code 0: every point of the final topic and every latest row is there, once, with the same
bits, and none besides. 1: something differs (printed). 5: still missing something when time ran
out.
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo import published
from demo.framing import read_framed
from demo.upserts import TOPIC, Upsert, judge_upserts, standing
from demo.verdict import Verdict, judge, print_verdict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from oracle import definitions, epochs, final, kafka_log, log
from oracle.arithmetic import bits
from oracle.oracle import FinalKey, Key, Result, compute
from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
DEAD_LETTERS = "telemetry.dead-letter"


@dataclass(frozen=True, slots=True)
class Where:
    """Where the stack listens, and what it was given. `timeout` in seconds."""

    bootstrap: str
    clickhouse: tuple[str, int]
    definitions: Path
    topic: str = "metrics"
    table: str = "tidemill.rollups"
    timeout: float = 90
    out_of_orderness: int = 0


class Comparison:
    """Reads the log, computes, and reads what was published until it is complete or time is up."""

    def __init__(self, where: Where, console: Console) -> None:
        self.where = where
        self.console = console
        self.definitions = definitions.load(where.definitions)
        self.partitions: list[log.Partition] = []
        self.upserts = 0
        """Rows of the upsert topic that are right."""
        self._known: dict[str, tuple[object, Result]] = {}

    def expected(self) -> Result:
        """What the log demands now. What no new record can have changed is kept."""
        where = self.where
        topics = kafka_log.input_topics(where.bootstrap)
        read = kafka_log.read(where.bootstrap, topics, deadline_s=where.timeout)
        self.partitions = log.read(read, where.out_of_orderness)
        homes: dict[str, set[str]] = defaultdict(set)
        for partition in self.partitions:
            for metric in {point.metric for point in partition.points}:
                homes[metric].add(partition.topic)
        result = Result()
        for definition in self.definitions:
            read_topics = set().union(*(homes[source.metric] for source in definition.sources))
            seen = [
                (p.topic, p.number, len(p.watermark))
                for p in self.partitions
                if p.topic in read_topics
            ]
            if self._known.get(definition.name, (None,))[0] != seen:
                found = compute(self.partitions, [definition])
                self._known[definition.name] = seen, found
            result.add(self._known[definition.name][1])
        final.compute(self.partitions, self.definitions, result)
        return result

    def run(self) -> tuple[Verdict, Result]:
        """Compare until equal, or until nothing can be waited for any more."""
        until = time.monotonic() + self.where.timeout
        result = self.expected()
        after = result
        names = [definition.name for definition in self.definitions]
        table = published.Table(*self.where.clickhouse, self.where.table)
        try:
            while True:
                self._wait_for_rows(table, names, len(result.latest), until)
                finals = published.finals(self._placed_records(self.where.topic))
                rows = table.rows(names)
                found = standing(self._records(TOPIC))
                verdict = self._judge(result, after, finals, rows, found)
                if not verdict.equal:  # windows have closed meanwhile, at least the silent ones
                    after = self.expected()
                    verdict = self._judge(result, after, finals, rows, found)
                if verdict.equal or time.monotonic() > until:
                    return verdict, after
                time.sleep(min(2.0, max(0.0, until - time.monotonic())))
        finally:
            table.close()

    def _judge(
        self,
        before: Result,
        after: Result,
        finals: dict[FinalKey, list[published.Final]],
        rows: dict[Key, list[published.Row]],
        found: dict[Key, Upsert],
    ) -> Verdict:
        verdict = judge(self.definitions, before, after, finals, rows)
        self.upserts = judge_upserts(verdict, self.definitions, before, after, found)
        return verdict

    def _wait_for_rows(
        self, table: published.Table, names: list[str], count: int, until: float
    ) -> None:
        while table.count(names) < count and time.monotonic() < until:
            time.sleep(0.5)

    def dead_letters(self) -> list[log.Record]:
        """All there are."""
        return self._records(DEAD_LETTERS)

    def _records(self, topic: str) -> list[log.Record]:
        return [record for _, record in self._placed_records(topic)]

    def _placed_records(self, topic: str) -> list[tuple[tuple[str, int], log.Record]]:
        found = kafka_log.read(self.where.bootstrap, [topic], self.where.timeout)
        return [(place, record) for place, records in found.items() for record in records]


def missing_from_the_log(partitions: list[log.Partition], acknowledged: Path) -> list[str]:
    """Points that an acknowledged request carried and that no record holds."""
    held = {
        _identity(point) for partition in partitions for point in partition.points if partition.live
    }
    requests = map(ExportMetricsServiceRequest.FromString, read_framed(acknowledged))
    return [
        f"{point.stream} time {point.time} value {point.value!r}"
        for request in requests
        for point in log.decode(request, "", received=0)
        if point.time and _identity(point) not in held
    ]


def _identity(point: log.Point) -> tuple[object, ...]:
    value = None if point.value is None else bits(point.value)
    named = point.stream.partition(",")[2]  # without the tenant, which the edge decides
    return named, point.time, point.start, value


def csv_differences(partitions: list[log.Partition], folder: Path) -> tuple[int, int]:
    """Samples of the CSV files, and how many are on the history topics too seldom or too often."""
    samples: Counter[tuple[int, int]] = Counter()
    for path in folder.glob("*.csv"):
        for row in path.read_text().splitlines()[1:]:
            stamp, value = row.split(",")
            moment = datetime.fromisoformat(stamp).replace(tzinfo=UTC)
            samples[int(moment.timestamp()) * definitions.SECOND, bits(float(value))] += 1
    loaded = Counter(
        (point.time, bits(point.value))
        for partition in partitions
        for point in partition.points
        if not partition.live and point.fate == "accepted" and point.value is not None
    )
    different = (samples - loaded).total() + (loaded - samples).total()
    return samples.total(), different


def wrong_dead_letters(partitions: list[log.Partition], letters: list[log.Record]) -> list[str]:
    """Partitions of which more or fewer records are dead letters than are malformed.

    What an edge could not read has no place on the log, and no part in this.
    """
    found = Counter(
        source for source, _, _ in (one.key.decode().rpartition("/") for one in letters) if source
    )
    for partition in partitions:
        found[f"{partition.topic}/{partition.number}"] -= partition.malformed
    return [f"{source}: {count:+d}" for source, count in sorted(found.items()) if count]


def wait_until_sealed(bootstrap: str, moment: int, timeout: float) -> None:
    """Until every live partition's watermark has reached `moment` and every history has ended.

    All data is older than `moment`: what takes time past it are idle marks, and end markers.
    """
    until = time.monotonic() + timeout
    while True:
        topics = kafka_log.input_topics(bootstrap)
        found = kafka_log.read(bootstrap, topics, timeout)
        behind = [
            f"{topic}/{partition}"
            for (topic, partition), records in found.items()
            if _marked(records, _live(topic)) < (moment if _live(topic) else math.inf)
        ]
        if not behind:
            return
        if time.monotonic() > until:
            raise TimeoutError(f"time has not passed {moment} in {', '.join(behind)}")
        time.sleep(2.0)


def _live(topic: str) -> bool:
    return epochs.domain_of(topic) == log.LIVE


def _marked(records: list[log.Record], live: bool) -> float:
    """How far control records alone have moved a partition's time."""
    marks = [
        log.control_time(record.headers["control"], record.value, live)
        for record in records
        if "control" in record.headers
    ]
    return max(marks, default=-math.inf)


def summary(partitions: list[log.Partition]) -> str:
    """What lay on the log."""
    points = Counter(point.fate for partition in partitions for point in partition.points)
    malformed = sum(partition.malformed for partition in partitions)
    records = sum(len(partition.offsets) for partition in partitions)
    fates = ", ".join(f"{count:,} {fate}" for fate, count in sorted(points.items()))
    return f"on the log: {records:,} records, points: {fates}; {malformed} malformed records"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--clickhouse", default="127.0.0.1:8123", help="host:port of its HTTP")
    parser.add_argument(
        "--definitions", type=Path, default=ROOT / "metric_registry" / "definitions"
    )
    parser.add_argument("--timeout", type=float, default=90, help="seconds")
    parser.add_argument("--acknowledged", type=Path, help="what replay.py says was acknowledged")
    parser.add_argument("--csv", type=Path, help="the CSV files that were loaded as history")
    given = parser.parse_args()
    host, _, port = given.clickhouse.rpartition(":")
    where = Where(given.bootstrap, (host, int(port)), given.definitions, timeout=given.timeout)
    return report(where, given.acknowledged, given.csv, Console(width=120))


def report(where: Where, acknowledged: Path | None, csv: Path | None, console: Console) -> int:
    """Compare, print, and return the exit code."""
    gc.disable()  # millions of small objects, none in a cycle: collecting takes a third of the time
    started = time.monotonic()
    comparison = Comparison(where, console)
    verdict, result = comparison.run()
    print_verdict(verdict, result, console)
    console.print(summary(comparison.partitions))
    console.print(f"on the upsert topic: {comparison.upserts:,} rows as they must be")
    good = verdict.equal
    wrong = sum(partition.wrong_digests for partition in comparison.partitions)
    if wrong:
        good = False
        console.print(f"[red]{wrong} records carry a digest that is not theirs[/red]")
    letters = comparison.dead_letters()
    wrong_letters = wrong_dead_letters(comparison.partitions, letters)
    good = good and not wrong_letters
    console.print(
        f"dead letters: {len(letters)}; of records that are not malformed:", wrong_letters
    )
    if acknowledged is not None:
        lost = missing_from_the_log(comparison.partitions, acknowledged)
        good = good and not lost
        console.print(f"acknowledged points that the log does not hold: {len(lost)}", *lost[:5])
    if csv is not None:
        samples, different = csv_differences(comparison.partitions, csv)
        good = good and not different
        console.print(f"CSV samples: {samples:,}; different on the history topics: {different}")
    console.print(f"computed and compared in {time.monotonic() - started:.1f} s")
    if good:
        return 0
    missing = all("missing" in finding.what for finding in verdict.findings)
    return 5 if verdict.findings and missing else 1


if __name__ == "__main__":
    sys.exit(main())
