"""Rows of accumulated values, one a stream and window, and one a group and window.

A *stream row* is i64[STREAM_WIDTH]: what the aggregates over time need of one stream's points in
one window. A *group row* is i64[GROUP_WIDTH]: what the aggregates over space need of the numbers
of a group's streams. Both merge associatively and commutatively to the bit. Doubles are kept as
their bits; sums as the three limbs of `streams.kernels.exact`.
"""

from __future__ import annotations

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.exact import add_double, add_integer, add_limbs, fits, round_mean
from streams.kernels.machine import double_bits, i64
from streams.kernels.types import Column, Word

# Stream row
POINTS = 0
SUM = 1  # three limbs
MINIMUM = 4
MAXIMUM = 5
LAST_TIME = 6
LAST = 7
INCREASE = 8  # three limbs
STEPS = 11  # contributions to the increase
FLAGS = 12
STEP_SPECIALS = 13  # contributions that are NaN, +infinity, -infinity
STREAM_WIDTH = 16

# Group row
STREAMS = 0
GROUP_POINTS = 1
GROUP_SUM = 2  # three limbs
GROUP_MINIMUM = 5
GROUP_MAXIMUM = 6
GROUP_LAST_TIME = 7
GROUP_LAST = 8
GROUP_FLAGS = 9
GROUP_WIDTH = 10

# Flags of a sum. Those of an increase are counted, since a late sample takes contributions back
NAN = 1
PLUS_INFINITY = 2
MINUS_INFINITY = 4
SPILLED_SUM = 64
SPILLED_INCREASE = 128

# What a stream's number is (`over_time`)
TIME_SUM = 0
TIME_COUNT = 1
TIME_MIN = 2
TIME_MAX = 3
TIME_AVG = 4
TIME_LAST = 5
TIME_INCREASE = 6
TIME_DELTA_INCREASE = 7  # the increase of a stream that already reports deltas: its sum
WANTS_VALUE = 8  # added where the space aggregate is min, max or last: it needs the number itself
PER_SECOND = 16  # added to an increase: a stream's number is a rate

# Point meta bits
IS_INTEGER = 1
IS_CUMULATIVE = 2
IS_HISTOGRAM = 4

EARLIEST = np.iinfo(np.int64).min
_INFINITY_BITS = 0x7FF0000000000000
_NAN_BITS = 0x7FF8000000000000


@kernel("i64(f64)", forceinline=True, allocates=False)
def to_bits(value: Word) -> Word:
    """The bits of a double; NaN becomes the one canonical NaN."""
    return _NAN_BITS if value != value else double_bits(value)


@kernel("i64(i64)", forceinline=True, allocates=False)
def ordered(bits: Word) -> Word:
    """An integer that orders as IEEE 754 totalOrder does: -0.0 < +0.0, NaN above infinity."""
    return bits if bits >= 0 else bits ^ 0x7FFFFFFFFFFFFFFF


@kernel("i64(i64)", forceinline=True, allocates=False)
def special_flag(bits: Word) -> Word:
    """NAN, PLUS_INFINITY or MINUS_INFINITY; 0 for a finite double."""
    magnitude = bits & 0x7FFFFFFFFFFFFFFF
    if magnitude < _INFINITY_BITS:
        return 0
    if magnitude > _INFINITY_BITS:
        return NAN
    return PLUS_INFINITY if bits > 0 else MINUS_INFINITY


@kernel("void(i64[:, ::1], i64)", forceinline=True, allocates=False)
def clear_stream_row(rows: Column, r: Word) -> None:
    """The identity: no points."""
    for c in range(STREAM_WIDTH):
        rows[r, c] = 0
    rows[r, LAST_TIME] = EARLIEST


@kernel("void(i64[:, ::1], i64)", forceinline=True, allocates=False)
def clear_group_row(rows: Column, r: Word) -> None:
    """The identity: no streams."""
    for c in range(GROUP_WIDTH):
        rows[r, c] = 0
    rows[r, GROUP_LAST_TIME] = EARLIEST


@kernel("void(i64[:, ::1], i64, i64, i64, i64, bool_)", forceinline=True, allocates=False)
def _extreme(rows: Column, r: Word, low: Word, high: Word, bits: Word, first: Word) -> None:
    order = ordered(bits)
    if first or order < ordered(rows[r, low]):
        rows[r, low] = bits
    if first or order > ordered(rows[r, high]):
        rows[r, high] = bits


@kernel("void(i64[:, ::1], i64, i64, i64, i64, i64)", forceinline=True, allocates=False)
def _latest(rows: Column, r: Word, when: Word, what: Word, time: Word, bits: Word) -> None:
    if time > rows[r, when] or (time == rows[r, when] and ordered(bits) > ordered(rows[r, what])):
        rows[r, when] = time
        rows[r, what] = bits


@kernel("void(i64[:, ::1], i64, i64[:, ::1], i64)", forceinline=True, allocates=False)
def merge_stream_row(into: Column, i: Word, rows: Column, r: Word) -> None:
    """into[i] becomes both together."""
    if rows[r, POINTS] > 0:
        first = into[i, POINTS] == 0
        _extreme(into, i, MINIMUM, MAXIMUM, rows[r, MINIMUM], first)
        _extreme(into, i, MINIMUM, MAXIMUM, rows[r, MAXIMUM], False)
        _latest(into, i, LAST_TIME, LAST, rows[r, LAST_TIME], rows[r, LAST])
    into[i, POINTS] += rows[r, POINTS]
    into[i, STEPS] += rows[r, STEPS]
    add_limbs(into, i, SUM, rows, r, SUM)
    add_limbs(into, i, INCREASE, rows, r, INCREASE)
    into[i, FLAGS] |= rows[r, FLAGS]
    for c in range(STEP_SPECIALS, STEP_SPECIALS + 3):
        into[i, c] += rows[r, c]


@kernel("i64(i64[:, ::1], i64)", forceinline=True, allocates=False)
def increase_flags(rows: Column, r: Word) -> Word:
    """Which special values are among the contributions to the increase."""
    flags = i64(0)
    if rows[r, STEP_SPECIALS] > 0:
        flags |= NAN
    if rows[r, STEP_SPECIALS + 1] > 0:
        flags |= PLUS_INFINITY
    if rows[r, STEP_SPECIALS + 2] > 0:
        flags |= MINUS_INFINITY
    return flags


def increase_flags_of(rows: Column) -> Column:
    """`increase_flags` of stream rows i64[n, STREAM_WIDTH], as i64[n]."""
    counted = rows[:, STEP_SPECIALS : STEP_SPECIALS + 3] > 0
    return counted @ np.array([NAN, PLUS_INFINITY, MINUS_INFINITY])


@kernel("void(i64[:, ::1], i64, i64[:, ::1], i64)", forceinline=True, allocates=False)
def merge_group_row(into: Column, i: Word, rows: Column, r: Word) -> None:
    """into[i] becomes both together."""
    if rows[r, STREAMS] > 0:
        first = into[i, STREAMS] == 0
        _extreme(into, i, GROUP_MINIMUM, GROUP_MAXIMUM, rows[r, GROUP_MINIMUM], first)
        _extreme(into, i, GROUP_MINIMUM, GROUP_MAXIMUM, rows[r, GROUP_MAXIMUM], False)
        _latest(into, i, GROUP_LAST_TIME, GROUP_LAST, rows[r, GROUP_LAST_TIME], rows[r, GROUP_LAST])
    into[i, STREAMS] += rows[r, STREAMS]
    into[i, GROUP_POINTS] += rows[r, GROUP_POINTS]
    add_limbs(into, i, GROUP_SUM, rows, r, GROUP_SUM)
    into[i, GROUP_FLAGS] |= rows[r, GROUP_FLAGS]


@kernel("bool_(i64[:, ::1], i64, i64, i64, i64)", forceinline=True, allocates=False)
def add_point(rows: Column, r: Word, time: Word, raw: Word, meta: Word) -> Word:
    """Count one point in a stream row. False: its value does not fit the sum and must be spilled.

    raw: the bits of a double, or the integer itself where meta has IS_INTEGER.
    """
    integer = (meta & IS_INTEGER) != 0
    bits = to_bits(np.float64(raw)) if integer else raw
    special = 0 if integer else special_flag(bits)
    if special == NAN:
        bits = _NAN_BITS
    _extreme(rows, r, MINIMUM, MAXIMUM, bits, rows[r, POINTS] == 0)
    _latest(rows, r, LAST_TIME, LAST, time, bits)
    rows[r, POINTS] += 1
    if special != 0:
        rows[r, FLAGS] |= special
        return True
    if integer:
        add_integer(rows, r, SUM, raw, False)
        return True
    if fits(bits):
        add_double(rows, r, SUM, bits, False)
        return True
    rows[r, FLAGS] |= SPILLED_SUM
    return False


@kernel("f64(i64)", forceinline=True, allocates=False)
def special_sum(flags: Word) -> Word:
    """What a sum with these flags of special values is."""
    if (flags & NAN) != 0 or (flags & 6) == 6:
        return np.nan
    return np.inf if (flags & PLUS_INFINITY) != 0 else -np.inf


@kernel("void(i64[:, ::1], i64[::1], i64[:, ::1])", allocates=False)
def merge_at(rows: Column, places: Column, other: Column) -> None:
    """Stream row rows[places[k]] becomes itself and other[k] together; places i64[len(other)]."""
    for k in range(places.shape[0]):
        merge_stream_row(rows, places[k], other, k)


@kernel(
    "void(i64[:, ::1], i32[::1], i64[:, ::1], i32[::1], i64[:, ::1], i32[::1])", allocates=False
)
def merge_sorted(
    left: Column,
    left_slots: Column,
    right: Column,
    right_slots: Column,
    out: Column,
    out_slots: Column,
) -> None:
    """The union of two sets of stream rows by slot, merged where both have the slot.

    left i64[n, STREAM_WIDTH] with ascending slots i32[n], right likewise with m rows; out and
    out_slots have n + m rows, of which the unused ones are given slot -1.
    """
    i = 0
    j = 0
    n = left_slots.shape[0]
    m = right_slots.shape[0]
    at = 0
    while i < n or j < m:
        take_left = i < n and (j >= m or left_slots[i] <= right_slots[j])
        take_right = j < m and (i >= n or right_slots[j] <= left_slots[i])
        if take_left:
            for c in range(STREAM_WIDTH):
                out[at, c] = left[i, c]
            out_slots[at] = left_slots[i]
            i += 1
            if take_right:
                merge_stream_row(out, at, right, j)
                j += 1
        else:
            for c in range(STREAM_WIDTH):
                out[at, c] = right[j, c]
            out_slots[at] = right_slots[j]
            j += 1
        at += 1
    for k in range(at, n + m):
        out_slots[k] = -1


@kernel("bool_(i64[:, ::1], i64, i64, i64, i64[:, ::1], i64)", forceinline=True, allocates=False)
def _fold_one(rows: Column, r: Word, how: Word, seconds: Word, groups: Column, cell: Word) -> Word:
    """Fold one stream's number into one group. False: it needs integers of any size.

    A sum of rates is kept as the exact sum of the increases.
    """
    kind = how & 7
    flags = rows[r, FLAGS]
    summed = kind in (TIME_SUM, TIME_INCREASE, TIME_DELTA_INCREASE)
    column = SUM
    points = rows[r, POINTS]
    spilled = (flags & SPILLED_SUM) != 0
    if kind == TIME_INCREASE:
        column = INCREASE
        points = rows[r, STEPS]
        spilled = (flags & SPILLED_INCREASE) != 0
        flags = increase_flags(rows, r)
    flags &= 7
    if points == 0:
        return True
    if spilled and (summed or kind == TIME_AVG):
        return False
    if summed and flags == 0 and how & WANTS_VALUE == 0:
        groups[cell, STREAMS] += 1
        groups[cell, GROUP_POINTS] += points
        add_limbs(groups, cell, GROUP_SUM, rows, r, column)
        return True
    divisor = i64(1)
    if kind == TIME_AVG:
        divisor = points
    elif how & PER_SECOND != 0:
        divisor = seconds
    bits = _number_of(rows, r, kind, column, flags, divisor)
    special = special_flag(bits)
    if special == 0 and not summed and not fits(bits):
        return False
    _extreme(groups, cell, GROUP_MINIMUM, GROUP_MAXIMUM, bits, groups[cell, STREAMS] == 0)
    _latest(groups, cell, GROUP_LAST_TIME, GROUP_LAST, rows[r, LAST_TIME], bits)
    groups[cell, STREAMS] += 1
    groups[cell, GROUP_POINTS] += points
    if special != 0:
        groups[cell, GROUP_FLAGS] |= special
    elif summed:
        add_limbs(groups, cell, GROUP_SUM, rows, r, column)
    else:
        add_double(groups, cell, GROUP_SUM, bits, False)
    return True


@kernel("i64(i64[:, ::1], i64, i64, i64, i64, i64)", forceinline=True, allocates=False)
def _number_of(rows: Column, r: Word, kind: Word, column: Word, flags: Word, divisor: Word) -> Word:
    """The bits of a stream's number; flags: the special values in its sum, which is divided."""
    if kind == TIME_COUNT:
        return double_bits(np.float64(rows[r, POINTS]))
    if kind == TIME_LAST:
        return rows[r, LAST]
    if kind in (TIME_MIN, TIME_MAX):
        if (flags & NAN) != 0:
            return _NAN_BITS
        return rows[r, MINIMUM] if kind == TIME_MIN else rows[r, MAXIMUM]
    if flags != 0:
        return to_bits(special_sum(flags))
    return double_bits(round_mean(rows, r, column, divisor))


@kernel(
    "i64(i64[:, ::1], i32[::1], i64[::1], i32[::1], u8[::1], i64, i64[:, ::1], i64[:, ::1])",
    allocates=False,
)
def fold_groups(
    rows: Column,
    slots: Column,
    first_cell: Column,
    cells: Column,
    over_time: Column,
    seconds: Word,
    groups: Column,
    left_over: Column,
) -> Word:
    """Fold each stream's number into the groups it belongs to.

    rows i64[n, STREAM_WIDTH] of slots i32[n]; slot s belongs to cells[first_cell[s] :
    first_cell[s + 1]] (a cell is a definition and a group; first_cell i64[slots + 1]);
    over_time u8[len(cells)] says what the stream's number is there (TIME_..., with WANTS_VALUE and
    PER_SECOND), seconds how long the window is, 1..2**31;
    groups i64[all cells, GROUP_WIDTH] is added to; minimum, maximum and last of a group whose
    space aggregate does not want them say nothing. Rows whose exact sum spilled are not folded but
    listed in left_over i64[k, 2] as (row, entry). Returns how many; at most k are written, so a
    larger return than k says to call again on cleared groups with more room.
    """
    room = left_over.shape[0]
    left = 0
    known = first_cell.shape[0] - 1
    for r in range(slots.shape[0]):
        slot = slots[r]
        if slot < 0 or slot >= known:
            continue
        for entry in range(first_cell[slot], first_cell[slot + 1]):
            how = i64(over_time[entry])
            if not _fold_one(rows, r, how, seconds, groups, i64(cells[entry])):
                if left < room:
                    left_over[left, 0] = r
                    left_over[left, 1] = entry
                left += 1
    return left


@kernel("void(i64[:, ::1], i64[::1], i64[::1], i64[:, ::1])", allocates=False)
def merge_groups(rows: Column, order: Column, target: Column, out: Column) -> None:
    """Merge group rows that belong together.

    rows i64[n, GROUP_WIDTH]; order i64[n] are row indexes; target i64[n] says into which row of out
    i64[m, GROUP_WIDTH] the row order[i] goes. out is cleared first.
    """
    for r in range(out.shape[0]):
        clear_group_row(out, r)
    for i in range(order.shape[0]):
        merge_group_row(out, target[i], rows, order[i])
