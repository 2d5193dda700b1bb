"""What aggregates cost, in CPU nanoseconds, beside the ceiling of this run.

    .venv/bin/python tests/benchmarks/bench_aggregates.py [--values 1000000] [--rounds 7] [NAME ...]

`add` is a value: rows as series arrive, one after the other, and shuffled, over a thousand and a
hundred thousand rows. `merge` and `finish` are a row of a hundred thousand. The ceiling is NumPy's
sum of the bytes that a value is handed over in (its row, times, value and meta). Medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from streams.aggregates import Aggregate, Points, aggregate, names
from streams.kernels.rows import IS_CUMULATIVE

BYTES = 33  # row, time, start, raw: i64; meta: u8
BATCH = 16_384
FEW, MANY = 1000, 100_000


def median(work: Callable[[], object], units: int, rounds: int) -> float:
    """CPU nanoseconds a unit."""
    taken: list[float] = []
    for _ in range(rounds):
        begin = time.thread_time()
        work()
        taken.append((time.thread_time() - begin) / units * 1e9)
    return statistics.median(taken)


def traffic(values: int, cumulative: bool) -> Points:
    """A measured gauge, or counters that grow."""
    chance = np.random.default_rng(1)
    points = Points.of_doubles(chance.normal(20, 5, values), np.arange(values) * 10**6)
    if cumulative:
        growing = Points.of_doubles(np.arange(values) * 1.25, np.arange(values) * 10**6)
        return Points(
            growing.times, growing.starts, growing.raws, np.full(values, IS_CUMULATIVE, np.uint8)
        )
    return points


def adding(each: Aggregate[Any], points: Points, rows: np.ndarray, n: int) -> Callable[[], object]:
    """Add all the points, in batches, to a state of n rows."""
    cuts = range(BATCH, len(points), BATCH)
    places = np.split(np.arange(len(points)), cuts)
    batches = [(np.ascontiguousarray(rows[at]), points.take(at)) for at in places]

    def work() -> object:
        state = each.empty(n)
        for where, batch in batches:
            each.add(state, where, batch)
        return state

    return work


def measure(name: str, points: Points, rounds: int) -> list[float]:
    """Six figures: add over few rows and many, in order and shuffled; merge; finish."""
    each, values = aggregate(name), len(points)
    figures: list[float] = []
    for n in (FEW, MANY):
        arriving = np.arange(values) % n
        for rows in (arriving, np.random.default_rng(2).permutation(arriving)):
            work = adding(each, points, rows, n)
            work()
            figures.append(median(work, values, rounds))
    state: Any = adding(each, points, np.arange(values) % MANY, MANY)()
    data, every = each.encode(state), np.arange(MANY)
    each.merge(each.decode(data), every, state, every)
    merging: list[float] = []
    for _ in range(rounds):
        into = each.decode(data)
        merging.append(median(lambda into=into: each.merge(into, every, state, every), MANY, 1))
    each.finish(state)
    return [
        *figures,
        statistics.median(merging),
        median(lambda: each.finish(state), MANY, rounds),
        len(data) / MANY,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="aggregates; all if none is named")
    parser.add_argument("--values", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    words = np.ones(options.values * BYTES // 8, np.int64)
    ceiling = median(words.sum, options.values, options.rounds)
    print(f"ceiling: sum of {BYTES} bytes {ceiling:.1f} ns a value; {options.values:,} values")
    print(
        f"{'':26}{'add, 1,000 rows':>18}{'100,000 rows':>18}{'merge':>9}{'finish':>9}{'state':>9}"
    )
    heads = ("arriving", "shuffled", "arriving", "shuffled", "a row", "a row", "bytes")
    print(" " * 26 + "".join(f"{head:>9}" for head in heads))
    kinds = [(name, name, False) for name in options.names or names()]
    kinds += [(f"{n}, cumulative", n, True) for _, n, _ in kinds if n in ("increase", "rate")]
    for title, name, cumulative in kinds:
        figures = measure(name, traffic(options.values, cumulative), options.rounds)
        print(f"{title:26}" + "".join(f"{figure:9.1f}" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
