"""The compiled parts of :mod:`topologies.encodings.recurring`.

Shared arguments: ``templates`` i64[t, COLUMNS], a row a message that is known by heart; ``index``
i32[h], h a power of two: where a key is, its row plus one (0: free), linear probing, at most half
full; ``data`` u8 their bytes; ``fields`` i32[p, 4] a row a point: where its start, time and value
are in the message (-1: it has none), and its slot; ``kinds`` u8[p, 2] its kind and flags.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, copy_bytes, i64, load_u64, same_bytes, u64
from topologies.encodings.fingerprint import absorb_span, fold
from topologies.encodings.points import KIND_MASK, METRIC_KIND, METRIC_MESSAGE, SUM_UNSPECIFIED
from topologies.encodings.wire import next_field

Array = Any

# Columns of `templates`. USED: it came since somebody looked. MISSES: how many were looked up since
# it came, and were not it.
KEY, SEED_A, SEED_B, LENGTH, DATA, FIRST, POINTS, USED, MISSES = range(9)
COLUMNS = 9
START, TIME, VALUE, SLOT = range(4)
UNFIT = -1
"""In place of where a message's bytes are: those of this key cannot be known by heart."""

_ATTRIBUTES, _START, _TIME, _DOUBLE, _INT = 58, 17, 25, 33, 49
_GAUGE, _SUM = 42, 58
_ODD = np.uint64(0x9E3779B97F4A7C15)


@kernel("u64(u8[::1], i64, i64, u64, u64, u64[::1])", allocates=False)
def key_of(buffer: Array, begin: int, end: int, a: Any, b: Any, key: Array) -> Any:
    """What a message is looked up by: tenant, length, resource, first metric, first attributes.

    0 where its first metric has no number point, or where these are the last that the buffer has:
    16 bytes are read behind them.
    """
    last = i64(buffer.shape[0]) - 16
    length = u64(end - begin)
    level = 0
    p = begin
    while p < end:
        tag, first, after = next_field(buffer, p, end)
        if tag < 0:
            return u64(0)
        down = tag == 10 if level == 0 or level == 4 else tag == 18
        if level == 3:
            down = tag in (_GAUGE, _SUM)
        if down:
            level += 1
            p, end = first, after
            if level == 5:
                break
            continue
        if tag == 10:  # the resource, the scope, the metric's name
            if after > last:
                return u64(0)
            a, b = absorb_span(buffer, first, after, a, b, key)
        p = after
    if level < 5:
        return u64(0)
    while p < end:
        tag, first, after = next_field(buffer, p, end)
        if tag < 0:
            return u64(0)
        if tag == _ATTRIBUTES:
            if after > last:
                return u64(0)
            a, b = absorb_span(buffer, first, after, a, b, key)
        p = after
    found = a ^ (length * _ODD)
    return found if found != u64(0) else u64(1)


@kernel("i64(i64[:, ::1], i32[::1], i64, i64, i64, i64)", allocates=False)
def find(templates: Array, index: Array, key: int, a: int, b: int, length: int) -> int:
    """The row of a key, of a tenant's seeds, of messages so long; -1: there is none."""
    mask = index.shape[0] - 1
    place = key & mask
    while index[place] != 0:
        row = i64(index[place]) - 1
        of = templates[row]
        if of[KEY] == key and of[SEED_A] == a and of[SEED_B] == b and of[LENGTH] == length:
            return row
        place = (place + 1) & mask
    return -1


@kernel("void(i64[:, ::1], i64, i32[::1])", allocates=False)
def enter(templates: Array, row: int, index: Array) -> None:
    """Put a row into the index; the caller keeps half of it free."""
    mask = index.shape[0] - 1
    place = templates[row, KEY] & mask
    while index[place] != 0:
        place = (place + 1) & mask
    index[place] = row + 1


@kernel("bool_(u8[::1], i64, u8[::1], i64, i64)", forceinline=True, allocates=False)
def _same(buffer: Array, p: int, data: Array, q: int, count: int) -> bool:
    """Whether buffer[p : p + count] is data[q : q + count]."""
    if count == 1:  # a tag between two numbers
        return byte_at(buffer, p) == byte_at(data, q)
    return count == 0 or same_bytes(buffer, p, data, q, count)


@kernel(
    "bool_(u8[::1], i64, i64, i64[::1], u8[::1], i32[:, ::1], u8[:, ::1], i64, i32[:, ::1],"
    " i64[:, ::1], u8[:, ::1], i32[::1])",
    allocates=False,
)
def replay(
    buffer: Array,
    begin: int,
    message: int,
    template: Array,
    data: Array,
    fields: Array,
    kinds: Array,
    row: int,
    where: Array,
    values: Array,
    marks: Array,
    slots: Array,
) -> bool:
    """Whether the message at ``begin`` is the template with other times and values.

    If so its points are in the columns from ``row`` on, but for fingerprint, metric (-1) and place.
    """
    base = template[DATA]
    first = template[FIRST]
    at = i64(0)  # behind what has been compared
    for point in range(template[POINTS]):
        field = fields[first + point]
        to = row + point
        values[0, to], values[1, to], values[2, to] = 0, 0, 0
        for which in range(SLOT):  # in the order of their places
            place = i64(field[which])
            if place < 0:
                continue
            if not _same(buffer, begin + at, data, base + at, place - at):
                return False
            column = which if which == VALUE else 1 - which  # of values: time, start, value
            values[column, to] = i64(load_u64(buffer, begin + place))
            at = place + 8
        where[0, to], where[1, to], where[2, to], where[3, to] = message, -1, 0, 0
        marks[0, to], marks[1, to] = kinds[first + point, 0], kinds[first + point, 1]
        slots[to] = field[SLOT]
    return _same(buffer, begin + at, data, base + at, template[LENGTH] - at)


@kernel("u64(i64, i64, i32[:, ::1], u64[:, ::1], u8[:, ::1], i64)", allocates=False)
def shape_of(
    low: int, high: int, where: Array, fingerprint: Array, marks: Array, begin: int
) -> Any:
    """A hash of which points, rows [low, high), a message at ``begin`` has where."""
    found = u64(high - low)
    for row in range(low, high):
        place = u64(i64(where[3, row]) - begin) << u64(8) | u64(marks[1, row])
        found = fold(found ^ fingerprint[0, row], place ^ _ODD)
    return found


@kernel("bool_(u8[::1], i64, i64, i64, i32[::1], i32[::1], i32[::1], i32[:, ::1])", allocates=False)
def _places_of(
    buffer: Array, message: int, low: int, high: int, begins: Array, ends: Array, slots: Array,
    fields: Array,
) -> bool:  # fmt: skip
    """Where the points of a message, rows [low, high), have their fields, into ``fields``.

    False where they do not come one after the other, where one has no slot, or where one writes
    its fields in another order than that of their numbers: such messages are read.
    """
    before = message
    for row in range(low, high):
        if begins[row] < before or slots[row] < 0:
            return False
        start, time, value = i64(-1), i64(-1), i64(-1)
        p, end = i64(begins[row]), i64(ends[row])
        while p < end:
            tag, first, p = next_field(buffer, p, end)
            if tag == _START:
                start = first - message
            elif tag == _TIME:
                time = first - message
            elif tag in (_DOUBLE, _INT):
                value = first - message
        if (0 <= time < start) or (0 <= value < max(start, time)):
            return False
        of = fields[row - low]
        of[START], of[TIME], of[VALUE], of[SLOT] = start, time, value, slots[row]
        before = end
    return True


@kernel("i64(i32[::1], i64)", allocates=False)
def _first_of(messages: Array, message: int) -> int:
    """The first row of a message or of one behind it; rows are in the order of messages."""
    low, high = 0, messages.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if messages[middle] < message:
            low = middle + 1
        else:
            high = middle
    return low


@kernel("bool_(i64[:, ::1], i64)", allocates=False)
def _numbers_only(metrics: Array, message: int) -> bool:
    for row in range(metrics.shape[0]):
        if metrics[row, METRIC_MESSAGE] > message:
            break
        mine = metrics[row, METRIC_MESSAGE] == message
        if mine and metrics[row, METRIC_KIND] & KIND_MASK > SUM_UNSPECIFIED:
            return False
    return True


@kernel(
    "void(i64[:, ::1], u8[::1], i64[:, ::1], Tuple((i32[::1], i32[::1], i32[::1], u8[::1],"
    " u8[::1])), i32[::1], i64[::1], i64[:, ::1], i32[::1], u8[::1], i32[:, ::1], u8[:, ::1])",
    allocates=False,
)
def learn(
    again: Array,
    buffer: Array,
    metrics: Array,
    columns: tuple[Array, Array, Array, Array, Array],
    slots: Array,
    used: Array,
    templates: Array,
    index: Array,
    data: Array,
    fields: Array,
    kinds: Array,
) -> None:
    """Know these messages; there is room for all of them.

    again i64[k, AGAIN]: see :class:`Points`, as are ``metrics`` and the columns (message, begin,
    end, kind, flags); slots i32[n]. ``used`` i64[3]: templates, bytes of data, fields so far.
    """
    messages, begins, ends, of_kind, flags = columns
    for k in range(again.shape[0]):
        one = again[k]
        message, begin, size = one[0], one[1], one[2] - one[1]
        low, high = _first_of(messages, message), _first_of(messages, message + 1)
        count = high - low
        row = find(templates, index, one[3], one[4], one[5], size)
        at, first = used[1], used[2]
        if row >= 0:
            if templates[row, DATA] == UNFIT:
                continue
            at = templates[row, DATA]
            if templates[row, POINTS] >= count:
                first = templates[row, FIRST]
        fit = _numbers_only(metrics, message) and _places_of(
            buffer, begin, low, high, begins, ends, slots, fields[first:]
        )
        if row < 0:
            row = used[0]
            used[0] += 1
            of = templates[row]
            of[KEY], of[SEED_A], of[SEED_B], of[LENGTH] = one[3], one[4], one[5], size
            of[USED], of[MISSES] = 1, 0
            enter(templates, row, index)
        of = templates[row]
        of[DATA], of[FIRST], of[POINTS] = UNFIT, 0, 0
        if not fit:
            continue
        of[DATA], of[FIRST], of[POINTS] = at, first, count
        copy_bytes(data, at, buffer, begin, size)
        for point in range(count):
            kinds[first + point, 0] = of_kind[low + point]
            kinds[first + point, 1] = flags[low + point]
        used[1] = max(used[1], at + size)
        used[2] = max(used[2], first + count)
