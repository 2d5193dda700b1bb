"""What OTLP costs from bytes to slots, in CPU nanoseconds a point, beside the ceiling of this run.

    .venv/bin/python tests/benchmarks/bench_encodings.py [--series 1000000] [--rounds 7]

The ceiling is NumPy's sum of the same bytes as u64. Micro-batches are of 16 messages of 1,000
points. Medians of the rounds, and their range.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from otlp_traffic import requests

from topologies.encodings.otlp import Scanner, all_points_have_time
from topologies.identity import SeriesTable, group_labels, split_by_resource

KEY = b"a secret of the cluster"
BATCH = 16


def measure(work: Callable[[], object], points: int, rounds: int) -> tuple[float, float, float]:
    """(median, least, most) CPU nanoseconds a point."""
    taken: list[float] = []
    for _ in range(rounds):
        begin = time.thread_time()
        work()
        taken.append((time.thread_time() - begin) / points * 1e9)
    return statistics.median(taken), min(taken), max(taken)


class Report:
    """Prints a line a stage."""

    def __init__(self) -> None:
        self.ceiling = 0.0

    def line(self, name: str, figures: tuple[float, float, float], unit: str = "point") -> None:
        median, least, most = figures
        times = f"{median / self.ceiling:8.1f} x" if self.ceiling and unit == "point" else ""
        print(f"{name:44} {median:10.1f}  ({least:.1f} to {most:.1f}) ns a {unit:8}{times}")


def batches(messages: list[bytes]) -> list[list[bytes]]:
    return [messages[at : at + BATCH] for at in range(0, len(messages), BATCH)]


def scan(report: Report, messages: list[bytes], points: int, rounds: int) -> None:
    """Bytes to columns, over all messages."""
    size = sum(map(len, messages)) // 8 * 8
    words = np.frombuffer(b"".join(messages)[:size], np.uint64)
    figures = measure(words.sum, points, rounds)
    report.ceiling = figures[0]
    report.line(f"ceiling: sum of {size / points:.0f} bytes", figures)
    scanner = Scanner(KEY)
    cut = batches(messages)
    tenants = ["acme"] * BATCH

    def copy() -> None:
        for batch in cut:
            scanner._copy(batch)

    def whole() -> None:
        for batch in cut:
            scanner.scan(batch, tenants[: len(batch)])

    whole()
    report.line("copy of the messages", measure(copy, points, rounds))
    report.line("copy and scan", measure(whole, points, rounds))
    singles = [messages[0]] * 64

    def one_by_one() -> None:
        for message in singles:
            scanner.scan([message], ["acme"])

    report.line("copy and scan, a message at a time", measure(one_by_one, 64_000, rounds))
    all_points_have_time(messages[0])
    report.line(
        "all_points_have_time",
        measure(lambda: all_points_have_time(messages[0]), 1000, rounds),
    )
    report.line(
        "for comparison: upb, parsing alone",
        measure(lambda: ExportMetricsServiceRequest.FromString(messages[0]), 1000, rounds),
    )
    joined = b"".join(messages[:BATCH])
    split_by_resource(joined)
    report.line(
        "split_by_resource, cached keys",
        measure(lambda: split_by_resource(joined), BATCH, rounds),
        "resource",
    )


def resolve(report: Report, messages: list[bytes], series: int, rounds: int) -> None:
    """Columns to slots: a series table of this many streams, first met, met again, restored."""
    scanner = Scanner(KEY)
    table = SeriesTable()
    columns = [scanner.scan(batch, ["acme"] * len(batch)) for batch in batches(messages)[:1]]
    table.resolve(columns[0])
    cold = warm = 0.0
    table = SeriesTable()
    for again in (False, True):
        for batch in batches(messages):
            points = scanner.scan(batch, ["acme"] * len(batch))
            begin = time.thread_time()
            table.resolve(points)
            taken = time.thread_time() - begin
            cold, warm = (cold, warm + taken) if again else (cold + taken, warm)
    assert len(table) == series
    report.line(f"{series:9,} series: resolve", (warm / series * 1e9,) * 3)
    report.line(f"{series:9,} series: first seen", (cold / series * 1e9,) * 3, "series")
    begin = time.thread_time()
    blocks = table.export_new(0)
    exported = time.thread_time()
    SeriesTable(series).load(blocks)
    loaded = time.thread_time()
    report.line(f"{series:9,} series: export", ((exported - begin) / series * 1e9,) * 3, "series")
    report.line(f"{series:9,} series: restore", ((loaded - exported) / series * 1e9,) * 3, "series")
    held = sum(array.nbytes for level in table._levels for array in level.arrays())
    held += table._known.entries.nbytes
    print(f"{'':44} {held / series:10.1f}  bytes a series held")
    few = min(series, 2000)
    report.line(
        "stream view and group labels",
        measure(
            lambda: [
                group_labels(table.stream(slot), ["cluster_id", "http.method"])
                for slot in range(few)
            ],
            few,
            min(rounds, 3),
        ),
        "series",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=1_000_000, help="the largest number")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    report = Report()
    messages = requests(min(options.series, 100_000))
    scan(report, messages, min(options.series, 100_000), options.rounds)
    series = 1000
    while series <= options.series:
        resolve(report, requests(series), series, options.rounds)
        series *= 10


if __name__ == "__main__":
    main()
