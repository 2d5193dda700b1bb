"""Labels as they travel, compact JSON objects of strings, taken apart without Python objects."""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, copy_bytes, i64, u64

Array = Any

OPEN, CLOSE, COLON, COMMA = 123, 125, 58, 44
_QUOTE, _BACKSLASH = 34, 92

# Why `split_labels` stopped, and the places in its `progress`.
DONE, UNKNOWN_KEY, UNKNOWN_TENANT, MALFORMED = range(4)
ROW, WHY, BEGIN, END, PAIRS, SIZE = range(6)
PROGRESS = 6


@kernel("i64(u8[::1], i64, i64)", forceinline=True, allocates=False)
def put_varint(out: Array, at: int, value: int) -> int:
    while value > 127:
        out[at] = np.uint8(value & 127 | 128)
        value >>= 7
        at += 1
    out[at] = np.uint8(value)
    return at + 1


@kernel("i64(i64)", forceinline=True, allocates=False)
def varint_size(value: int) -> int:
    size = 1
    while value > 127:
        value >>= 7
        size += 1
    return size


@kernel("i64(i64)", forceinline=True, allocates=False)
def hex_digit(byte: int) -> int:
    if 48 <= byte <= 57:
        return byte - 48
    if 97 <= byte <= 102:
        return byte - 87
    if 65 <= byte <= 70:
        return byte - 55
    return -1


@kernel("i64(text, i64, i64)", allocates=False)
def escaped(data: Array, p: int, end: int) -> int:
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
        high = hex_digit(byte_at(data, p + 3))
        low = hex_digit(byte_at(data, p + 4))
        if 0 <= high < 8 and low >= 0:
            return high * 16 + low
    return -1


@kernel("UniTuple(i64, 2)(text, i64, i64)", forceinline=True, allocates=False)
def string_at(data: Array, p: int, end: int) -> tuple[int, int]:
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
            if p + 1 >= end or escaped(data, p + 1, end) < 0:
                return i64(-1), p
            p += 5 if byte_at(data, p + 1) == 117 else 1
        p += 1
        size += 1
    return i64(-1), p


@kernel("i64(text, i64, i64, u8[::1], i64, i64)", forceinline=True, allocates=False)
def put_string(data: Array, p: int, after: int, out: Array, at: int, size: int) -> int:
    """Copy the text of a string that `string_at` measured; returns the position behind it."""
    if after - p - 2 == size:
        copy_bytes(out, at, data, p + 1, size)
        return at + size
    p += 1
    for k in range(size):
        byte = byte_at(data, p)
        if byte == _BACKSLASH:
            byte = escaped(data, p + 1, after)
            p += 5 if byte_at(data, p + 1) == 117 else 1
        p += 1
        out[at + k] = np.uint8(byte)
    return at + size


# Texts as they stand in JSON: packed u8, ends i64[k + 1], the number of each i64[k], and where to
# find them: i32[2**m], open addressing by `text_hash`, the index of the text plus one.
TEXTS = "Tuple((u8[::1], i64[::1], i64[::1], i32[::1]))"
Texts = tuple[Array, Array, Array, Array]


@kernel("i64(text, i64, i64)", forceinline=True, allocates=False)
def text_hash(data: Array, begin: int, end: int) -> int:
    """FNV-1a over data[begin:end], folded to 31 bits."""
    found = u64(0xCBF29CE484222325)
    for p in range(begin, end):
        found = (found ^ u64(byte_at(data, p))) * u64(0x100000001B3)
    return i64((found ^ (found >> u64(32))) & u64(0x7FFFFFFF))


@kernel(f"bool_({TEXTS}, i64, text, i64, i64)", forceinline=True, allocates=False)
def _equals(texts: Texts, at: int, data: Array, begin: int, end: int) -> bool:
    """Whether a text is data[begin:end]."""
    first = texts[1][at]
    size = end - begin
    if texts[1][at + 1] - first != size:
        return False
    k = 0
    while k < size and byte_at(texts[0], first + k) == byte_at(data, begin + k):
        k += 1
    return k == size


@kernel(f"i64({TEXTS}, i64, text, i64, i64)", forceinline=True, allocates=False)
def _find(texts: Texts, guess: int, data: Array, begin: int, end: int) -> int:
    """Which text data[begin:end] is; -1: none. guess: which it probably is."""
    if guess < texts[2].shape[0] and _equals(texts, guess, data, begin, end):
        return guess
    mask = texts[3].shape[0] - 1
    place = text_hash(data, begin, end) & mask
    while texts[3][place] != 0:
        at = i64(texts[3][place]) - 1
        if _equals(texts, at, data, begin, end):
            return at
        place = (place + 1) & mask
    return -1


@kernel("void(u8[::1], i64[::1], i32[::1])", allocates=False)
def index_texts(data: Array, ends: Array, table: Array) -> None:
    """Fill the last of TEXTS: table i32[2**m], all 0, larger than the number of texts."""
    mask = table.shape[0] - 1
    for at in range(ends.shape[0] - 1):
        place = text_hash(data, ends[at], ends[at + 1]) & mask
        while table[place] != 0:
            place = (place + 1) & mask
        table[place] = at + 1


@kernel(
    f"void(text, i64[::1], {TEXTS}, {TEXTS}, i64, i64[::1], u16[::1], u32[::1], u8[::1],"
    " i64[::1], i64[::1])",
    allocates=False,
)
def split_labels(
    data: Array,
    offsets: Array,
    keys: Texts,
    tenants: Texts,
    tenant_key: int,
    sizes: Array,
    key_index: Array,
    tenant_index: Array,
    values: Array,
    guesses: Array,
    progress: Array,
) -> None:
    """Labels data[offsets[r] : offsets[r + 1]] of n rows as the parts of a map column.

    keys and tenants are the texts known; tenant_key is the number of the key whose value is the
    row's tenant. Written: sizes i64[n], pairs a row; key_index u16[pairs], the number of each
    pair's key; values u8, each pair's value behind its length as a varint; tenant_index u32[n],
    0 where a row has none. guesses i64[64] is scratch. Goes on from progress i64[PROGRESS] (all 0
    at first), and says there why it stops: DONE, or at a row with an UNKNOWN_KEY or UNKNOWN_TENANT
    in data[BEGIN:END] (add it and call again), or MALFORMED.
    """
    for row in range(progress[ROW], sizes.shape[0]):
        progress[ROW] = row
        p, end = offsets[row], offsets[row + 1]
        pairs, size = progress[PAIRS], progress[SIZE]
        tenant_index[row] = 0
        progress[WHY] = MALFORMED
        if end - p < 2 or byte_at(data, p) != OPEN or byte_at(data, end - 1) != CLOSE:
            return
        p += 1
        end -= 1
        count = i64(0)
        while p < end:
            key = p + 1
            length, p = string_at(data, p, end)
            if length < 0 or p >= end or byte_at(data, p) != COLON:
                return
            guess = guesses[min(count, 62)]
            found = _find(keys, guess, data, key, p - 1)
            if found < 0:
                progress[WHY], progress[BEGIN], progress[END] = UNKNOWN_KEY, key, p - 1
                return
            guesses[min(count, 62)] = found
            begin = p + 1
            length, p = string_at(data, begin, end)
            if length < 0:
                return
            if keys[2][found] == tenant_key:
                which = _find(tenants, guesses[63], data, begin + 1, p - 1)
                if which < 0:
                    progress[WHY], progress[BEGIN], progress[END] = UNKNOWN_TENANT, begin + 1, p - 1
                    return
                guesses[63] = which
                tenant_index[row] = np.uint32(tenants[2][which])
            key_index[pairs] = np.uint16(keys[2][found])
            size = put_varint(values, size, length)
            size = put_string(data, begin, p, values, size, length)
            pairs += 1
            count += 1
            if p < end:
                if byte_at(data, p) != COMMA or p + 1 == end:
                    return
                p += 1
        sizes[row] = count
        progress[PAIRS], progress[SIZE] = pairs, size
    progress[ROW] = sizes.shape[0]
    progress[WHY] = DONE
