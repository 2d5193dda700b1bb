"""Aggregates over many values of hard distributions, merged along random trees, equal references.

Longer: TIDEMILL_AGGREGATE_VALUES (24,000 if not given), such as 10000000.
"""

import os
import random
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aggregates.at_scale import AT_SCALE, Row, points_of

from streams.aggregates import aggregate

VALUES = int(os.environ.get("TIDEMILL_AGGREGATE_VALUES", "24000"))
PARTS = 24
TREES = 100
HELD = 50_000_000  # bytes of a state above which (samples are kept) only a few trees are tried


@pytest.fixture(scope="module")
def world():
    """Row of each point, points, the references' rows."""
    owners, points, rows = points_of(1, VALUES)
    places = [np.flatnonzero(owners == row) for row in range(rows)]
    return owners, points, [Row(points.take(at)) for at in places]


@pytest.mark.parametrize("name", sorted(AT_SCALE))
def test_equal_bits_under_random_merge_trees(name, world):
    owners, points, rows = world
    each, chance, every = aggregate(name), random.Random(name), np.arange(len(rows))
    begun = time.thread_time()
    want = np.array([AT_SCALE[name](row) for row in rows])
    referred = time.thread_time() - begun
    whole = each.empty(len(rows))
    each.add(whole, owners, points)
    added = time.thread_time() - begun - referred
    encoded = each.encode(whole)
    assert each.finish(whole).view(np.int64).tolist() == want.view(np.int64).tolist()
    leaves = []
    cuts = sorted(chance.randrange(len(points)) for _ in range(PARTS - 1))
    for chosen in np.split(np.random.default_rng(2).permutation(len(points)), cuts):
        state = each.empty(len(rows))
        each.add(state, owners[chosen], points.take(chosen))
        leaves.append(each.encode(state))
    for _ in range(TREES if len(encoded) < HELD else 3):
        states = [each.decode(leaf) for leaf in leaves]
        while len(states) > 1:
            into, other = (states.pop(chance.randrange(len(states))) for _ in "12")
            each.merge(into, every, other, every)
            states.append(into)
        assert each.encode(states[0]) == encoded
    spent = time.thread_time() - begun
    print(f"\n{name}: reference {referred:.1f} s, add {added:.1f} s, all {spent:.1f} s CPU")
