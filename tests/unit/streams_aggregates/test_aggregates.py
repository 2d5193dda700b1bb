"""What every registered aggregate promises: its state is a function of the set of points.

The promises are those of `streams.aggregates.promises`, on points that are harder than its own.
Longer: TIDEMILL_AGGREGATE_SEEDS (worlds of points, 1 if not given).
"""

import os
import sys
from dataclasses import astuple, is_dataclass
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aggregates.hard import ROWS, columns, samples
from aggregates.references import REFERENCES as EXACT
from aggregates.sketch_references import SKETCH_REFERENCES

from streams.aggregates import UnreadableState, aggregate, shipped
from streams.aggregates.promises import PROMISES, World, entries
from streams.aggregates.promises import world as own_world

SEEDS = int(os.environ.get("TIDEMILL_AGGREGATE_SEEDS", "1"))
EACH = 40
REFERENCES = EXACT | SKETCH_REFERENCES
TREES = 100

every = pytest.mark.parametrize("name", shipped())


@pytest.fixture(scope="module", params=range(SEEDS))
def world(request):
    """(points of each row, row of each point and the points)."""
    rows = samples(request.param, EACH)
    return rows, World(request.param, ROWS, *columns(rows))


def expected(value):
    return int(np.array([value]).view(np.int64)[0]) if isinstance(value, float) else value


@every
def test_it_has_a_reference(name):
    assert name in REFERENCES


@every
def test_it_finishes_as_its_reference_to_the_bit(name, world):
    samples_of, points = world
    each = aggregate(name)
    found = entries(each.finish(points.whole(each)))
    fields = [astuple(one) if is_dataclass(one) else one for one in found]
    want = [expected(REFERENCES[name](row)) for row in samples_of]
    assert fields == want


@every
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_it_keeps_every_promise(promise, name, world):
    assert promise(aggregate(name), world[1], TREES) == ""


@every
def test_it_keeps_them_on_the_points_that_others_are_checked_with(name):
    given = own_world(5)
    assert [promise(aggregate(name), given, 3) for promise in PROMISES] == [""] * len(PROMISES)


@every
def test_the_bytes_of_another_aggregate_are_refused_by_name(name):
    each = aggregate(name)
    other = next(aggregate(n) for n in shipped() if n != name)
    with pytest.raises(UnreadableState, match=f"a state of the aggregate '{other.name}'"):
        each.decode(other.encode(other.empty(2)))
    data = each.encode(each.empty(2))
    at = data.index(name.encode()) + len(name)
    later = data[:at] + (each.version + 1).to_bytes(2, "little") + data[at + 2 :]
    with pytest.raises(UnreadableState, match=f"has version {each.version + 1}; only version"):
        each.decode(later)
