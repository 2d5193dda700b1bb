"""What every histogram knows beside its buckets: count, exact sum, minimum, maximum.

A row is i64[., at least MOMENTS_WIDTH]. A pool i64[1, m] holds what has no fixed size: here the
*wide sum* of a row, 2176-bit fixed point with 1074 fraction bits in two's complement, for the rare
finite doubles that do not fit the three limbs of `streams.kernels.exact`. Which of the two sums a
value joins depends on the value alone, so both are functions of the set of values. A wide sum of
up to 2**62 doubles cannot overflow. `used` i64[1] is how far the pool is in use; past it are zeros.
"""

from __future__ import annotations

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.exact import add_double, add_integer, add_limbs, fits
from streams.kernels.machine import double_bits, i64, u64
from streams.kernels.rows import IS_INTEGER, ordered, special_flag
from streams.kernels.types import Column, Word

COUNT = 0
TOTAL = 1  # a sum: three limbs, and WIDE
WIDE = 4  # where the wide sum stands in the pool, plus 1; 0: there is none
SUM_WIDTH = 4
LOWEST = 5  # minimum and maximum as `ordered` integers
HIGHEST = 6
FLAGS = 7
EXCLUDED = 8  # values that are not finite: they are in no bucket, count, sum, minimum or maximum
MOMENTS_WIDTH = 9

WIDE_WORDS = 34

# Flags, of what a histogram that came bucketed does not say, or says as no finite number
SUM_NAN = 1
SUM_PLUS_INFINITY = 2
SUM_MINUS_INFINITY = 4
SPECIAL_SUM = SUM_NAN | SUM_PLUS_INFINITY | SUM_MINUS_INFINITY
NO_SUM = 8
NO_LOWEST = 16
NO_HIGHEST = 32

NO_LOW = np.iinfo(np.int64).max
NO_HIGH = np.iinfo(np.int64).min
_MANTISSA = np.uint64((1 << 52) - 1)
_HIDDEN = np.uint64(1 << 52)


@kernel("void(i64[:, ::1], i64)", forceinline=True, allocates=False)
def clear_moments(rows: Column, r: Word) -> None:
    """The identity: no values."""
    for c in range(MOMENTS_WIDTH):
        rows[r, c] = 0
    rows[r, LOWEST] = NO_LOW
    rows[r, HIGHEST] = NO_HIGH


@kernel("u64(i64[:, ::1], i64, u64, u64)", forceinline=True, allocates=False)
def _add_word(pool: Column, at: Word, part: Word, carry: Word) -> Word:
    """pool[0, at] += part + carry; returns the carry out of it, 0 or 1."""
    summed = u64(pool[0, at]) + part
    total = summed + carry
    pool[0, at] = i64(total)
    return u64(1) if summed < part or total < summed else u64(0)


@kernel("void(i64[:, ::1], i64, i64)", allocates=False)
def add_wide(pool: Column, at: Word, bits: Word) -> None:
    """Add the finite double with these bits to the wide sum at pool[0, at : at + WIDE_WORDS]."""
    u = u64(bits)
    field = i64((u >> u64(52)) & u64(0x7FF))
    mantissa = u & _MANTISSA
    if field > 0:
        mantissa |= _HIDDEN
        field -= 1
    word = field >> 6
    within = u64(field & 63)
    low = mantissa << within
    high = u64(0)
    if within > u64(11):
        high = mantissa >> (u64(64) - within)
    if bits < 0:  # two's complement of the magnitude, extended to the upper end
        low = ~low + u64(1)
        high = ~high + (u64(1) if low == u64(0) else u64(0))
    upper = ~u64(0) if bits < 0 and mantissa != u64(0) else u64(0)
    carry = u64(0)
    for k in range(word, WIDE_WORDS):
        part = low if k == word else (high if k == word + 1 else upper)
        if k > word + 1 and carry == u64(0) and upper == u64(0):
            return
        carry = _add_word(pool, at + k, part, carry)


@kernel("i64(i64[:, ::1], i64, i64, i64[::1])", forceinline=True, allocates=False)
def _wide_of(rows: Column, r: Word, c: Word, used: Column) -> Word:
    """Where the wide sum is that rows[r, c] names; it is made if missing."""
    if rows[r, c] == 0:
        rows[r, c] = used[0] + 1
        used[0] += WIDE_WORDS
    return rows[r, c] - 1


@kernel(
    "void(i64[:, ::1], i64, i64, i64, i64[:, ::1], i64[::1])", forceinline=True, allocates=False
)
def add_to_sum(rows: Column, r: Word, c: Word, bits: Word, pool: Column, used: Column) -> None:
    """The finite double with these bits joins the sum at rows[r, c : c + SUM_WIDTH].

    The pool has WIDE_WORDS to spare.
    """
    if fits(bits):
        add_double(rows, r, c, bits, False)
    else:
        add_wide(pool, _wide_of(rows, r, c + 3, used), bits)


@kernel(
    "void(i64[:, ::1], i64, i64, i64[:, ::1], i64[::1], i64[:, ::1], i64, i64, i64[:, ::1])",
    allocates=False,
)
def merge_sums(
    rows: Column,
    r: Word,
    c: Word,
    pool: Column,
    used: Column,
    other: Column,
    o: Word,
    oc: Word,
    theirs: Column,
) -> None:
    """The sum at other[o, oc:], with the pool theirs, joins that at rows[r, c : c + SUM_WIDTH].

    The pool has WIDE_WORDS to spare.
    """
    add_limbs(rows, r, c, other, o, oc)
    if other[o, oc + 3] == 0:
        return
    at = _wide_of(rows, r, c + 3, used)
    there = other[o, oc + 3] - 1
    carry = u64(0)
    for k in range(WIDE_WORDS):
        carry = _add_word(pool, at + k, u64(theirs[0, there + k]), carry)


@kernel("i64(i64[:, ::1], i64, i64, i64, i64[:, ::1], i64[::1])", forceinline=True, allocates=False)
def add_value(rows: Column, r: Word, raw: Word, meta: Word, pool: Column, used: Column) -> Word:
    """One value joins row r. Returns its bits as a double, or NO_LOW if it is not finite.

    raw, meta as in `Points`. An integer joins the sum as it is, and is otherwise the nearest
    double. The pool has WIDE_WORDS to spare.
    """
    bits = raw
    if (meta & IS_INTEGER) != 0:
        bits = double_bits(np.float64(raw))
        add_integer(rows, r, TOTAL, raw, False)
    elif special_flag(bits) != 0:
        rows[r, EXCLUDED] += 1
        return NO_LOW
    else:
        add_to_sum(rows, r, TOTAL, bits, pool, used)
    rows[r, COUNT] += 1
    order = ordered(bits)
    if order < rows[r, LOWEST]:
        rows[r, LOWEST] = order
    if order > rows[r, HIGHEST]:
        rows[r, HIGHEST] = order
    return bits


@kernel(
    "void(i64[:, ::1], i64, i64[:, ::1], i64[::1], i64[:, ::1], i64, i64[:, ::1])",
    allocates=False,
)
def merge_moments(
    rows: Column, r: Word, pool: Column, used: Column, other: Column, o: Word, theirs: Column
) -> None:
    """Row o of other, with the pool theirs, joins row r; the pool has WIDE_WORDS to spare."""
    rows[r, COUNT] += other[o, COUNT]
    rows[r, EXCLUDED] += other[o, EXCLUDED]
    rows[r, FLAGS] |= other[o, FLAGS]
    rows[r, LOWEST] = min(rows[r, LOWEST], other[o, LOWEST])
    rows[r, HIGHEST] = max(rows[r, HIGHEST], other[o, HIGHEST])
    merge_sums(rows, r, TOTAL, pool, used, other, o, TOTAL, theirs)


@kernel(
    "i64(i64, i64[::1], i64[::1], i64[::1], i64[::1], u8[::1], i64[:, ::1], i64[:, ::1], i64[::1])",
    allocates=False,
)
def load_moments(
    start: Word,
    counts: Column,
    sums: Column,
    lowest: Column,
    highest: Column,
    absent: Column,
    rows: Column,
    pool: Column,
    used: Column,
) -> Word:
    """Row j of rows, which are clear, becomes what histogram point j says, from j = start on.

    counts i64[k]; sums, lowest, highest i64[k], bits of doubles; absent u8[k], of NO_SUM, NO_LOWEST
    and NO_HIGHEST. A point without values says nothing. Returns how many are loaded: fewer than k
    if the pool i64[1, m] has to grow first.
    """
    for j in range(start, counts.shape[0]):
        if used[0] + WIDE_WORDS > pool.shape[1]:
            return j
        if counts[j] == 0:
            continue
        flags = i64(absent[j])
        rows[j, COUNT] = counts[j]
        if (flags & NO_SUM) == 0:
            special = special_flag(sums[j])
            flags |= special
            if special == 0:
                add_to_sum(rows, j, TOTAL, sums[j], pool, used)
        if (flags & NO_LOWEST) == 0:
            rows[j, LOWEST] = ordered(lowest[j])
        if (flags & NO_HIGHEST) == 0:
            rows[j, HIGHEST] = ordered(highest[j])
        rows[j, FLAGS] = flags
    return counts.shape[0]
