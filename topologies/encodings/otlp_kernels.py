"""The compiled walk over OTLP metrics requests (opentelemetry/proto/metrics/v1/metrics.proto).

A function a level of the message: request, resource metrics, scope metrics, metric, points, point.
Fields may come in any order, so each level is read twice: first what its children need to know
(and all that has to be valid), then the children. Merging follows Protocol Buffers: the last scalar
wins, repeated occurrences of a message are one message, the last member of a oneof wins.

Nothing is believed: each length is checked against its enclosing end. Everything is validated here
as the reference parser would, but for the attributes of number points: those are hashed, and are
validated where their fingerprint is seen for the first time.

Shared arguments: ``buffer`` the bytes; ``a, b`` the fingerprint so far; ``key`` its secret;
``counts`` i64[2] (points, metrics written so far); the columns as in :class:`Points`, stacked as
``where`` i32[4, n] (message, metric, begin, end), ``fingerprint`` u64[2, n], ``values`` i64[3, n]
(time, start, value), ``marks`` u8[2, n] (kind, flags); ``stack`` the scratch of the validation.
All return 0, a code of :mod:`topologies.encodings.wire`, or that
the columns of points, or of metrics, are full.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, bytes_at, copy_bytes, i64, u64
from topologies.encodings import points, recurring_kernels, schema
from topologies.encodings.fingerprint import Words, absorb_span, fold
from topologies.encodings.otlp_points import (
    EXPONENTIAL_TAG,
    GAUGE_TAG,
    HISTOGRAM_TAG,
    METRICS_FULL,
    POINTS_FULL,
    SUM_TAG,
    SUMMARY_TAG,
    Counts,
    Marks,
    Stack,
    Values,
    Where,
    scan_points,
    scan_shapes,
)
from topologies.encodings.schema import validate
from topologies.encodings.wire import (
    UTF8,
    Bytes,
    is_utf8,
    next_field,
    read_length,
    read_varint,
)

Metrics = NDArray[np.int64]
Known = tuple[int, Any, Any, Any, Any, Any, Any]

_RECALLED = 200
_ODD = np.uint64(0x9E3779B97F4A7C15)


@kernel("UniTuple(i64, 2)(u8[::1], i64, i64, i64, i64)", allocates=False)
def _kind_of(buffer: Bytes, begin: int, end: int, data: int, data_from: int) -> tuple[int, int]:
    """(kind of a metric whose data, a Sum or a histogram, has this tag, code).

    Over all occurrences that count.
    """
    temporality = i64(0)
    monotonic = i64(0)
    p = begin
    while p < end:
        tag, first, p = next_field(buffer, p, end)
        if tag != data or first < data_from:
            continue
        q = first
        while q < p:
            if byte_at(buffer, q) == 10:  # a point: skipped without a call
                _, q = read_length(buffer, q + 1, p)
                if q < 0:
                    return 0, -q
                continue
            inner, value, q = next_field(buffer, q, p)
            if inner < 0:
                return 0, -inner
            if inner == 16:
                temporality, _ = read_varint(buffer, value, q)
                temporality &= 0xFFFFFFFF
            elif inner == 24:
                monotonic, _ = read_varint(buffer, value, q)
    if data != SUM_TAG:
        shape = points.HISTOGRAM if data == HISTOGRAM_TAG else points.EXPONENTIAL_HISTOGRAM
        said = points.DELTA if temporality == 1 else 0
        return shape | (points.CUMULATIVE if temporality == 2 else said), 0
    kind = points.SUM_UNSPECIFIED
    if temporality == 1:
        kind = points.SUM_DELTA
    elif temporality == 2:
        kind = points.SUM_CUMULATIVE
    return kind | (points.MONOTONIC if monotonic != 0 else 0), 0


@kernel("UniTuple(i64, 2)(u8[::1], i64, i64)", allocates=False)
def _count_points(buffer: Bytes, begin: int, end: int) -> tuple[int, int]:
    """(number of data points, code) of a Summary."""
    count = 0
    p = begin
    while p < end:
        tag, _, p = next_field(buffer, p, end)
        if tag < 0:
            return 0, -tag
        if tag == 10:
            count += 1
    return count, 0


@kernel("i64(u8[::1], i64, i64, i64, i64[:, ::1])", allocates=False)
def _validate_data(buffer: Bytes, begin: int, end: int, tag: int, stack: Stack) -> int:
    """The code of what is wrong with a metric's data that is not read point by point."""
    message = schema.SUMMARY
    if tag == GAUGE_TAG:
        message = schema.GAUGE
    elif tag == SUM_TAG:
        message = schema.SUM
    elif tag == HISTOGRAM_TAG:
        message = schema.HISTOGRAM
    elif tag == EXPONENTIAL_TAG:
        message = schema.EXPONENTIAL_HISTOGRAM
    return validate(buffer, begin, end, message, 4, stack)


@kernel("UniTuple(i64, 7)(u8[::1], i64, i64, i64[:, ::1])", allocates=False)
def metric_head(
    buffer: Bytes, begin: int, end: int, stack: Stack
) -> tuple[int, int, int, int, int, int, int]:
    """What a Metric says outside its points, validated.

    (code, name's begin and end, unit's begin and end, the tag of its data or 0, and where the
    occurrences of that tag begin to count.)
    """
    name = name_end = unit = unit_end = data = data_from = i64(0)
    p = begin
    while p < end:
        tag, first, p = next_field(buffer, p, end)
        if tag < 0:
            return -tag, 0, 0, 0, 0, 0, 0
        code = 0
        if tag == 10 or tag == 18 or tag == 26:
            code = 0 if is_utf8(buffer, first, p) else UTF8
            if tag == 10:
                name, name_end = first, p
            elif tag == 26:
                unit, unit_end = first, p
        elif tag in (GAUGE_TAG, SUM_TAG, HISTOGRAM_TAG, EXPONENTIAL_TAG, SUMMARY_TAG):
            if tag != data:
                data, data_from = tag, first
        elif tag == 98:
            code = validate(buffer, first, p, schema.KEY_VALUE, 4, stack)
        if code != 0:
            return code, 0, 0, 0, 0, 0, 0
    return 0, name, name_end, unit, unit_end, data, data_from


@kernel("i64(i64)", allocates=False)
def _kind_without_rows(tag: int) -> int:
    if tag == SUMMARY_TAG:
        return points.SUMMARY
    return points.NO_DATA


@kernel(
    "i64(u8[::1], i64, i64, i64, u64, u64, u64[::1], i64[::1], i64[:, ::1], i32[:, ::1],"
    " u64[:, ::1], i64[:, ::1], u8[:, ::1], i64[:, ::1])",
    allocates=False,
)
def _scan_metric(
    buffer: Bytes,
    begin: int,
    end: int,
    message: int,
    a: np.uint64,
    b: np.uint64,
    key: Words,
    counts: Counts,
    metrics: Metrics,
    where: Where,
    fingerprint: Words,
    values: Values,
    marks: Marks,
    stack: Stack,
) -> int:
    """One Metric: a row of ``metrics`` and its points. The caller fills in the outer ranges."""
    code, name, name_end, unit, unit_end, data, data_from = metric_head(buffer, begin, end, stack)
    if code != 0:
        return code
    if counts[1] >= metrics.shape[0]:
        return METRICS_FULL
    number = data in (GAUGE_TAG, SUM_TAG)
    shaped = data in (HISTOGRAM_TAG, EXPONENTIAL_TAG)
    kind = i64(points.GAUGE)
    if data == SUM_TAG or shaped:
        kind, code = _kind_of(buffer, begin, end, data, data_from)
        if code != 0:
            return code
    elif not number:
        kind = _kind_without_rows(data)
    a, b = absorb_span(buffer, name, name_end, a, b, key)
    a, b = absorb_span(buffer, unit, unit_end, a, b, key)
    a = fold(a ^ key[1], (u64(kind) + key[0]) * _ODD)
    b = fold(b ^ key[2], (u64(kind) + key[3]) * _ODD)
    found = counts[0]
    not_read = i64(0)
    p = begin
    while p < end:
        tag, first, p = next_field(buffer, p, end)
        if tag not in (GAUGE_TAG, SUM_TAG, HISTOGRAM_TAG, EXPONENTIAL_TAG, SUMMARY_TAG):
            continue
        counted = tag == data and first >= data_from
        if counted and number:
            code = scan_points(
                buffer, first, p, message, kind, a, b, key, counts, where, fingerprint,
                values, marks, stack,
            )  # fmt: skip
        else:
            code = _validate_data(buffer, first, p, tag, stack)
            if code == 0 and counted and shaped:
                code = scan_shapes(
                    buffer, first, p, message, kind, a, b, key, counts, where, fingerprint,
                    values, marks,
                )  # fmt: skip
            elif code == 0 and counted:
                more, code = _count_points(buffer, first, p)
                not_read += more
        if code != 0:
            return code
    row = counts[1]
    metrics[row, points.METRIC_MESSAGE] = message
    metrics[row, points.METRIC_KIND] = kind
    metrics[row, points.METRIC_POINTS] = counts[0] - found + not_read
    metrics[row, points.METRIC_BEGIN] = begin
    metrics[row, points.METRIC_END] = end
    counts[1] = row + 1
    return 0


@kernel(
    "i64(u8[::1], i64, i64, i64, u64, u64, u64[::1], i64[::1], i64[:, ::1], i32[:, ::1],"
    " u64[:, ::1], i64[:, ::1], u8[:, ::1], i64[:, ::1])",
    allocates=False,
)
def _scan_scope(
    buffer: Bytes,
    begin: int,
    end: int,
    message: int,
    a: np.uint64,
    b: np.uint64,
    key: Words,
    counts: Counts,
    metrics: Metrics,
    where: Where,
    fingerprint: Words,
    values: Values,
    marks: Marks,
    stack: Stack,
) -> int:
    """One ScopeMetrics."""
    p = begin
    while p < end:
        tag, first, p = next_field(buffer, p, end)
        if tag < 0:
            return -tag
        if tag == 10:
            code = validate(buffer, first, p, schema.SCOPE, 3, stack)
            if code != 0:
                return code
            a, b = absorb_span(buffer, first, p, a, b, key)
        elif tag == 26 and not is_utf8(buffer, first, p):
            return UTF8
    p = begin
    while p < end:
        tag, first, p = next_field(buffer, p, end)
        if tag != 18:
            continue
        row = counts[1]
        code = _scan_metric(
            buffer, first, p, message, a, b, key, counts, metrics, where, fingerprint,
            values, marks, stack,
        )  # fmt: skip
        if code != 0:
            return code
        metrics[row, points.SCOPE_METRICS_BEGIN] = begin
        metrics[row, points.SCOPE_METRICS_END] = end
    return 0


@kernel(
    "i64(u8[::1], i64, i64, i64, u64, u64, u64[::1], i64[::1], i64[:, ::1], i32[:, ::1],"
    " u64[:, ::1], i64[:, ::1], u8[:, ::1], i64[:, ::1])",
    allocates=False,
)
def _scan_resource(
    buffer: Bytes,
    begin: int,
    end: int,
    message: int,
    a: np.uint64,
    b: np.uint64,
    key: Words,
    counts: Counts,
    metrics: Metrics,
    where: Where,
    fingerprint: Words,
    values: Values,
    marks: Marks,
    stack: Stack,
) -> int:
    """One ResourceMetrics."""
    p = begin
    while p < end:
        tag, first, p = next_field(buffer, p, end)
        if tag < 0:
            return -tag
        if tag == 10:
            code = validate(buffer, first, p, schema.RESOURCE, 2, stack)
            if code != 0:
                return code
            a, b = absorb_span(buffer, first, p, a, b, key)
        elif tag == 26 and not is_utf8(buffer, first, p):
            return UTF8
    p = begin
    while p < end:
        tag, first, p = next_field(buffer, p, end)
        if tag != 18:
            continue
        row = counts[1]
        code = _scan_scope(
            buffer, first, p, message, a, b, key, counts, metrics, where, fingerprint,
            values, marks, stack,
        )  # fmt: skip
        if code != 0:
            return code
        metrics[row : counts[1], points.RESOURCE_METRICS_BEGIN] = begin
        metrics[row : counts[1], points.RESOURCE_METRICS_END] = end
    return 0


@kernel(
    "i64(u8[::1], i64, u64[::1], u64[::1], i64[::1], i32[:, ::1], i64[:, ::1], u8[:, ::1],"
    " Tuple((i64, i64[:, ::1], i32[::1], u8[::1], i32[:, ::1], u8[:, ::1], u64[:, ::1])),"
    " i32[::1], u64[::1])",
    allocates=False,
)
def _recall(
    content: Bytes,
    message: int,
    seeds: Words,
    key: Words,
    counts: Counts,
    where: Where,
    values: Values,
    marks: Marks,
    known: Known,
    slots: NDArray[np.int32],
    again: Words,
) -> int:
    """_RECALLED if the message, of this content, is one that is known; 0 if it is to be read;
    POINTS_FULL.

    If it is to be read and may be known the next time, ``again`` has its key.
    """
    _, templates, index, data, fields, kinds, _ = known
    size = i64(content.shape[0])
    word = recurring_kernels.key_of(content, 0, size, seeds[0], seeds[1], key)
    if word == u64(0):
        return 0
    row = recurring_kernels.find(templates, index, i64(word), i64(seeds[0]), i64(seeds[1]), size)
    again[message] = word
    if row < 0:
        return 0
    template = templates[row]
    template[recurring_kernels.USED] = 1
    if template[recurring_kernels.DATA] == recurring_kernels.UNFIT:
        again[message] = u64(0)
        return 0
    if counts[0] + template[recurring_kernels.POINTS] > where.shape[1]:
        return POINTS_FULL
    if recurring_kernels.replay(
        content, 0, message, template, data, fields, kinds, counts[0], where, values, marks, slots
    ):  # fmt: skip
        counts[0] += template[recurring_kernels.POINTS]
        template[recurring_kernels.MISSES] = 0
        again[message] = u64(0)
        return _RECALLED
    template[recurring_kernels.MISSES] += 1
    misses = template[recurring_kernels.MISSES]
    if misses & (misses - 1) != 0:  # what varies where shapes do not show it: ever less often
        again[message] = u64(0)
    return 0


@kernel(
    "i64(u8[::1], i64[:, ::1], i64[::1], u64[:, ::1], u64[::1], i64, i64[::1], i64[::1],"
    " i64[:, ::1], i32[:, ::1], u64[:, ::1], i64[:, ::1], u8[:, ::1], i64[:, ::1],"
    " Tuple((i64, i64[:, ::1], i32[::1], u8[::1], i32[:, ::1], u8[:, ::1], u64[:, ::1])),"
    " i32[::1], u64[::1])",
    allocates=False,
)
def scan_requests(
    buffer: Bytes,
    ranges: NDArray[np.int64],
    addresses: NDArray[np.int64],
    seeds: Words,
    key: Words,
    message: int,
    status: NDArray[np.int64],
    counts: Counts,
    metrics: Metrics,
    where: Where,
    fingerprint: Words,
    values: Values,
    marks: Marks,
    stack: Stack,
    known: Known,
    slots: NDArray[np.int32],
    again: Words,
) -> int:
    """Scan messages from index ``message`` on; returns the index it stopped at.

    ``addresses`` i64[m]: where the bytes of each message are; ``ranges`` i64[m, 2]: where in
    ``buffer`` those are put that are not known by heart. ``seeds`` u64[m, 2]: of its tenant.
    ``status`` i64[m] gets 0 or the code, in which case the columns hold nothing of the message.
    It stops early at a message for which columns have no room (its status says which): grow them
    and go on from there.

    ``known``: what :class:`topologies.encodings.recurring.Recurring` knows, behind the least length
    of a message that it may know; ``slots`` i32[n] gets the slots of its points, -1 for those of
    other messages; ``again`` u64[m] the keys of messages that are worth keeping, 0 for the others.
    """
    while message < ranges.shape[0]:
        points_before = counts[0]
        metrics_before = counts[1]
        end = ranges[message, 1]
        p = ranges[message, 0]
        code = 0
        again[message] = u64(0)
        content = bytes_at(addresses[message], end - p)
        if end - p >= known[0]:
            code = _recall(
                content, message, seeds[message], key, counts, where, values, marks, known, slots,
                again,
            )  # fmt: skip
            if code == _RECALLED:
                status[message] = 0
                message += 1
                continue
        copy_bytes(buffer, p, content, 0, end - p)
        while p < end and code == 0:
            tag, first, p = next_field(buffer, p, end)
            if tag < 0:
                code = -tag
            elif tag == 10:
                code = _scan_resource(
                    buffer, first, p, message, seeds[message, 0], seeds[message, 1], key, counts,
                    metrics, where, fingerprint, values, marks, stack,
                )  # fmt: skip
        if code != 0:
            counts[0] = points_before
            counts[1] = metrics_before
        slots[points_before : counts[0]] = -1
        if again[message] != u64(0):
            shape = recurring_kernels.shape_of(
                points_before, counts[0], where, fingerprint, marks, ranges[message, 0]
            )
            seen = known[6]
            place = i64(again[message] >> u64(32)) & (seen.shape[0] - 1)
            if code != 0 or seen[place, 0] != again[message] or seen[place, 1] != shape:
                seen[place, 0], seen[place, 1] = again[message], shape
                again[message] = u64(0)
        status[message] = code
        if code in (POINTS_FULL, METRICS_FULL):
            return message
        message += 1
    return message
