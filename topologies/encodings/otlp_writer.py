"""Columns to OTLP: number data points, from labels as JSON.

The reverse of the scanner, for what is published. Labels are JSON objects of strings, compact, as
`topologies.identity.stream` makes them; each becomes a string attribute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, i64, store_u64
from topologies.encodings.labels import (
    CLOSE,
    COLON,
    COMMA,
    OPEN,
    put_string,
    put_varint,
    string_at,
    varint_size,
)

Array = Any

_TIMES = 18  # start and time: a tag and eight bytes each
_FIXED_FIELDS = 27  # and the value likewise
_ATTRIBUTES = 58
_NO_RECORDED_VALUE = 1  # of DataPointFlags
_OVERHEAD = 48


class MalformedLabels(ValueError):
    """Labels that are no compact JSON object of strings."""


@kernel("i64(text, i64, i64, i64, u8[::1], i64)", forceinline=True, allocates=False)
def put_attributes(data: Array, p: int, end: int, tag: int, out: Array, at: int) -> int:
    """The attributes of a data point, from data[p:end], by their tag; -1 if that is malformed."""
    if end - p < 2 or byte_at(data, p) != OPEN or byte_at(data, end - 1) != CLOSE:
        return -1
    p += 1
    end -= 1
    while p < end:
        key = p
        key_size, p = string_at(data, p, end)
        if key_size < 0 or p >= end or byte_at(data, p) != COLON:
            return -1
        value = p + 1
        value_size, p = string_at(data, value, end)
        if value_size < 0:
            return -1
        inner = 1 + varint_size(value_size) + value_size
        whole = 1 + varint_size(key_size) + key_size + 1 + varint_size(inner) + inner
        out[at] = np.uint8(tag)
        at = put_varint(out, at + 1, whole)
        out[at] = np.uint8(10)  # key
        at = put_varint(out, at + 1, key_size)
        at = put_string(data, key, value - 1, out, at, key_size)
        out[at] = np.uint8(18)  # value
        at = put_varint(out, at + 1, inner)
        out[at] = np.uint8(10)  # string_value
        at = put_varint(out, at + 1, value_size)
        at = put_string(data, value, p, out, at, value_size)
        if p < end:
            if byte_at(data, p) != COMMA or p + 1 == end:
                return -1
            p += 1
    return at


@kernel("void(u8[::1], i64, i64, i64)", forceinline=True, allocates=False)
def put_fixed(out: Array, at: int, tag: int, value: int) -> None:
    out[at] = np.uint8(tag)
    store_u64(out, at + 1, value)


@kernel("i64(u8[::1], i64, i64, i64)", forceinline=True, allocates=False)
def shifted(out: Array, at: int, begin: int, end: int) -> int:
    """Make out[begin:end] a data point at `at`, three bytes before: the position behind it.

    It stays where it is if its length takes two bytes, and moves if not.
    """
    size = end - begin
    head = 1 + varint_size(size)
    if head != 3:
        shift = head - 3
        for k in range(size):
            j = k if shift < 0 else size - 1 - k
            out[begin + shift + j] = out[begin + j]
    out[at] = np.uint8(10)
    put_varint(out, at + 1, size)
    return at + head + size


@kernel(
    "i64(text, i64[::1], i64[::1], i64[::1], i64[::1], i64[::1], bool_, u8[::1], i64[::1])",
    allocates=False,
)
def _put_points(
    data: Array,
    offsets: Array,
    rows: Array,
    starts: Array,
    ends: Array,
    values: Array,
    recorded: bool,
    out: Array,
    places: Array,
) -> int:
    """Number data points of a Gauge or Sum, one behind the other.

    Point i has the labels data[offsets[rows[i]] : offsets[rows[i] + 1]], the times starts[rows[i]]
    and ends[rows[i]], and the double with the bits values[rows[i]]; if not `recorded` no value, but
    the flag that says so. places i64[n + 1]: where in out each begins. Returns the number of points
    written: less than n at malformed labels.
    """
    at = i64(0)
    for i in range(rows.shape[0]):
        row = rows[i]
        places[i] = at
        begin = at + 3
        put_fixed(out, begin, 17, starts[row])
        put_fixed(out, begin + 9, 25, ends[row])
        end = begin + _TIMES
        if recorded:
            put_fixed(out, end, 33, values[row])
            end = begin + _FIXED_FIELDS
        else:
            out[end] = np.uint8(64)  # flags
            out[end + 1] = np.uint8(_NO_RECORDED_VALUE)
            end += 2
        end = put_attributes(data, offsets[row], offsets[row + 1], _ATTRIBUTES, out, end)
        if end < 0:
            return i
        at = shifted(out, at, begin, end)
    places[rows.shape[0]] = at
    return rows.shape[0]


def number_points(
    labels: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    recorded: bool = True,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Encoded data points (field 1 of a Gauge or Sum) of these rows, and where each begins.

    labels u8, offsets i64[m + 1]: all rows' labels; rows i64[n] in 0..m-1; starts and ends i64[m]
    unix ns; values f64[m], left out with the NoRecordedValue flag if not `recorded`. The places are
    i64[n + 1], the last one the length.

    Raises:
        MalformedLabels: The labels of a row are no compact JSON object of strings.
    """
    text = int((offsets[rows + 1] - offsets[rows]).sum()) if len(rows) else 0
    out = np.empty(len(rows) * (_OVERHEAD + _FIXED_FIELDS) + 4 * text, np.uint8)
    places = np.zeros(len(rows) + 1, np.int64)
    bits = values.view(np.int64)
    done = _put_points(labels, offsets, rows, starts, ends, bits, recorded, out, places)
    if done < len(rows):
        row = int(rows[done])
        raw = labels[int(offsets[row]) : int(offsets[row + 1])].tobytes()
        raise MalformedLabels(f"labels {raw[:80]!r} are no object of strings")
    return out[: int(places[-1])], places


def field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return field_head(number, len(content)) + content


def field_head(number: int, size: int) -> bytes:
    """What stands before the `size` bytes of a length-delimited protobuf field."""
    head = bytearray((number << 3 | 2,))
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    head.append(size)
    return bytes(head)
