"""Differences of histogram rows: what one sample of a cumulative stream has more than another.

Rows are those of `streams.kernels.explicit` or, with two ranges of buckets in the pool, of
`streams.kernels.exponential`. A difference is exact: counts are integers, sums fixed point. It has
no minimum and maximum: OpenTelemetry data model, "Histogram" (they can not be converted from
cumulative to delta).
"""

from __future__ import annotations

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.exponential import (
    AT,
    BITS,
    FIRST,
    LAST,
    NEGATIVE,
    POSITIVE,
    SCALE,
    THRESHOLD,
    ZEROS,
)
from streams.kernels.machine import double_bits, i64, u64
from streams.kernels.moments import (
    COUNT,
    FLAGS,
    LOWEST,
    MOMENTS_WIDTH,
    NO_HIGHEST,
    NO_LOWEST,
    NO_SUM,
    SPECIAL_SUM,
    SUM_MINUS_INFINITY,
    SUM_NAN,
    SUM_PLUS_INFINITY,
    TOTAL,
    WIDE,
    WIDE_WORDS,
    clear_moments,
)
from streams.kernels.powers import MAX_SCALE, TABLES, bound_at, index_of
from streams.kernels.types import Column, Word

RANGES = -1
"""A layout: rows of exponential histograms. Others are explicit, and say how many of their first
buckets may hold values below zero."""

_NONE = np.iinfo(np.int64).min
_LEAST_BITS = 3
_FRACTION = 1074 - 96  # the place of a limb's lowest bit in a wide sum


@kernel("i64(i64)", forceinline=True, allocates=False)
def _bits_of_ring(size: Word) -> Word:
    bits = i64(_LEAST_BITS)
    while (size - 1) >> bits > 0:
        bits += 1
    return bits


@kernel("i64(i64[:, ::1], i64, i64)", forceinline=True, allocates=False)
def words_of(rows: Column, r: Word, layout: Word) -> Word:
    """Words of the pool that a copy of row r, or a difference from it, may take."""
    words = i64(WIDE_WORDS)
    if layout == RANGES:
        for c in (POSITIVE, NEGATIVE):
            words += i64(1) << _bits_of_ring(rows[r, c + LAST] - rows[r, c + FIRST] + 1)
    return words


@kernel("i64(i64, i64)", forceinline=True, allocates=False)
def _flags_of_sums(flags: Word, before: Word) -> Word:
    """The flags of the difference of two sums that have these."""
    if ((flags | before) & NO_SUM) != 0:
        return NO_SUM
    now, then = flags & SPECIAL_SUM, before & SPECIAL_SUM
    if now == 0 and then == 0:
        return 0
    if ((now | then) & SUM_NAN) != 0 or now == then:
        return SUM_NAN
    if now != 0:
        return now
    return SUM_MINUS_INFINITY if then == SUM_PLUS_INFINITY else SUM_PLUS_INFINITY


@kernel("u64(u64, u64, u64)", forceinline=True, allocates=False)
def _borrow(a: Word, b: Word, borrow: Word) -> Word:
    """The borrow out of a - b - borrow."""
    return u64(1) if a < b or (a == b and borrow != u64(0)) else u64(0)


@kernel(
    "void(i64[:, ::1], i64, i64[:, ::1], i64[::1], i64[:, ::1], i64, i64[:, ::1], i64[:, ::1],"
    " i64, i64[:, ::1])",
    allocates=False,
)
def _subtract_sums(
    out: Column,
    w: Word,
    pool: Column,
    used: Column,
    rows: Column,
    r: Word,
    mine: Column,
    other: Column,
    o: Word,
    theirs: Column,
) -> None:
    """The sum of out's row w, which is clear, becomes that of row r less that of other's row o."""
    borrow = u64(0)
    for c in range(TOTAL, TOTAL + 3):
        a, b = u64(rows[r, c]), u64(other[o, c])
        out[w, c] = i64(a - b - borrow)
        borrow = _borrow(a, b, borrow)
    if rows[r, WIDE] == 0 and other[o, WIDE] == 0:
        return
    at = used[0]
    used[0] += WIDE_WORDS
    out[w, WIDE] = at + 1
    borrow = u64(0)
    for k in range(WIDE_WORDS):
        a = u64(mine[0, rows[r, WIDE] - 1 + k]) if rows[r, WIDE] > 0 else u64(0)
        b = u64(theirs[0, other[o, WIDE] - 1 + k]) if other[o, WIDE] > 0 else u64(0)
        pool[0, at + k] = i64(a - b - borrow)
        borrow = _borrow(a, b, borrow)


@kernel("bool_(i64[:, ::1], i64, i64[:, ::1])", allocates=False)
def sum_below_zero(rows: Column, r: Word, pool: Column) -> Word:
    """Whether the exact sum of row r, limbs and wide sum together, is less than zero."""
    if rows[r, WIDE] == 0:
        return rows[r, TOTAL + 2] < 0
    at = rows[r, WIDE] - 1
    word, shift = _FRACTION >> 6, u64(_FRACTION & 63)
    carry, total = u64(0), u64(0)
    for k in range(WIDE_WORDS):
        low, high = i64(0), i64(0)  # the limbs that word k is cut from
        if k > word:
            low = rows[r, TOTAL + min(k - word - 1, 2)]
            if k - word - 1 > 2:
                low >>= 63
        if k >= word:
            high = rows[r, TOTAL + min(k - word, 2)]
            if k - word > 2:
                high >>= 63
        part = u64(0)
        if k >= word:
            part = u64(high) << shift
        if k > word:
            part |= u64(low) >> (u64(64) - shift)
        a = u64(pool[0, at + k])
        summed = a + part
        total = summed + carry
        carry = u64(1) if summed < a or total < summed else u64(0)
    return i64(total) < 0


@kernel("bool_(i64[:, ::1], i64, i64)", forceinline=True, allocates=False)
def _never_negative(rows: Column, r: Word, layout: Word) -> Word:
    """Whether no value in row r is below zero, so that its sum only grows."""
    if (rows[r, FLAGS] & NO_LOWEST) == 0 and rows[r, LOWEST] >= -1:  # -1 orders as -0.0
        return True
    if layout == RANGES:
        empty = rows[r, NEGATIVE + LAST] < rows[r, NEGATIVE + FIRST]
        return empty and (rows[r, ZEROS] == 0 or rows[r, THRESHOLD] == 0)
    below = i64(0)
    for c in range(layout):
        below += rows[r, MOMENTS_WIDTH + c]
    return below == 0


@kernel(
    "bool_(i64[:, ::1], i64, i64[:, ::1], i64, i64[:, ::1], i64)", forceinline=True, allocates=False
)
def _subtract_counts(out: Column, w: Word, rows: Column, r: Word, other: Column, o: Word) -> Word:
    """The explicit buckets of row r less those of other's row o; False if one falls below zero."""
    least = i64(0)
    for c in range(MOMENTS_WIDTH, out.shape[1]):
        left = rows[r, c] - other[o, c]
        out[w, c] = left
        least = min(least, left)
    return least >= 0


@kernel("void(i64[::1], i64[:, ::1], i64, i64, i64, i64)", forceinline=True, allocates=False)
def _take_ring(counts: Column, pool: Column, at: Word, bits: Word, first: Word, sign: Word) -> None:
    """counts += sign * buckets first.. of a ring, in two straight pieces: 3 times as fast."""
    begin = first & ((i64(1) << bits) - 1)
    head = min(i64(counts.shape[0]), (i64(1) << bits) - begin)
    piece = pool[0, at + begin : at + begin + head]
    for k in range(piece.shape[0]):
        counts[k] += sign * piece[k]
    rest = counts[head:]
    piece = pool[0, at : at + rest.shape[0]]
    for k in range(piece.shape[0]):
        rest[k] += sign * piece[k]


@kernel("void(i64[:, ::1], i64, i64, i64, i64[::1])", forceinline=True, allocates=False)
def _fill_ring(pool: Column, at: Word, bits: Word, first: Word, counts: Column) -> None:
    """Buckets first.. of a ring = counts."""
    begin = first & ((i64(1) << bits) - 1)
    head = min(i64(counts.shape[0]), (i64(1) << bits) - begin)
    piece = pool[0, at + begin : at + begin + head]
    for k in range(piece.shape[0]):
        piece[k] = counts[k]
    rest = counts[head:]
    piece = pool[0, at : at + rest.shape[0]]
    for k in range(piece.shape[0]):
        piece[k] = rest[k]


@kernel(
    "i64(i64[::1], i64[:, ::1], i64, i64, i64[:, ::1], i64[:, ::1], i64, i64[:, ::1])",
    allocates=False,
)
def _subtract_rings(
    counts: Column,
    rows: Column,
    r: Word,
    c: Word,
    mine: Column,
    other: Column,
    o: Word,
    theirs: Column,
) -> Word:
    """`_subtract_range` of two ranges of one scale, the first with buckets, and no limit."""
    first, last = rows[r, c + FIRST], rows[r, c + LAST]
    n = last - first + 1
    found = counts[:n]
    for k in range(n):
        found[k] = 0
    _take_ring(found, mine, rows[r, c + AT], rows[r, c + BITS], first, 1)
    begin, end = other[o, c + FIRST], other[o, c + LAST]
    if begin <= end:
        if begin < first or end > last:  # neither end of a range is empty
            return _NONE
        part = found[begin - first : end - first + 1]
        _take_ring(part, theirs, other[o, c + AT], other[o, c + BITS], begin, -1)
    least = i64(0)
    for k in range(n):
        least = min(least, found[k])
    return _NONE if least < 0 else 0


@kernel(
    "i64(i64[::1], i64[:, ::1], i64, i64, i64[:, ::1], i64, i64[:, ::1], i64, i64[:, ::1], i64,"
    " i64, i64[::1])",
    allocates=False,
)
def _subtract_range(
    counts: Column,
    rows: Column,
    r: Word,
    c: Word,
    mine: Column,
    by: Word,
    other: Column,
    o: Word,
    theirs: Column,
    other_by: Word,
    limit: Word,
    held: Column,
) -> Word:
    """The range at column c of row r less that of other's row o, both coarsened: to counts.

    counts[k] is bucket (rows[r, c + FIRST] >> by) + k. Buckets up to `limit` count as zeros: what
    is left of those is returned, and held[0] tells how many values lay in bucket `limit` itself.
    _NONE if a bucket falls below zero.
    """
    first, last = rows[r, c + FIRST], rows[r, c + LAST]
    low, high = first >> by, last >> by
    zeros = i64(0)
    if limit == _NONE and by == 0 and other_by == 0 and last >= first:
        return _subtract_rings(counts, rows, r, c, mine, other, o, theirs)
    if last < first:
        low, high = i64(0), i64(-1)
    else:
        for k in range(high - low + 1):
            counts[k] = 0
        at, mask = rows[r, c + AT], (i64(1) << rows[r, c + BITS]) - 1
        for index in range(first, last + 1):
            bucket, count = index >> by, mine[0, at + (index & mask)]
            if bucket <= limit:
                zeros += count
                held[0] += count if bucket == limit else 0
            else:
                counts[bucket - low] += count
    first, last = other[o, c + FIRST], other[o, c + LAST]
    at, mask = other[o, c + AT], (i64(1) << other[o, c + BITS]) - 1
    for index in range(first, last + 1):
        bucket, count = index >> other_by, theirs[0, at + (index & mask)]
        if bucket <= limit:
            zeros -= count
            held[0] += count if bucket == limit else 0
        elif bucket >= low and bucket <= high:
            counts[bucket - low] -= count
        elif count > 0:
            return _NONE
    for k in range(high - low + 1):
        if counts[k] < 0:
            return _NONE
    return zeros


@kernel("bool_(i64[:, ::1], i64, i64[:, ::1], i64[::1], i64, i64[::1], i64, i64)", allocates=False)
def _place_range(
    out: Column, w: Word, pool: Column, used: Column, c: Word, counts: Column, low: Word, n: Word
) -> Word:
    """Give out's row w the range counts[:n], from bucket `low` on; whether any is in use."""
    first, last = i64(0), n - 1
    while first <= last and counts[first] == 0:
        first += 1
    while last >= first and counts[last] == 0:
        last -= 1
    if last < first:
        for k in range(4):
            out[w, c + k] = 0
        out[w, c + LAST] = -1
        return False
    bits = _bits_of_ring(last - first + 1)
    at = used[0]
    used[0] += i64(1) << bits
    _fill_ring(pool, at, bits, low + first, counts[first : last + 1])
    out[w, c + AT], out[w, c + BITS] = at, bits
    out[w, c + FIRST], out[w, c + LAST] = low + first, low + last
    return True


@kernel(
    "bool_(i64[:, ::1], i64, i64[:, ::1], i64[::1], i64[:, ::1], i64, i64[:, ::1], i64[:, ::1],"
    f" i64, i64[:, ::1], i64[:, ::1], {TABLES})",
    allocates=False,
)
def _subtract_ranges(
    out: Column,
    w: Word,
    pool: Column,
    used: Column,
    rows: Column,
    r: Word,
    mine: Column,
    other: Column,
    o: Word,
    theirs: Column,
    scratch: Column,
    tables: Column,
) -> Word:
    """Zeros, threshold, scale and ranges of row r less those of other's row o; False: some fall.

    Both are taken to the smaller scale, and where their zero thresholds differ to the wider one:
    OpenTelemetry data model, "Zero count and zero threshold".
    """
    scale = min(rows[r, SCALE], other[o, SCALE])
    by, other_by = rows[r, SCALE] - scale, other[o, SCALE] - scale
    threshold = max(rows[r, THRESHOLD], other[o, THRESHOLD])
    limit = i64(_NONE)
    if rows[r, THRESHOLD] != other[o, THRESHOLD]:
        limit = index_of(threshold, scale, tables)
    held = scratch[2]
    held[0] = 0
    zeros = rows[r, ZEROS] - other[o, ZEROS]
    for side in range(2):
        c = i64(POSITIVE) if side == 0 else i64(NEGATIVE)
        moved = _subtract_range(
            scratch[side], rows, r, c, mine, by, other, o, theirs, other_by, limit, held
        )
        if moved == _NONE:
            return False
        zeros += moved
    if zeros < 0:
        return False
    if held[0] > 0:
        threshold = double_bits(bound_at((limit + 1) << (MAX_SCALE - scale), tables[0]))
    in_use = False
    for side in range(2):
        c = i64(POSITIVE) if side == 0 else i64(NEGATIVE)
        low = rows[r, c + FIRST] >> by
        n = (rows[r, c + LAST] >> by) - low + 1
        if rows[r, c + LAST] < rows[r, c + FIRST]:
            n = i64(0)
        if _place_range(out, w, pool, used, c, scratch[side], low, n):
            in_use = True
    out[w, ZEROS] = zeros
    out[w, SCALE] = scale if in_use else i64(MAX_SCALE)
    out[w, THRESHOLD] = threshold if out[w, COUNT] > 0 else i64(0)
    return True


@kernel(
    "bool_(i64[:, ::1], i64, i64[:, ::1], i64[::1], i64[:, ::1], i64, i64[:, ::1], i64[:, ::1],"
    f" i64, i64[:, ::1], i64, i64[:, ::1], {TABLES})",
    allocates=False,
)
def subtract_row(
    out: Column,
    w: Word,
    pool: Column,
    used: Column,
    rows: Column,
    r: Word,
    mine: Column,
    other: Column,
    o: Word,
    theirs: Column,
    layout: Word,
    scratch: Column,
    tables: Column,
) -> Word:
    """Row w of out, with its pool, becomes row r of rows less row o of other, exactly.

    The pool has `words_of` row r to spare; scratch i64[3, m], m at least the buckets of a range.
    False if r is no continuation of o, since a count, or a sum that only grows, has fallen: then
    row w says nothing, and the pool is as it was. A sum is looked at only if the count has grown:
    of one and the same values a writer may well state two sums, by adding in another order.
    """
    count = rows[r, COUNT] - other[o, COUNT]
    if count < 0:
        return False
    clear_moments(out, w)
    out[w, COUNT] = count
    begin = used[0]
    if layout == RANGES:
        held = _subtract_ranges(
            out, w, pool, used, rows, r, mine, other, o, theirs, scratch, tables
        )
    else:
        held = _subtract_counts(out, w, rows, r, other, o)
    if not held:
        return False
    flags = _flags_of_sums(rows[r, FLAGS], other[o, FLAGS])
    if flags == 0:
        _subtract_sums(out, w, pool, used, rows, r, mine, other, o, theirs)
    fell = flags == SUM_MINUS_INFINITY or (flags == 0 and sum_below_zero(out, w, pool))
    if fell and count > 0 and _never_negative(rows, r, layout):
        for k in range(begin, used[0]):
            pool[0, k] = 0
        used[0] = begin
        return False
    if count > 0:
        out[w, FLAGS] = flags | NO_LOWEST | NO_HIGHEST
    return True


@kernel("void(i64[:, ::1], i64, i64, i64, i64[:, ::1], i64, i64, i64)", allocates=False)
def _copy_ring(
    pool: Column,
    at: Word,
    bits: Word,
    first: Word,
    mine: Column,
    from_at: Word,
    from_bits: Word,
    n: Word,
) -> None:
    """Buckets first.. of one ring = the same n of another."""
    done = i64(0)
    while done < n:
        here = (first + done) & ((i64(1) << bits) - 1)
        there = (first + done) & ((i64(1) << from_bits) - 1)
        size = min(n - done, (i64(1) << bits) - here, (i64(1) << from_bits) - there)
        piece = pool[0, at + here : at + here + size]
        source = mine[0, from_at + there : from_at + there + size]
        for k in range(piece.shape[0]):
            piece[k] = source[k]
        done += size


@kernel("bool_(i64[:, ::1], i64, i64[:, ::1], i64, i64)", allocates=False)
def takes(rows: Column, r: Word, other: Column, o: Word, layout: Word) -> Word:
    """Whether what row r holds in its pool has room for row o of other."""
    if other[o, WIDE] > 0 and rows[r, WIDE] == 0:
        return False
    if layout != RANGES:
        return True
    for c in (POSITIVE, NEGATIVE):
        size = other[o, c + LAST] - other[o, c + FIRST] + 1
        if size > 0 and (rows[r, c + BITS] == 0 or _bits_of_ring(size) > rows[r, c + BITS]):
            return False
    return True


@kernel(
    "void(i64[:, ::1], i64, i64[:, ::1], i64[::1], i64[:, ::1], i64, i64[:, ::1], i64, bool_)",
    allocates=False,
)
def copy_row(
    out: Column,
    w: Word,
    pool: Column,
    used: Column,
    rows: Column,
    r: Word,
    mine: Column,
    layout: Word,
    again: Word,
) -> None:
    """Row w of out, with its pool, becomes row r of rows.

    again: in the place in the pool that row w has, which `takes` it, and where buckets outside of
    its ranges say nothing afterwards; else the pool has `words_of` row r to spare.
    """
    held = out[w, WIDE] if again else i64(0)
    for c in range(MOMENTS_WIDTH if layout == RANGES else rows.shape[1]):
        out[w, c] = rows[r, c]
    if rows[r, WIDE] > 0:
        if held == 0:
            held = used[0] + 1
            used[0] += WIDE_WORDS
        out[w, WIDE] = held
        for k in range(WIDE_WORDS):
            pool[0, held - 1 + k] = mine[0, rows[r, WIDE] - 1 + k]
    if layout != RANGES:
        return
    out[w, ZEROS], out[w, THRESHOLD], out[w, SCALE] = (
        rows[r, ZEROS], rows[r, THRESHOLD], rows[r, SCALE],
    )  # fmt: skip
    for c in (POSITIVE, NEGATIVE):
        first, n = rows[r, c + FIRST], rows[r, c + LAST] - rows[r, c + FIRST] + 1
        out[w, c + FIRST], out[w, c + LAST] = first, rows[r, c + LAST]
        if not again:
            out[w, c + AT] = used[0] if n > 0 else i64(0)
            out[w, c + BITS] = _bits_of_ring(n) if n > 0 else i64(0)
            used[0] += (i64(1) << out[w, c + BITS]) if n > 0 else i64(0)
        _copy_ring(
            pool, out[w, c + AT], out[w, c + BITS], first, mine, rows[r, c + AT],
            rows[r, c + BITS], n,
        )  # fmt: skip
