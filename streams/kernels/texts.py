"""Columns as text, a cell a row: integers, JSON strings, base64, and cells put behind one another.

Cells of a column are bytes with offsets i64[n + 1]. Where there is no value (valid u8[n] is 0) the
cell is `null`.
"""

from __future__ import annotations

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, copy_bytes, u64
from streams.kernels.types import Column, Word

LONGEST_INTEGER = 20
QUOTE, BACKSLASH, COMMA = 0x22, 0x5C, 0x2C
_SHORT = np.frombuffer(
    b"btn_fr", np.uint8
)  # what follows the backslash for the bytes 8 to 13; 11 has no short form
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_BASE64 = np.frombuffer(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8
)


@kernel("i64(u8[::1], i64)", forceinline=True, allocates=False)
def _null(out: Column, at: Word) -> Word:
    out[at] = 0x6E
    out[at + 1] = 0x75
    out[at + 2] = 0x6C
    out[at + 3] = 0x6C
    return at + 4


@kernel("void(i64[::1], u8[::1], u8[::1], i64[::1])", allocates=False)
def write_integers(values: Column, valid: Column, out: Column, ends: Column) -> None:
    """Integers i64[n] in decimals; out u8[20 n], ends i64[n + 1] is written."""
    at = 0
    ends[0] = 0
    for i in range(values.shape[0]):
        if valid[i] == 0:
            at = _null(out, at)
        else:
            rest = u64(values[i])
            if values[i] < 0:
                out[at] = 0x2D
                at += 1
                rest = u64(0) - rest
            size = 1
            left = rest
            while left >= u64(10):
                left = left // u64(10)
                size += 1
            for k in range(size - 1, -1, -1):
                next_rest = rest // u64(10)
                out[at + k] = 0x30 + (rest - next_rest * u64(10))
                rest = next_rest
            at += size
        ends[i + 1] = at


@kernel("void(text, i64[::1], u8[::1], i64[::1])", allocates=False)
def measure_strings(data: Column, offsets: Column, valid: Column, ends: Column) -> None:
    """Where each string's JSON text ends, for `write_strings`."""
    at = 0
    ends[0] = 0
    for i in range(valid.shape[0]):
        if valid[i] == 0:
            at += 4
        else:
            at += 2 + offsets[i + 1] - offsets[i]
            for k in range(offsets[i], offsets[i + 1]):
                byte = byte_at(data, k)
                if byte < 0x20:
                    at += 1 if 8 <= byte <= 13 and byte != 11 else 5
                elif byte in (QUOTE, BACKSLASH):
                    at += 1
        ends[i + 1] = at


@kernel("void(text, i64[::1], u8[::1], u8[::1], i64[::1])", allocates=False)
def write_strings(data: Column, offsets: Column, valid: Column, out: Column, ends: Column) -> None:
    """Byte strings (UTF-8) as JSON strings; ends as `measure_strings` wrote it, out that long."""
    for i in range(valid.shape[0]):
        at = ends[i]
        if valid[i] == 0:
            _null(out, at)
            continue
        out[at] = QUOTE
        at += 1
        for k in range(offsets[i], offsets[i + 1]):
            byte = byte_at(data, k)
            if byte < 0x20:
                out[at] = BACKSLASH
                if 8 <= byte <= 13 and byte != 11:
                    out[at + 1] = _SHORT[byte - 8]
                    at += 2
                else:
                    out[at + 1] = 0x75
                    out[at + 2] = 0x30
                    out[at + 3] = 0x30
                    out[at + 4] = _HEX[byte >> 4]
                    out[at + 5] = _HEX[byte & 15]
                    at += 6
            else:
                if byte in (QUOTE, BACKSLASH):
                    out[at] = BACKSLASH
                    at += 1
                out[at] = byte
                at += 1
        out[at] = QUOTE


@kernel("void(text, i64[::1], u8[::1], u8[::1], i64[::1])", allocates=False)
def write_base64(data: Column, offsets: Column, valid: Column, out: Column, ends: Column) -> None:
    """Byte strings in base64 (RFC 4648, 4), quoted; ends i64[n + 1]: 2 and 4 for each 3 bytes."""
    for i in range(valid.shape[0]):
        at = ends[i]
        if valid[i] == 0:
            _null(out, at)
            continue
        out[at] = QUOTE
        at += 1
        for k in range(offsets[i], offsets[i + 1], 3):
            left = offsets[i + 1] - k
            word = byte_at(data, k) << 16
            if left > 1:
                word |= byte_at(data, k + 1) << 8
            if left > 2:
                word |= byte_at(data, k + 2)
            out[at] = _BASE64[word >> 18]
            out[at + 1] = _BASE64[(word >> 12) & 63]
            out[at + 2] = _BASE64[(word >> 6) & 63] if left > 1 else 0x3D
            out[at + 3] = _BASE64[word & 63] if left > 2 else 0x3D
            at += 4
        out[at] = QUOTE


@kernel("i64(text, i64[::1])", allocates=False)
def split_list(listed: Column, ends: Column) -> Word:
    """Where the elements of a JSON list without brackets end, none of which holds a comma.

    ends i64[n + 1] becomes where each begins, and 1 behind the last's end. Returns how many there
    are; those past n are not noted.
    """
    count = 0
    ends[0] = 0
    for k in range(listed.shape[0] + 1):
        if k == listed.shape[0] or byte_at(listed, k) == COMMA:
            count += 1
            if count < ends.shape[0]:
                ends[count] = k + 1
    return count


@kernel("void(u8[::1], i64[::1], text, text, i64[::1], i64)", allocates=False)
def put_cells(
    out: Column, at: Column, before: Column, cells: Column, ends: Column, less: Word
) -> None:
    """Write `before` and cell i to out at at[i], which moves behind them; i64[n].

    Cell i is cells[ends[i] : ends[i + 1] - less].
    """
    first = before.shape[0]
    for i in range(at.shape[0]):
        to = at[i]
        copy_bytes(out, to, before, 0, first)
        size = ends[i + 1] - less - ends[i]
        copy_bytes(out, to + first, cells, ends[i], size)
        at[i] = to + first + size
