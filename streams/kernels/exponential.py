"""Exponential histograms as rows, their buckets in a pool.

A row is i64[EXPONENTIAL_WIDTH]: the columns of `streams.kernels.moments`, zeros, threshold, scale,
and two ranges of buckets (positive, negative). The buckets of a range are a ring of 2**bits words
in the pool: bucket i is word ``i mod 2**bits``. Buckets FIRST to LAST are in use and neither of the
two is zero; a range with LAST below FIRST is empty.

The scale of a row is the largest at which both ranges, from their lowest to their highest value,
fit into max_size buckets, and no larger than that of any merged row with a bucket in use. It never
falls below that for a part of the values, since a part's range lies within the whole's; so it is a
function of the set of values, whatever was added or merged first.
"""

from __future__ import annotations

from streams.kernels.compile import kernel
from streams.kernels.machine import double_bits, i64
from streams.kernels.moments import (
    MOMENTS_WIDTH,
    NO_LOW,
    WIDE_WORDS,
    add_value,
    clear_moments,
    merge_moments,
)
from streams.kernels.powers import TABLES, bound_at, index_of
from streams.kernels.types import Column, Word

ZEROS = MOMENTS_WIDTH
THRESHOLD = 10  # the bits of the greatest zero threshold of merged rows, which order as integers
SCALE = 11
POSITIVE = 12
NEGATIVE = 16
EXPONENTIAL_WIDTH = 20

# Columns of a range, from POSITIVE or NEGATIVE on
AT = 0  # where its ring is in the pool
BITS = 1  # of the ring's size; 0: there is no ring yet
FIRST = 2
LAST = 3

_LEAST_BITS = 3


@kernel("void(i64[:, ::1], i64, i64)", allocates=False)
def clear_exponential(rows: Column, max_scale: Word, threshold: Word) -> None:
    """Every row of i64[n, EXPONENTIAL_WIDTH] becomes the identity."""
    for r in range(rows.shape[0]):
        for c in range(EXPONENTIAL_WIDTH):
            rows[r, c] = 0
        clear_moments(rows, r)
        rows[r, SCALE] = max_scale
        rows[r, THRESHOLD] = threshold
        rows[r, POSITIVE + LAST] = -1
        rows[r, NEGATIVE + LAST] = -1


@kernel("void(i64[:, ::1], i64, i64, i64, i64[:, ::1], i64[::1])", allocates=False)
def _coarsen(rows: Column, r: Word, c: Word, by: Word, pool: Column, scratch: Column) -> None:
    """Make 2**by buckets of the range at column c one."""
    first = rows[r, c + FIRST]
    last = rows[r, c + LAST]
    if last < first or by == 0:
        return
    at = rows[r, c + AT]
    mask = (1 << rows[r, c + BITS]) - 1
    to = first >> by
    kept = (last >> by) - to + 1
    for k in range(kept):
        scratch[k] = 0
    for index in range(first, last + 1):
        scratch[(index >> by) - to] += pool[0, at + (index & mask)]
        pool[0, at + (index & mask)] = 0
    for k in range(kept):
        pool[0, at + ((to + k) & mask)] = scratch[k]
    rows[r, c + FIRST] = to
    rows[r, c + LAST] = to + kept - 1


@kernel("void(i64[:, ::1], i64, i64, i64, i64, i64[:, ::1], i64[::1])", allocates=False)
def _widen(
    rows: Column, r: Word, c: Word, first: Word, last: Word, pool: Column, used: Column
) -> None:
    """The range at column c becomes first to last, which contains it; its ring grows if need be."""
    old_first = rows[r, c + FIRST]
    old_last = rows[r, c + LAST]
    bits = max(rows[r, c + BITS], _LEAST_BITS)
    while (last - first) >> bits > 0:
        bits += 1
    if bits > rows[r, c + BITS]:
        at = rows[r, c + AT]
        mask = (1 << rows[r, c + BITS]) - 1
        to = used[0]
        used[0] += 1 << bits
        for index in range(old_first, old_last + 1):
            pool[0, to + (index & ((1 << bits) - 1))] = pool[0, at + (index & mask)]
        rows[r, c + AT] = to
        rows[r, c + BITS] = bits
    rows[r, c + FIRST] = first
    rows[r, c + LAST] = last


@kernel("i64(i64, i64, i64)", forceinline=True, allocates=False)
def _shift_to_fit(first: Word, last: Word, max_size: Word) -> Word:
    """By how many scales buckets first to last must be coarsened to be at most max_size."""
    by = 0
    while (last >> by) - (first >> by) >= max_size:
        by += 1
    return by


@kernel("void(i64[:, ::1], i64, i64, i64, i64, i64[:, ::1], i64[::1], i64[::1])", allocates=False)
def _reach(
    rows: Column,
    r: Word,
    c: Word,
    index: Word,
    max_size: Word,
    pool: Column,
    used: Column,
    scratch: Column,
) -> None:
    """Count one in bucket `index` of the row's scale, which is outside of the range."""
    first = index
    last = index
    if rows[r, c + FIRST] <= rows[r, c + LAST]:
        first = min(first, rows[r, c + FIRST])
        last = max(last, rows[r, c + LAST])
    by = _shift_to_fit(first, last, max_size)
    if by > 0:
        _coarsen(rows, r, POSITIVE, by, pool, scratch)
        _coarsen(rows, r, NEGATIVE, by, pool, scratch)
        rows[r, SCALE] -= by
    _widen(rows, r, c, first >> by, last >> by, pool, used)
    mask = (1 << rows[r, c + BITS]) - 1
    pool[0, rows[r, c + AT] + ((index >> by) & mask)] += 1


@kernel(
    "i64(i64, i64[::1], i64[::1], u8[::1], i64[:, ::1], i64[:, ::1], i64[::1], i64[::1], i64, i64,"
    f" i64, {TABLES})",
    allocates=False,
)
def add_exponential(
    start: Word,
    which: Column,
    raws: Column,
    metas: Column,
    rows: Column,
    pool: Column,
    used: Column,
    scratch: Column,
    max_size: Word,
    spare: Word,
    threshold: Word,
    tables: Column,
) -> Word:
    """Values start.. join rows which i64[k] of rows i64[n, EXPONENTIAL_WIDTH].

    raws i64[k], metas u8[k] as in `Points`; scratch i64[max_size]; spare: words that one value may
    take from the pool; threshold: bits of the greatest magnitude that counts as zero. Returns how
    many values have joined: fewer than k if the pool i64[1, m] has to grow first.
    """
    for i in range(start, which.shape[0]):
        if used[0] + spare > pool.shape[1]:
            return i
        r = which[i]
        bits = add_value(rows, r, raws[i], i64(metas[i]), pool, used)
        if bits == NO_LOW:
            continue
        magnitude = bits & 0x7FFFFFFFFFFFFFFF
        if magnitude <= threshold:
            rows[r, ZEROS] += 1
            continue
        c = POSITIVE if bits >= 0 else NEGATIVE
        index = index_of(magnitude, rows[r, SCALE], tables)
        if index < rows[r, c + FIRST] or index > rows[r, c + LAST]:
            _reach(rows, r, c, index, max_size, pool, used, scratch)
        else:
            mask = (1 << rows[r, c + BITS]) - 1
            pool[0, rows[r, c + AT] + (index & mask)] += 1
    return which.shape[0]


@kernel("bool_(i64[:, ::1], i64)", forceinline=True, allocates=False)
def _has_buckets(rows: Column, r: Word) -> Word:
    return (
        rows[r, POSITIVE + FIRST] <= rows[r, POSITIVE + LAST]
        or rows[r, NEGATIVE + FIRST] <= rows[r, NEGATIVE + LAST]
    )


@kernel(
    "i64(i64[:, ::1], i64, i64, i64[:, ::1], i64, i64, i64, i64)", forceinline=True, allocates=False
)
def _shift_of_both(
    rows: Column,
    r: Word,
    by: Word,
    other: Column,
    o: Word,
    other_by: Word,
    c: Word,
    max_size: Word,
) -> Word:
    """By how many scales more both ranges at column c must be coarsened to fit as one."""
    first = NO_LOW
    last = -NO_LOW
    if rows[r, c + FIRST] <= rows[r, c + LAST]:
        first = rows[r, c + FIRST] >> by
        last = rows[r, c + LAST] >> by
    if other[o, c + FIRST] <= other[o, c + LAST]:
        first = min(first, other[o, c + FIRST] >> other_by)
        last = max(last, other[o, c + LAST] >> other_by)
    if last < first:
        return 0
    return _shift_to_fit(first, last, max_size)


@kernel(
    "void(i64[:, ::1], i64, i64[:, ::1], i64[::1], i64[:, ::1], i64, i64[:, ::1], i64, i64)",
    allocates=False,
)
def _add_buckets(
    rows: Column,
    r: Word,
    pool: Column,
    used: Column,
    other: Column,
    o: Word,
    theirs: Column,
    c: Word,
    by: Word,
) -> None:
    """The range at column c of other's row joins that of row r, coarsened by `by` scales."""
    first = other[o, c + FIRST]
    last = other[o, c + LAST]
    if last < first:
        return
    low = first >> by
    high = last >> by
    if rows[r, c + FIRST] <= rows[r, c + LAST]:
        low = min(low, rows[r, c + FIRST])
        high = max(high, rows[r, c + LAST])
    if low != rows[r, c + FIRST] or high != rows[r, c + LAST]:
        _widen(rows, r, c, low, high, pool, used)
    at = rows[r, c + AT]
    mask = (1 << rows[r, c + BITS]) - 1
    there = other[o, c + AT]
    their_mask = (1 << other[o, c + BITS]) - 1
    for index in range(first, last + 1):
        pool[0, at + ((index >> by) & mask)] += theirs[0, there + (index & their_mask)]


@kernel(
    "i64(i64, i64[::1], i64[:, ::1], i64[:, ::1], i64[::1], i64[::1], i64[:, ::1], i64[:, ::1],"
    " i64[::1], i64, i64)",
    allocates=False,
)
def merge_exponential(
    start: Word,
    which: Column,
    rows: Column,
    pool: Column,
    used: Column,
    order: Column,
    other: Column,
    theirs: Column,
    scratch: Column,
    max_size: Word,
    spare: Word,
) -> Word:
    """Row order[j] of other, with the pool theirs, joins row which[j] of rows, from j = start on.

    which, order i64[k]; rows, other i64[., EXPONENTIAL_WIDTH]. Returns how many have joined: fewer
    than k if the pool has to grow first; spare: words that one merge may take.
    """
    for j in range(start, which.shape[0]):
        if used[0] + spare > pool.shape[1]:
            return j
        r = which[j]
        o = order[j]
        merge_moments(rows, r, pool, used, other, o, theirs)
        rows[r, ZEROS] += other[o, ZEROS]
        rows[r, THRESHOLD] = max(rows[r, THRESHOLD], other[o, THRESHOLD])
        if not _has_buckets(other, o):
            continue
        scale = min(rows[r, SCALE], other[o, SCALE])
        by = rows[r, SCALE] - scale
        other_by = other[o, SCALE] - scale
        more = max(
            _shift_of_both(rows, r, by, other, o, other_by, POSITIVE, max_size),
            _shift_of_both(rows, r, by, other, o, other_by, NEGATIVE, max_size),
        )
        if by + more > 0:
            _coarsen(rows, r, POSITIVE, by + more, pool, scratch)
            _coarsen(rows, r, NEGATIVE, by + more, pool, scratch)
            rows[r, SCALE] -= by + more
        _add_buckets(rows, r, pool, used, other, o, theirs, POSITIVE, other_by + more)
        _add_buckets(rows, r, pool, used, other, o, theirs, NEGATIVE, other_by + more)
    return which.shape[0]


@kernel(f"void(i64[:, ::1], i64[:, ::1], i64, {TABLES})", allocates=False)
def fold_into_zero(rows: Column, pool: Column, known: Word, tables: Column) -> None:
    """Count buckets up to the zero threshold as zeros, where it is above the known one.

    rows i64[n, EXPONENTIAL_WIDTH], with pool i64[1, m]; known: bits of the threshold that values
    were held against when they joined. A bucket that the threshold cuts moves whole, if there is
    anything in it, and the threshold to its upper bound: OpenTelemetry data model, "Zero count and
    zero threshold".
    """
    for r in range(rows.shape[0]):
        threshold = rows[r, THRESHOLD]
        if threshold <= known:
            continue
        scale = rows[r, SCALE]
        index = index_of(threshold, scale, tables)
        upper = double_bits(bound_at((index + 1) << (20 - scale), tables[0]))
        held = _count_of(rows, r, POSITIVE, index, pool) + _count_of(rows, r, NEGATIVE, index, pool)
        if held > 0:
            rows[r, THRESHOLD] = upper
        for c in (POSITIVE, NEGATIVE):
            mask = (1 << rows[r, c + BITS]) - 1
            at = rows[r, c + AT]
            first = rows[r, c + FIRST]
            last = rows[r, c + LAST]
            while first <= last and (first <= index or pool[0, at + (first & mask)] == 0):
                rows[r, ZEROS] += pool[0, at + (first & mask)]
                pool[0, at + (first & mask)] = 0
                first += 1
            rows[r, c + FIRST] = first if first <= last else 0
            rows[r, c + LAST] = last if first <= last else -1


@kernel("i64(i64[:, ::1], i64, i64, i64, i64[:, ::1])", forceinline=True, allocates=False)
def _count_of(rows: Column, r: Word, c: Word, index: Word, pool: Column) -> Word:
    """How many values are in this bucket of the range at column c."""
    if index < rows[r, c + FIRST] or index > rows[r, c + LAST]:
        return 0
    return pool[0, rows[r, c + AT] + (index & ((1 << rows[r, c + BITS]) - 1))]


def spare_words(max_size: int) -> int:
    """Words of the pool that one value or one merged row may take."""
    return WIDE_WORDS + 2 * max(1 << (max_size - 1).bit_length(), 1 << _LEAST_BITS)
