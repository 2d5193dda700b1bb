"""Points of a span of time, sorted by stream and time, and folded into stream rows.

The increase of a cumulative stream is the sum, over its samples in event-time order, of the exact
difference to the sample before; a reset (another start time, or a decrease) counts the sample
itself. OpenTelemetry data model, "Resets and gaps". Sorting first makes every value a function of
the set of points, whatever order they came in.
"""

from __future__ import annotations

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.exact import add_double, add_integer, fits
from streams.kernels.rows import (
    EARLIEST,
    FLAGS,
    INCREASE,
    INCREASE_SHIFT,
    IS_CUMULATIVE,
    IS_INTEGER,
    MINUS_INFINITY,
    NAN,
    PLUS_INFINITY,
    SPILLED_INCREASE,
    STEPS,
    add_point,
    clear_stream_row,
    ordered,
    to_bits,
    to_double,
)
from streams.kernels.rows import special_flag as special_of
from streams.kernels.types import Column, Word

# Base line of a stream, i64[BASE_WIDTH]: its last sample before the span. Time EARLIEST: none.
BASE_TIME = 0
BASE_START = 1
BASE_RAW = 2
BASE_META = 3
BASE_WIDTH = 4

# Spilled values, i64[SPILL_WIDTH]: the row, which sum (SUM or INCREASE column), bits, +1 or -1
SPILL_WIDTH = 4


@kernel("i64(i64, i64, f64[::1])", forceinline=True)
def _integer(raw: Word, meta: Word, scratch: Column) -> Word:
    """The value without its fraction; tells apart integers and doubles that round to one double."""
    if (meta & IS_INTEGER) != 0:
        return raw
    value = to_double(raw, scratch)
    if value >= -9.2e18 and value <= 9.2e18:
        return np.int64(value)
    return 0


@kernel("bool_(i64[::1], i64[::1], i64[::1], u8[::1], i64, i64, f64[::1])", forceinline=True)
def _comes_before(
    times: Column, starts: Column, raws: Column, metas: Column, a: Word, b: Word, scratch: Column
) -> Word:
    """Whether point a sorts before point b of one stream: by time, value, start."""
    if times[a] != times[b]:
        return times[a] < times[b]
    x = raws[a]
    y = raws[b]
    if (metas[a] & IS_INTEGER) != 0:
        x = to_bits(np.float64(raws[a]), scratch)
    if (metas[b] & IS_INTEGER) != 0:
        y = to_bits(np.float64(raws[b]), scratch)
    if x != y:
        return ordered(x) < ordered(y)
    i = _integer(raws[a], np.int64(metas[a]), scratch)
    j = _integer(raws[b], np.int64(metas[b]), scratch)
    if i != j:
        return i < j
    return starts[a] < starts[b]


@kernel("i64(i32[::1], i64[::1], i64[::1], i64[::1], u8[::1], i64, i64[::1])")
def sort_points(
    slots: Column,
    times: Column,
    starts: Column,
    raws: Column,
    metas: Column,
    streams: Word,
    order: Column,
) -> Word:
    """Write to order i64[n] the points' indexes by (slot, time, value, start); returns 0.

    slots i32[n] in 0..streams-1; times, starts, raws i64[n]; metas u8[n]. A counting sort by slot,
    then within a stream an insertion sort (points mostly arrive in order) or, where it is badly
    out of order, a heap sort. NumPy: ``np.lexsort((starts, value, times, slots))``.
    """
    scratch = np.zeros(1, np.float64)
    n = slots.shape[0]
    first = np.zeros(streams + 1, np.int64)
    for i in range(n):
        first[slots[i] + 1] += 1
    for s in range(streams):
        first[s + 1] += first[s]
    fill = first[:streams].copy()
    for i in range(n):
        s = slots[i]
        order[fill[s]] = i
        fill[s] += 1
    for s in range(streams):
        low = first[s]
        high = first[s + 1]
        moves = 0
        limit = 16 * (high - low) + 64
        i = low + 1
        while i < high and moves <= limit:
            current = order[i]
            j = i
            while j > low and _comes_before(
                times, starts, raws, metas, current, order[j - 1], scratch
            ):
                order[j] = order[j - 1]
                j -= 1
                moves += 1
            order[j] = current
            i += 1
        if moves > limit:
            _heap_sort(times, starts, raws, metas, order, low, high, scratch)
    return 0


@kernel(
    "void(i64[::1], i64[::1], i64[::1], u8[::1], i64[::1], i64, i64, i64, f64[::1])",
    forceinline=True,
)
def _sift_down(
    times: Column,
    starts: Column,
    raws: Column,
    metas: Column,
    order: Column,
    low: Word,
    root: Word,
    size: Word,
    scratch: Column,
) -> None:
    while 2 * root + 1 < size:
        child = 2 * root + 1
        if child + 1 < size and _comes_before(
            times, starts, raws, metas, order[low + child], order[low + child + 1], scratch
        ):
            child += 1
        if not _comes_before(
            times, starts, raws, metas, order[low + root], order[low + child], scratch
        ):
            return
        swap = order[low + root]
        order[low + root] = order[low + child]
        order[low + child] = swap
        root = child


@kernel(
    "void(i64[::1], i64[::1], i64[::1], u8[::1], i64[::1], i64, i64, f64[::1])", forceinline=True
)
def _heap_sort(
    times: Column,
    starts: Column,
    raws: Column,
    metas: Column,
    order: Column,
    low: Word,
    high: Word,
    scratch: Column,
) -> None:
    size = high - low
    for root in range(size // 2 - 1, -1, -1):
        _sift_down(times, starts, raws, metas, order, low, root, size, scratch)
    for end in range(size - 1, 0, -1):
        swap = order[low]
        order[low] = order[low + end]
        order[low + end] = swap
        _sift_down(times, starts, raws, metas, order, low, 0, end, scratch)


@kernel("i64(i64, i64)", forceinline=True)
def _window_end(time: Word, size: Word) -> Word:
    return -((-time) // size) * size


@kernel("void(i64[:, ::1], i64, i64, i64, i64, i64)", forceinline=True)
def _spill(spills: Column, at: Word, row: Word, column: Word, bits: Word, sign: Word) -> None:
    if at < spills.shape[0]:
        spills[at, 0] = row
        spills[at, 1] = column
        spills[at, 2] = bits
        spills[at, 3] = sign


@kernel(
    "i64(i64[:, ::1], i64, i64, i64, i64, i64, bool_, i64[:, ::1], i64, f64[::1])", forceinline=True
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
    scratch: Column,
) -> Word:
    """Add one sample's contribution to the increase; returns the new number of spills."""
    rows[r, STEPS] += 1
    bits = to_bits(np.float64(raw), scratch) if (meta & IS_INTEGER) != 0 else raw
    base = to_bits(np.float64(base_raw), scratch) if (base_meta & IS_INTEGER) != 0 else base_raw
    if special_of(bits) != 0 or (not reset and special_of(base) != 0):
        value = to_double(bits, scratch)
        if not reset:
            value = value - to_double(base, scratch)
        flag = NAN
        if value == np.inf:
            flag = PLUS_INFINITY
        elif value == -np.inf:
            flag = MINUS_INFINITY
        rows[r, FLAGS] |= flag << INCREASE_SHIFT
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


@kernel("bool_(i64, i64, i64, i64, f64[::1])", forceinline=True)
def _below(raw: Word, meta: Word, base_raw: Word, base_meta: Word, scratch: Column) -> Word:
    """Whether the sample is smaller than the base; exact."""
    if (meta & IS_INTEGER) != 0 and (base_meta & IS_INTEGER) != 0:
        return raw < base_raw
    left = np.float64(raw) if (meta & IS_INTEGER) != 0 else to_double(raw, scratch)
    right = np.float64(base_raw) if (base_meta & IS_INTEGER) != 0 else to_double(base_raw, scratch)
    if left == right:
        return _integer(raw, meta, scratch) < _integer(base_raw, base_meta, scratch)
    return left < right


@kernel(
    "i64[::1](i64[::1], i32[::1], i64[::1], i64[::1], i64[::1], u8[::1],"
    " i64, i64, i64, i64, i64[:, ::1], i64[:, ::1], i32[::1], i64[:, ::1],"
    " i64[::1])"
)
def fold_points(
    order: Column,
    slots: Column,
    times: Column,
    starts: Column,
    raws: Column,
    metas: Column,
    after: Word,
    until: Word,
    pane: Word,
    gap: Word,
    bases: Column,
    rows: Column,
    row_slots: Column,
    spills: Column,
    resets: Column,
) -> Column:
    """Fold sorted points into one stream row a slot, for the window (after, until].

    order i64[n] as `sort_points` gives it; slots i32[n]; times, starts, raws i64[n]; metas u8[n];
    pane and gap ns; bases i64[streams, BASE_WIDTH], each stream's last sample before the first
    point here, moved on to its last sample up to `until`; rows i64[k, STREAM_WIDTH] and row_slots
    i32[k], k at least the number of distinct slots; spills i64[j, SPILL_WIDTH], j at least 3 n.
    Points up to `after` only move the base line; points past `until` are left alone. resets
    i64[streams] counts resets seen inside the window. Returns i64[2]: rows written, spills.
    """
    scratch = np.zeros(1, np.float64)
    result = np.zeros(2, np.int64)
    written = 0
    spilled = 0
    previous = -1
    row = -1
    n = order.shape[0]
    for k in range(n):
        i = order[k]
        slot = slots[i]
        time = times[i]
        if slot != previous:
            previous = slot
            row = -1
        if time > until:
            continue
        meta = np.int64(metas[i])
        raw = raws[i]
        if time > after:
            if row < 0:
                row = written
                written += 1
                clear_stream_row(rows, row)
                row_slots[row] = slot
            if not add_point(rows, row, time, raw, meta, scratch):
                _spill(spills, spilled, row, 1, raw, 1)
                spilled += 1
        if (meta & IS_CUMULATIVE) == 0:
            continue
        if k + 1 < n:
            following = order[k + 1]
            if slots[following] == slot and times[following] == time:
                continue  # a repeat of this time with a greater value follows, and wins
        known = bases[slot, BASE_TIME] != EARLIEST and time - bases[slot, BASE_TIME] <= gap
        if time > after:
            start = starts[i]
            if known:
                base_start = bases[slot, BASE_START]
                reset = start != 0 and base_start != 0 and start != base_start
                if not reset:
                    reset = _below(
                        raw, meta, bases[slot, BASE_RAW], bases[slot, BASE_META], scratch
                    )
                if reset:
                    resets[slot] += 1
                spilled = _add_step(
                    rows, row, raw, meta, bases[slot, BASE_RAW], bases[slot, BASE_META],
                    reset, spills, spilled, scratch,
                )  # fmt: skip
            elif start != 0 and _window_end(start, pane) == _window_end(time, pane):
                spilled = _add_step(rows, row, raw, meta, 0, 0, True, spills, spilled, scratch)
        bases[slot, BASE_TIME] = time
        bases[slot, BASE_START] = starts[i]
        bases[slot, BASE_RAW] = raw
        bases[slot, BASE_META] = meta
    result[0] = written
    result[1] = spilled
    return result
