"""What cumulative histograms to deltas and back cost, in CPU nanoseconds a point and a bucket.

    .venv/bin/python tests/benchmarks/bench_temporality.py [--streams 20000] [--rounds 7]

One sample a stream and pane, samples in random order of streams; the ceiling is NumPy's difference
of two panes' buckets, as a matrix. Loading checks points and makes rows of them. Medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from streams.aggregates.explicit import DEFAULT_BOUNDS, ExplicitPoints
from streams.aggregates.exponential import ExponentialHistogram
from streams.aggregates.exponential_points import ExponentialPoints
from topologies.temporality.chain import Chain, Kind, Loaded
from topologies.temporality.cumulatives import Cumulatives

SECOND = 10**9
BASE = 1_700_000_000 * SECOND


def explicit(counts: np.ndarray) -> ExplicitPoints:
    """A point a row of counts[k, buckets]."""
    k, n = counts.shape
    total = counts.sum(axis=1)
    moments = (total, total * 0.5, np.zeros(k), np.full(k, 9.0), np.zeros(k, np.uint8))
    bounds = np.tile(np.array(DEFAULT_BOUNDS), k)
    return ExplicitPoints(
        *moments, np.arange(k + 1) * (n - 1), bounds, np.arange(k + 1) * n, counts.ravel()
    )


def exponential(counts: np.ndarray) -> ExponentialPoints:
    """A point a row of counts[k, buckets], all positive."""
    k, n = counts.shape
    total = counts.sum(axis=1)
    zeros = np.zeros(k, np.int64)
    return ExponentialPoints(
        total, total * 0.5, np.zeros(k), np.full(k, 9.0), np.zeros(k, np.uint8), zeros,
        np.zeros(k), np.full(k, 3), np.full(k, -80), np.arange(k + 1) * n, counts.ravel(),
        zeros, np.zeros(k + 1, np.int64), np.zeros(0, np.int64),
    )  # fmt: skip


def panes(kind: Kind, points: Callable, buckets: int, streams: int, count: int) -> list[Loaded]:
    """`count` panes of loaded samples, each stream's counts growing."""
    chance = np.random.default_rng(1)
    total = np.ones((streams, buckets), np.int64)
    found = []
    for pane in range(count):
        total = total + chance.integers(0, 3, total.shape)
        order = chance.permutation(streams)
        times = np.full(streams, BASE + (pane + 1) * 10 * SECOND)
        starts = np.full(streams, BASE)
        found.append(Loaded.of(kind, order, starts, times, points(total[order])))
    return found


def measured(work: Callable[[], object], units: int) -> float:
    begin = time.thread_time()
    work()
    return (time.thread_time() - begin) / units * 1e9


def report(
    name: str, kind: Kind, points: Callable, buckets: int, streams: int, rounds: int
) -> None:
    chain = Chain(kind, 10 * SECOND, 900 * SECOND)
    adds = kind.aggregate if buckets < 100 else ExponentialHistogram()
    runs = Cumulatives(adds)
    figures: dict[str, list[float]] = {}
    counts = np.ones((streams, buckets), np.int64)
    other = counts * 3
    for pane, loaded in enumerate(panes(kind, points, buckets, streams, rounds + 2)):
        end = BASE + (pane + 1) * 10 * SECOND
        made = points(counts)
        times = np.full(streams, end)
        streams_of = loaded.table[:, 0]
        steps: list[tuple[str, Callable[[], object]]] = [
            ("load", lambda m=made, s=streams_of, t=times: Loaded.of(kind, s, t, t, m)),
            ("to delta", lambda d=loaded, e=end: chain.advance(d, e - 10 * SECOND, e)),
            ("to cumulative", lambda d=loaded, s=streams_of, t=times: runs.advance(
                s, t - 10 * SECOND, t, d.state)),
            ("NumPy", lambda: (other - counts, (other < counts).any(axis=1))),
        ]  # fmt: skip
        for step, work in steps:
            figures.setdefault(step, []).append(measured(work, streams))
    print(f"{name}")
    for step, found in figures.items():
        each = statistics.median(found[2:])
        print(f"  {step:15} {each:9.0f} ns a point {each / buckets:8.2f} ns a bucket")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    report("explicit, 16 buckets (15 bounds)", Kind.explicit(DEFAULT_BOUNDS), explicit, 16,
           asked.streams, asked.rounds)  # fmt: skip
    report("exponential, 160 buckets", Kind.exponential(), exponential, 160, asked.streams,
           asked.rounds)  # fmt: skip


if __name__ == "__main__":
    main()
