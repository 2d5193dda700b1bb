"""Exact numbers: rounding once, the order of doubles, and IEEE's rules for what is not finite."""

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from oracle import arithmetic as a
from oracle.definitions import duration

DOUBLES = st.floats(-(2.0**1018), 2.0**1018)
"""Thirty of them stay within the range: math.fsum gives up where an intermediate sum does not."""


@given(st.lists(DOUBLES, min_size=1, max_size=30))
def test_a_total_is_the_exact_sum_rounded_once(values: list[float]) -> None:
    exact = sum(map(Fraction, values), Fraction(0))
    assert a.total(values) == exact
    assert a.to_double(a.total(values)) == math.fsum(values)
    assert a.bits(a.mean(values)) == a.bits(a.to_double(exact / len(values)))


@given(st.floats(), st.floats())
def test_rank_orders_doubles_and_equal_ranks_are_equal_bits(x: float, y: float) -> None:
    assert (a.rank(x) == a.rank(y)) == (a.bits(x) == a.bits(y))
    if x < y or (math.isnan(y) and not math.isnan(x)):
        assert a.rank(x) < a.rank(y)


def test_zero_has_two_ranks_and_nan_one() -> None:
    assert a.rank(-0.0) + 1 == a.rank(0.0) == 0
    assert a.bits(-math.nan) == a.bits(math.inf - math.inf) == 0x7FF8 << 48


def test_sums_beyond_the_range_are_infinite_and_opposite_infinities_are_nan() -> None:
    assert a.to_double(a.total([1.7e308, 1.7e308])) == math.inf
    assert a.to_double(a.total([-(2**62)] * 3)) == -3.0 * 2**62
    assert math.isnan(a.total([math.inf, -math.inf, 1]))
    assert a.total([math.inf, -1e308, 5]) == math.inf


def test_a_difference_of_doubles_is_not_rounded() -> None:
    assert a.difference(1.0, 1e-30) == 1 - Fraction(1e-30)
    assert a.difference(2**53 + 1, 2.0**53) == 1
    assert math.isnan(a.difference(math.inf, math.inf))


def test_durations_are_whole_nanoseconds() -> None:
    assert duration("10s") == 10_000_000_000
    assert duration("1h30m") == 5_400_000_000_000
    assert duration("500ms") == 500_000_000
    assert duration(0) == 0
