"""Histograms, sketches and top-k are functions of the set of values: the same bytes in any order.

Longer: TIDEMILL_AGGREGATE_VALUES (24,000 over all distributions if not given), such as 10000000.
"""

import hashlib
import os
import random
import sys
from dataclasses import astuple, is_dataclass
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aggregates.references import Sample
from aggregates.sketch_references import distinct, explicit, exponential, frequent

from streams.aggregates import Points, UnreadableState
from streams.aggregates.distinct import DistinctCount
from streams.aggregates.explicit import ExplicitHistogram
from streams.aggregates.exponential import ExponentialHistogram
from streams.aggregates.heaviest import TopK
from streams.aggregates.quantile import Quantile
from streams.kernels.rows import IS_INTEGER

VALUES = int(os.environ.get("TIDEMILL_AGGREGATE_VALUES", "24000")) // 10  # a distribution
ROWS = 5

AGGREGATES = [
    ExponentialHistogram(),
    ExponentialHistogram("small", max_size=7, max_scale=11, zero_threshold=1e-3),
    Quantile("p99", 0.99),
    ExplicitHistogram(),
    ExplicitHistogram("one bucket", bounds=()),
    DistinctCount(),
    DistinctCount("tiny", lg_k=4),
    DistinctCount("sparse", lg_k=18),
    TopK(),
    TopK("crowded", k=3, capacity=20),
]


def doubles(bits):
    return np.asarray(bits, np.uint64).view(np.float64)


def distributions(rng, n):
    """Hard ones, by name: f64[n] each."""
    whole = rng.integers(0, 2**64, n, dtype=np.uint64)
    return {
        "lognormal": rng.lognormal(0, 2, n),
        "all bit patterns": doubles(whole),  # infinities and NaN, 600 decades
        "subnormal": doubles(whole % np.uint64(1 << 52)) * rng.choice([-1.0, 1.0], n),
        "past 2**53": (rng.integers(2**53, 2**62, n)).astype(np.float64),
        "all equal": np.full(n, 0.1),
        "zeros": rng.choice([0.0, -0.0], n),
        "cancelling": np.concatenate([v := rng.normal(0, 1e300, n // 2), -v, np.ones(n % 2)]),
        "powers of two": np.exp2(rng.integers(-1074, 1023, n).astype(np.float64)),
        "few values": rng.integers(0, 9, n).astype(np.float64),
        "specials": rng.choice([np.nan, np.inf, -np.inf, 0.0, -1.0, 5e-324, 1.7e308], n),
    }


def names():
    return sorted(distributions(np.random.default_rng(0), 2))


def points_of(rng, values):
    """Points with these values; the whole ones among them are integers now and then."""
    points = Points.of_doubles(values)
    with np.errstate(invalid="ignore"):
        whole = (np.abs(values) < 2**62) & (values == np.trunc(values))
    whole &= rng.random(len(values)) < 0.3
    points.raws[whole] = values[whole].astype(np.int64)
    points.metas[whole] = IS_INTEGER
    return points


def whole(aggregate, rows, points):
    state = aggregate.empty(ROWS)
    aggregate.add(state, rows, points)
    return state


def merged_along_a_tree(aggregate, rows, points, rng, parts):
    """The points in a random order, cut in parts, merged along a random tree."""
    order = rng.permutation(len(points))
    cuts = np.sort(rng.integers(0, len(points) + 1, parts - 1))
    states = []
    for part in np.split(order, cuts):
        states.append(aggregate.empty(ROWS))
        aggregate.add(states[-1], rows[part], points.take(part))
    every = np.arange(ROWS)
    while len(states) > 1:
        a, b = rng.choice(len(states), 2, replace=False)
        aggregate.merge(states[a], every, states[b], every)
        states.pop(int(b))
    return states[0]


@pytest.mark.parametrize("aggregate", AGGREGATES, ids=lambda a: a.name)
def test_a_hundred_random_merge_trees_give_the_same_bytes(aggregate):
    rng = np.random.default_rng(4)
    for trial, name in enumerate(names()):
        values = distributions(rng, VALUES)[name]
        points = points_of(rng, values)
        rows = rng.integers(0, ROWS - 1, len(values))  # one row stays empty
        expected = aggregate.encode(whole(aggregate, rows, points))
        for _ in range(10):
            parts = int(rng.integers(1, 24))
            found = merged_along_a_tree(aggregate, rows, points, rng, parts)
            assert aggregate.encode(found) == expected, (name, trial)


@pytest.mark.parametrize("aggregate", AGGREGATES, ids=lambda a: a.name)
def test_a_decoded_state_is_the_state_and_goes_on_as_it(aggregate):
    rng = np.random.default_rng(6)
    for name, values in distributions(rng, 1200).items():
        rows = rng.integers(0, ROWS, len(values))
        points = points_of(rng, values)
        half = np.arange(600)
        state = whole(aggregate, rows[half], points.take(half))
        again = aggregate.decode(aggregate.encode(state))
        assert aggregate.encode(again) == aggregate.encode(state), name
        for each in (state, again):
            aggregate.add(each, rows[600:], points.take(np.arange(600, 1200)))
        assert aggregate.encode(again) == aggregate.encode(state), name
        left, right = aggregate.finish(again), aggregate.finish(state)
        assert all(str(left[r]) == str(right[r]) for r in range(ROWS))
    assert aggregate.encode(aggregate.decode(aggregate.encode(aggregate.empty(0))))


@pytest.mark.parametrize("aggregate", AGGREGATES, ids=lambda a: a.name)
def test_damaged_bytes_and_other_versions_are_refused(aggregate):
    rng = np.random.default_rng(7)
    values = distributions(rng, 300)["lognormal"]
    data = aggregate.encode(whole(aggregate, rng.integers(0, ROWS, 300), points_of(rng, values)))
    choose = random.Random(8)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
        with pytest.raises(UnreadableState):
            aggregate.decode(bytes(damaged))
    for size in {0, 1, 12, len(data) // 2, len(data) - 1}:
        with pytest.raises(UnreadableState):
            aggregate.decode(data[:size])
    with pytest.raises(UnreadableState):
        aggregate.decode(data + b"\0")
    version = 3 + len(aggregate.name.encode())
    other = data[:version] + (2).to_bytes(2, "little") + data[version + 2 :]
    with pytest.raises(UnreadableState, match="version 2"):
        aggregate.decode(other)


@pytest.mark.parametrize("aggregate", AGGREGATES, ids=lambda a: a.name)
def test_a_state_merged_into_itself_counts_twice(aggregate):
    rng = np.random.default_rng(9)
    values = distributions(rng, 500)["all bit patterns"]
    rows = rng.integers(0, ROWS, 500)
    once, other = (whole(aggregate, rows, Points.of_doubles(values)) for _ in range(2))
    aggregate.merge(other, np.arange(ROWS), once, np.arange(ROWS))
    aggregate.merge(once, np.arange(ROWS), once, np.arange(ROWS))
    assert aggregate.encode(once) == aggregate.encode(other)


@pytest.mark.parametrize("aggregate", AGGREGATES, ids=lambda a: a.name)
def test_what_is_finished_stays_as_it_is_when_the_state_goes_on(aggregate):
    rng = np.random.default_rng(13)
    state = whole(aggregate, np.zeros(50, np.int64), Points.of_doubles(rng.lognormal(0, 1, 50)))
    found = aggregate.finish(state)
    before = [str(found[r]) for r in range(ROWS)]
    aggregate.add(state, np.zeros(50, np.int64), Points.of_doubles(rng.lognormal(9, 3, 50)))
    assert [str(found[r]) for r in range(ROWS)] == before


@pytest.mark.parametrize("name", names())
def test_they_finish_as_their_references(name):
    values = distributions(np.random.default_rng(11), VALUES)[name]
    points, rows = points_of(np.random.default_rng(12), values), np.zeros(len(values), np.int64)
    given = [
        Sample(0, 0, int(raw) if meta else value, False)
        for raw, meta, value in zip(
            points.raws.tolist(), points.metas.tolist(), values.tolist(), strict=True
        )
    ]
    for aggregate, reference in (
        (ExponentialHistogram(), exponential),
        (ExponentialHistogram(max_size=4000), lambda of: exponential(of, 4000)),
        (ExplicitHistogram(), explicit),
        (DistinctCount(), distinct),
        (TopK(), frequent),
    ):
        found = aggregate.finish(whole(aggregate, rows, points))[0]
        assert (astuple(found) if is_dataclass(found) else found) == reference(given)


WRITTEN = {
    "exponential_histogram": "9ad16eaeaea04895",
    "small": "f2fcd7257f605295",
    "p99": "7101d60c8910f4d6",
    "explicit_histogram": "36fc8243b8e0cfbe",
    "one bucket": "67482c29e695b998",
    "distinct_count": "d45a21a90b9fb853",
    "tiny": "cecf1f34250094ac",
    "sparse": "46eb40f9dcaadeca",
    "top_k": "a110bb8ac0bc5c4e",
    "crowded": "65a3dea3f110611b",
}


@pytest.mark.parametrize("aggregate", AGGREGATES, ids=lambda a: a.name)
def test_the_bytes_of_version_1_stay_what_they_are(aggregate):
    """A change of these digests is a change of the encoding, and takes a new version."""
    values = np.concatenate([np.arange(1.0, 600.0), [0.0, -3.5, 1e300, 5e-324, np.nan, -np.inf]])
    state = whole(aggregate, np.arange(len(values)) % 2, Points.of_doubles(values))
    found = hashlib.blake2b(aggregate.encode(state), digest_size=8).hexdigest()
    assert found == WRITTEN[aggregate.name]
