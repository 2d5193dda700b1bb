"""Points of a span of time, sorted by stream and time, and folded into stream rows.

The increase of a cumulative stream is the sum, over its samples in event-time order, of the exact
difference to the sample before; a reset (another start time, or a decrease) counts the sample
itself. OpenTelemetry data model, "Resets and gaps". Sorting first makes every value a function of
the set of points, whatever order they came in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.exact import add_double, add_integer, fits
from streams.kernels.machine import double_of
from streams.kernels.rows import (
    FLAGS,
    INCREASE,
    IS_CUMULATIVE,
    IS_HISTOGRAM,
    IS_INTEGER,
    SPILLED_INCREASE,
    STEP_SPECIALS,
    STEPS,
    add_point,
    clear_stream_row,
    ordered,
    to_bits,
)
from streams.kernels.rows import special_flag as special_of
from streams.kernels.sequence import (
    BEGAN,
    CONTINUES,
    OVERLAPS,
    RESTARTED,
    TIE,
    follows,
    kind_of,
    note,
)
from streams.kernels.types import Column, Word

# A point, i64[POINT_WIDTH]. RAW: a double's bits or the integer itself; WHOSE: slot << 8 | meta.
POINT_TIME = 0
POINT_START = 1
POINT_RAW = 2
POINT_WHOSE = 3
POINT_WIDTH = 4

# Base line of a stream, i64[BASE_WIDTH]: its last sample before the span, columns as a point's.
# Time EARLIEST: none.
BASE_TIME = 0
BASE_START = 1
BASE_RAW = 2
BASE_META = 3
BASE_WIDTH = 4

# Spilled values, i64[SPILL_WIDTH]: the row, which sum (SUM or INCREASE column), bits, +1 or -1
SPILL_WIDTH = 4


@kernel("i64(i64, i64)", forceinline=True, allocates=False)
def _bits(raw: Word, meta: Word) -> Word:
    """A point's value as the bits of a double."""
    return to_bits(np.float64(raw) if (meta & IS_INTEGER) != 0 else double_of(raw))


@kernel("bool_(i64, i64, i64, i64)", forceinline=True, allocates=False)
def _rest_below(raw: Word, meta: Word, other: Word, other_meta: Word) -> Word:
    """Of two values that are one double, whether the first is smaller: an integer may be."""
    integer, other_integer = (meta & IS_INTEGER) != 0, (other_meta & IS_INTEGER) != 0
    if integer and other_integer:
        return raw < other
    if not integer and not other_integer:
        return False
    value = double_of(other) if integer else double_of(raw)
    if value >= 9223372036854775808.0:
        return integer  # 2**63, which no integer reaches
    return raw < np.int64(value) if integer else np.int64(value) < other


@kernel("bool_(i64[:, ::1], i64, i64)", forceinline=True, allocates=False)
def _comes_before(points: Column, a: Word, b: Word) -> Word:
    """Whether point a sorts before point b of one stream: by time, value, start, kind.

    points i64[n, POINT_WIDTH]. Values by the total order of their doubles, NaN last, and those that
    round to one double as exact numbers. Only equal points (all NaNs are) have no order.
    """
    if points[a, POINT_TIME] != points[b, POINT_TIME]:
        return points[a, POINT_TIME] < points[b, POINT_TIME]
    x = _bits(points[a, POINT_RAW], points[a, POINT_WHOSE])
    y = _bits(points[b, POINT_RAW], points[b, POINT_WHOSE])
    if x != y:
        return ordered(x) < ordered(y)
    i, of_i = points[a, POINT_RAW], points[a, POINT_WHOSE]
    j, of_j = points[b, POINT_RAW], points[b, POINT_WHOSE]
    if _rest_below(i, of_i, j, of_j):
        return True
    if _rest_below(j, of_j, i, of_i):
        return False
    if points[a, POINT_START] != points[b, POINT_START]:
        return points[a, POINT_START] < points[b, POINT_START]
    return points[a, POINT_WHOSE] < points[b, POINT_WHOSE]


@kernel("void(i64[:, ::1], i64[::1])", allocates=False)
def count_points(points: Column, first: Column) -> None:
    """first[slot + 1] += the number of points i64[n, POINT_WIDTH] of each slot.

    first i64[streams + 1]. NumPy: ``first[1:] += np.bincount(slots, minlength=streams)``.
    """
    for i in range(points.shape[0]):
        first[(points[i, POINT_WHOSE] >> 8) + 1] += 1


@kernel("void(i64[:, ::1], i64[::1], i64[:, ::1])", allocates=False)
def place_points(points: Column, place: Column, out: Column) -> None:
    """Copy each point to row place[slot] of out, and move that place on.

    points i64[n, POINT_WIDTH]; place i64[streams + 1], for each stream where its next point goes.
    The value of a histogram is no number: it becomes 0.
    """
    for i in range(points.shape[0]):
        slot = points[i, POINT_WHOSE] >> 8
        at = place[slot]
        place[slot] = at + 1
        for c in range(POINT_WIDTH):
            out[at, c] = points[i, c]
        if (points[i, POINT_WHOSE] & IS_HISTOGRAM) != 0:
            out[at, POINT_RAW] = 0


@kernel("void(i64[:, ::1])", allocates=False)
def order_points(points: Column) -> None:
    """Put points i64[n, POINT_WIDTH], in order of stream, in order of (time, value, start) in each.

    An insertion sort (points mostly arrive in order) or, where a stream is badly out of order, a
    heap sort. NumPy: ``np.lexsort((start, value, time, slot))``.
    """
    n = points.shape[0]
    low = 0
    while low < n:
        slot = points[low, POINT_WHOSE] >> 8
        high = low + 1
        moves = 0
        while high < n and points[high, POINT_WHOSE] >> 8 == slot:
            j = high
            while moves <= 64 and j > low and _comes_before(points, j, j - 1):
                _swap(points, j, j - 1)
                j -= 1
                moves += 1
            high += 1
        if moves > 64:
            _heap_sort(points, low, high)
        low = high


def in_order(parts: Sequence[Column], streams: int) -> Column:
    """All points i64[n, POINT_WIDTH] of the parts by stream, and each stream's in event time."""
    places = np.zeros(streams + 1, np.int64)
    for part in parts:
        count_points(part, places)
    np.cumsum(places, out=places)
    out = np.empty((int(places[-1]), POINT_WIDTH), np.int64)
    for part in parts:
        place_points(part, places, out)
    order_points(out)
    return out


@kernel("void(i64[:, ::1], i64, i64)", forceinline=True, allocates=False)
def _swap(points: Column, a: Word, b: Word) -> None:
    for c in range(POINT_WIDTH):
        kept = points[a, c]
        points[a, c] = points[b, c]
        points[b, c] = kept


@kernel("void(i64[:, ::1], i64, i64, i64)", allocates=False)
def _sift_down(points: Column, low: Word, root: Word, size: Word) -> None:
    while 2 * root + 1 < size:
        child = 2 * root + 1
        if child + 1 < size and _comes_before(points, low + child, low + child + 1):
            child += 1
        if not _comes_before(points, low + root, low + child):
            return
        _swap(points, low + root, low + child)
        root = child


@kernel("void(i64[:, ::1], i64, i64)", allocates=False)
def _heap_sort(points: Column, low: Word, high: Word) -> None:
    size = high - low
    for root in range(size // 2 - 1, -1, -1):
        _sift_down(points, low, root, size)
    for end in range(size - 1, 0, -1):
        _swap(points, low, low + end)
        _sift_down(points, low, 0, end)


@kernel("void(i64[:, ::1], i64, i64, i64, i64, i64)", forceinline=True, allocates=False)
def _spill(spills: Column, at: Word, row: Word, column: Word, bits: Word, sign: Word) -> None:
    if at < spills.shape[0]:
        spills[at, 0] = row
        spills[at, 1] = column
        spills[at, 2] = bits
        spills[at, 3] = sign


@kernel(
    "i64(i64[:, ::1], i64, i64, i64, i64, i64, bool_, i64[:, ::1], i64)",
    forceinline=True,
    allocates=False,
)
def _add_step(
    rows: Column,
    r: Word,
    raw: Word,
    meta: Word,
    base_raw: Word,
    base_meta: Word,
    reset: Word,
    spills: Column,
    at: Word,
) -> Word:
    """Add one sample's contribution to the increase; returns the new number of spills."""
    rows[r, STEPS] += 1
    bits = _bits(raw, meta)
    base = _bits(base_raw, base_meta)
    if special_of(bits) != 0 or (not reset and special_of(base) != 0):
        value = double_of(bits)
        if not reset:
            value = value - double_of(base)
        which = 0
        if value == np.inf:
            which = 1
        elif value == -np.inf:
            which = 2
        rows[r, STEP_SPECIALS + which] += 1
        return at
    if (meta & IS_INTEGER) != 0:
        add_integer(rows, r, INCREASE, raw, False)
    elif fits(raw):
        add_double(rows, r, INCREASE, raw, False)
    else:
        rows[r, FLAGS] |= SPILLED_INCREASE
        _spill(spills, at, r, INCREASE, raw, 1)
        at += 1
    if reset:
        return at
    if (base_meta & IS_INTEGER) != 0:
        add_integer(rows, r, INCREASE, base_raw, True)
    elif fits(base_raw):
        add_double(rows, r, INCREASE, base_raw, True)
    else:
        rows[r, FLAGS] |= SPILLED_INCREASE
        _spill(spills, at, r, INCREASE, base_raw, -1)
        at += 1
    return at


@kernel("bool_(i64, i64, i64, i64)", forceinline=True, allocates=False)
def _below(raw: Word, meta: Word, base_raw: Word, base_meta: Word) -> Word:
    """Whether the sample is smaller than the base; exact."""
    if (meta & IS_INTEGER) != 0 and (base_meta & IS_INTEGER) != 0:
        return raw < base_raw
    left = np.float64(raw) if (meta & IS_INTEGER) != 0 else double_of(raw)
    right = np.float64(base_raw) if (base_meta & IS_INTEGER) != 0 else double_of(base_raw)
    if left == right:
        return _rest_below(raw, meta, base_raw, base_meta)
    return left < right


@kernel(
    "void(i64[:, ::1], i64, i64, i64, i64, i64[:, ::1], i64[:, ::1], i32[::1], i64[:, ::1],"
    " i64[:, ::1], i64[::1])",
    allocates=False,
)
def fold_points(
    points: Column,
    after: Word,
    until: Word,
    pane: Word,
    gap: Word,
    bases: Column,
    rows: Column,
    row_slots: Column,
    spills: Column,
    notices: Column,
    result: Column,
) -> None:
    """Fold points into one stream row a slot, for the window (after, until].

    points i64[n, POINT_WIDTH] in order of stream, and each stream's as `order_points` leaves them;
    pane and gap ns; bases i64[streams, BASE_WIDTH], each stream's last sample before the first
    point here, moved on to its last sample up to `until`; rows i64[k, STREAM_WIDTH] and row_slots
    i32[k], k at least the number of distinct slots; spills i64[j, SPILL_WIDTH], j at least 3 n.
    Points up to `after` only move the base line; points past `until` are left alone. notices
    i64[m, NOTICE_WIDTH], m at least n: what was noticed inside the window. result i64[3]: rows
    written, spills, notices.
    """
    written = 0
    spilled = 0
    noticed = 0
    previous = -1
    row = -1
    n = points.shape[0]
    for k in range(n):
        time = points[k, POINT_TIME]
        slot = points[k, POINT_WHOSE] >> 8
        if slot != previous:
            previous = slot
            row = -1
        if time > until:
            continue
        meta = points[k, POINT_WHOSE] & 0xFF
        raw = points[k, POINT_RAW]
        if time > after:
            if row < 0:
                row = written
                written += 1
                clear_stream_row(rows, row)
                row_slots[row] = slot
            if not add_point(rows, row, time, raw, meta):
                _spill(spills, spilled, row, 1, raw, 1)
                spilled += 1
        if (meta & IS_CUMULATIVE) == 0:
            continue
        if (
            k + 1 < n
            and points[k + 1, POINT_TIME] == time
            and points[k + 1, POINT_WHOSE] >> 8 == slot
        ):
            if time > after:
                noticed = note(notices, noticed, slot, TIE, time)
            continue  # a repeat of this time with a greater value follows, and wins
        start = points[k, POINT_START]
        if time > after:
            base_time = bases[slot, BASE_TIME]
            how = follows(time, start, base_time, bases[slot, BASE_START], gap, pane)
            below = False
            if how == CONTINUES:
                below = _below(raw, meta, bases[slot, BASE_RAW], bases[slot, BASE_META])
            if how != CONTINUES or below:
                noticed = note(notices, noticed, slot, kind_of(how, base_time, below), time)
            if how in (CONTINUES, RESTARTED, BEGAN):
                spilled = _add_step(
                    rows, row, raw, meta, bases[slot, BASE_RAW], bases[slot, BASE_META],
                    below or how != CONTINUES, spills, spilled,
                )  # fmt: skip
            elif how == OVERLAPS:
                rows[row, STEPS] += 1
        bases[slot, BASE_TIME] = time
        bases[slot, BASE_START] = start
        bases[slot, BASE_RAW] = raw
        bases[slot, BASE_META] = meta
    result[0] = written
    result[1] = spilled
    result[2] = noticed
