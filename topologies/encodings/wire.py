"""Protocol Buffers' wire format, for kernels: varints, fields, UTF-8.

Follows https://protobuf.dev/programming-guides/encoding/ and, where that leaves a choice, what the
reference parser (upb) does: tags of at most 5 bytes and 32 bits, lengths below 2**31, varints of at
most 10 bytes. Deprecated groups are refused.

Positions are offsets into one buffer of bytes, ``end`` is exclusive. A negative result is the
negated code of what is wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, load_u64

TRUNCATED, TAG, VARINT, GROUP, LENGTH, UTF8, DEPTH, PACKED = 1, 2, 3, 4, 5, 6, 7, 8
REASONS = {
    TRUNCATED: "a field ends after its message",
    TAG: "a field's tag is not valid",
    VARINT: "a varint is longer than 10 bytes",
    GROUP: "a group, which is not supported",
    LENGTH: "a field's length is not valid",
    UTF8: "a string is not UTF-8",
    DEPTH: "messages are nested deeper than 100",
    PACKED: "a packed field is not valid",
}

Bytes = NDArray[np.uint8]

_HIGH_BITS = np.uint64(0x8080808080808080)


@kernel("UniTuple(i64, 2)(u8[::1], i64, i64)", forceinline=True, allocates=False)
def read_varint(buffer: Bytes, begin: int, end: int) -> tuple[int, int]:
    """The varint at ``begin``: (value modulo 2**64 as i64, position after it or -code)."""
    value = 0
    position = begin
    shift = 0
    while shift < 70:
        if position >= end:
            return 0, -TRUNCATED
        byte = byte_at(buffer, position)
        position += 1
        if shift < 64:
            value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    return 0, -VARINT


@kernel("UniTuple(i64, 2)(u8[::1], i64, i64)", forceinline=True, allocates=False)
def read_short_varint(buffer: Bytes, begin: int, end: int) -> tuple[int, int]:
    """A tag's or length's varint, of at most 5 bytes and 32 bits; the same results."""
    value = 0
    position = begin
    shift = 0
    while shift < 35:
        if position >= end:
            return 0, -TRUNCATED
        byte = byte_at(buffer, position)
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > 0xFFFFFFFF:
                return 0, -VARINT
            return value, position
        shift += 7
    return 0, -VARINT


@kernel("UniTuple(i64, 2)(u8[::1], i64, i64)", forceinline=True, allocates=False)
def read_length(buffer: Bytes, begin: int, end: int) -> tuple[int, int]:
    """A length-delimited field's (first byte, position after it or -code), from its length on."""
    if begin < end and byte_at(buffer, begin) < 0x80:
        length = byte_at(buffer, begin)
        position = begin + 1
    else:
        length, position = read_short_varint(buffer, begin, end)
        if position < 0:
            return 0, position
        if length > 0x7FFFFFFF:
            return 0, -LENGTH
    if length > end - position:
        return 0, -TRUNCATED
    return position, position + length


@kernel("UniTuple(i64, 3)(u8[::1], i64, i64)", allocates=False)
def next_field(buffer: Bytes, begin: int, end: int) -> tuple[int, int, int]:
    """The field at ``begin``: (tag or -code, first byte of its value, position after it)."""
    if begin < end and byte_at(buffer, begin) < 0x80:
        tag = byte_at(buffer, begin)
        position = begin + 1
    else:
        tag, position = read_short_varint(buffer, begin, end)
        if position == -VARINT:
            return -TAG, 0, 0
        if position < 0:
            return position, 0, 0
    wire = tag & 7
    if wire == 3 or wire == 4:
        return -GROUP, 0, 0
    if tag < 8 or wire > 5:
        return -TAG, 0, 0
    if wire == 2:
        first, after = read_length(buffer, position, end)
        if after < 0:
            return after, 0, 0
        return tag, first, after
    if wire == 0:
        _, after = read_varint(buffer, position, end)
        if after < 0:
            return after, 0, 0
        return tag, position, after
    after = position + (8 if wire == 1 else 4)
    if after > end:
        return -TRUNCATED, 0, 0
    return tag, position, after


@kernel("bool_(u8[::1], i64, i64)", allocates=False)
def is_utf8(buffer: Bytes, begin: int, end: int) -> bool:
    """Whether these bytes are UTF-8 (no overlong forms, no surrogates), as ``bytes.decode``."""
    p = begin
    while p < end:
        if p + 8 <= end and (load_u64(buffer, p) & _HIGH_BITS) == 0:
            p += 8
            continue
        byte = byte_at(buffer, p)
        if byte < 0x80:
            p += 1
            continue
        if byte < 0xC2 or byte > 0xF4:
            return False
        more = 1 if byte < 0xE0 else (2 if byte < 0xF0 else 3)
        if p + more >= end:
            return False
        second = byte_at(buffer, p + 1)
        low = 0xA0 if byte == 0xE0 else (0x90 if byte == 0xF0 else 0x80)
        high = 0x9F if byte == 0xED else (0x8F if byte == 0xF4 else 0xBF)
        if second < low or second > high:
            return False
        for i in range(2, more + 1):
            if byte_at(buffer, p + i) & 0xC0 != 0x80:
                return False
        p += more + 1
    return True
