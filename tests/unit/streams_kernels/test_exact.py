"""Sums are exact and finish as the nearest double, whatever the order and the merges."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.kernels.exact import exact_mean, finish_mean, limbs_of, spill_of, total_of
from streams.kernels.fold import BASE_TIME, BASE_WIDTH, fold_points
from streams.kernels.rows import (
    EARLIEST,
    FLAGS,
    INCREASE,
    IS_CUMULATIVE,
    IS_INTEGER,
    NAN,
    POINTS,
    SPILLED_SUM,
    STEPS,
    STREAM_WIDTH,
    SUM,
    increase_flags,
    merge_sorted,
)
from streams.kernels.sequence import (
    DECREASED,
    GAP,
    NOTICE_WIDTH,
    OVERLAP,
    START_CHANGED,
    TIE,
    UNKNOWN_START,
)
from topologies.preaggregate.columns import PointColumns
from topologies.preaggregate.panes import in_order, packed

finite = st.floats(allow_nan=False, allow_infinity=False)
tame = st.floats(-1e24, 1e24, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-12)
whole = st.integers(-(2**63), 2**63 - 1)


def bits_of(value: float) -> int:
    return int(np.array([value]).view(np.int64)[0])


def fold(points, after=0, until=10**9, pane=10**9, gap=10**9, bases=None, streams=4):
    """points: (slot, time, start, value, cumulative) -> rows, slots, spills, bases, notices."""
    n = len(points)
    slots = np.array([p[0] for p in points], np.int32)
    times = np.array([p[1] for p in points], np.int64)
    starts = np.array([p[2] for p in points], np.int64)
    raws = np.array([p[3] if isinstance(p[3], int) else bits_of(p[3]) for p in points], np.int64)
    metas = np.array(
        [
            (IS_INTEGER if isinstance(p[3], int) else 0) | (IS_CUMULATIVE if p[4] else 0)
            for p in points
        ],
        np.uint8,
    )
    columns = PointColumns(slots, times, starts, raws, metas)
    sorted_points = in_order([packed(columns)], streams)
    if bases is None:
        bases = np.zeros((streams, BASE_WIDTH), np.int64)
        bases[:, BASE_TIME] = EARLIEST
    rows = np.zeros((streams, STREAM_WIDTH), np.int64)
    row_slots = np.full(streams, -1, np.int32)
    spills = np.zeros((3 * n + 1, 4), np.int64)
    notices = np.zeros((n, NOTICE_WIDTH), np.int64)
    result = np.zeros(3, np.int64)
    fold_points(
        sorted_points, after, until, pane, gap, bases, rows, row_slots, spills, notices, result
    )
    written, spilled, noticed = result.tolist()
    return rows[:written], row_slots[:written], spills[:spilled], bases, notices[:noticed].tolist()


def row_sum(row, column=SUM):
    return total_of(*(int(x) for x in row[column : column + 3]))


@given(st.lists(tame | whole, min_size=1, max_size=30), st.randoms())
def test_a_sum_is_exact_and_rounds_once(values, random):
    random.shuffle(values)
    points = [(1, i + 1, 0, value, False) for i, value in enumerate(values)]
    rows, slots, spills, _, _ = fold(points)
    assert slots.tolist() == [1]
    spilled = sum(spill_of(int(s[2])) for s in spills)
    exact = sum(Fraction(v) for v in values)
    assert Fraction(row_sum(rows[0]), 1 << 96) + Fraction(spilled, 1 << 1074) == exact
    for count in (1, 3, len(values)):
        want = float(exact / count)
        assert exact_mean(*(int(x) for x in rows[0][SUM : SUM + 3]), spilled, count) == want
        if not len(spills):
            out = np.zeros(1)
            finish_mean(rows, SUM, np.array([count]), out)
            assert out[0] == want


@given(finite)
def test_a_double_that_does_not_fit_is_spilled_and_never_rounded(value: float):
    rows, _, spills, _, _ = fold([(0, 1, 0, value, False)])
    total = Fraction(row_sum(rows[0]), 1 << 96)
    total += sum((Fraction(spill_of(int(s[2])), 1 << 1074) for s in spills), Fraction(0))
    assert total == Fraction(value)
    assert bool(rows[0][FLAGS] & SPILLED_SUM) == bool(len(spills))


@given(st.integers(-(2**190), 2**190), st.integers(1, 2**31))
def test_a_mean_is_the_nearest_double(total: int, count: int):
    rows = np.array([limbs_of(total)], np.int64)
    out = np.zeros(1)
    finish_mean(rows, 0, np.array([count]), out)
    assert out[0] == float(Fraction(total, count << 96))


def oracle_increase(samples, after, gap, pane):
    """(increase or None, what is noticed, steps) of one stream by the rules, in plain Python."""
    chosen, noticed = {}, []
    for time, start, value in samples:
        if time in chosen and time > after:
            noticed.append((TIE, time))
        if time not in chosen or (Fraction(value), start) > (
            Fraction(chosen[time][1]),
            chosen[time][0],
        ):
            chosen[time] = (start, value)
    total, steps, base = Fraction(0), 0, None
    for time in sorted(chosen):
        start, value = chosen[time]
        stated = 0 < start < time
        if time <= after:
            counts = None
        elif base is not None and time - base[0] <= gap:
            counts = Fraction(value) - Fraction(base[2])
            if stated and base[1] and start != base[1]:
                overlaps = start < base[0]
                noticed.append((OVERLAP if overlaps else START_CHANGED, time))
                counts = Fraction(0 if overlaps else value)
            elif counts < 0:
                noticed.append((DECREASED, time))
                counts = Fraction(value)
        else:
            counts = Fraction(value) if stated and -(-start // pane) == -(-time // pane) else None
            if base is not None:
                noticed.append((GAP, time))
            elif counts is None:
                noticed.append((UNKNOWN_START, time))
        if counts is not None:
            total += counts
            steps += 1
        base = (time, start, value)
    return (total if steps else None), sorted(noticed), steps


samples = st.lists(
    st.tuples(st.integers(1, 60), st.sampled_from([0, 5, 25, 41]), st.integers(0, 50) | tame),
    min_size=1,
    max_size=25,
)


@given(samples, st.randoms(), st.integers(0, 40), st.sampled_from([5, 100]))
def test_an_increase_is_a_function_of_the_set_of_samples(given_samples, random, after, gap):
    chosen = list(dict.fromkeys(given_samples))
    want, noticed, steps = oracle_increase(chosen, after, gap, 10)
    random.shuffle(chosen)
    points = [(2, time, start, value, True) for time, start, value in chosen]
    rows, _, spills, _, seen = fold(points, after=after, until=60, pane=10, gap=gap)
    assert sorted((kind, time) for _, kind, time in seen) == noticed
    assert all(slot == 2 for slot, _, _ in seen)
    if not len(rows):
        assert want is None
        return
    assert rows[0][STEPS] == steps
    assert rows[0][POINTS] == sum(1 for s in chosen if s[0] > after)
    got = Fraction(row_sum(rows[0], INCREASE), 1 << 96)
    got += sum(
        (Fraction(int(s[3]) * spill_of(int(s[2])), 1 << 1074) for s in spills if s[1] == INCREASE),
        Fraction(0),
    )
    assert got == (want or 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(0, 99)), max_size=60))
def test_folding_pane_by_pane_and_merging_equals_folding_at_once(given_points):
    unique = {(slot, time): value for slot, time, value in given_points}
    points = [(slot, time, 1, value, True) for (slot, time), value in unique.items()]
    whole_rows, whole_slots, _, whole_bases, _ = fold(points, until=40, pane=10)
    rows, slots = np.zeros((0, STREAM_WIDTH), np.int64), np.zeros(0, np.int32)
    bases = None
    for end in (10, 20, 30, 40):
        pane = [p for p in points if end - 10 < p[1] <= end]
        new, new_slots, _, bases, _ = fold(pane, end - 10, end, 10, bases=bases)
        out = np.zeros((len(rows) + len(new), STREAM_WIDTH), np.int64)
        out_slots = np.zeros(len(rows) + len(new), np.int32)
        merge_sorted(rows, slots, np.ascontiguousarray(new), new_slots.copy(), out, out_slots)
        rows, slots = out[out_slots >= 0], out_slots[out_slots >= 0]
    assert slots.tolist() == whole_slots.tolist()
    assert rows.tolist() == whole_rows.tolist()
    assert bases.tolist() == whole_bases.tolist()


def test_a_long_stream_in_reverse_order_is_sorted_in_time_not_squared():
    n = 50_000
    rows, _, _, bases, _ = fold([(0, n - i, 0, float(i), True) for i in range(n)], until=n)
    assert rows[0][POINTS] == n
    assert bases[0][BASE_TIME] == n


def test_special_values_follow_ieee():
    assert math.isnan(math.nan)
    rows, _, spills, _, _ = fold([(0, 1, 0, math.inf, False), (0, 2, 0, 1.0, False)])
    assert rows[0][FLAGS] == 2
    assert not len(spills)


def test_a_sum_of_many_of_the_largest_values_does_not_wrap_around():
    for value in (2.0**89 * 1.5, math.nextafter(2.0**63, 0), -(2.0**63), 2**63 - 1, -(2**63)):
        rows, _, spills, _, _ = fold([(0, i, 0, value, False) for i in range(1, 65)])
        spilled = sum(spill_of(int(s[2])) for s in spills)
        limbs = (int(x) for x in rows[0][SUM : SUM + 3])
        assert exact_mean(*limbs, spilled, 1) == float(64 * Fraction(value))


def test_between_samples_of_one_time_a_nan_of_either_sign_wins():
    for nan in (math.nan, -math.nan):
        for order in ((0, 1), (1, 0)):
            twice = [(0, 1, 0, (nan, 5.0)[i], True) for i in order]
            rows, _, _, _, _ = fold([*twice, (0, 2, 0, 7.0, True)])
            assert rows[0][FLAGS] == NAN
            assert increase_flags(rows, 0) == NAN  # 7 less NaN


def test_integers_that_round_to_one_double_are_compared_exactly():
    for lower, higher in ((2**63 - 1, 2.0**63), (-(2.0**63), -(2**63) + 1), (2**53, 2**53 + 1)):
        for order in ((0, 1), (1, 0)):
            twice = [(0, 1, 0, (lower, higher)[i], True) for i in order]
            _, _, _, bases, seen = fold([*twice, (0, 2, 0, lower, True)])
            assert [0, DECREASED, 2] in seen, (lower, higher)
            assert bases[0][BASE_TIME] == 2
        _, _, _, _, seen = fold([(0, 1, 0, lower, True), (0, 2, 0, higher, True)])
        assert seen == [[0, UNKNOWN_START, 1]], (lower, higher)


def test_a_carry_goes_through_a_limb_that_is_full():
    """-2**-40 fills the two upper limbs with ones; what crosses zero carries through both."""
    values = [-(2.0**-40), 2.0**-33]
    rows, _, _, _, _ = fold([(0, i + 1, 0, value, False) for i, value in enumerate(values)])
    assert Fraction(row_sum(rows[0]), 1 << 96) == sum(map(Fraction, values))
    back, _, _, _, _ = fold([(0, i + 1, 0, -value, False) for i, value in enumerate(values)])
    assert row_sum(back[0]) == -row_sum(rows[0])
