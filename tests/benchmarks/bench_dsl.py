"""What topologies of the DSL cost a row, in CPU nanoseconds, beside the ceiling of this run.

    .venv/bin/python tests/benchmarks/bench_dsl.py [--rows 400000] [--rounds 5]

One task of a topology with one partition: records in, outputs of closed windows or changed totals
out, and a snapshot at the end; no log. Columns come as tables of 1,000 rows a record, or as one
JSON object a record, in calls as large as a worker makes
them (4,096 records, or 8 MB). The ceiling is NumPy's sum of the bytes of the
values. Medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.word_count import words
from streams.batch import BytesColumn
from streams.codecs import Codec, Columnar, Json, Text
from streams.event_time.windows import SECOND
from streams.expressions import col
from streams.operators.windows import TimeWindows
from streams.schema import Schema, f64, string
from streams.schema import time as at_time
from streams.task.processor import InputRecord
from streams.topology import agg
from streams.topology.builder import Stream, StreamsBuilder
from streams.values import Values

A_RECORD = 1000
VOCABULARY = 10_000
SERIES = 1_000
REQUESTS = Schema(path=string, seconds=f64, at=at_time)


def request_columns(rows: int) -> dict[str, Values]:
    """Ten minutes of requests to SERIES paths, in order of time."""
    chance = np.random.default_rng(1)
    paths = BytesColumn.of([b"/path/%d" % n for n in range(SERIES)])
    return {
        "path": Values(string, paths.take(chance.integers(0, SERIES, rows))),
        "seconds": Values(f64, chance.lognormal(-3, 1, rows)),
        "at": Values(at_time, np.linspace(0, 600 * SECOND, rows).astype(np.int64)),
    }


def word_columns(rows: int) -> dict[str, Values]:
    """Words, few of them often."""
    chance = np.random.default_rng(2)
    known = BytesColumn.of([b"word%d" % n for n in range(VOCABULARY)])
    drawn = np.minimum(chance.zipf(1.3, rows), VOCABULARY) - 1
    return {"word": Values(string, known.take(drawn))}


def records(codec: Codec, columns: dict[str, Values], rows: int) -> list[InputRecord]:
    """The rows as records; of tables, A_RECORD rows each."""
    step = A_RECORD if isinstance(codec, Columnar) else rows
    values: list[bytes | None] = []
    for first in range(0, rows, step):
        chosen = np.arange(first, min(first + step, rows))
        part = {name: each.take(chosen) for name, each in columns.items()}
        values += [value for _, value in codec.encode(part, len(chosen))]
    return [InputRecord(offset, 0, None, value) for offset, value in enumerate(values)]


def lines(rows: int) -> list[InputRecord]:
    """The words in lines of ten."""
    found = word_columns(rows)["word"].to_list()
    cut = [" ".join(found[at : at + 10]).encode() for at in range(0, rows, 10)]
    return [InputRecord(offset, 0, None, value) for offset, value in enumerate(cut)]


def p99(stream: Stream) -> None:
    windows = stream.group_by("path").windowed_by(TimeWindows.of(60 * SECOND))
    windows.aggregate(n=agg.count(), p99=agg.p99("seconds")).to("out")


def sums(stream: Stream) -> None:
    kept = stream.where(col("seconds") > 0.01).with_columns(ms=col("seconds") * 1000)
    windows = kept.group_by("path").windowed_by(TimeWindows.of(60 * SECOND))
    windows.aggregate(n=agg.count(), total=agg.sum("ms"), top=agg.max("ms")).to("out")


def count(stream: Stream) -> None:
    stream.group_by("word").count().to("out")


def count_lines(stream: Stream) -> None:
    count(stream.map_batches(words, Schema(word=string)))


def cost(
    codec: Codec, time_column: str | None, shape: Callable[[Stream], None],
    given: list[InputRecord], rows: int, rounds: int,
) -> float:  # fmt: skip
    """CPU nanoseconds a row, the median of rounds; one more warms up."""
    builder = StreamsBuilder("bench")
    shape(builder.stream("in", codec, time=time_column, partitions=1))
    plan = builder.build()
    size = sum(len(record.value or b"") for record in given) // len(given)
    step = min(plan.settings.batch_records, plan.settings.batch_bytes // size)
    taken: list[float] = []
    for _ in range(rounds + 1):
        task = plan.factory(plan.subs[0])("in", 0)
        begin = time.process_time()
        for first in range(0, len(given), step):
            task.process(given[first : first + step])
        task.outputs()
        task.snapshot(len(given))
        taken.append((time.process_time() - begin) / rows * 1e9)
    return statistics.median(taken[1:])


def ceiling(given: list[InputRecord], rows: int, rounds: int) -> float:
    """CPU nanoseconds a row of summing the bytes."""
    data = np.frombuffer(b"".join(record.value or b"" for record in given), np.uint8)
    taken: list[float] = []
    for _ in range(rounds):
        begin = time.process_time()
        data[: len(data) // 8 * 8].view(np.int64).sum()
        taken.append((time.process_time() - begin) / rows * 1e9)
    return statistics.median(taken)


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--rows", type=int, default=400_000)
    command.add_argument("--rounds", type=int, default=5)
    given = command.parse_args()
    rows, rounds = given.rows, given.rounds
    fewer = rows // 4
    requests, found = request_columns(rows), word_columns(rows)
    tables, objects = Columnar(REQUESTS), Json(REQUESTS)
    spoken = Columnar(Schema(word=string))
    some = {name: values.take(np.arange(fewer)) for name, values in requests.items()}
    cases = [
        ("word count, columns", spoken, None, count, records(spoken, found, rows), rows),
        ("word count, lines of text", Text("line"), None, count_lines, lines(rows), rows),
        ("windowed p99, columns", tables, "at", p99, records(tables, requests, rows), rows),
        ("windowed p99, JSON", objects, "at", p99, records(objects, some, fewer), fewer),
        ("where, sum, max, columns", tables, "at", sums, records(tables, requests, rows), rows),
    ]
    print(f"{'':28}{'ns a row':>10}{'rows/s':>14}{'ceiling':>10}{'times':>8}")
    for name, codec, time_column, shape, made, n in cases:
        each = cost(codec, time_column, shape, made, n, rounds)
        least = ceiling(made, n, rounds)
        print(f"{name:28}{each:10.0f}{1e9 / each:14,.0f}{least:10.2f}{each / least:8.0f}")


if __name__ == "__main__":
    main()
