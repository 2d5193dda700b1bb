"""Sums, means, variances and extremes: small cases a person can check, and any case there is."""

import math
import random
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aggregates.hard import columns
from aggregates.references import REFERENCES, Sample, nearest_root

from streams.aggregates import aggregate
from streams.kernels import exact
from streams.kernels.squares import LARGEST_COUNT, square_root
from streams.kernels.tally import COUNT, LIMBS, SQUARES

NAN, INF = math.nan, math.inf


def of(name, *values):
    """The aggregate of these values, one after the other in time."""
    each = aggregate(name)
    state = each.empty(1)
    if values:
        points = [Sample(at, 0, value, False) for at, value in enumerate(values)]
        each.add(state, *columns([points]))
    return float(each.finish(state)[0])


@pytest.mark.parametrize(
    ("name", "values", "result"),
    [
        ("count", (), 0.0),
        ("count", (NAN, INF, 0), 3.0),
        ("sum", (), 0.0),
        ("sum", (-0.0,), 0.0),
        ("sum", (1e308, 1e308, -1e308), 1e308),
        ("sum", (1e308, 1e308), INF),
        ("sum", (1e308, 5e-324, -1e308), 5e-324),
        ("sum", (2**53, 1, 1), 2.0**53 + 2),
        ("sum", (2**63 - 1, 2**63 - 1), 2.0**64),
        ("sum", (INF, -INF), NAN),
        ("sum", (-INF, 1e308, 1e308), -INF),
        ("sum", (NAN, 1.0), NAN),
        ("avg", (), NAN),
        ("avg", (1e308, 1.5e308), 1.25e308),
        ("avg", (2**53, 2**53 + 1), 2.0**53),
        ("avg", (5e-324, 0.0), 0.0),
        ("min", (), NAN),
        ("min", (0.0, -0.0), -0.0),
        ("min", (1, NAN), NAN),
        ("max", (-0.0, 0.0, -0.0), 0.0),
        ("max", (2**63 - 1,), 2.0**63),
        ("max", (INF, NAN), NAN),
        ("first", (NAN, 1.0), NAN),
        ("first", (3.0, 1.0), 3.0),
        ("last", (NAN, 1.0), 1.0),
        ("last", (), NAN),
        ("variance", (), NAN),
        ("variance", (7.5,), 0.0),
        ("variance", (1, 2, 3, 4), 1.25),
        ("variance", (1e9 + 1, 1e9 + 2, 1e9 + 3, 1e9 + 4), 1.25),
        ("variance", (INF, 1.0), NAN),
        ("variance", (1e308, -1e308), INF),
        ("variance", (5e-324, -5e-324), 0.0),
        ("variance_sample", (7.5,), NAN),
        ("variance_sample", (1, 2), 0.5),
        ("stddev", (2, 4, 4, 4, 5, 5, 7, 9), 2.0),
        ("stddev", (1e308, -1e308), 1e308),
        ("stddev", (5e-324, -5e-324), 5e-324),
        ("stddev_sample", (0, 2), 2**0.5),
        ("stddev_sample", (1.7e308, -1.7e308), INF),
        ("any", (), 0.0),
        ("any", (-0.0, 0), 0.0),
        ("any", (0, NAN), 1.0),
        ("all", (), 1.0),
        ("all", (1, NAN), 1.0),
        ("all", (1, -0.0), 0.0),
    ],
)
def test_what_it_is(name, values, result):
    found = np.array([of(name, *values)]).view(np.int64)[0]
    assert found == np.array([result]).view(np.int64)[0]


def test_of_points_of_one_time_first_and_last_take_the_greatest():
    for name in ("first", "last"):
        each = aggregate(name)
        for values in ((1.0, 2.0), (-0.0, 0.0), (INF, NAN), (2**53, 2**53 + 2)):
            for one, other in (values, values[::-1]):
                state = each.empty(1)
                each.add(state, *columns([[Sample(5, 0, v, False) for v in (one, other)]]))
                found = float(each.finish(state)[0])
                assert str(found) == str(float(values[1]))


numbers = st.one_of(
    st.floats(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(-1e6, 1e6),
    st.sampled_from(
        [0.1, 2**53, 2.0**63, -(2.0**63), 2**63 - 1, 2.0**-96, 2.0**-97, 1e308, 5e-324]
    ),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), numbers), max_size=12), st.randoms())
def test_any_values_in_any_order_are_as_the_references_say(drawn, chance):
    points = [Sample(time, 0, value, False) for time, value in drawn]
    rows, packed = columns([points])
    order = np.array(chance.sample(range(len(points)), len(points)), np.int64)
    for name, reference in REFERENCES.items():
        each = aggregate(name)
        state = each.empty(1)
        each.add(state, rows[order], packed.take(order))
        want = np.array([reference(points)])
        assert each.finish(state).view(np.int64)[0] == want.view(np.int64)[0], name


@given(st.integers(2**126, 2**128 - 1) | st.integers(2**63, 2**64 - 1).map(lambda r: r * r))
def test_the_root_in_128_bits_is_the_integer_root(square):
    for near in (square - 1, square, square + 1):
        if 2**126 <= near < 2**128:
            root, rest = square_root(np.uint64(near >> 64), np.uint64(near & 2**64 - 1))
            assert int(root) == math.isqrt(near)
            assert (int(rest) == 0) == (int(root) ** 2 == near)


def moments(name, count, total, squares):
    """What a state with this count, sum (of 2**-96) and sum of squares (of 2**-192) finishes as."""
    each = aggregate(name)
    state = each.empty(1)
    state.rows[0, LIMBS : LIMBS + 3] = exact.limbs_of(total)
    state.rows[0, SQUARES : SQUARES + 6] = np.frombuffer(squares.to_bytes(48, "little"), np.int64)
    state.rows[0, COUNT] = count
    return float(each.finish(state)[0])


@pytest.mark.parametrize("count", [2, 3, 2**31, LARGEST_COUNT, LARGEST_COUNT + 1, 2**40])
def test_moments_of_billions_of_values_are_rounded_once(count):
    """States as so many values would leave them: some are low, the others high."""
    chance = random.Random(count)
    for _ in range(50):
        low, high = (chance.randrange(-(2**158), 2**158) for _ in "12")
        if count > 2**32:
            low, high = low >> 20, high >> 20
        lows = chance.randrange(count + 1)
        total = lows * low + (count - lows) * high
        squares = lows * low**2 + (count - lows) * high**2
        variance = Fraction(count * squares - total**2, count**2 << 192)
        assert moments("variance", count, total, squares) == float(variance)
        assert moments("stddev", count, total, squares) == nearest_root(variance)


TIES = [(2**53 | j << 1 | 1) for j in (0, 1, 2, 3, 2**51, 2**52 - 2, 2**52 - 1)]
"""Numbers of 54 bits, half-way between two doubles."""


@pytest.mark.parametrize("tie", TIES)
def test_a_root_next_to_a_tie_goes_to_its_side(tie):
    for root in (tie, tie << 10):
        for shift in (*range(4), 31, 62, 63):
            for more in (-2, -1, 0, 1, 2):
                square = (root**2 << shift) + more
                assert moments("stddev", 1, 0, square) == nearest_root(Fraction(square, 1 << 192))


@pytest.mark.parametrize("tie", TIES)
def test_a_variance_above_a_tie_by_less_than_all_its_bits_goes_up(tie):
    """Quotients of 320 bits whose lower ones are zero: only the remainders say it is no tie."""
    n = LARGEST_COUNT
    for total, squares in (
        (1, (tie << 266) * n + 1),
        (0, (tie << 266) * n),
        (n, (tie << 266) * n + n),
    ):
        variance = Fraction(n * squares - total**2, n**2 << 192)
        assert moments("variance", n, total, squares) == float(variance)
    squares = (tie << 266) * n + 7  # divided by n once without a rest
    assert moments("variance", n, 0, squares) == float(Fraction(squares, n << 192))


@pytest.mark.parametrize("tie", TIES)
def test_a_root_in_rationals_next_to_a_tie_goes_to_its_side(tie):
    for scale in (0, -53, -1074, 900):
        for more in (Fraction(-1, 1 << 2148), Fraction(0), Fraction(1, 1 << 2148)):
            square = Fraction(tie) ** 2 * Fraction(4) ** scale + more
            assert exact.nearest_root(square) == nearest_root(square)
