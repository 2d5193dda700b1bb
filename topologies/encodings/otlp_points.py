"""The compiled loop over number data points, where nearly all of the time is spent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, i64, load_u64, u64
from topologies.encodings import points, schema
from topologies.encodings.fingerprint import Words, absorb, absorb_span
from topologies.encodings.schema import validate
from topologies.encodings.wire import Bytes, next_field, read_length, read_varint

POINTS_FULL, METRICS_FULL = 100, 101
_LATEST = np.iinfo(np.int64).max
_TOO_LATE = np.uint64(1 << 63)

Where = NDArray[np.int32]
Values = NDArray[np.int64]
Marks = NDArray[np.uint8]
Counts = NDArray[np.int64]
Stack = NDArray[np.int64]

_ATTRIBUTES, _START, _TIME, _DOUBLE, _INT, _FLAGS, _EXEMPLAR = 58, 17, 25, 33, 49, 64, 42
HISTOGRAM_ATTRIBUTES, EXPONENTIAL_ATTRIBUTES, BOUNDS_PACKED, BOUNDS = 74, 10, 58, 57
SHAPE_FLAGS = 80
GAUGE_TAG, SUM_TAG, HISTOGRAM_TAG, EXPONENTIAL_TAG, SUMMARY_TAG = 42, 58, 74, 82, 90


@kernel(
    "i64(u8[::1], i64, i64, u64, u64, u64, u64, u64, u64, i64, u64[:, ::1], i64[:, ::1],"
    " u8[:, ::1], i64[:, ::1])",
    forceinline=True,
    allocates=False,
)
def _scan_point(
    buffer: Bytes,
    begin: int,
    end: int,
    a: np.uint64,
    b: np.uint64,
    k0: np.uint64,
    k1: np.uint64,
    k2: np.uint64,
    k3: np.uint64,
    row: int,
    fingerprint: Words,
    values: Values,
    marks: Marks,
    stack: Stack,
) -> int:
    """One NumberDataPoint into one row."""
    time = i64(0)
    start = i64(0)
    value = i64(0)
    flags = i64(0)
    form = points.NO_VALUE
    p = begin
    while p < end:
        tag = byte_at(buffer, p)
        if tag == _ATTRIBUTES:
            run = p
            while p < end and byte_at(buffer, p) == _ATTRIBUTES:
                _, p = read_length(buffer, p + 1, end)
                if p < 0:
                    return -p
            a, b = absorb(buffer, run, p, a, b, k0, k1, k2, k3)
            continue
        if (tag in (_TIME, _START, _DOUBLE, _INT)) and end - p >= 9:
            first = p + 1
            p += 9
        else:
            field = p
            tag, first, p = next_field(buffer, p, end)
            if tag < 0:
                return -tag
            if tag == _ATTRIBUTES:
                a, b = absorb(buffer, field, p, a, b, k0, k1, k2, k3)
                continue
        if tag == _TIME:
            time = i64(load_u64(buffer, first))
        elif tag == _START:
            start = i64(load_u64(buffer, first))
        elif tag == _DOUBLE:
            value = i64(load_u64(buffer, first))
            form = 0
        elif tag == _INT:
            value = i64(load_u64(buffer, first))
            form = points.IS_INT
        elif tag == _FLAGS:
            flags, _ = read_varint(buffer, first, p)
        elif tag == _EXEMPLAR:
            code = validate(buffer, first, p, schema.EXEMPLAR, 6, stack)
            if code != 0:
                return code
    fingerprint[0, row] = a
    fingerprint[1, row] = b
    values[0, row] = time
    values[1, row] = start
    values[2, row] = value
    marks[1, row] = form | (points.NO_RECORDED_VALUE if flags & 1 else 0)
    return 0


@kernel(
    "i64(u8[::1], i64, i64, i64, i64, u64, u64, u64[::1], i64[::1], i32[:, ::1], u64[:, ::1],"
    " i64[:, ::1], u8[:, ::1], i64[:, ::1])",
    allocates=False,
)
def scan_points(
    buffer: Bytes,
    begin: int,
    end: int,
    message: int,
    kind: int,
    a: np.uint64,
    b: np.uint64,
    key: Words,
    counts: Counts,
    where: Where,
    fingerprint: Words,
    values: Values,
    marks: Marks,
    stack: Stack,
) -> int:
    """The points of one Gauge or Sum, of the metric whose row is ``counts[1]``."""
    k0, k1, k2, k3 = key[0], key[1], key[2], key[3]
    row = counts[0]
    capacity = where.shape[1]
    p = begin
    while p < end:
        if byte_at(buffer, p) == 10:
            first, p = read_length(buffer, p + 1, end)
            if p < 0:
                return -p
        else:
            tag, first, p = next_field(buffer, p, end)
            if tag < 0:
                return -tag
            if tag != 10:
                continue
        if row >= capacity:
            return POINTS_FULL
        code = _scan_point(
            buffer, first, p, a, b, k0, k1, k2, k3, row, fingerprint, values, marks, stack
        )
        if code != 0:
            return code
        where[0, row] = message
        where[1, row] = counts[1]
        where[2, row] = first
        where[3, row] = p
        marks[0, row] = kind
        row += 1
    counts[0] = row
    return 0


@kernel(
    "i64(u8[::1], i64, i64, i64, i64, u64, u64, u64[::1], i64[::1], i32[:, ::1], u64[:, ::1],"
    " i64[:, ::1], u8[:, ::1])",
    allocates=False,
)
def scan_shapes(
    buffer: Bytes,
    begin: int,
    end: int,
    message: int,
    kind: int,
    a: np.uint64,
    b: np.uint64,
    key: Words,
    counts: Counts,
    where: Where,
    fingerprint: Words,
    values: Values,
    marks: Marks,
) -> int:
    """As `scan_points`, of one Histogram or ExponentialHistogram that has been validated.

    Attributes are part of a fingerprint, and so are the bounds of explicit buckets.
    """
    explicit = kind & points.KIND_MASK == points.HISTOGRAM
    attributes = HISTOGRAM_ATTRIBUTES if explicit else EXPONENTIAL_ATTRIBUTES
    row = counts[0]
    p = begin
    while p < end:
        tag, first, p = next_field(buffer, p, end)
        if tag != 10:
            continue
        if row >= where.shape[1]:
            return POINTS_FULL
        time = start = flags = i64(0)
        x, y = a, b
        q = first
        while q < p:
            field = q
            inner, value, q = next_field(buffer, q, p)
            if inner == attributes or (explicit and inner in (BOUNDS_PACKED, BOUNDS)):
                x, y = absorb_span(buffer, field, q, x, y, key)
            elif inner == _TIME:
                time = i64(load_u64(buffer, value))
            elif inner == _START:
                start = i64(load_u64(buffer, value))
            elif inner == SHAPE_FLAGS:
                flags, _ = read_varint(buffer, value, q)
        fingerprint[0, row], fingerprint[1, row] = x, y
        values[0, row], values[1, row], values[2, row] = time, start, 0
        where[0, row], where[1, row] = message, counts[1]
        where[2, row], where[3, row] = first, p
        marks[0, row] = kind
        marks[1, row] = points.NO_RECORDED_VALUE if flags & 1 else 0
        row += 1
    counts[0] = row
    return 0


@kernel("i64(u8[::1], i64, i64[::1])")
def span_of_points(buffer: Bytes, end: int, span: Values) -> int:
    """How many data points of the request in ``buffer[:end]``, of any kind, have no time; -code.

    ``span`` i64[2]: the least and the greatest time of the others (past 2**63: as the greatest that
    there is) are put in where they are less, or greater, than what it holds.
    """
    untimed = 0
    ends = np.zeros(6, np.int64)
    level = 0
    ends[0] = end
    p = 0
    while True:
        while p >= ends[level]:
            if level == 0:
                return untimed
            level -= 1
        tag, first, p = next_field(buffer, p, ends[level])
        if tag < 0:
            return tag
        down = tag == 10 if level == 0 or level == 4 else tag == 18
        if level == 3:
            down = tag in (GAUGE_TAG, SUM_TAG, HISTOGRAM_TAG, EXPONENTIAL_TAG, SUMMARY_TAG)
        if not down:
            continue
        if level < 4:
            level += 1
            ends[level] = p
            p = first
            continue
        time = u64(0)
        while first < p:
            inner, value, first = next_field(buffer, first, p)
            if inner < 0:
                return inner
            if inner == _TIME:
                time = load_u64(buffer, value)
        if time == 0:
            untimed += 1
            continue
        when = i64(time) if time < _TOO_LATE else _LATEST
        span[0] = min(span[0], when)
        span[1] = max(span[1], when)
