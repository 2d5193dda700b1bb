"""What is read again around late samples is enough, and nothing is read twice."""

from __future__ import annotations

import random

import numpy as np
import pytest

from streams.event_time.windows import EARLIEST, LATEST
from topologies.preaggregate.ranges import Range, Readings
from topologies.preaggregate.search import Covered, Samples, backward, forward, neighbours

PANE, GAP = 10, 95


def samples(rng: random.Random, count: int) -> Samples:
    found = sorted({(rng.randrange(3), rng.randrange(1, 600)) for _ in range(count)})
    slots, times = zip(*found, strict=True)
    return Samples(np.array(slots, np.int32), np.array(times, np.int64))


def pairs(of: Samples) -> list[tuple[int, int]]:
    return list(zip(of.slots.tolist(), of.times.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_neighbours_are_those_of_the_same_stream_at_another_time(seed: int):
    rng = random.Random(seed)
    known, wanted = samples(rng, rng.choice([1, 5, 80])), samples(rng, 30)
    before, after = neighbours(known, wanted)
    for at, (slot, time) in enumerate(pairs(wanted)):
        mine = [other for of, other in pairs(known) if of == slot]
        assert before[at] == max((t for t in mine if t < time), default=EARLIEST)
        assert after[at] == min((t for t in mine if t > time), default=LATEST)


@pytest.mark.parametrize("seed", range(40))
def test_a_search_ends_with_the_samples_around_and_reads_at_most_twice_as_far(seed: int):
    rng = random.Random(seed)
    everything, wanted = samples(rng, rng.choice([3, 12, 60])), samples(rng, 1)
    (slot, time), newest = pairs(wanted)[0], np.array([599])
    log = Samples(*(np.concatenate(both) for both in zip(everything, wanted, strict=True)))
    covered = Covered()
    spans: set[tuple[int, int]] = {(-(-time // PANE) * PANE - PANE, -(-time // PANE) * PANE)}
    while spans:
        assert covered.add(spans), "a search that asks for what is known never ends"
        after, until = covered.spans[0]
        # what records bring along from other panes must not end the search
        also = [rng.random() < 0.5 for _ in log.times]
        known = log.where(((log.times > after) & (log.times <= until)) | np.array(also))
        spans = backward(known, wanted, covered, PANE, GAP)
        spans |= forward(known, wanted, newest, covered, PANE, GAP)
    assert len(covered.spans) == 1
    after, until = covered.spans[0]
    mine = [t for s, t in pairs(log) if s == slot and t != time]
    before = max((t for t in mine if time - GAP <= t < time), default=None)
    behind = min((t for t in mine if time < t <= time + GAP), default=None)
    assert after < (before if before is not None else time - GAP)
    assert until >= (behind if behind is not None else min(time + GAP, 599))
    furthest = 2 * (time - before) if before is not None else GAP
    assert time - after <= min(furthest, GAP) + 2 * PANE
    furthest = 2 * (behind - time) if behind is not None else GAP
    assert until - time <= min(furthest, GAP) + 2 * PANE


@pytest.mark.parametrize("seed", range(20))
def test_records_are_never_read_twice_and_watermarks_go_on_behind_those_that_were(seed: int):
    """The watermark before record n is n, so it is known of every range what it must be."""
    rng = random.Random(seed)
    readings, read, asked = Readings(), [], set()
    for _ in range(6):
        wanted = []
        for _ in range(rng.randrange(1, 4)):
            first = rng.randrange(1000)
            wanted.append(Range(first, first + rng.randrange(120), first))
            asked |= set(range(first, wanted[-1].last + 1))
        for each in readings.missing(wanted):
            assert each.watermark == each.first
            read += range(each.first, each.last + 1)
            readings.add(each, each.last + 1)
    assert len(read) == len(set(read))
    assert asked <= set(read)


def test_what_is_covered_is_told_once():
    covered = Covered()
    assert covered.add([(20, 30), (0, 10)]) == [(0, 10), (20, 30)]
    assert covered.add([(0, 40)]) == [(10, 20), (30, 40)]
    assert covered.add([(5, 40)]) == []
    assert covered.spans == [(0, 40)]
