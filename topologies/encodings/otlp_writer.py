"""Columns to OTLP: number data points, from labels as JSON.

The reverse of the scanner, for what is published. Labels are JSON objects of strings, compact, as
`topologies.identity.stream` makes them; each becomes a string attribute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, i64

Array = Any

_QUOTE, _BACKSLASH, _COLON, _COMMA, _OPEN, _CLOSE = 34, 92, 58, 44, 123, 125
_FIXED_FIELDS = 27  # start, time, value: a tag and eight bytes each
_OVERHEAD = 48


class MalformedLabels(ValueError):
    """Labels that are no compact JSON object of strings."""


@kernel("i64(u8[::1], i64, i64)", forceinline=True, allocates=False)
def _put_varint(out: Array, at: int, value: int) -> int:
    while value > 127:
        out[at] = np.uint8(value & 127 | 128)
        value >>= 7
        at += 1
    out[at] = np.uint8(value)
    return at + 1


@kernel("i64(i64)", forceinline=True, allocates=False)
def _varint_size(value: int) -> int:
    size = 1
    while value > 127:
        value >>= 7
        size += 1
    return size


@kernel("i64(i64)", forceinline=True, allocates=False)
def _hex_digit(byte: int) -> int:
    if 48 <= byte <= 57:
        return byte - 48
    if 97 <= byte <= 102:
        return byte - 87
    if 65 <= byte <= 70:
        return byte - 55
    return -1


@kernel("i64(u8[::1], i64, i64)", allocates=False)
def _escaped(data: Array, p: int, end: int) -> int:
    """The byte that an escape with its letter at p stands for; -1: none of one byte."""
    letter = byte_at(data, p)
    if letter in (_QUOTE, _BACKSLASH, 47):
        return letter
    if letter == 98:
        return 8
    if letter == 102:
        return 12
    if letter == 110:
        return 10
    if letter == 114:
        return 13
    if letter == 116:
        return 9
    if letter == 117 and p + 4 < end and byte_at(data, p + 1) == 48 and byte_at(data, p + 2) == 48:
        high = _hex_digit(byte_at(data, p + 3))
        low = _hex_digit(byte_at(data, p + 4))
        if 0 <= high < 8 and low >= 0:
            return high * 16 + low
    return -1


@kernel("UniTuple(i64, 2)(u8[::1], i64, i64)", forceinline=True, allocates=False)
def _string(data: Array, p: int, end: int) -> tuple[int, int]:
    """(bytes of the text, position behind its closing quote) of the string at p; (-1, p): none."""
    if p >= end or byte_at(data, p) != _QUOTE:
        return i64(-1), p
    p += 1
    size = i64(0)
    while p < end:
        byte = byte_at(data, p)
        if byte == _QUOTE:
            return size, p + 1
        if byte == _BACKSLASH:
            if p + 1 >= end or _escaped(data, p + 1, end) < 0:
                return i64(-1), p
            p += 5 if byte_at(data, p + 1) == 117 else 1
        p += 1
        size += 1
    return i64(-1), p


@kernel("i64(u8[::1], i64, i64, u8[::1], i64, i64)", forceinline=True, allocates=False)
def _put_string(data: Array, p: int, after: int, out: Array, at: int, size: int) -> int:
    """Copy the text of a string that `_string` measured; returns the position behind it."""
    if after - p - 2 == size:
        for k in range(size):
            out[at + k] = data[p + 1 + k]
        return at + size
    p += 1
    for k in range(size):
        byte = byte_at(data, p)
        if byte == _BACKSLASH:
            byte = _escaped(data, p + 1, after)
            p += 5 if byte_at(data, p + 1) == 117 else 1
        p += 1
        out[at + k] = np.uint8(byte)
    return at + size


@kernel("i64(u8[::1], i64, i64, u8[::1], i64)", forceinline=True, allocates=False)
def _put_attributes(data: Array, p: int, end: int, out: Array, at: int) -> int:
    """The attributes of a NumberDataPoint, from data[p:end]; -1 if that is malformed."""
    if end - p < 2 or byte_at(data, p) != _OPEN or byte_at(data, end - 1) != _CLOSE:
        return -1
    p += 1
    end -= 1
    while p < end:
        key = p
        key_size, p = _string(data, p, end)
        if key_size < 0 or p >= end or byte_at(data, p) != _COLON:
            return -1
        value = p + 1
        value_size, p = _string(data, value, end)
        if value_size < 0:
            return -1
        inner = 1 + _varint_size(value_size) + value_size
        whole = 1 + _varint_size(key_size) + key_size + 1 + _varint_size(inner) + inner
        out[at] = np.uint8(58)  # attributes
        at = _put_varint(out, at + 1, whole)
        out[at] = np.uint8(10)  # key
        at = _put_varint(out, at + 1, key_size)
        at = _put_string(data, key, value - 1, out, at, key_size)
        out[at] = np.uint8(18)  # value
        at = _put_varint(out, at + 1, inner)
        out[at] = np.uint8(10)  # string_value
        at = _put_varint(out, at + 1, value_size)
        at = _put_string(data, value, p, out, at, value_size)
        if p < end:
            if byte_at(data, p) != _COMMA or p + 1 == end:
                return -1
            p += 1
    return at


@kernel("void(u8[::1], i64, i64, i64)", forceinline=True, allocates=False)
def _put_fixed(out: Array, at: int, tag: int, value: int) -> None:
    out[at] = np.uint8(tag)
    for k in range(8):
        out[at + 1 + k] = np.uint8((value >> (8 * k)) & 0xFF)


@kernel(
    "i64(u8[::1], i64[::1], i64[::1], i64[::1], i64[::1], i64, u8[::1], i64[::1])",
    allocates=False,
)
def _put_points(
    data: Array,
    offsets: Array,
    rows: Array,
    ends: Array,
    values: Array,
    level: int,
    out: Array,
    places: Array,
) -> int:
    """Number data points of a Gauge or Sum, one behind the other.

    Point i has the labels data[offsets[rows[i]] : offsets[rows[i] + 1]], the time ends[rows[i]],
    the start `level` ns before it, and the double with the bits values[rows[i]]. places i64[n + 1]:
    where in out each begins. Returns the number of points written: less than n at malformed labels.
    """
    at = i64(0)
    for i in range(rows.shape[0]):
        row = rows[i]
        places[i] = at
        # the attributes go where they stand if the length takes two bytes, and move if not
        begin = at + 3
        _put_fixed(out, begin, 17, ends[row] - level)
        _put_fixed(out, begin + 9, 25, ends[row])
        _put_fixed(out, begin + 18, 33, values[row])
        end = _put_attributes(data, offsets[row], offsets[row + 1], out, begin + _FIXED_FIELDS)
        if end < 0:
            return i
        size = end - begin
        head = 1 + _varint_size(size)
        if head != 3:
            shift = head - 3
            for k in range(size):
                j = k if shift < 0 else size - 1 - k
                out[begin + shift + j] = out[begin + j]
        out[at] = np.uint8(10)
        _put_varint(out, at + 1, size)
        at += head + size
    places[rows.shape[0]] = at
    return rows.shape[0]


def number_points(
    labels: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    level: int,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Encoded data points (field 1 of a Gauge or Sum) of these rows, and where each begins.

    labels u8, offsets i64[m + 1]: all rows' labels; rows i64[n] in 0..m-1; ends i64[m] unix ns;
    values f64[m]; level ns. The places are i64[n + 1], the last one the length.

    Raises:
        MalformedLabels: The labels of a row are no compact JSON object of strings.
    """
    text = int((offsets[rows + 1] - offsets[rows]).sum()) if len(rows) else 0
    out = np.empty(len(rows) * (_OVERHEAD + _FIXED_FIELDS) + 4 * text, np.uint8)
    places = np.zeros(len(rows) + 1, np.int64)
    bits = values.view(np.int64)
    done = _put_points(labels, offsets, rows, ends, bits, level, out, places)
    if done < len(rows):
        row = int(rows[done])
        raw = labels[int(offsets[row]) : int(offsets[row + 1])].tobytes()
        raise MalformedLabels(f"labels {raw[:80]!r} are no object of strings")
    return out[: int(places[-1])], places


def field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    head = bytearray()
    rest = len(content)
    while rest > 127:
        head.append(rest & 127 | 128)
        rest >>= 7
    head.append(rest)
    return bytes((number << 3 | 2,)) + bytes(head) + content
