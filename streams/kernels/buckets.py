"""Buckets of exponential histograms between their rings and packed columns; and quantiles."""

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
)
from streams.kernels.machine import i64
from streams.kernels.powers import MAX_SCALE, bound_at
from streams.kernels.types import Column, Word


@kernel("void(i64[:, ::1], i64, i64[:, ::1], i64[::1], i64[::1])", allocates=False)
def pack_range(rows: Column, c: Word, pool: Column, offsets: Column, out: Column) -> None:
    """out[offsets[r] : offsets[r + 1]] = the buckets of the range at column c of row r.

    rows i64[n, EXPONENTIAL_WIDTH]; offsets i64[n + 1], as LAST - FIRST + 1 sums up.
    """
    for r in range(rows.shape[0]):
        first = rows[r, c + FIRST]
        at = rows[r, c + AT]
        mask = (1 << rows[r, c + BITS]) - 1
        for k in range(offsets[r + 1] - offsets[r]):
            out[offsets[r] + k] = pool[0, at + ((first + k) & mask)]


@kernel("void(i64[:, ::1], i64, i64[::1], i64[::1], i64[:, ::1], i64[::1])", allocates=False)
def unpack_range(
    rows: Column, c: Word, offsets: Column, counts: Column, pool: Column, used: Column
) -> None:
    """Give the range at column c of each row a ring with counts[offsets[r] : offsets[r + 1]].

    The range's FIRST is set. The pool has the room: up to 8 words, or twice the buckets, a row.
    """
    for r in range(rows.shape[0]):
        size = offsets[r + 1] - offsets[r]
        first = rows[r, c + FIRST]
        rows[r, c + LAST] = first + size - 1
        if size == 0:
            rows[r, c + BITS] = 0
            continue
        bits = 3
        while (size - 1) >> bits > 0:
            bits += 1
        rows[r, c + BITS] = bits
        rows[r, c + AT] = used[0]
        used[0] += 1 << bits
        for k in range(size):
            pool[0, rows[r, c + AT] + ((first + k) & ((1 << bits) - 1))] = counts[offsets[r] + k]


@kernel("i64(i64[::1], i64[::1], i64[::1], i64[::1], i64)", allocates=False)
def fit_counts(
    scales: Column, firsts: Column, offsets: Column, counts: Column, max_scale: Word
) -> Word:
    """Move each row's buckets to a scale of at most max_scale, and cut zeros off both ends.

    scales, firsts i64[n]; row r's buckets are counts[offsets[r] : offsets[r + 1]], from bucket
    firsts[r] of scale scales[r] on. All but scales are rewritten, offsets as ascending starts of
    shorter rows, counts in place. Returns how many counts are left.
    """
    to = 0
    begin = offsets[0]
    for r in range(scales.shape[0]):
        end = offsets[r + 1]
        offsets[r] = to
        low = begin
        while low < end and counts[low] == 0:
            low += 1
        high = end
        while high > low and counts[high - 1] == 0:
            high -= 1
        by = max(0, scales[r] - max_scale)
        first = (firsts[r] + (low - begin)) >> by if high > low else 0
        written = -1
        for k in range(low, high):
            at = ((firsts[r] + (k - begin)) >> by) - first
            count = counts[k]
            while written < at:
                written += 1
                counts[to + written] = 0
            counts[to + at] += count
        firsts[r] = first
        to += written + 1
        begin = end
    offsets[scales.shape[0]] = to
    return to


@kernel("f64(i64[:, ::1], i64, i64, f64, bool_, u64[::1])", forceinline=True, allocates=False)
def _within(
    rows: Column, r: Word, index: Word, part: Word, from_above: Word, bounds: Column
) -> Word:
    """The value at this part (0..1) of a bucket, on a logarithmic axis cut in 2**20 an octave."""
    by = MAX_SCALE - rows[r, SCALE]
    width = i64(1) << by
    inside = i64(part * np.float64(width) + 0.5)
    if from_above:
        inside = width - inside
    return bound_at((index << by) + inside, bounds)


@kernel(
    "void(i64[:, ::1], i64[:, ::1], f64, i64[::1], f64[::1], i64[::1], f64[::1], f64[::1],"
    " u64[::1], f64[::1])",
    allocates=False,
)
def quantiles(
    rows: Column,
    pool: Column,
    q: Word,
    zeros: Column,
    widths: Column,
    counts: Column,
    lowest: Column,
    highest: Column,
    bounds: Column,
    out: Column,
) -> None:
    """out[r] = the quantile q in 0..1 of row r; NaN where it has no values.

    rows i64[n, EXPONENTIAL_WIDTH], whose ranges hold no bucket of the zero bucket; zeros i64[n]
    values in it, widths f64[n] its threshold; counts i64[n]; lowest, highest f64[n], NaN where
    unknown; bounds u64[2**20 + 1] of `streams.kernels.powers`.
    """
    for r in range(rows.shape[0]):
        if counts[r] == 0:
            out[r] = np.nan
            continue
        rank = q * np.float64(counts[r])
        value = _at_rank(rows, r, pool, rank, zeros[r], widths[r], bounds)
        if value < lowest[r]:
            value = lowest[r]
        if value > highest[r]:
            value = highest[r]
        out[r] = value


@kernel("f64(i64[:, ::1], i64, i64[:, ::1], f64, i64, f64, u64[::1])", allocates=False)
def _at_rank(
    rows: Column, r: Word, pool: Column, rank: Word, zeros: Word, width: Word, bounds: Column
) -> Word:
    """Where the values, in order, reach this rank; the greatest bound if they do not."""
    below = i64(0)
    value = 0.0
    first = rows[r, NEGATIVE + FIRST]
    at = rows[r, NEGATIVE + AT]
    mask = (1 << rows[r, NEGATIVE + BITS]) - 1
    for index in range(rows[r, NEGATIVE + LAST], first - 1, -1):
        count = pool[0, at + (index & mask)]
        if count > 0 and np.float64(below + count) >= rank:
            part = (rank - np.float64(below)) / np.float64(count)
            return -_within(rows, r, index, part, True, bounds)
        below += count
        value = -_within(rows, r, index, 0.0, False, bounds)
    if zeros > 0:
        low = -width if rows[r, NEGATIVE + LAST] >= first else 0.0
        has_positive = rows[r, POSITIVE + LAST] >= rows[r, POSITIVE + FIRST]
        high = width if has_positive or low == 0.0 else 0.0
        if np.float64(below + zeros) >= rank:
            part = (rank - np.float64(below)) / np.float64(zeros)
            return low + part * (high - low)
        below += zeros
        value = high
    first = rows[r, POSITIVE + FIRST]
    at = rows[r, POSITIVE + AT]
    mask = (1 << rows[r, POSITIVE + BITS]) - 1
    for index in range(first, rows[r, POSITIVE + LAST] + 1):
        count = pool[0, at + (index & mask)]
        if count > 0 and np.float64(below + count) >= rank:
            part = (rank - np.float64(below)) / np.float64(count)
            return _within(rows, r, index, part, False, bounds)
        below += count
        value = _within(rows, r, index, 1.0, False, bounds)
    return value
