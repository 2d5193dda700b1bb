"""Explicit bucket histograms as rows: moments, and one count a bucket.

A row is i64[MOMENTS_WIDTH + len(bounds) + 1]. Bucket i is (bounds[i - 1], bounds[i]], the first
without a lower and the last without an upper bound: OpenTelemetry data model, "Histogram".
"""

from __future__ import annotations

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.machine import double_of, i64
from streams.kernels.moments import (
    MOMENTS_WIDTH,
    NO_LOW,
    WIDE_WORDS,
    add_value,
    clear_moments,
    merge_moments,
)
from streams.kernels.types import Column, Word


@kernel("void(i64[:, ::1])", allocates=False)
def clear_explicit(rows: Column) -> None:
    """Every row becomes the identity."""
    for r in range(rows.shape[0]):
        for c in range(rows.shape[1]):
            rows[r, c] = 0
        clear_moments(rows, r)


@kernel(
    "i64(i64, i64[::1], i64[::1], u8[::1], f64[::1], i64[:, ::1], i64[:, ::1], i64[::1])",
    allocates=False,
)
def add_explicit(
    start: Word,
    which: Column,
    raws: Column,
    metas: Column,
    bounds: Column,
    rows: Column,
    pool: Column,
    used: Column,
) -> Word:
    """Values start.. join rows which i64[k] of rows i64[n, MOMENTS_WIDTH + len(bounds) + 1].

    raws i64[k], metas u8[k] as in `Points`; bounds f64[b], ascending. Returns how many values have
    joined: fewer than k if the pool i64[1, m] has to grow first. The bucket is NumPy's
    ``np.searchsorted(bounds, value, side="left")``.
    """
    for i in range(start, which.shape[0]):
        if used[0] + WIDE_WORDS > pool.shape[1]:
            return i
        r = which[i]
        bits = add_value(rows, r, raws[i], i64(metas[i]), pool, used)
        if bits == NO_LOW:
            continue
        value = double_of(bits)
        low = i64(0)
        size = i64(bounds.shape[0])
        while size > 0:
            half = size >> 1
            if bounds[low + half] < value:
                low += half + 1
                size -= half + 1
            else:
                size = half
        rows[r, MOMENTS_WIDTH + low] += 1
    return which.shape[0]


@kernel(
    "i64(i64, i64[::1], i64[:, ::1], i64[:, ::1], i64[::1], i64[::1], i64[:, ::1], i64[:, ::1])",
    allocates=False,
)
def merge_explicit(
    start: Word,
    which: Column,
    rows: Column,
    pool: Column,
    used: Column,
    order: Column,
    other: Column,
    theirs: Column,
) -> Word:
    """Row order[j] of other, with the pool theirs, joins row which[j] of rows, from j = start on.

    Both with the same bounds. Returns how many have joined: fewer than k if the pool has to grow.
    """
    for j in range(start, which.shape[0]):
        if used[0] + WIDE_WORDS > pool.shape[1]:
            return j
        merge_moments(rows, which[j], pool, used, other, order[j], theirs)
        for c in range(MOMENTS_WIDTH, rows.shape[1]):
            rows[which[j], c] += other[order[j], c]
    return which.shape[0]


@kernel(
    "i64(i64[::1], f64[::1], i64[::1], i64[::1], f64[::1], i64[:, ::1])",
    allocates=False,
)
def coarsen_buckets(
    bound_offsets: Column,
    bounds: Column,
    bucket_offsets: Column,
    counts: Column,
    wanted: Column,
    out: Column,
) -> Word:
    """Add the buckets of histogram points to those between the wanted bounds f64[b], ascending.

    The bounds of point j, ascending, are bounds[bound_offsets[j] : bound_offsets[j + 1]]; its
    counts, one more, likewise; out i64[k, b + 1]. Returns the first point that lacks a wanted
    bound, before which all are done; -1: none does.
    """
    size = i64(wanted.shape[0])
    for j in range(bound_offsets.shape[0] - 1):
        first = bound_offsets[j]
        inside = bound_offsets[j + 1] - first
        at = bucket_offsets[j]
        if first < 0 or first + inside > bounds.shape[0] or at + inside >= counts.shape[0]:
            return j
        low = i64(0)
        for b in range(inside):
            out[j, low] += counts[at + b]
            if low < size and wanted[low] <= bounds[first + b]:
                if wanted[low] != bounds[first + b]:
                    return j
                low += 1
        if low < size:
            return j
        out[j, size] += counts[at + inside]
    return -1


@kernel("void(i64[:, ::1], f64[::1], f64, i64[::1], f64[::1], f64[::1], f64[::1])", allocates=False)
def explicit_quantiles(
    rows: Column,
    bounds: Column,
    q: Word,
    counts: Column,
    lowest: Column,
    highest: Column,
    out: Column,
) -> None:
    """out[r] = the quantile q in 0..1 of row r; NaN where it has no values.

    counts i64[n]; lowest, highest f64[n], NaN where unknown.
    """
    last = bounds.shape[0]
    for r in range(rows.shape[0]):
        out[r] = np.nan
        rank = q * np.float64(counts[r])
        below = i64(0)
        for b in range(last + 1):
            count = rows[r, MOMENTS_WIDTH + b]
            if count == 0:
                continue
            if np.float64(below + count) < rank:
                below += count
                continue
            low = bounds[b - 1] if b > 0 else lowest[r]
            high = bounds[b] if b < last else highest[r]
            if low != low:
                low = min(0.0, high)
            if high != high:
                high = low
            part = (rank - np.float64(below)) / np.float64(count)
            value = low + part * (high - low) if part < 1.0 else high
            if value < lowest[r]:
                value = lowest[r]
            if value > highest[r]:
                value = highest[r]
            out[r] = value
            break
