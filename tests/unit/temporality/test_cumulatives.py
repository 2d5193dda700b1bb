"""Deltas become running totals, exactly; and from these the same deltas come back."""

import random
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from temporality.columns import buckets, deltas_of, samples_of, shape, total
from temporality.reference import Sample, bucket_of, coarse

from streams.aggregates import Points
from streams.aggregates.exponential import ExponentialHistogram
from streams.aggregates.sum import Sum
from streams.errors import Fatal
from streams.kernels.exponential import NEGATIVE, POSITIVE, SCALE
from streams.kernels.moments import COUNT, HIGHEST, LOWEST
from topologies.temporality.chain import Chain, Kind, Loaded
from topologies.temporality.cumulatives import KINDS, Cumulatives

BOUNDS = (0.0, 10.0)


def sums(made, *deltas):
    """deltas: (start, time, value) of stream 0. The cumulative points, and what was noticed."""
    starts, times, values = (np.array(each) for each in zip(*deltas, strict=True))
    state = Sum().empty(len(deltas))
    Sum().add(state, np.arange(len(deltas)), Points.of_doubles(values.astype(float)))
    found = made.advance(np.zeros(len(deltas), np.int64), starts, times, state)
    values = Sum().finish(found.state).tolist()
    points = list(zip(found.starts.tolist(), found.times.tolist(), values, strict=True))
    return points, [(KINDS[kind], time) for _, kind, time in found.notices.tolist()]


RULES = {
    "contiguous": ([(1, 5, 2), (5, 9, 3)], [(1, 5, 2), (1, 9, 5)], []),
    "reordered": ([(5, 9, 3), (1, 5, 2)], [(1, 5, 2), (1, 9, 5)], []),
    "gap": ([(1, 5, 2), (6, 9, 3), (9, 11, 4)], [(1, 5, 2), (6, 9, 3), (6, 11, 7)], [("gap", 9)]),
    "overlap": ([(1, 5, 2), (4, 9, 3)], [(1, 5, 2)], [("overlap", 9)]),
    "after-an-overlap": ([(1, 5, 2), (4, 9, 3), (9, 11, 4)], [(1, 5, 2), (9, 11, 4)],
                         [("overlap", 9), ("gap", 11)]),
    "twice": ([(1, 5, 2), (1, 5, 2)], [(1, 5, 2)], [("late", 5)]),
    "inside": ([(1, 9, 2), (3, 9, 1)], [(1, 9, 2)], [("late", 9)]),
    "no-start": ([(0, 5, 2), (0, 9, 3)], [(5, 5, 2), (5, 9, 5)], []),
    "no-start-in-a-run": ([(1, 5, 2), (9, 9, 3)], [(1, 5, 2), (1, 9, 5)], []),
    "exact": ([(1, 5, 1e300), (5, 7, 1.0), (7, 9, -1e300)],
              [(1, 5, 1e300), (1, 7, 1e300), (1, 9, 1.0)], []),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_for_deltas(rule):
    deltas, want, kinds = RULES[rule]
    assert sums(Cumulatives(Sum()), *deltas) == (want, kinds)


def test_what_comes_behind_what_was_taken_before_is_dropped_and_told():
    made = Cumulatives(Sum())
    sums(made, (1, 5, 2), (5, 9, 3))
    assert sums(made, (3, 5, 1)) == ([], [("late", 5)])
    assert sums(made, (9, 12, 1)) == ([(1, 12, 6)], [])


def test_a_stream_that_was_forgotten_begins_anew():
    made = Cumulatives(Sum())
    sums(made, (1, 5, 2))
    made.forget(6)
    assert len(made) == 0
    assert sums(made, (5, 9, 3)) == ([(5, 9, 3)], [])


def deltas(seed, explicit):
    """Delta histograms of three streams, with holes; by stream and time."""
    chance = random.Random(seed)
    found = []
    for stream in range(3):
        time, scale = 1, chance.choice([0, 3, 6])
        for _ in range(chance.randrange(1, 8)):
            start = time + chance.choice([0, 0, 0, 3])
            time = start + chance.randrange(1, 9)
            values = [
                chance.choice([0.0, 0.1, 1.5, 40.0, 1e9, -3.0])
                for _ in range(chance.randrange(1, 6))
            ]
            said = {
                "sum": float(sum(Fraction(v) for v in values)),
                "min": min(values),
                "max": max(values),
            }
            if explicit:
                counts = [sum(1 for v in values if v <= 0), sum(1 for v in values if 0 < v <= 10)]
                counts.append(len(values) - sum(counts))
                found.append(
                    Sample(
                        stream,
                        start,
                        time,
                        len(values),
                        **said,
                        bounds=BOUNDS,
                        counts=tuple(counts),
                    )
                )
                continue
            sides = [{}, {}]
            for v in values:
                if v:
                    index = bucket_of(abs(v), scale)
                    sides[v < 0][index] = sides[v < 0].get(index, 0) + 1
            found.append(
                Sample(
                    stream, start, time, len(values), **said, scale=scale,
                    zeros=values.count(0.0), positive=tuple(sides[0].items()),
                    negative=tuple(sides[1].items()),
                )
            )  # fmt: skip
    return found


def loaded(kind, samples):
    columns = samples_of(samples)
    return Loaded.of(kind, columns.streams, columns.starts, columns.times, columns.points)


@pytest.mark.parametrize("explicit", [True, False], ids=["explicit", "exponential"])
@pytest.mark.parametrize("seed", range(60))
def test_from_running_totals_the_same_deltas_come_back(seed, explicit):
    samples = deltas(seed, explicit)
    kind = Kind.explicit(BOUNDS) if explicit else Kind.exponential()
    given = loaded(kind, samples)
    adds = kind.aggregate if explicit else ExponentialHistogram()
    order = list(range(len(samples)))
    random.Random(seed).shuffle(order)
    table = given.table[order]
    state = kind.aggregate.empty(len(order))
    kind.aggregate.merge(state, np.arange(len(order)), given.state, np.array(order))
    totals = Cumulatives(adds).advance(table[:, 0], table[:, 2], table[:, 1], state)
    assert len(totals) == len(samples)
    again = np.stack(
        [totals.streams, totals.times, totals.starts, np.zeros(len(totals), int)], axis=1
    )
    back, notices = Chain(kind, 10**6, 10**6).advance(Loaded(again, totals.state), 0, 10**9)
    assert {kind for _, kind, _ in notices.tolist()} <= {0}  # new starts, behind holes
    assert len(back) == len(samples)
    for r, s in enumerate(samples):
        assert (back.streams[r], back.starts[r], back.times[r]) == (s.stream, s.start, s.time)
        assert back.state.rows[r, COUNT] == s.count
        assert total(back.state, r) == Fraction(s.sum)
        if explicit:
            assert shape(back, r) == (s.bounds, s.counts)
        else:
            by = s.scale - int(back.state.rows[r, SCALE])
            for c, side in ((POSITIVE, s.positive), (NEGATIVE, s.negative)):
                assert buckets(back.state, r, c) == (coarse(side, by) if side else {})
    for r, delta in enumerate(deltas_of([back])):
        if delta.whole:
            assert (delta.min, delta.max) == (samples[r].min, samples[r].max)


@pytest.mark.parametrize("seed", range(10))
def test_calls_and_restarts_from_bytes_change_nothing(seed):
    samples = sorted(deltas(seed, False), key=lambda s: s.time)
    kind, adds = Kind.exponential(), ExponentialHistogram()
    given = loaded(kind, samples)
    whole = Cumulatives(adds)
    want = whole.advance(given.table[:, 0], given.table[:, 2], given.table[:, 1], given.state)
    made, seen = Cumulatives(adds), []
    for at in range(len(samples)):
        part = loaded(kind, samples[at : at + 1])
        found = made.advance(part.table[:, 0], part.table[:, 2], part.table[:, 1], part.state)
        assert len(found) == 1
        seen.append((int(found.streams[0]), int(found.times[0]), adds.encode(found.state)))
        data, made = made.encode(), Cumulatives(adds)
        made.restore(data)
    assert made.encode() == whole.encode()
    rows = [adds.empty(1) for _ in seen]
    for r, row in enumerate(rows):
        adds.merge(row, np.zeros(1, np.int64), want.state, np.array([r]))
    assert [each for *_, each in sorted(seen)] == [adds.encode(row) for row in rows]
    with pytest.raises(Fatal):
        Cumulatives(Sum()).restore(data)
    with pytest.raises(Fatal):
        Cumulatives(adds).restore(data[:-3])


def test_minimum_and_maximum_of_a_run_are_those_of_its_deltas():
    samples = [Sample(0, 1, 5, 1, 3.0, 3.0, 3.0, bounds=BOUNDS, counts=(0, 1, 0)),
               Sample(0, 5, 9, 1, -7.0, -7.0, -7.0, bounds=BOUNDS, counts=(1, 0, 0))]  # fmt: skip
    kind = Kind.explicit(BOUNDS)
    given = loaded(kind, samples)
    found = Cumulatives(kind.aggregate).advance(
        given.table[:, 0], given.table[:, 2], given.table[:, 1], given.state
    )
    last = kind.aggregate.finish(found.state)[1]
    assert (last.count, last.sum, last.min, last.max) == (2, -4.0, -7.0, 3.0)
    assert found.state.rows[0, LOWEST] == found.state.rows[0, HIGHEST]
