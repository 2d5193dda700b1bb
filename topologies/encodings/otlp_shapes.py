"""Histogram data points, read from their bytes into the columns that aggregates take.

    points = scanner.scan(messages, tenants)
    rows = np.flatnonzero(points.kind & KIND_MASK == HISTOGRAM)
    columns = explicit_points(points.buffer, *places(points, rows))

Fields may come in any order and repeated ones packed or not, as in `otlp_kernels`; the bytes are of
points that the scanner has accepted, so they parse. What a point says may still contradict itself:
the aggregates that load it tell. Counts of 2**63 or more come out negative. An explicit point
without buckets has one for all its values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streams.aggregates.explicit import ExplicitPoints
from streams.aggregates.exponential_points import ExponentialPoints
from streams.kernels.compile import kernel
from streams.kernels.machine import i64, load_u64
from streams.kernels.moments import NO_HIGHEST, NO_LOWEST, NO_SUM
from topologies.encodings.otlp_points import BOUNDS, BOUNDS_PACKED
from topologies.encodings.points import Points
from topologies.encodings.wire import next_field, read_varint

Array = Any
I64 = npt.NDArray[np.int64]

# Columns of the fixed fields.
COUNT, SUM, LOWEST, HIGHEST, ABSENT, SCALE, ZEROS, THRESHOLD = range(8)
POSITIVE, NEGATIVE = 8, 9  # offsets
WIDTH = 10
_ALL_ABSENT = NO_SUM | NO_LOWEST | NO_HIGHEST


@kernel("i64(i64)", forceinline=True, allocates=False)
def _unzigzag(value: int) -> int:
    """A sint32: the lower 32 bits count."""
    value &= 0xFFFFFFFF
    return (value >> 1) ^ -(value & 1)


@kernel("i64(u8[::1], i64, i64, i64[::1], i64)", allocates=False)
def _varints(buffer: Array, p: int, end: int, out: Array, at: int) -> int:
    """Packed varints to out[at:], as far as there is room; how many there are."""
    found = i64(0)
    while p < end:
        value, p = read_varint(buffer, p, end)
        if at + found < out.shape[0]:
            out[at + found] = value
        found += 1
    return found


@kernel("i64(u8[::1], i64, i64, i64[::1], i64)", allocates=False)
def _words(buffer: Array, p: int, end: int, out: Array, at: int) -> int:
    """Words of eight bytes to out[at:], as far as there is room; how many there are."""
    found = i64(0)
    while p + 8 <= end:
        if at + found < out.shape[0]:
            out[at + found] = i64(load_u64(buffer, p))
        found += 1
        p += 8
    return found


@kernel("bool_(u8[::1], i64, i64, i64, i64, i64, i64[::1])", forceinline=True, allocates=False)
def _moment(
    buffer: Array, tag: int, value: int, of_sum: int, lowest: int, highest: int, row: Array
) -> bool:
    """Count, sum, minimum or maximum, by its tag, into a row of fixed fields."""
    if tag == 33:
        row[COUNT] = i64(load_u64(buffer, value))
    elif tag == of_sum:
        row[SUM] = i64(load_u64(buffer, value))
        row[ABSENT] &= ~NO_SUM
    elif tag == lowest:
        row[LOWEST] = i64(load_u64(buffer, value))
        row[ABSENT] &= ~NO_LOWEST
    elif tag == highest:
        row[HIGHEST] = i64(load_u64(buffer, value))
        row[ABSENT] &= ~NO_HIGHEST
    else:
        return False
    return True


@kernel("void(i64[::1])", forceinline=True, allocates=False)
def _clear(row: Array) -> None:
    for column in range(WIDTH):
        row[column] = 0
    row[ABSENT] = _ALL_ABSENT


@kernel(
    "void(u8[::1], i64[::1], i64[::1], i64[:, ::1], i64[::1], i64[::1], i64[::1], i64[::1])",
    allocates=False,
)
def _read_explicit(
    buffer: Array,
    begins: Array,
    ends: Array,
    fixed: Array,
    bounds: Array,
    bound_ends: Array,
    counts: Array,
    count_ends: Array,
) -> None:
    """HistogramDataPoints buffer[begins[j]:ends[j]]; fixed i64[k, WIDTH].

    bounds (bits) and counts get those of all points, as far as there is room; bound_ends and
    count_ends i64[k + 1] where those of each begin.
    """
    bound_at = count_at = i64(0)
    for j in range(begins.shape[0]):
        bound_ends[j], count_ends[j] = bound_at, count_at
        row = fixed[j]
        _clear(row)
        p, end = begins[j], ends[j]
        while p < end:
            tag, value, p = next_field(buffer, p, end)
            if _moment(buffer, tag, value, 41, 89, 97, row):
                continue
            if tag in (BOUNDS_PACKED, BOUNDS):
                bound_at += _words(buffer, value, p, bounds, bound_at)
            elif tag in (50, 49):
                count_at += _words(buffer, value, p, counts, count_at)
    bound_ends[begins.shape[0]], count_ends[begins.shape[0]] = bound_at, count_at


@kernel("UniTuple(i64, 2)(u8[::1], i64, i64, i64, i64[::1], i64)", allocates=False)
def _read_buckets(
    buffer: Array, p: int, end: int, offset: int, out: Array, at: int
) -> tuple[int, int]:
    """One occurrence of Buckets: (its offset or the one given, how many counts there are)."""
    found = i64(0)
    while p < end:
        tag, value, p = next_field(buffer, p, end)
        if tag == 8:
            raw, _ = read_varint(buffer, value, p)
            offset = _unzigzag(raw)
        elif tag in (18, 16):
            found += _varints(buffer, value, p, out, at + found)
    return offset, found


@kernel(
    "void(u8[::1], i64[::1], i64[::1], i64[:, ::1], i64[::1], i64[::1], i64[::1], i64[::1])",
    allocates=False,
)
def _read_exponential(
    buffer: Array,
    begins: Array,
    ends: Array,
    fixed: Array,
    positive: Array,
    positive_ends: Array,
    negative: Array,
    negative_ends: Array,
) -> None:
    """As `_read_explicit`, of ExponentialHistogramDataPoints and the counts of either sign."""
    above = below = i64(0)
    for j in range(begins.shape[0]):
        positive_ends[j], negative_ends[j] = above, below
        row = fixed[j]
        _clear(row)
        p, end = begins[j], ends[j]
        while p < end:
            tag, value, p = next_field(buffer, p, end)
            if _moment(buffer, tag, value, 41, 97, 105, row):
                continue
            if tag == 48:
                raw, _ = read_varint(buffer, value, p)
                row[SCALE] = _unzigzag(raw)
            elif tag == 57:
                row[ZEROS] = i64(load_u64(buffer, value))
            elif tag == 113:
                row[THRESHOLD] = i64(load_u64(buffer, value))
            elif tag == 66:
                row[POSITIVE], found = _read_buckets(
                    buffer, value, p, row[POSITIVE], positive, above
                )
                above += found
            elif tag == 74:
                row[NEGATIVE], found = _read_buckets(
                    buffer, value, p, row[NEGATIVE], negative, below
                )
                below += found
    positive_ends[begins.shape[0]], negative_ends[begins.shape[0]] = above, below


def places(points: Points, rows: I64) -> tuple[I64, I64]:
    """Where the data points of these rows begin and end in the buffer, i64[k] each."""
    return points.begin[rows].astype(np.int64), points.end[rows].astype(np.int64)


def explicit_points(buffer: npt.NDArray[np.uint8], begins: I64, ends: I64) -> ExplicitPoints:
    """The HistogramDataPoints buffer[begins[j]:ends[j]], k of them."""
    fixed, bound_ends, bounds, count_ends, counts = _read(_read_explicit, buffer, begins, ends)
    bare = (np.diff(count_ends) == 0) & (np.diff(bound_ends) == 0)
    if bare.any():  # one bucket may go without saying
        counts = np.insert(counts, count_ends[:-1][bare], fixed[bare, COUNT])
        count_ends = count_ends + np.concatenate([np.zeros(1, np.int64), np.cumsum(bare)])
    return ExplicitPoints(*_moments(fixed), bound_ends, bounds.view(np.float64), count_ends, counts)


def exponential_points(buffer: npt.NDArray[np.uint8], begins: I64, ends: I64) -> ExponentialPoints:
    """The ExponentialHistogramDataPoints buffer[begins[j]:ends[j]], k of them."""
    found = _read(_read_exponential, buffer, begins, ends)
    fixed, positive_ends, positive, negative_ends, negative = found
    return ExponentialPoints(
        *_moments(fixed),
        fixed[:, ZEROS].copy(),
        fixed[:, THRESHOLD].copy().view(np.float64),
        fixed[:, SCALE].copy(),
        fixed[:, POSITIVE].copy(),
        positive_ends,
        positive,
        fixed[:, NEGATIVE].copy(),
        negative_ends,
        negative,
    )


def _read(
    read: Any, buffer: npt.NDArray[np.uint8], begins: I64, ends: I64
) -> tuple[I64, I64, I64, I64, I64]:
    """The fixed fields, and two ragged columns: where they begin, and all.

    A count takes a byte at least, so the bytes are room enough. Raises ``ValueError`` where there
    are not as many begins as ends.
    """
    if len(begins) != len(ends):
        raise ValueError(f"{len(begins)} begins and {len(ends)} ends")
    k, room = len(begins), int((ends - begins).sum())
    fixed = np.empty((k, WIDTH), np.int64)
    first, second = np.empty(room, np.int64), np.empty(room, np.int64)
    first_ends, second_ends = np.zeros((2, k + 1), np.int64)
    read(buffer, begins, ends, fixed, first, first_ends, second, second_ends)
    return (
        fixed,
        first_ends,
        first[: int(first_ends[-1])].copy(),
        second_ends,
        second[: int(second_ends[-1])].copy(),
    )


def _moments(fixed: I64) -> tuple[I64, Any, Any, Any, npt.NDArray[np.uint8]]:
    counts = fixed[:, COUNT].copy()
    sums, lowest, highest = (
        fixed[:, column].copy().view(np.float64) for column in (SUM, LOWEST, HIGHEST)
    )
    return counts, sums, lowest, highest, fixed[:, ABSENT].astype(np.uint8)
