"""The canonical bytes of :mod:`topologies.identity.canonical`, compiled, for the usual messages.

Unusual ones (values that are arrays or maps, a key twice, a message in several occurrences, more
than 256 attributes) are left to the Python form: the result is then ``UNUSUAL``. The messages
were validated before, and ``out`` has room, both checked by the caller.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, i64, load_u64
from topologies.encodings.wire import next_field, read_varint
from topologies.identity import canonical

Bytes = NDArray[np.uint8]
Entries = NDArray[np.int64]

UNUSUAL = -1
MOST_ATTRIBUTES = 256
# Canonical bytes are at most GROWTH times as long as what they are made from, and OVERHEAD.
GROWTH = 4
OVERHEAD = 8192

_KEY_BEGIN, _KEY_END, _TYPE, _BEGIN, _END = range(5)


@kernel("i64(u8[::1], i64, i64)", forceinline=True, allocates=False)
def _put_u32(out: Bytes, position: int, value: int) -> int:
    for i in range(4):
        out[position + i] = (value >> (8 * i)) & 0xFF
    return position + 4


@kernel("i64(u8[::1], i64, u8[::1], i64, i64)", allocates=False)
def put_text(out: Bytes, position: int, data: Bytes, begin: int, end: int) -> int:
    """Write a length and ``data[begin:end]``; returns the position after it."""
    position = _put_u32(out, position, end - begin)
    for i in range(end - begin):
        out[position + i] = byte_at(data, begin + i)
    return position + end - begin


@kernel("i64(u8[::1], i64, i64, i64, i64)", allocates=False)
def _compare(data: Bytes, a: int, a_end: int, b: int, b_end: int) -> int:
    """The order of two spans as bytes: negative, 0 or positive."""
    shorter = min(a_end - a, b_end - b)
    for i in range(shorter):
        difference = byte_at(data, a + i) - byte_at(data, b + i)
        if difference != 0:
            return difference
    return (a_end - a) - (b_end - b)


@kernel("i64(u8[::1], i64, i64, i64[:, ::1], i64)", allocates=False)
def _read_any_value(buffer: Bytes, begin: int, end: int, entries: Entries, row: int) -> int:
    """An AnyValue's type and span, or its number, into an entry; 0 or UNUSUAL."""
    p = begin
    while p < end:
        tag, first, p = next_field(buffer, p, end)
        if tag < 0 or tag in (42, 50):
            return UNUSUAL
        if tag == 10:
            entries[row, _TYPE] = canonical.STRING
        elif tag == 58:
            entries[row, _TYPE] = canonical.BYTES
        elif tag == 16:
            entries[row, _TYPE] = canonical.BOOL
        elif tag == 24:
            entries[row, _TYPE] = canonical.INT
        elif tag == 33:
            entries[row, _TYPE] = canonical.DOUBLE
        elif tag == 64:
            return UNUSUAL
        else:
            continue
        entries[row, _BEGIN] = first
        entries[row, _END] = p
    return 0


@kernel("i64(u8[::1], i64, i64, i64[:, ::1], i64)", allocates=False)
def _read_key_value(buffer: Bytes, begin: int, end: int, entries: Entries, row: int) -> int:
    """A KeyValue into an entry; 0 or UNUSUAL."""
    entries[row, _KEY_BEGIN] = entries[row, _KEY_END] = begin
    entries[row, _TYPE] = canonical.ABSENT
    values = 0
    p = begin
    while p < end:
        tag, first, p = next_field(buffer, p, end)
        if tag < 0:
            return UNUSUAL
        if tag == 10:
            entries[row, _KEY_BEGIN] = first
            entries[row, _KEY_END] = p
        elif tag == 18:
            values += 1
            if values > 1 or _read_any_value(buffer, first, p, entries, row) != 0:
                return UNUSUAL
    return 0


@kernel("i64(u8[::1], i64, u8[::1], i64[:, ::1], i64)", allocates=False)
def _put_entry(out: Bytes, position: int, buffer: Bytes, entries: Entries, row: int) -> int:
    position = put_text(out, position, buffer, entries[row, _KEY_BEGIN], entries[row, _KEY_END])
    kind = entries[row, _TYPE]
    begin = entries[row, _BEGIN]
    end = entries[row, _END]
    out[position] = kind
    position += 1
    if kind in (canonical.STRING, canonical.BYTES):
        return put_text(out, position, buffer, begin, end)
    if kind == canonical.BOOL:
        value, _ = read_varint(buffer, begin, end)
        out[position] = 1 if value != 0 else 0
        return position + 1
    if kind in (canonical.INT, canonical.DOUBLE):
        if kind == canonical.INT:
            number, _ = read_varint(buffer, begin, end)
        else:
            number = i64(load_u64(buffer, begin))
        for i in range(8):
            out[position + i] = (number >> (8 * i)) & 0xFF
        return position + 8
    return position


@kernel("i64(u8[::1], i64, i64, i64, u8[::1], i64, i64[:, ::1])", allocates=False)
def put_attributes(
    buffer: Bytes,
    begin: int,
    end: int,
    attributes: int,
    out: Bytes,
    position: int,
    entries: Entries,
) -> int:
    """Write the map of the fields tagged ``attributes`` of ``buffer[begin:end]``.

    ``entries`` i64[MOST_ATTRIBUTES, 5] is scratch. Returns the position after it, or UNUSUAL.
    """
    count = 0
    p = begin
    while p < end:
        tag, first, p = next_field(buffer, p, end)
        if tag != attributes:
            continue
        if count == entries.shape[0] or _read_key_value(buffer, first, p, entries, count) != 0:
            return UNUSUAL
        # Insertion from behind: attributes mostly come sorted, or few.
        row = count
        while row > 0:
            order = _compare(
                buffer,
                entries[row - 1, _KEY_BEGIN],
                entries[row - 1, _KEY_END],
                entries[row, _KEY_BEGIN],
                entries[row, _KEY_END],
            )
            if order == 0:
                return UNUSUAL
            if order < 0:
                break
            for column in range(5):
                kept = entries[row, column]
                entries[row, column] = entries[row - 1, column]
                entries[row - 1, column] = kept
            row -= 1
        count += 1
    position = _put_u32(out, position, count)
    for row in range(count):
        position = _put_entry(out, position, buffer, entries, row)
    return position


@kernel("UniTuple(i64, 3)(u8[::1], i64, i64, i64)", allocates=False)
def only_field(buffer: Bytes, begin: int, end: int, wanted: int) -> tuple[int, int, int]:
    """(how many fields have this tag, the last one's begin and end)."""
    count = found = found_end = 0
    p = begin
    while p < end:
        tag, first, p = next_field(buffer, p, end)
        if tag == wanted:
            count += 1
            found, found_end = first, p
    return count, found, found_end


@kernel("i64(u8[::1], i64, i64, u8[::1], i64, i64[:, ::1])", allocates=False)
def put_resource(
    buffer: Bytes, begin: int, end: int, out: Bytes, position: int, entries: Entries
) -> int:
    """Write the resource attributes of a ResourceMetrics."""
    count, first, after = only_field(buffer, begin, end, 10)
    if count > 1:
        return UNUSUAL
    return put_attributes(buffer, first, after, 10, out, position, entries)


@kernel("i64(u8[::1], i64, i64, u8[::1], i64, i64[:, ::1])", allocates=False)
def put_scope(
    buffer: Bytes, begin: int, end: int, out: Bytes, position: int, entries: Entries
) -> int:
    """Write the scope of a ScopeMetrics."""
    count, first, after = only_field(buffer, begin, end, 10)
    if count > 1:
        return UNUSUAL
    for wanted in (10, 18):
        _, text, text_end = only_field(buffer, first, after, wanted)
        position = put_text(out, position, buffer, text, text_end)
    return put_attributes(buffer, first, after, 26, out, position, entries)


@kernel("i64(u8[::1], i64, i64, i64, u8[::1], i64)", allocates=False)
def put_metric(buffer: Bytes, begin: int, end: int, kind: int, out: Bytes, position: int) -> int:
    """Write name, unit and kind of a Metric; there is nothing unusual in those."""
    for wanted in (10, 26):
        _, text, text_end = only_field(buffer, begin, end, wanted)
        position = put_text(out, position, buffer, text, text_end)
    out[position] = kind
    return position + 1
