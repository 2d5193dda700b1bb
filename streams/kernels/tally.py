"""Points that join rows of the aggregates' states, and rows that join rows.

Everywhere: rows i64[k] says which row each of k points joins, raws i64[k] and metas u8[k] are the
points' values (`streams.kernels.rows`); rows, theirs i64[k] say which row of the other state joins
which row here. The caller has checked row numbers with `inside`.
"""

from __future__ import annotations

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.exact import add_double, add_integer, add_limbs, fits, round_mean
from streams.kernels.machine import double_of, u64
from streams.kernels.rows import IS_INTEGER, NAN, ordered, special_flag, special_sum, to_bits
from streams.kernels.squares import (
    LARGEST_COUNT,
    add_square_of_double,
    add_square_of_integer,
    add_squares,
    variance_of,
)
from streams.kernels.types import Column, Word

# A row of exact sums, i64[SUM_WIDTH], i64[MEAN_WIDTH] or i64[MOMENTS_WIDTH]
LIMBS = 0  # three
SPECIAL = 3  # NAN, PLUS_INFINITY, MINUS_INFINITY
SUM_WIDTH = 4
COUNT = 4
MEAN_WIDTH = 5
SQUARES = 5  # six limbs
MOMENTS_WIDTH = 11

NOTHING = np.iinfo(np.int64).min  # a rank below that of every double
NOT_A_NUMBER = np.iinfo(np.int64).max  # the rank of NaN, above that of every double

NON_ZERO = 1
ZERO = 2


@kernel("bool_(i64[::1], i64)", allocates=False)
def inside(rows: Column, n: Word) -> Word:
    """Whether all row numbers are in 0..n-1. NumPy: ``((rows >= 0) & (rows < n)).all()``."""
    outside = False
    limit = u64(n)
    for j in range(rows.shape[0]):
        outside |= u64(rows[j]) >= limit
    return not outside


@kernel("void(i64[::1], i64[::1])", allocates=False)
def add_counts(state: Column, rows: Column) -> None:
    """state[row] += 1. NumPy: ``np.add.at(state, rows, 1)``."""
    for j in range(rows.shape[0]):
        state[rows[j]] += 1


@kernel("void(i64[::1], i64[::1], i64[::1], i64[::1])", allocates=False)
def merge_counts(state: Column, rows: Column, other: Column, theirs: Column) -> None:
    """state[row] += other[theirs]. NumPy: ``np.add.at(state, rows, other[theirs])``."""
    for j in range(rows.shape[0]):
        state[rows[j]] += other[theirs[j]]


@kernel("void(u8[::1], i64[::1], i64[::1], u8[::1])", allocates=False)
def add_truths(state: Column, rows: Column, raws: Column, metas: Column) -> None:
    """state[row] |= NON_ZERO or ZERO. -0.0 is zero, NaN is not."""
    for j in range(rows.shape[0]):
        raw = raws[j]
        bits = raw if (metas[j] & IS_INTEGER) != 0 else raw & 0x7FFFFFFFFFFFFFFF
        state[rows[j]] |= np.uint8(NON_ZERO if bits != 0 else ZERO)


@kernel("void(u8[::1], i64[::1], u8[::1], i64[::1])", allocates=False)
def merge_truths(state: Column, rows: Column, other: Column, theirs: Column) -> None:
    """state[row] |= other[theirs]."""
    for j in range(rows.shape[0]):
        state[rows[j]] |= other[theirs[j]]


@kernel("i64(i64, u8)", forceinline=True, allocates=False)
def _rank(raw: Word, meta: Word) -> Word:
    """Orders doubles totally, -0.0 below +0.0; NaN is NOT_A_NUMBER."""
    if (meta & IS_INTEGER) != 0:
        return ordered(to_bits(np.float64(raw)))
    if special_flag(raw) == NAN:
        return NOT_A_NUMBER
    return ordered(raw)


@kernel("void(i64[::1], i64[::1], i64[::1], u8[::1], bool_)", allocates=False)
def add_extremes(state: Column, rows: Column, raws: Column, metas: Column, least: Word) -> None:
    """state[row] = the greatest rank so far; where least, of ranks in reverse (NaN stays above)."""
    for j in range(rows.shape[0]):
        rank = _rank(raws[j], metas[j])
        if least and rank != NOT_A_NUMBER:
            rank = ~rank
        if rank > state[rows[j]]:
            state[rows[j]] = rank


@kernel("void(i64[::1], i64[::1], i64[::1], i64[::1])", allocates=False)
def merge_extremes(state: Column, rows: Column, other: Column, theirs: Column) -> None:
    """state[row] = the greater. NumPy: ``np.maximum.at(state, rows, other[theirs])``."""
    for j in range(rows.shape[0]):
        rank = other[theirs[j]]
        if rank > state[rows[j]]:
            state[rows[j]] = rank


@kernel("void(i64[::1], bool_, f64[::1])", allocates=False)
def finish_ranks(ranks: Column, least: Word, out: Column) -> None:
    """out f64[n] = the doubles of ranks i64[n] (in reverse where least); NaN where NOTHING."""
    for r in range(ranks.shape[0]):
        rank = ranks[r]
        if rank in (NOTHING, NOT_A_NUMBER):
            out[r] = np.nan
        else:
            out[r] = double_of(ordered(~rank if least else rank))


@kernel("void(i64[:, ::1], i64, i64, i64)", forceinline=True, allocates=False)
def _keep_greater(state: Column, r: Word, time: Word, rank: Word) -> None:
    if time > state[r, 0] or (time == state[r, 0] and rank > state[r, 1]):
        state[r, 0] = time
        state[r, 1] = rank


@kernel("void(i64[:, ::1], i64[::1], i64[::1], i64[::1], u8[::1], bool_)", allocates=False)
def add_ends(
    state: Column, rows: Column, times: Column, raws: Column, metas: Column, first: Word
) -> None:
    """state[row] = (time, rank) of the last point; where first, (~time, rank) of the first.

    state i64[n, 2]. Among points of one time the greatest rank.
    """
    for j in range(rows.shape[0]):
        time = ~times[j] if first else times[j]
        _keep_greater(state, rows[j], time, _rank(raws[j], metas[j]))


@kernel("void(i64[:, ::1], i64[::1], i64[:, ::1], i64[::1])", allocates=False)
def merge_ends(state: Column, rows: Column, other: Column, theirs: Column) -> None:
    """What `add_ends` keeps, of both."""
    for j in range(rows.shape[0]):
        _keep_greater(state, rows[j], other[theirs[j], 0], other[theirs[j], 1])


@kernel("i64(i64[:, ::1], i64[::1], i64[::1], u8[::1], i64[::1])", allocates=False)
def add_sums(state: Column, rows: Column, raws: Column, metas: Column, left: Column) -> Word:
    """Values join exact sums: state i64[n, SUM_WIDTH], or MEAN_WIDTH to count them as well.

    Points whose values do not fit are counted, but listed in left i64[k] instead of added; returns
    how many they are.
    """
    listed = 0
    counted = state.shape[1] > COUNT
    for j in range(rows.shape[0]):
        r = rows[j]
        raw = raws[j]
        if counted:
            state[r, COUNT] += 1
        if (metas[j] & IS_INTEGER) != 0:
            add_integer(state, r, LIMBS, raw, False)
        elif fits(raw):
            add_double(state, r, LIMBS, raw, False)
        elif special_flag(raw) != 0:
            state[r, SPECIAL] |= special_flag(raw)
        else:
            left[listed] = j
            listed += 1
    return listed


@kernel("i64(i64[:, ::1], i64[::1], i64[::1], u8[::1], i64[::1])", allocates=False)
def add_moments(state: Column, rows: Column, raws: Column, metas: Column, left: Column) -> Word:
    """As `add_sums`, and squares join sums of squares: state i64[n, MOMENTS_WIDTH]."""
    listed = 0
    for j in range(rows.shape[0]):
        r = rows[j]
        raw = raws[j]
        state[r, COUNT] += 1
        if (metas[j] & IS_INTEGER) != 0:
            add_integer(state, r, LIMBS, raw, False)
            add_square_of_integer(state, r, SQUARES, raw)
        elif fits(raw):
            add_double(state, r, LIMBS, raw, False)
            add_square_of_double(state, r, SQUARES, raw)
        elif special_flag(raw) != 0:
            state[r, SPECIAL] |= special_flag(raw)
        else:
            left[listed] = j
            listed += 1
    return listed


@kernel("void(i64[:, ::1], i64[::1], i64[:, ::1], i64[::1])", allocates=False)
def merge_sums(state: Column, rows: Column, other: Column, theirs: Column) -> None:
    """Rows of exact sums join others of the same width."""
    width = state.shape[1]
    for j in range(rows.shape[0]):
        r = rows[j]
        o = theirs[j]
        add_limbs(state, r, LIMBS, other, o, LIMBS)
        state[r, SPECIAL] |= other[o, SPECIAL]
        if width > COUNT:
            state[r, COUNT] += other[o, COUNT]
        if width > SQUARES:
            add_squares(state, r, SQUARES, other, o, SQUARES)


@kernel("void(i64[:, ::1], i64[::1], f64[::1])", allocates=False)
def finish_sums(state: Column, divisors: Column, out: Column) -> None:
    """out f64[n] = the exact sum over divisors i64[n], rounded once; NaN where that is 0.

    state i64[n, SUM_WIDTH or more]. Divisors up to LARGEST_COUNT.
    Equals ``float(Fraction(limbs, 2**96) / divisor)``.
    """
    for r in range(state.shape[0]):
        flags = state[r, SPECIAL]
        if flags != 0:
            out[r] = special_sum(flags)
        elif divisors[r] > 0 and divisors[r] <= LARGEST_COUNT:
            out[r] = round_mean(state, r, LIMBS, divisors[r])
        else:
            out[r] = np.nan


@kernel("void(i64[:, ::1], i64, bool_, u64[::1], f64[::1])", allocates=False)
def finish_moments(state: Column, less: Word, root: Word, words: Column, out: Column) -> None:
    """out f64[n] = the variance, or its root, rounded once.

    state i64[n, MOMENTS_WIDTH]; the squared deviations are divided by the count less `less` (0 or
    1); NaN where that is no positive number, or where a value was NaN or infinite. words
    u64[SCRATCH].
    """
    for r in range(state.shape[0]):
        count = state[r, COUNT]
        if state[r, SPECIAL] != 0 or count <= less or count > LARGEST_COUNT:
            out[r] = np.nan
        else:
            out[r] = variance_of(state, r, LIMBS, SQUARES, count, count - less, root, words)
