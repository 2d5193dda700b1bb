"""Counters of what samples of cumulative histograms add: they add up, and are taken away again."""

import copy
import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from temporality.columns import samples_of
from temporality.stories import story

from streams.aggregates import made
from streams.aggregates.pooled import Pooled
from streams.kernels.moments import (
    COUNT,
    FLAGS,
    HIGHEST,
    LOWEST,
    NO_HIGH,
    NO_HIGHEST,
    NO_LOW,
    NO_LOWEST,
)
from topologies.preaggregate.differences import Differences
from topologies.temporality.deltas import ExplicitDeltas, ExponentialDeltas

EXPONENTIAL = ["exponential_histogram(160)", "exponential_histogram(4)", "quantile(0.9)"]
NUMBERS = ["histogram_sum", "histogram_avg", "histogram_count"]
ROWS = 3


def contributions(seed: int, explicit: bool):
    """What the samples of a random story add, by kind of buckets."""
    samples = story(seed, explicit)
    core = ExplicitDeltas(10, 25) if explicit else ExponentialDeltas(10, 25)
    return core.advance(samples_of(samples)).contributions if samples else ()


def without_extremes(state: Pooled) -> Pooled:
    """Extremes are of whole runs."""
    found = copy.deepcopy(state)
    found.rows[:, LOWEST], found.rows[:, HIGHEST] = NO_LOW, NO_HIGH
    filled = found.rows[:, COUNT] > 0
    found.rows[filled, FLAGS] |= NO_LOWEST | NO_HIGHEST
    return found


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("spelling", [*EXPONENTIAL])
def test_counters_become_the_states_that_the_same_contributions_make(spelling: str, seed: int):
    aggregate, counters = made(spelling), Differences(spelling)
    want, found = aggregate.empty(ROWS), counters.empty(ROWS)
    every = np.arange(ROWS)
    for each in contributions(seed, explicit=False):
        rows = each.streams % ROWS
        aggregate.merge(want, rows, without_extremes(each.state), np.arange(len(each)))
        added = counters.of(each, np.arange(len(each)), rows, ROWS)
        counters.merge(found, every, added, every)
    made_of = counters.states(counters.decode(counters.encode(found)))
    assert aggregate.encode(made_of) == aggregate.encode(want)


@pytest.mark.parametrize("seed", range(40))
def test_explicit_buckets_of_several_bounds_become_those_that_are_wanted(seed: int):
    for each in contributions(seed, explicit=True):
        bounds = each.kind.aggregate.bounds.tolist()
        wanted = random.Random(seed).sample(bounds, random.Random(seed).randrange(len(bounds) + 1))
        spelling = f"explicit_histogram({sorted(wanted)})"
        counters = Differences(spelling)
        rows = np.zeros(len(each), np.int64)
        found = counters.states(counters.of(each, np.arange(len(each)), rows, 1))
        shown, fine = made(spelling).finish(found)[0], each.kind.aggregate
        whole = fine.empty(1)
        fine.merge(whole, rows, without_extremes(each.state), np.arange(len(each)))
        best = fine.finish(whole)[0]
        edges = [*best.bounds, float("inf")]
        counted = np.cumsum(shown.bucket_counts)
        for edge, below in zip([*shown.bounds, float("inf")], counted, strict=True):
            assert below == sum(
                n for upper, n in zip(edges, best.bucket_counts, strict=True) if upper <= edge
            )
        assert (shown.count, repr(shown.sum)) == (best.count, repr(best.sum))


@pytest.mark.parametrize("spelling", [*EXPONENTIAL, *NUMBERS])
@pytest.mark.parametrize("seed", range(10))
def test_what_was_added_is_taken_away_and_nothing_is_left(spelling: str, seed: int):
    counters = Differences(spelling)
    state, every = counters.empty(ROWS), np.arange(ROWS)
    parts = [
        counters.of(each, np.array([at]), each.streams[[at]] % ROWS, ROWS)
        for each in contributions(seed, explicit=False)
        for at in range(len(each))
    ]
    for part in parts:
        counters.merge(state, every, part, every)
    half = counters.empty(ROWS)
    chance = random.Random(seed)
    chance.shuffle(parts)
    for part in parts[: len(parts) // 2]:
        counters.subtract(state, every, part, every)
    for part in parts[len(parts) // 2 :]:
        counters.merge(half, every, part, every)
    assert counters.encode(state) == counters.encode(half)
    for part in parts[len(parts) // 2 :]:
        counters.subtract(state, every, part, every)
    assert counters.encode(state) == counters.encode(counters.empty(ROWS))
    made(spelling).finish(counters.states(state))
