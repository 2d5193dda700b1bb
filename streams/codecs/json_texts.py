"""Columns as JSON texts, a cell a row, and rows made of them; by kernels, beside the interpreter.

Doubles are written by msgspec (the shortest text that reads back as the same bits), some thousands
at a time: it holds the interpreter's lock meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from streams.batch import BytesColumn
from streams.buffers import bytes_to_fill
from streams.kernels.texts import (
    LONGEST_INTEGER,
    measure_strings,
    put_cells,
    split_list,
    write_base64,
    write_integers,
    write_strings,
)
from streams.values import Values, check_utf8

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

_SLICE = 4096  # doubles
_WORDS = BytesColumn.of([b"null", b"true", b"false"])


class Cells(NamedTuple):
    """Cell i is texts[ends[i] : ends[i + 1] - between]; texts u8[m], ends i64[n + 1]."""

    texts: U8
    ends: I64
    between: int = 0

    def to_column(self) -> BytesColumn:
        """The cells, if nothing is between them."""
        assert not self.between
        return BytesColumn(self.ends, self.texts[: int(self.ends[-1])].tobytes())


def cells_of(values: Values) -> Cells:
    """The JSON text of each row; `null` where there is no value, or a double is no number.

    Raises:
        UnicodeDecodeError: A string is no UTF-8.
    """
    kind, n = values.type.kind, len(values)
    valid = np.ones(n, np.uint8) if values.valid is None else values.valid.astype(np.uint8)
    ends = np.empty(n + 1, np.int64)
    if kind == "f64":
        return _doubles(values)
    if kind == "bool":
        words = _WORDS.take(np.where(values.is_valid(), np.where(values.numbers, 1, 2), 0))
        return Cells(np.frombuffer(words.data, np.uint8), words.offsets)
    if not values.type.is_text:
        texts = np.empty(LONGEST_INTEGER * n, np.uint8)  # what is not touched takes nothing
        write_integers(np.ascontiguousarray(values.numbers, np.int64), valid, texts, ends)
        return Cells(texts, ends)
    strings = values.texts
    data, offsets = np.frombuffer(strings.data, np.uint8), np.array(strings.offsets, np.int64)
    if kind == "string":
        check_utf8(strings)
        measure_strings(data, offsets, valid, ends)
        texts = np.empty(int(ends[-1]), np.uint8)
        write_strings(data, offsets, valid, texts, ends)
    else:
        sizes = np.where(valid == 0, 4, 2 + (np.diff(offsets) + 2) // 3 * 4)
        ends[0] = 0
        np.cumsum(sizes, out=ends[1:])
        texts = np.empty(int(ends[-1]), np.uint8)
        write_base64(data, offsets, valid, texts, ends)
    return Cells(texts, ends)


def _doubles(values: Values) -> Cells:
    encoder = msgspec.json.Encoder()
    listed: list[bytes] = []
    for first in range(0, len(values), _SLICE):
        rows: list[Any] = values.numbers[first : first + _SLICE].tolist()
        if values.valid is not None:
            there = values.valid[first : first + _SLICE].tolist()
            rows = [value if ok else None for value, ok in zip(rows, there, strict=True)]
        listed.append(encoder.encode(rows)[1:-1])
    texts = np.frombuffer(b",".join(listed), np.uint8)
    ends = np.zeros(len(values) + 1, np.int64)
    if len(values):
        count = split_list(texts, ends)
        assert count == len(values), (count, len(values))
    return Cells(texts, ends, between=1)


def framed(cells: Mapping[str, Cells] | Sequence[Cells], n: int) -> BytesColumn:
    """n rows as JSON objects of named cells, or as JSON arrays."""
    if isinstance(cells, Mapping):
        before = [msgspec.json.encode(name) + b":" for name in cells]
        parts, opened, closed = list(cells.values()), b"{", b"}"
    else:
        before, parts, opened, closed = [b""] * len(cells), list(cells), b"[", b"]"
    before = [(b"," if place else opened) + said for place, said in enumerate(before)]
    if not parts:
        return BytesColumn(np.arange(n + 1) * 2, (opened + closed) * n)
    return put_rows(before, parts, closed, n)


def put_rows(before: Sequence[bytes], parts: Sequence[Cells], closed: bytes, n: int) -> BytesColumn:
    """n rows: before each part's cell what stands before it, and behind the last `closed`."""
    sizes = np.full(n, sum(map(len, before)) + len(closed), np.int64)
    for part in parts:
        sizes += np.diff(part.ends) - part.between
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    content, out = bytes_to_fill(int(offsets[-1]))
    at = offsets[:-1].copy()
    for said, part in zip(before, parts, strict=True):
        put_cells(out, at, np.frombuffer(said, np.uint8), part.texts, part.ends, part.between)
    for place, byte in enumerate(closed):
        out[at + place] = byte
    return BytesColumn(offsets, content)
