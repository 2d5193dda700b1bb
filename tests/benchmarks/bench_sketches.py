"""What histograms, sketches and top-k cost and how wrong they are, in CPU nanoseconds.

    .venv/bin/python tests/benchmarks/bench_sketches.py [--values 1000000] [--rounds 7] [--errors]

`add` is a value, in batches of 16,384 to rows as they arrive and shuffled; `merge` a bucket (or a
register, or a key) in use. The ceiling is NumPy's sum of the bytes that a value is handed over in.
`--errors` measures quantiles against exact ones by scale, and distinct counts by number. Medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from streams.aggregates import Points
from streams.aggregates.distinct import DistinctCount
from streams.aggregates.explicit import ExplicitHistogram
from streams.aggregates.exponential import ExponentialHistogram
from streams.aggregates.heaviest import TopK
from streams.kernels.exponential import FIRST, LAST, POSITIVE

BATCH = 16_384
BYTES = 33  # row, time, start, raw: i64; meta: u8


def median(work: Callable[[], object], units: int, rounds: int) -> float:
    """CPU nanoseconds a unit, without the first run."""
    work()
    taken: list[float] = []
    for _ in range(rounds):
        begin = time.thread_time()
        work()
        taken.append((time.thread_time() - begin) / units * 1e9)
    return statistics.median(taken)


def adding(aggregate: Any, values: np.ndarray, rows: np.ndarray, n: int) -> Callable[[], Any]:
    """Add all values, in batches, to a state that has seen them once."""
    points = Points.of_doubles(values)
    cuts = np.split(np.arange(len(values)), range(BATCH, len(values), BATCH))
    batches = [(rows[at], points.take(at)) for at in cuts]
    state = aggregate.empty(n)

    def work() -> Any:
        for where, batch in batches:
            aggregate.add(state, where, batch)
        return state

    return work


def add_costs(values: np.ndarray, rounds: int) -> None:
    kinds: list[tuple[str, Any, np.ndarray]] = [
        ("exponential, 160 buckets", ExponentialHistogram(), values),
        ("exponential, scale 20 kept", ExponentialHistogram(), 1 + values * 1e-9),
        ("explicit, 15 bounds", ExplicitHistogram(), values),
        ("the same without bounds", ExplicitHistogram(bounds=()), values),
        ("distinct count, lg_k 12", DistinctCount(), values),
        ("distinct count, lg_k 8", DistinctCount(lg_k=8), values),
        ("top-k, 100 keys", TopK(), np.floor(values * 1e6) % 100),
        ("top-k, 1,000 keys", TopK(), np.floor(values * 1e6) % 1000),
        ("top-k, all keys distinct", TopK(), values),
    ]
    print(
        f"{'add, ns a value':30}{'1 row':>9}{'1,000':>9}{'shuffled':>9}{'20,000':>9}{'shuffled':>9}"
    )
    for name, aggregate, column in kinds:
        figures = []
        for n in (1, 1000, 20_000):
            if n == 20_000 and isinstance(aggregate, TopK):
                continue
            arriving = np.arange(len(column)) % n
            figures.append(median(adding(aggregate, column, arriving, n), len(column), rounds))
            if n > 1:
                shuffled = np.random.default_rng(2).permutation(arriving)
                figures.append(median(adding(aggregate, column, shuffled, n), len(column), rounds))
        print(f"{name:30}" + "".join(f"{figure:9.1f}" for figure in figures), flush=True)


def merge_costs(rounds: int) -> None:
    """Histograms of one scale, of different scales, sketches of both forms, and top-k."""
    rng = np.random.default_rng(3)
    n, each = 1000, 500
    every = np.arange(n)
    histogram = ExponentialHistogram()
    state = histogram.empty(n)
    histogram.add(state, np.repeat(every, each), Points.of_doubles(rng.lognormal(0, 0.2, n * each)))
    used = state.rows[:, POSITIVE + LAST] - state.rows[:, POSITIVE + FIRST] + 1
    print(f"{'merge':34}{'ns':>9}")
    for name, reach in (("as it is", [1.0]), ("coarsened", [1e-3, 1e3])):
        into = histogram.empty(n)
        wide = Points.of_doubles(np.tile(reach, n))
        histogram.add(into, np.repeat(every, len(reach)), wide)
        histogram.merge(into, every, state, every)
        scales = f"{histogram.finish(state).scales[0]} into {histogram.finish(into).scales[0]}"
        cost = median(lambda into=into: histogram.merge(into, every, state, every), 1, rounds)
        title = f"exponential, a bucket, {name}"
        print(f"{title:34}{cost / used.sum():9.2f}  ({used.mean():.0f} a row, scale {scales})")
    some = np.arange(100)
    for name, lg_k, count in (("registers, each", 12, 5000), ("coupons, each", 12, 300)):
        sketch = DistinctCount(lg_k=lg_k)
        state, into = sketch.empty(100), sketch.empty(100)
        for each_state in (state, into):
            which = np.repeat(np.arange(100), count)
            sketch.add(each_state, which, Points.of_doubles(rng.random(100 * count)))
        held = (1 << lg_k) * 100 if "registers" in name else count * 100
        cost = median(lambda i=into, s=state, k=sketch: k.merge(i, some, s, some), held, rounds)
        print(f"{name:34}{cost:9.2f}")
    heavy = TopK()
    state, into = heavy.empty(100), heavy.empty(100)
    for each_state in (state, into):
        which = np.repeat(np.arange(100), 1000)
        heavy.add(each_state, which, Points.of_doubles(np.tile(np.arange(1000.0), 100)))
    cost = median(lambda: heavy.merge(into, some, state, some), 100_000, rounds)
    print(f"{'top-k, a key':34}{cost:9.2f}")


def finish_costs(values: np.ndarray, rounds: int) -> None:
    histogram, sketch = ExponentialHistogram(), DistinctCount()
    state, rows = histogram.empty(1000), np.arange(len(values)) % 1000
    histogram.add(state, rows, Points.of_doubles(values))
    found = histogram.finish(state)
    print(f"{'finish, ns a row':30}")
    print(f"{'exponential':30}{median(lambda: histogram.finish(state), 1000, rounds):9.0f}")
    print(f"{'quantile of it':30}{median(lambda: found.quantile(0.99), 1000, rounds):9.0f}")
    print(f"{'encode':30}{median(lambda: histogram.encode(state), 1000, rounds):9.0f}")
    data = histogram.encode(state)
    print(f"{'decode':30}{median(lambda: histogram.decode(data), 1000, rounds):9.0f}")
    print(f"{'bytes of state, a row':30}{len(data) / 1000:9.0f}")
    counts = sketch.empty(100)
    sketch.add(counts, np.arange(len(values)) % 100, Points.of_doubles(values))
    print(f"{'distinct count':30}{median(lambda: sketch.finish(counts), 100, rounds):9.0f}")


def quantile_errors(values: np.ndarray) -> None:
    """The greatest relative distance from the value of the same rank, over 999 quantiles."""
    print("quantiles: scale, bound 2**(2**-scale) - 1, greatest and mean relative error of 999")
    for scale in range(11):
        aggregate = ExponentialHistogram(max_size=1 << 14, max_scale=scale)
        state = aggregate.empty(1)
        aggregate.add(state, np.zeros(len(values), np.int64), Points.of_doubles(values))
        found = aggregate.finish(state)
        assert found.scales[0] == scale
        qs = np.arange(1, 1000) / 1000
        true = np.quantile(values, qs, method="inverted_cdf")
        got = np.array([found.quantile(q)[0] for q in qs.tolist()])
        error = np.abs(got - true) / true
        bound = 2.0 ** (2.0**-scale) - 1
        print(f"{scale:4}{bound:12.4%}{error.max():12.4%}{error.mean():12.4%}")


def distinct_errors() -> None:
    """Bias and standard error of sketches of random values, relative to the number of them."""
    rng = np.random.default_rng(4)
    print("distinct count: lg_k, values, sketches, bias, standard error, 1.04 / sqrt(2**lg_k)")
    for lg_k in (8, 10, 12, 14):
        for count in (100, 1000, 10_000, 100_000, 1_000_000):
            sketches = max(8, min(1000, 20_000_000 // count))
            sketch = DistinctCount(lg_k=lg_k)
            state = sketch.empty(sketches)
            for row in range(sketches):
                which = np.full(count, row)
                sketch.add(state, which, Points.of_doubles(rng.random(count)))
            off = sketch.finish(state) / count - 1
            spread = float(np.sqrt((off**2).mean()))
            print(
                f"{lg_k:4}{count:10,}{sketches:7}{off.mean():10.3%}{spread:10.3%}"
                f"{1.04 / 2 ** (lg_k / 2):10.3%}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--errors", action="store_true", help="errors instead of costs")
    options = parser.parse_args()
    values = np.random.default_rng(1).lognormal(0, 1, options.values)
    if options.errors:
        quantile_errors(values)
        distinct_errors()
        return
    words = np.ones(options.values * BYTES // 8, np.int64)
    print(f"ceiling: sum of {BYTES} bytes {median(words.sum, options.values, options.rounds):.1f}")
    add_costs(values, options.rounds)
    merge_costs(options.rounds)
    finish_costs(values, options.rounds)


if __name__ == "__main__":
    main()
