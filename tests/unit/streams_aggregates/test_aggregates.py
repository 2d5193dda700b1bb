"""What every registered aggregate promises: its state is a function of the set of points.

Longer: TIDEMILL_AGGREGATE_SEEDS (worlds of points, 1 if not given).
"""

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aggregates.hard import MIXED, ROWS, columns, samples
from aggregates.references import REFERENCES as EXACT
from aggregates.references import bits
from aggregates.sketch_references import SKETCH_REFERENCES

from streams.aggregates import Points, UnreadableState, aggregate, names

SEEDS = int(os.environ.get("TIDEMILL_AGGREGATE_SEEDS", "1"))
EACH = 40
REFERENCES = EXACT | SKETCH_REFERENCES
TREES = 100

every = pytest.mark.parametrize("name", names())


@pytest.fixture(scope="module", params=range(SEEDS))
def world(request):
    """(seed, points of each row, row of each point, points)."""
    rows = samples(request.param, EACH)
    return request.param, rows, *columns(rows)


def comparable(finished):
    """Finished entries: doubles as their bits."""
    if isinstance(finished, np.ndarray) and finished.dtype == np.float64:
        return finished.view(np.int64).tolist()
    return list(finished)


def expected(value):
    return int(np.array([value]).view(np.int64)[0]) if isinstance(value, float) else value


def part(each, rows, points, chosen, order):
    """A state of the chosen points, whose row order[i] is row i."""
    state = each.empty(len(order))
    each.add(state, order[rows[chosen]], points.take(chosen))
    return state


def tree(each, rows, points, chance):
    """The points shuffled, split at random, and the parts merged along a random tree."""
    shuffled = np.array(chance.sample(range(len(rows)), len(rows)))
    cuts = sorted(chance.randrange(len(rows) + 1) for _ in range(chance.randrange(7)))
    parts = []
    for chosen in np.split(shuffled, cuts):
        order = np.array(chance.sample(range(ROWS), ROWS))
        parts.append((part(each, rows, points, chosen, order), order))
    while len(parts) > 1:
        (into, mine), (other, theirs) = (parts.pop(chance.randrange(len(parts))) for _ in "12")
        before = each.encode(other)
        each.merge(into, mine, other, theirs)
        assert each.encode(other) == before
        parts.append((into, mine))
    ((state, order),) = parts
    final = each.empty(ROWS)
    each.merge(final, np.arange(ROWS), state, order)
    return final


@every
def test_it_has_a_reference(name):
    assert name in REFERENCES


@every
def test_it_finishes_as_its_reference_to_the_bit(name, world):
    _, samples_of, rows, points = world
    each = aggregate(name)
    found = comparable(each.finish(part(each, rows, points, np.arange(len(rows)), np.arange(ROWS))))
    want = [expected(REFERENCES[name](row)) for row in samples_of]
    assert found == want


@every
def test_any_merge_tree_of_any_split_in_any_order_gives_the_same_bytes(name, world):
    seed, _, rows, points = world
    each = aggregate(name)
    whole = part(each, rows, points, np.arange(len(rows)), np.arange(ROWS))
    encoded, finished = each.encode(whole), comparable(each.finish(whole))
    chance = random.Random(f"{name} {seed}")
    for at in range(TREES):
        state = tree(each, rows, points, chance)
        assert each.encode(state) == encoded, at
        assert comparable(each.finish(state)) == finished, at


@every
def test_rows_that_join_one_row_are_as_points_that_join_it(name, world):
    _, _, rows, points = world
    each = aggregate(name)
    spread = part(each, rows, points, np.arange(len(rows)), np.arange(ROWS))
    into, one = each.empty(1), each.empty(1)
    each.merge(into, np.zeros(ROWS, np.int64), spread, np.arange(ROWS))
    each.add(one, np.zeros(len(rows), np.int64), points)
    assert each.encode(into) == each.encode(one)


@every
def test_a_row_may_join_several(name, world):
    _, _, rows, points = world
    each = aggregate(name)
    spread = part(each, rows, points, np.arange(len(rows)), np.arange(ROWS))
    into = each.empty(3)
    each.merge(into, np.array([0, 2, 0]), spread, np.array([MIXED, MIXED, MIXED]))
    finished = comparable(each.finish(into))
    assert finished[1] == comparable(each.finish(each.empty(1)))[0]
    assert finished[2] == comparable(each.finish(spread))[MIXED]


@every
def test_the_empty_state_is_the_identity(name, world):
    _, _, rows, points = world
    each = aggregate(name)
    every_row = np.arange(ROWS)
    state = part(each, rows, points, np.arange(len(rows)), every_row)
    encoded = each.encode(state)
    each.merge(state, every_row, each.empty(ROWS), every_row)
    assert each.encode(state) == encoded
    nothing = each.empty(ROWS)
    each.merge(nothing, every_row, state, every_row)
    assert each.encode(nothing) == encoded
    assert each.encode(each.empty(3)) == each.encode(each.empty(3))


@every
def test_merging_shares_no_memory(name, world):
    _, _, rows, points = world
    each = aggregate(name)
    state = part(each, rows, points, np.arange(len(rows)), np.arange(ROWS))
    into = each.empty(ROWS)
    each.merge(into, np.arange(ROWS), state, np.arange(ROWS))
    encoded = each.encode(into)
    each.add(state, rows, points)
    assert each.encode(into) == encoded


@every
def test_what_is_encoded_is_decoded_and_goes_on(name, world):
    _, _, rows, points = world
    each = aggregate(name)
    half = len(rows) // 2
    state = part(each, rows, points, np.arange(half), np.arange(ROWS))
    again = each.decode(each.encode(state))
    assert each.encode(again) == each.encode(state)
    assert comparable(each.finish(again)) == comparable(each.finish(state))
    for one in (state, again):
        each.add(one, rows[half:], points.take(np.arange(half, len(rows))))
    assert each.encode(again) == each.encode(state)
    empty = each.encode(each.empty(0))
    assert each.encode(each.decode(empty)) == empty


@every
def test_other_versions_other_aggregates_and_damaged_bytes_are_refused(name, world):
    _, _, rows, points = world
    each = aggregate(name)
    data = each.encode(part(each, rows, points, np.arange(len(rows)), np.arange(ROWS)))
    at = data.index(name.encode()) + len(name)
    version = int.from_bytes(data[at : at + 2], "little")
    assert version == each.version
    later = data[:at] + (version + 1).to_bytes(2, "little") + data[at + 2 :]
    with pytest.raises(
        UnreadableState, match=rf"has version {version + 1}; only version {version}"
    ):
        each.decode(later)
    other = next(aggregate(n) for n in names() if n != name)
    with pytest.raises(UnreadableState, match=f"a state of the aggregate '{other.name}'"):
        each.decode(other.encode(other.empty(2)))
    for cut in {0, 1, 2, 5, at + 1, at + 12, len(data) // 2, len(data) - 1}:
        with pytest.raises(UnreadableState):
            each.decode(data[:cut])
    with pytest.raises(UnreadableState):
        each.decode(data + b"\0")


@every
def test_a_row_outside_is_refused_and_changes_nothing(name, world):
    _, _, rows, points = world
    each = aggregate(name)
    state = part(each, rows, points, np.arange(len(rows)), np.arange(ROWS))
    encoded = each.encode(state)
    two = points.take(np.array([0, 1]))
    for wrong in (-1, ROWS, 2**62):
        with pytest.raises(IndexError):
            each.add(state, np.array([0, wrong]), two)
        with pytest.raises(IndexError):
            each.merge(state, np.array([0, wrong]), each.empty(2), np.array([0, 1]))
        with pytest.raises(IndexError):
            each.merge(state, np.array([0, 1]), each.empty(ROWS), np.array([0, wrong]))
    with pytest.raises(ValueError):
        each.add(state, np.array([0]), two)
    assert each.encode(state) == encoded


@every
def test_no_points_change_nothing(name):
    each = aggregate(name)
    state = each.empty(2)
    none = np.zeros(0, np.int64)
    each.add(state, none, Points(none, none, none, np.zeros(0, np.uint8)))
    each.merge(state, none, each.empty(0), none)
    assert each.encode(state) == each.encode(each.empty(2))


def test_a_nan_has_always_the_same_bits(world):
    _, _, rows, points = world
    for name in names():
        each = aggregate(name)
        finished = each.finish(part(each, rows, points, np.arange(len(rows)), np.arange(ROWS)))
        if isinstance(finished, np.ndarray) and finished.dtype == np.float64:
            found = {bits(value) for value in finished.tolist() if value != value}
            assert found <= {0x7FF8000000000000}
