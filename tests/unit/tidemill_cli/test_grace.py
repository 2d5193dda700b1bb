"""Which grace would have let late points in is said from the ledger alone."""

from __future__ import annotations

import random
from typing import Any

from streams.event_time.windows import SECOND
from tidemill.grace import Advice, recommended, sentences


def row(late: list[int], beyond: list[int], most: float, day: int = 20_000) -> dict[str, Any]:
    counts = {"late": late, "beyond": beyond, "most": int(most * SECOND)}
    return {"definition": "m", "day": day, **counts}


def rows_of(lateness: list[float]) -> list[dict[str, Any]]:
    """A row a point, as a partition each would write them."""
    return [row([0] * int(t).bit_length() + [1], [], t) for t in lateness]


def test_nothing_late_is_no_advice():
    assert recommended([]) is None
    assert sentences([row([0, 0, 5], [], 3)], "another", 2 * SECOND) == []


def test_the_grace_lets_in_the_stated_share_and_no_power_of_two_less_would():
    rng = random.Random(3)
    for _ in range(200):
        lateness = [rng.uniform(0, 2 ** rng.randrange(12)) for _ in range(rng.randrange(1, 300))]
        quantile = rng.choice([0.5, 0.9, 0.99, 0.999, 1.0])
        advice = recommended(rows_of(lateness), quantile)
        assert advice is not None
        assert advice.late == len(lateness)
        let_in = [t for t in lateness if t < advice.grace / SECOND]
        assert len(let_in) >= advice.in_time >= quantile * len(lateness)
        less = 1 << max(0, int(advice.grace / SECOND - 1).bit_length() - 1)
        if advice.grace > SECOND:
            assert sum(t < less for t in lateness) < quantile * len(lateness)


def test_partitions_add_up_in_any_order():
    rows = [row([1, 2], [], 1.5), row([], [0, 0, 0, 0, 0, 0, 1], 40), row([0, 0, 7], [], 3.2)]
    assert recommended(rows, 1.0) == recommended(rows[::-1], 1.0) == Advice(41 * SECOND, 11, 1, 11)
    assert recommended(rows, 0.9) == Advice(4 * SECOND, 11, 1, 10)


def test_the_newest_day_is_told_in_a_sentence():
    rows = [row([0, 0, 0, 0, 0, 900, 99], [0, 0, 0, 0, 0, 0, 0, 0, 1], 200.5)]
    yesterday = row([0, 0, 0, 0, 0, 0, 0, 50], [], 100, day=19_999)
    assert sentences([yesterday, *rows], "m", 15 * SECOND) == [
        "1,000 points came late today (UTC), 1 of them past the corrections: with grace 64s "
        "instead of 15s, 99.9 % of them would have been in time, and each window published 49s "
        "later"
    ]
