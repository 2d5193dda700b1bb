"""Cumulative histograms become deltas that are exact, and the same in any order."""

import os
import random
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from temporality.columns import deltas_of, in_order, noticed, samples_of
from temporality.reference import deltas
from temporality.stories import story

from streams.errors import Fatal, Rejected
from streams.kernels.moments import COUNT, MOMENTS_WIDTH
from topologies.temporality.deltas import Advance, ExplicitDeltas, ExponentialDeltas

STORIES = int(os.environ.get("TIDEMILL_TEMPORALITY_STORIES", "150"))
SEED = int(os.environ.get("TIDEMILL_SEED", "0"))
PANE, GAP = 10, 25


def core(explicit, pane=PANE, gap=GAP):
    return ExplicitDeltas(pane, gap) if explicit else ExponentialDeltas(pane, gap)


def advanced(made, samples, after=0, until=10**9):
    if not samples:
        return [], []
    found = made.advance(samples_of(samples), after, until)
    return deltas_of(found.contributions), noticed(found)


def same(found, want):
    """Equal, with NaN equal to NaN."""
    assert [repr(x) for x in found] == [repr(x) for x in want]


@pytest.mark.parametrize("explicit", [True, False], ids=["explicit", "exponential"])
@pytest.mark.parametrize("seed", range(SEED, SEED + STORIES))
def test_compiled_loops_and_plain_rules_give_the_same(seed, explicit):
    samples = story(seed, explicit)
    want, notices = deltas(samples, pane=PANE, gap=GAP)
    shuffled = samples[:]
    random.Random(seed).shuffle(shuffled)
    found, seen = advanced(core(explicit), shuffled)
    same(found, in_order(want))
    assert seen == notices


def in_panes(made, samples, chance, restart=None):
    """The same, a pane at a time: samples of a pane come in any order, base lines by bytes."""
    found, seen = [], []
    ends = sorted({-(-s.time // PANE) * PANE for s in samples})
    for end in ends:
        part = [s for s in samples if end - PANE < s.time <= end]
        chance.shuffle(part)
        more, noticed_here = advanced(made, part, end - PANE, end)
        found, seen = found + more, seen + noticed_here
        if restart is not None:
            data = made.encode()
            made = restart()
            made.restore(data)
            assert made.encode() == data
    return in_order(found), sorted(seen), made


@pytest.mark.parametrize("explicit", [True, False], ids=["explicit", "exponential"])
def test_panes_orders_and_restarts_change_nothing(explicit):
    for seed in range(2000, 2000 + STORIES // 3):
        chance = random.Random(seed)
        samples = story(seed, explicit)
        made = core(explicit)
        want, notices = advanced(made, samples)
        for restart in (None, lambda: core(explicit)):
            found, seen, after = in_panes(core(explicit), samples, chance, restart)
            same(found, want)
            assert seen == notices
            assert after.encode() == made.encode()


@pytest.mark.parametrize("explicit", [True, False], ids=["explicit", "exponential"])
def test_what_a_run_without_resets_adds_is_the_last_sample_less_the_base_line(explicit):
    for seed in range(3000, 3000 + STORIES // 3):
        samples = story(seed, explicit, calm=True)
        made = core(explicit, gap=10**6)
        for part in made.advance(samples_of(samples), 0, 10**9).contributions:
            for stream in set(part.streams.tolist()):
                check_run([s for s in samples if s.stream == stream], part, stream)


def check_run(mine, part, stream):
    """The merged contributions of a stream are its last sample less what did not count."""
    mine = sorted(mine, key=lambda s: s.time)
    rows = np.flatnonzero(part.streams == stream)
    merged = part.kind.aggregate.empty(1)
    part.kind.aggregate.merge(merged, np.zeros(len(rows), np.int64), part.state, rows)
    first, last = mine[0], mine[-1]
    began = 0 < first.start < first.time and -(-first.start // PANE) == -(-first.time // PANE)
    assert int(merged.rows[0, COUNT]) == last.count - (0 if began else first.count)
    total = deltas_of([replaced(part, merged, stream)])[0].sum
    assert total == Fraction(last.sum) - Fraction(0 if began else first.sum)
    if last.bounds is not None:
        counts = np.array(last.counts) - (0 if began else np.array(first.counts))
        assert merged.rows[0, MOMENTS_WIDTH:].tolist() == counts.tolist()


def replaced(part, state, stream):
    """One row as if it were a contribution."""
    one = np.zeros(1, np.int64)
    return replace(part, streams=one + stream, starts=one, times=one, whole=one != 0, state=state)


@pytest.mark.parametrize("explicit", [True, False], ids=["explicit", "exponential"])
def test_a_late_sample_changes_its_own_contribution_and_the_next_and_exactly(explicit):
    changed = 0
    for seed in range(4000, 4000 + STORIES // 3):
        samples = story(seed, explicit, calm=True)
        chance = random.Random(seed)
        late = chance.choice(samples)
        rest = [s for s in samples if s is not late]
        both, _ = advanced(core(explicit, gap=10**6), samples)
        without, _ = advanced(core(explicit, gap=10**6), rest)
        following = [s.time for s in samples if s.stream == late.stream and s.time > late.time]
        touched = {(late.stream, late.time), (late.stream, min(following, default=late.time))}
        mine, other = (
            {(d.stream, d.time): d for d in found if (d.stream, d.time) not in touched}
            for found in (both, without)
        )
        same(mine.values(), other.values())
        sums = [
            sum(Fraction(d.sum) for d in found if d.stream == late.stream)
            for found in (both, without)
        ]
        if following and min(s.time for s in samples if s.stream == late.stream) < late.time:
            assert sums[0] == sums[1]  # it took from the next one what it gives to its own window
            changed += 1
    assert changed > STORIES // 20


@pytest.mark.parametrize("explicit", [True, False], ids=["explicit", "exponential"])
def test_the_last_of_late_samples_is_the_base_line_in_any_order(explicit):
    for seed in range(5000, 5000 + STORIES // 5):
        chance = random.Random(seed)
        samples = story(seed, explicit)
        in_time = [s for s in samples if chance.random() < 0.5]
        made, whole = core(explicit), core(explicit)
        advanced(whole, samples)
        advanced(made, in_time)
        late = [s for s in samples if s not in in_time]
        chance.shuffle(late)
        for cut in range(0, len(late), 3):
            made.raise_lines(samples_of(late[cut : cut + 3]))
        assert made.encode() == whole.encode()


@pytest.mark.parametrize("explicit", [True, False], ids=["explicit", "exponential"])
def test_many_panes_leave_little_behind_in_memory(explicit):
    made = core(explicit, pane=1, gap=10**6)
    samples = [s for seed in range(20) for s in story(seed, explicit, calm=True)]
    by_stream = {k: [s for s in samples if s.stream == k] for k in {s.stream for s in samples}}
    for turn in range(200):
        part = [
            replace(chosen, time=turn + 1, start=1)
            for members in by_stream.values()
            for chosen in [members[turn % len(members)]]
            if chosen.bounds in (None, members[0].bounds)
        ]
        advanced(made, part, turn, turn + 1)
    chains = made._chains.values() if explicit else [made._chain]
    for chain in chains:
        live = chain.kind.words(chain._state)
        assert chain._state.pool.shape[1] <= 8 * live + 100_000


def test_base_lines_of_another_version_pane_or_kind_are_refused_and_damaged_ones_too():
    made, other = core(False), ExponentialDeltas(PANE, GAP + 1)
    advanced(made, story(7, False))
    data = made.encode()
    for wrong in (data[:-1], data + b"x", data[:20] + b"\0" + data[21:], b""):
        with pytest.raises(Fatal):
            core(False).restore(wrong)
    with pytest.raises(Fatal):
        other.restore(data)
    with pytest.raises(Fatal):
        core(True).restore(data)
    forgotten = core(False)
    forgotten.restore(data)
    forgotten.forget(10**9)
    assert forgotten.encode() == core(False).encode()


def test_a_point_that_contradicts_itself_is_rejected_and_nothing_has_moved():
    samples = story(11, True)
    made = core(True)
    advanced(made, samples)
    before = made.encode()
    wrong = [replace(s, time=s.time + 100, count=s.count + 1) for s in samples[-1:]]
    with pytest.raises(Rejected):
        made.advance(samples_of(wrong))
    assert made.encode() == before


def test_no_samples_add_nothing():
    found = core(True).advance(samples_of([replace(story(3, True)[0], recorded=False)]))
    assert isinstance(found, Advance)
    assert sum(map(len, found.contributions)) == 0
