"""Increases and rates beyond what all aggregates promise: base lines, parameters, the engine."""

import math
import random
import struct
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aggregates.hard import ROWS, columns, samples
from aggregates.references import SECOND, Sample, increase, nearest

from streams.aggregates.increase import Increase
from streams.aggregates.rate import Rate
from streams.kernels.exact import exact_mean, spill_of
from streams.kernels.fold import (
    BASE_TIME,
    BASE_WIDTH,
    POINT_WIDTH,
    SPILL_WIDTH,
    fold_points,
    in_order,
)
from streams.kernels.rows import (
    EARLIEST,
    INCREASE,
    STEPS,
    STREAM_WIDTH,
    increase_flags_of,
    special_sum,
)
from streams.kernels.sequence import NOTICE_WIDTH


def finished(aggregate, points, base_lines=()):
    """The value of one row that these points join, and these base lines."""
    state = aggregate.empty(1)
    if points:
        rows, packed = columns([points])
        aggregate.add(state, rows, packed)
    if base_lines:
        rows, packed = columns([list(base_lines)])
        aggregate.add_base_lines(state, rows, packed)
    return float(aggregate.finish(state)[0])


def sample(seconds, value, start=0):
    return Sample(seconds * SECOND, round(start * SECOND), value, True)


@pytest.mark.parametrize(
    ("points", "value"),
    [
        ([], np.nan),
        ([sample(12, 5)], np.nan),  # a base line alone
        ([sample(12, 5, start=11)], 5.0),  # began in its pane
        ([sample(12, 5, start=9)], np.nan),
        ([sample(12, 5), sample(14, 9)], 4.0),
        ([sample(12, 5), sample(14, 2)], 2.0),  # a decrease
        ([sample(12, 5, 3), sample(14, 9, 13)], 9.0),  # another start
        ([sample(12, 5, 3), sample(14, 9, 12)], 9.0),  # at the very time of the sample before it
        ([sample(12, 5, 3), sample(14, 9, 11.999999999)], 0.0),  # two writers overlap
        ([sample(12, 5, 3), sample(14, 2, 11)], 0.0),  # the same, though it is smaller
        ([sample(12, 5, 12)], np.nan),  # of zero duration: it does not say since when
        ([sample(12, 5, 13)], np.nan),
        ([sample(12, 5, 3), sample(14, 9, 14), sample(16, 12, 14)], 7.0),
        ([sample(12, 5, 3), sample(14, 2, 14), sample(16, 12, 14)], 12.0),
        ([sample(12, 5), sample(12 + 901, 9)], np.nan),  # unknown again
        ([sample(12, 5), sample(14, 9), sample(14, 7)], 4.0),  # the greater of one time
        ([sample(12, 2**63 - 1), sample(14, 2.0**63)], 1.0),
        ([sample(12, -(2**63)), sample(14, 2**63 - 1)], 2.0**64),
        ([sample(12, 0.1), sample(14, 0.3)], 0.19999999999999998),
        ([sample(12, 1e308), sample(14, -1e308)], -1e308),
        ([sample(12, 1.0), sample(14, np.nan), sample(16, 3.0)], np.nan),
        ([sample(12, 1.0), sample(14, np.inf)], np.inf),
        ([sample(12, np.inf), sample(14, np.inf)], np.nan),
        ([Sample(3, 0, 4, False), Sample(3, 0, 4, False)], 8.0),  # deltas do not repeat
        ([Sample(3, 0, 4, False), sample(12, 5), sample(14, 9)], 8.0),
    ],
)
def test_each_rule_of_the_table(points, value):
    for order in (points, points[::-1]):
        assert np.array_equal([finished(Increase(), order)], [value], equal_nan=True)
    assert np.array_equal([increase(points)], [value], equal_nan=True)


def test_a_base_line_is_compared_with_and_does_not_count():
    lines = [sample(3, 10, 7), sample(8, 12, 7), sample(8, 11, 7)]
    assert finished(Increase(), [sample(12, 15, 7), sample(14, 21, 7)], lines) == 9.0
    assert np.isnan(finished(Increase(), [], lines))


def test_base_lines_merge_as_they_are_added():
    chance = random.Random(7)
    aggregate = Increase()
    lines = [sample(chance.randrange(1, 9), chance.randrange(99), 1) for _ in range(20)]
    rows, packed = columns([lines])
    whole, parts = aggregate.empty(1), aggregate.empty(3)
    aggregate.add_base_lines(whole, rows, packed)
    aggregate.add_base_lines(parts, np.array([0, 2] * 10), packed)
    merged = aggregate.empty(1)
    aggregate.merge(merged, np.zeros(3, np.int64), parts, np.arange(3))
    assert aggregate.encode(merged) == aggregate.encode(whole)
    last = max(lines, key=lambda line: (line.time, line.value))
    later = [sample(11, 1000, 1), sample(15, 1200, 1)]
    assert finished(aggregate, later, lines) == increase(later, base=last)


def encoded(points):
    aggregate = Increase()
    state = aggregate.empty(1)
    for point in points:  # one at a time: bytes must not depend on how points came
        aggregate.add(state, *columns([[point]]))
    return aggregate.encode(state)


def test_of_samples_of_one_time_the_same_one_is_kept_in_any_order():
    quiet, signalling = (
        struct.unpack("<d", bits.to_bytes(8, "little"))[0]
        for bits in (0x7FF8 << 48, 0xFFF0 << 48 | 77)
    )
    for lower, higher in (
        (sample(12, 5.0), sample(12, 5)),
        (sample(12, 5), sample(12, 6.5)),
        (sample(12, 5, 3), sample(12, 5, 4)),
        (sample(12, -0.0), sample(12, 0)),
        (sample(12, math.inf), sample(12, quiet)),
        (sample(12, quiet), sample(12, signalling)),
    ):
        assert encoded([lower, higher]) == encoded([higher, lower]) == encoded([higher])


def test_pane_and_gap_are_what_was_asked_for():
    points = [sample(12, 5, start=9), sample(40, 8, start=9)]
    assert finished(Increase(pane=20 * SECOND), points) == 8.0
    assert finished(Increase(pane=20 * SECOND, gap=27 * SECOND), points) == 5.0
    assert increase(points, pane=20 * SECOND, gap=27 * SECOND) == 5.0


def test_a_rate_is_the_exact_increase_over_the_seconds_rounded_once():
    for seconds in (1, 3, 60, 3600, 31 * 86400 - 3600):
        for row in samples(3, 30):
            want, got = increase(row, seconds=seconds), finished(Rate(seconds), row)
            assert np.array_equal([want], [got], equal_nan=True)
    points = [sample(12, 2**53), sample(14, 2**54 + 4)]
    assert finished(Rate(7), points) == nearest(Fraction(2**53 + 4, 7))


def test_the_engine_folds_the_same_samples_to_the_same_increase():
    rows, points = columns([[p for p in row if p.cumulative] for row in samples(5, 60)])
    aggregate = Increase()
    state = aggregate.empty(ROWS)
    aggregate.add(state, rows, points)
    found = aggregate.finish(state)
    packed = np.empty((len(rows), POINT_WIDTH), np.int64)
    packed[:, 0], packed[:, 1], packed[:, 2] = points.times, points.starts, points.raws
    packed[:, 3] = rows << 8 | points.metas
    folded, slots = np.empty((ROWS, STREAM_WIDTH), np.int64), np.empty(ROWS, np.int32)
    spills, result = np.empty((3 * len(rows), SPILL_WIDTH), np.int64), np.zeros(3, np.int64)
    bases = np.zeros((ROWS, BASE_WIDTH), np.int64)
    bases[:, BASE_TIME] = EARLIEST
    fold_points(
        in_order([packed], ROWS), 0, 2**62, 10 * SECOND, 900 * SECOND, bases, folded, slots,
        spills, np.empty((len(rows), NOTICE_WIDTH), np.int64), result,
    )  # fmt: skip
    written, spilled, _ = result.tolist()
    want = np.full(ROWS, np.nan)
    for row in range(written):
        if folded[row, STEPS] == 0:
            continue
        flags = int(increase_flags_of(folded[row : row + 1])[0])
        apart = sum(
            sign * spill_of(bits)
            for at, column, bits, sign in spills[:spilled].tolist()
            if at == row and column == INCREASE
        )
        limbs = folded[row, INCREASE : INCREASE + 3].tolist()
        want[slots[row]] = special_sum(flags) if flags else exact_mean(*limbs, apart, 1)
    assert found.view(np.int64).tolist() == want.view(np.int64).tolist()
