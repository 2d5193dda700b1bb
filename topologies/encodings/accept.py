"""Which scanned points are taken up, and with what time."""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.machine import i64
from streams.kernels.rows import IS_CUMULATIVE, IS_HISTOGRAM, IS_INTEGER
from topologies.encodings import points
from topologies.encodings.points import (
    EXPONENTIAL_HISTOGRAM,
    HISTOGRAM,
    IS_INT,
    KIND_MASK,
    MONOTONIC,
)

Array = Any

_CUMULATIVE = points.SUM_CUMULATIVE | MONOTONIC
_NO_NUMBER = points.NO_RECORDED_VALUE | points.NO_VALUE
_MINUS_ZERO = np.iinfo(np.int64).min
_MINUS_INFINITY = -0x0010000000000000

# Columns of `told`
NEWEST, REJECTED, OLDEST, NEGATIVE = range(4)
TOLD = 4


@kernel("bool_(i64, u8)", forceinline=True, allocates=False)
def _below_zero(value: int, flags: int) -> bool:
    """Whether a number is less than zero; -0.0 and NaN are not."""
    if flags & IS_INT != 0:
        return value < 0
    return value != _MINUS_ZERO and value <= _MINUS_INFINITY


@kernel(
    "i64(i32[::1], UniTuple(i64[::1], 3), u8[::1], u8[::1], i32[::1], i64[::1], i32[::1], i64,"
    " UniTuple(i64[::1], 3), i32[::1], i32[::1], u8[::1], i64[:, ::1])",
    allocates=False,
)
def accept(
    slots: Array,
    columns: tuple[Array, Array, Array],
    kinds: Array,
    flags: Array,
    message: Array,
    received: Array,
    record: Array,
    ahead: int,
    out: tuple[Array, Array, Array],
    out_slots: Array,
    out_records: Array,
    out_metas: Array,
    told: Array,
) -> int:
    """Copy the points that count to the front of the out columns; returns how many those are.

    slots i32[n], -1: of a message that is refused; columns (time, start, value) i64[n]; kinds,
    flags u8[n]; message i32[n]; received i64[messages], unix ns, and record i32[messages] by
    message. A point without time gets that of its receipt; one more than `ahead` ns past it, or
    before 1970, is rejected, and so is a value below zero of a monotonic sum. Out are slots, (time,
    start, value), records, and metas of `streams.kernels.rows`, at least n long; the value of a
    histogram point is its i. told
    i64[messages, TOLD]: the newest time of each message (the caller puts in what stands for none),
    how many of its points are rejected, added to, the oldest time of those that count, and how many
    were below zero.
    """
    times, starts, values = columns
    out_times, out_starts, out_values = out
    count = 0
    for i in range(slots.shape[0]):
        if slots[i] < 0:
            continue
        whose = message[i]
        time = times[i]
        if time == 0:
            time = received[whose]
        if time < 0 or time - received[whose] > ahead:
            told[whose, REJECTED] += 1
            continue
        told_of = kinds[i] & KIND_MASK <= EXPONENTIAL_HISTOGRAM and flags[i] & _NO_NUMBER == 0
        if told_of and kinds[i] & MONOTONIC != 0 and _below_zero(values[i], flags[i]):
            told[whose, NEGATIVE] += 1
            continue
        told[whose, NEWEST] = max(told[whose, NEWEST], time)
        if not told_of:
            continue
        told[whose, OLDEST] = min(told[whose, OLDEST], time)
        meta = i64(0)
        if flags[i] & IS_INT != 0:
            meta = i64(IS_INTEGER)
        if kinds[i] == _CUMULATIVE:
            meta |= IS_CUMULATIVE
        out_slots[count] = slots[i]
        out_records[count] = record[whose]
        out_times[count] = time
        out_starts[count] = starts[i]
        out_values[count] = values[i]
        if kinds[i] & KIND_MASK >= HISTOGRAM:
            out_values[count] = i
            meta = i64(IS_HISTOGRAM)
            if kinds[i] & points.CUMULATIVE != 0:
                meta |= IS_CUMULATIVE
        out_metas[count] = np.uint8(meta)
        count += 1
    return count
