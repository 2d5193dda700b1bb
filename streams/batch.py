"""Columnar messages: named columns and a little metadata in one value of a log record.

Layout, little endian: magic ``TMT1``; u32 length of the header; the header (JSON: ``meta`` and, for
each column, its name, dtype, rows and byte length); padding to 8; then each column's bytes, padded
to 8. A column of byte strings is stored as ``rows + 1`` i64 offsets followed by the joined bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from streams.buffers import bytes_to_fill
from streams.errors import UNREADABLE_JSON
from streams.kernels.gather import gather

MAGIC = b"TMT1"
BYTES_DTYPE = "bytes"
_ALIGNMENT = 8
_NUMERIC = {
    code: np.dtype(f"<{code}")
    for code in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8")
}

_SMALL = 1 << 14
"""Bytes that are copied sooner than they are made to be filled."""

Array = npt.NDArray[Any]
_Size = Annotated[int, msgspec.Meta(ge=0)]


class _Header(msgspec.Struct):
    """Meta, and of each column its name, type, rows and bytes."""

    meta: dict[str, Any]
    columns: list[tuple[str, str, _Size, _Size]]


_header = msgspec.json.Decoder(_Header)


class MalformedTable(ValueError):
    """The bytes are not a table: cut short, of another version, or lengths that disagree."""


@dataclass(frozen=True, slots=True)
class BytesColumn:
    """A column of byte strings.

    Attributes:
        offsets: i64[rows + 1], ascending from 0; row i is ``data[offsets[i]:offsets[i + 1]]``.
        data: The rows joined.
    """

    offsets: npt.NDArray[np.int64]
    data: bytes

    @classmethod
    def of(cls, rows: Iterable[bytes]) -> BytesColumn:
        parts = list(rows)
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        return cls(offsets, b"".join(parts))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> bytes:
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.data[int(self.offsets[row]) : int(self.offsets[row + 1])]

    def __iter__(self) -> Iterator[bytes]:
        bounds: list[int] = self.offsets.tolist()
        data = self.data
        return (data[a:b] for a, b in itertools.pairwise(bounds))

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> BytesColumn:
        """The rows at these indexes, in their order."""
        chosen = np.array(rows, np.int64)
        if not len(chosen):
            return BytesColumn(np.zeros(1, np.int64), b"")
        low, high = int(chosen.min()), int(chosen.max()) + 1
        if low < 0 or high > len(self):
            raise IndexError(f"rows {low} to {high - 1} of a column of {len(self)}")
        if high - low == len(chosen) and bool((chosen[1:] > chosen[:-1]).all()):
            return self.slice(low, high)
        offsets = np.array(self.offsets[low : high + 1], np.int64)
        return picked(np.frombuffer(self.data, np.uint8), offsets, chosen - low)

    def slice(self, first: int, end: int) -> BytesColumn:
        """The rows from `first` up to, without, `end`."""
        base, last = int(self.offsets[first]), int(self.offsets[end])
        return BytesColumn(self.offsets[first : end + 1] - base, self.data[base:last])

    @classmethod
    def join(cls, columns: Sequence[BytesColumn]) -> BytesColumn:
        """The rows of all columns, in their order."""
        offsets = [np.zeros(1, np.int64)]
        base = 0
        for column in columns:
            offsets.append(column.offsets[1:] + base)
            base += len(column.data)
        return cls(np.concatenate(offsets), b"".join(column.data for column in columns))


def picked(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> BytesColumn:
    """The strings data[offsets[r] : offsets[r + 1]] of these rows, in their order."""
    ends = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(offsets[rows + 1] - offsets[rows], out=ends[1:])
    size = int(ends[-1])
    if size < _SMALL:
        out = np.empty(size, np.uint8)
        gather(data, offsets, rows, ends, out)
        return BytesColumn(ends, out.tobytes())
    joined, out = bytes_to_fill(size)
    gather(data, offsets, rows, ends, out)
    return BytesColumn(ends, joined)


Column = Array | BytesColumn


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length, by name, and metadata that JSON can carry."""

    columns: Mapping[str, Column]
    meta: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self.columns.values()}
        if len(lengths) > 1:
            named = {name: len(column) for name, column in self.columns.items()}
            raise ValueError(f"columns of one table differ in length: {named}")

    @property
    def rows(self) -> int:
        return next((len(column) for column in self.columns.values()), 0)

    def array(self, name: str) -> Array:
        """A numeric column; TypeError where the column holds byte strings."""
        column = self.columns[name]
        if isinstance(column, BytesColumn):
            raise TypeError(f"column '{name}' holds byte strings, not numbers")
        return column

    def strings(self, name: str) -> BytesColumn:
        """A column of byte strings; TypeError where the column is numeric."""
        column = self.columns[name]
        if not isinstance(column, BytesColumn):
            raise TypeError(f"column '{name}' holds {column.dtype}, not byte strings")
        return column

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Table:
        """The rows at these indexes, in their order, with the same metadata."""
        taken: dict[str, Column] = {}
        for name, column in self.columns.items():
            taken[name] = column.take(rows) if isinstance(column, BytesColumn) else column[rows]
        return Table(taken, self.meta)


def encode_table(table: Table) -> bytes:
    """The table as the bytes of a record's value."""
    described: list[tuple[str, str, int, int]] = []
    body: list[Any] = []
    for name, column in table.columns.items():
        if isinstance(column, BytesColumn):
            offsets = _plain(name, column.offsets)
            size = offsets.nbytes + len(column.data)
            described.append((name, BYTES_DTYPE, len(column), size))
            body += (offsets, column.data)
        else:
            numbers = _plain(name, column)
            size = numbers.nbytes
            described.append((name, numbers.dtype.str[1:], len(column), size))
            body.append(numbers)
        if size % _ALIGNMENT:
            body.append(bytes(-size % _ALIGNMENT))
    header = msgspec.json.encode({"meta": table.meta, "columns": described})
    head = MAGIC + len(header).to_bytes(4, "little") + header
    return b"".join((head, bytes(-len(head) % _ALIGNMENT), *body))


def _plain(name: str, column: Array) -> Array:
    """The numbers as they are stored: one behind the other, little endian."""
    dtype = column.dtype
    if dtype.str[1:] not in _NUMERIC or column.ndim != 1:
        raise TypeError(f"column '{name}' is {dtype}[{column.ndim}d]; want 1-d numbers")
    if dtype.str[0] == ">":
        column = column.astype(dtype.newbyteorder("<"))
    return np.ascontiguousarray(column)


def decode_table(raw: bytes) -> Table:
    """The table of a record's value; numeric columns are read-only views of ``raw``.

    Raises:
        MalformedTable: The bytes are no table of this version.
    """
    if len(raw) < 8 or raw[:4] != MAGIC:
        raise MalformedTable(f"no table: it starts with {raw[:4]!r}, not {MAGIC!r}")
    length = int.from_bytes(raw[4:8], "little")
    if 8 + length > len(raw):
        raise MalformedTable(f"a header of {length} bytes in {len(raw)}: it was cut short")
    try:
        header = _header.decode(raw[8 : 8 + length])
    except UNREADABLE_JSON as error:
        raise MalformedTable(f"the header of a table does not parse: {error}") from error
    at = 8 + length + (-(8 + length) % _ALIGNMENT)
    columns: dict[str, Column] = {}
    for name, dtype, rows, size in header.columns:
        if at + size > len(raw):
            raise MalformedTable(f"column '{name}' ends past the record: it was cut short")
        if name in columns:
            raise MalformedTable(f"column '{name}' is there twice")
        columns[name] = _column_of(raw, at, name, dtype, rows, size)
        at += size + (-size % _ALIGNMENT)
    try:
        return Table(columns, header.meta)
    except ValueError as error:
        raise MalformedTable(str(error)) from error


def _column_of(raw: bytes, at: int, name: str, dtype: str, rows: int, size: int) -> Column:
    if dtype == BYTES_DTYPE:
        head = (rows + 1) * 8
        if size < head:
            raise MalformedTable(f"column '{name}' is shorter than its {rows} offsets")
        offsets = np.frombuffer(raw, _NUMERIC["i8"], rows + 1, at)
        if (
            offsets[0] != 0
            or offsets[-1] != size - head
            or bool((offsets[1:] < offsets[:-1]).any())
        ):
            raise MalformedTable(f"column '{name}' has offsets that do not fit its bytes")
        return BytesColumn(offsets, raw[at + head : at + size])
    kind = _NUMERIC.get(dtype)
    if kind is None or rows * kind.itemsize != size:
        raise MalformedTable(f"column '{name}' of type '{dtype}' does not have {rows} rows")
    return np.frombuffer(raw, kind, rows, at)
