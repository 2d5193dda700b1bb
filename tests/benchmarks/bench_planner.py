"""How well the planner's estimates order plans: rank correlations with what they cost.

    python tests/benchmarks/bench_planner.py --runs 30

Each run is random traffic under random definitions, partitioned by a random key, put through the
product's topology in this process. Ends with 1 if a rank correlation (Spearman's) is below 0.9, or
if more state was saved than the bound.
`--fit` finds the prices that fit these runs best: least squares of relative errors, none negative.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metric_registry.planner.state import state_of
from tests.simulation.planned_world import costs, run, world

UNITS = {
    "read": "scanned", "kept": "kept", "folded": "folded", "rekeyed": "rekeyed", "out": "out",
    "records": "record", "seals": "sealed", "windows": "window",
}  # fmt: skip
SCALES = (0.3, 1, 3, 10, 30)
GOAL = 0.9


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--fit", action="store_true")
    given = parser.parse_args()
    run(world(0, 0.1))  # what is compiled once is no cost of a plan
    rows: list[list[float]] = []
    units: list[list[float]] = []
    rooms: list[dict[str, float]] = []
    print("seed  partitions  re-keyed: estimate measured  out: estimate measured  CPU ms: ... ...")
    for seed in range(given.first, given.first + given.runs):
        made = world(seed, SCALES[seed % len(SCALES)])
        known, times = costs(made), made.seconds
        cost, did = known.of(made.key), run(made)
        bound = state_of(known, cost)
        room = {
            "read": bound.preaggregate / did.kept["test-preaggregate-changelog"],
            "rolled up": bound.rollup / did.kept["test-rollup-changelog"],
        }
        rooms.append(room)
        rows.append(
            [
                cost.rekeyed * times,
                did.rekeyed,
                cost.out * times,
                did.out,
                cost.cpu * times,
                did.cpu,
            ]
        )
        units.append([getattr(cost, name) * times for name in UNITS])
        told = "  ".join(f"{number:10,.0f}" for number in rows[-1][:4])
        print(f"{seed:>4}  {made.partitions:>10}  {told}  " + "  ".join(
            f"{1000 * number:8,.0f}" for number in rows[-1][4:]
        ), flush=True)  # fmt: skip
    table = np.array(rows)
    worst = 1.0
    for name, at in (("rows re-keyed", 0), ("rows out", 2), ("CPU", 4)):
        found = correlation(table[:, at], table[:, at + 1])
        ratio = table[:, at] / np.maximum(table[:, at + 1], 1e-9)
        spread = ", ".join(f"{q:.2f}" for q in np.quantile(ratio, [0, 0.5, 1]))
        print(f"{name}: rank correlation {found:.3f}; estimate / measured {spread}")
        worst = min(worst, found)
    for name in rooms[0]:
        ratios = [room[name] for room in rooms]
        spread = ", ".join(f"{q:.1f}" for q in np.quantile(ratios, [0, 0.5, 1]))
        print(f"state where points are {name}: bound / saved {spread}")
        worst = worst if min(ratios) >= 1 else 0.0
    if given.fit:
        for name, price in zip(UNITS.values(), fitted(np.array(units), table[:, 5]), strict=True):
            print(f"{name}: {price:,.0f} ns")
    return 0 if worst >= GOAL else 1


def correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's, of equal values the mean rank."""
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[where]


def fitted(units: NDArray[np.float64], seconds: NDArray[np.float64]) -> Sequence[float]:
    """Nanoseconds a unit, by coordinate descent."""
    parts = units / seconds[:, None]
    prices = np.zeros(parts.shape[1])
    for _ in range(20_000):
        for at in range(len(prices)):
            rest = 1 - parts @ prices + parts[:, at] * prices[at]
            prices[at] = max(0.0, parts[:, at] @ rest / (parts[:, at] @ parts[:, at]))
    return list(prices * 1e9)


if __name__ == "__main__":
    sys.exit(main())
