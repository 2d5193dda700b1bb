"""Columns whose rows may have no value, and rows made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.batch import Array, BytesColumn, Column, MalformedTable, Table
from streams.schema import Kind, Schema, Type

Bools = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]

_DTYPES: dict[Kind, Any] = {"i64": np.int64, "f64": np.float64, "bool": np.bool_, "time": np.int64}
_VALID = "?"


@dataclass(frozen=True, slots=True)
class Values:
    """A column.

    Attributes:
        type: What it holds.
        data: i64, f64 or bool[n], or n byte strings; 0, False or empty where there is no value.
        valid: bool[n], whether a row has a value; None: all have.
    """

    type: Type
    data: Column
    valid: Bools | None = None

    def __len__(self) -> int:
        return len(self.data)

    @property
    def numbers(self) -> Array:
        """The data of a column that holds no byte strings."""
        assert not isinstance(self.data, BytesColumn)
        return self.data

    @property
    def texts(self) -> BytesColumn:
        """The data of a column that holds byte strings."""
        assert isinstance(self.data, BytesColumn)
        return self.data

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Values:
        """The rows at these indexes, in their order."""
        data = self.data.take(rows) if isinstance(self.data, BytesColumn) else self.data[rows]
        return Values(self.type, data, None if self.valid is None else self.valid[rows])

    def is_valid(self) -> Bools:
        """bool[n]: whether a row has a value."""
        return np.ones(len(self), np.bool_) if self.valid is None else self.valid

    def to_list(self) -> list[Any]:
        """The rows as Python values; None where there is none."""
        if self.type.kind == "string":
            found: list[Any] = [row.decode() for row in self.texts]
        elif isinstance(self.data, BytesColumn):
            found = list(self.data)
        else:
            found = self.data.tolist()
        if self.valid is None:
            return found
        return [v if ok else None for v, ok in zip(found, self.valid.tolist(), strict=True)]


def masked(kind: Type, data: Column, valid: Bools | None) -> Values:
    """A column in which rows without a value hold nothing; all valid, and it needs no mask."""
    if valid is None or bool(valid.all()):
        return Values(kind, data)
    if isinstance(data, BytesColumn):
        kept = data.take(np.flatnonzero(valid))
        lengths = np.zeros(len(data), np.int64)
        lengths[valid] = np.diff(kept.offsets)
        data = BytesColumn(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), kept.data)
    else:
        data = np.where(valid, data, np.zeros(1, data.dtype))
    return Values(kind, data, valid)


def values_of(kind: Type, rows: Iterable[Any]) -> Values:
    """A column of Python values; None where there is none.

    Raises:
        TypeError, ValueError, OverflowError: A value is not of the type.
    """
    given = list(rows)
    if not kind.nullable and None not in given:
        if kind.kind == "string":
            return Values(kind, _texts(given))
        if not kind.is_text:
            return Values(kind, np.array(given, dtype=_DTYPES[kind.kind]))
    present = [row is not None for row in given]
    valid = None if all(present) else np.array(present, np.bool_)
    if kind.is_text:
        nothing = "" if kind.kind == "string" else b""
        return Values(kind, _texts([nothing if v is None else v for v in given]), valid)
    zero = False if kind.kind == "bool" else 0
    data = np.array([zero if v is None else v for v in given], dtype=_DTYPES[kind.kind])
    return Values(kind, data, valid)


def _texts(rows: list[Any]) -> BytesColumn:
    """Strings as UTF-8, or bytes. ASCII, a byte a character, is encoded all at once."""
    try:
        whole = "".join(rows)
    except TypeError:  # bytes are among them
        return BytesColumn.of([row.encode() if isinstance(row, str) else row for row in rows])
    if not whole.isascii():
        return BytesColumn.of([row.encode() for row in rows])
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, rows), np.int64, len(rows)), out=offsets[1:])
    return BytesColumn(offsets, whole.encode())


def constant(kind: Type, value: Any, n: int) -> Values:
    """n rows of one value; None: of no value."""
    valid = np.zeros(n, np.bool_) if value is None and n else None
    if kind.is_text:
        part = b"" if value is None else value.encode() if isinstance(value, str) else value
        return Values(kind, BytesColumn(np.arange(n + 1) * len(part), part * n), valid)
    return Values(kind, np.full(n, 0 if value is None else value, _DTYPES[kind.kind]), valid)


def empty(kind: Type) -> Values:
    """No rows."""
    return constant(kind, None, 0)


def joined(parts: Sequence[Values], kind: Type) -> Values:
    """The rows of all columns, in their order; their kind is that of `kind`."""
    if len(parts) == 1:
        return Values(kind, parts[0].data, parts[0].valid)
    if not parts:
        return empty(kind)
    if kind.is_text:
        data: Column = BytesColumn.join([part.texts for part in parts])
    else:
        data = np.concatenate([part.numbers for part in parts])
    if all(part.valid is None for part in parts):
        return Values(kind, data)
    return Values(kind, data, np.concatenate([part.is_valid() for part in parts]))


def concatenated(
    parts: Sequence[Mapping[str, Values]], schema: Mapping[str, Type]
) -> dict[str, Values]:
    """The rows of all, column by column."""
    return {n: joined([part[n] for part in parts], kind) for n, kind in schema.items()}


def to_table(columns: Mapping[str, Values], meta: dict[str, Any] | None = None) -> Table:
    """The columns as a table; a column without all its values has its mask beside it."""
    made: dict[str, Column] = {}
    for name, values in columns.items():
        data = values.data
        if values.type.kind == "bool":
            data = values.numbers.astype(np.uint8)
        made[name] = data
        if values.valid is not None:
            made[_VALID + name] = values.valid.astype(np.uint8)
    return Table(made, meta or {})


def from_table(table: Table, schema: Schema) -> dict[str, Values]:
    """The columns of the schema.

    Raises:
        MalformedTable: One is missing, is of another type, or has rows without the value that the
            schema asks for.
    """
    found: dict[str, Values] = {}
    for name, kind in schema.items():
        if name not in table.columns:
            raise MalformedTable(f"column '{name}' is missing")
        data = table.columns[name]
        if isinstance(data, BytesColumn) != kind.is_text:
            raise MalformedTable(f"column '{name}' does not hold {kind}")
        if not isinstance(data, BytesColumn):
            wanted = np.dtype(np.uint8 if kind.kind == "bool" else _DTYPES[kind.kind])
            if data.dtype != wanted:
                raise MalformedTable(f"column '{name}' is {data.dtype}, not {kind}")
            data = data.astype(_DTYPES[kind.kind])  # kernels take no read-only array
        else:
            if kind.kind == "string" and not _is_utf8(data):
                raise MalformedTable(f"column '{name}' holds bytes that are no text")
            data = BytesColumn(np.array(data.offsets, np.int64), data.data)
        mask = table.columns.get(_VALID + name)
        if isinstance(mask, BytesColumn):
            raise MalformedTable(f"which rows of column '{name}' have a value is no number")
        valid = None if mask is None else mask.astype(np.bool_)
        if valid is not None and not kind.nullable:
            raise MalformedTable(f"column '{name}' has rows without a value")
        found[name] = masked(kind, data, valid)
    return found


def check_utf8(column: BytesColumn) -> None:
    """Each row is UTF-8: all together are, and none begins within a character.

    Raises:
        UnicodeDecodeError: One is not.
    """
    if column.data.isascii():
        return
    column.data.decode()
    starts = column.offsets[column.offsets < len(column.data)]
    inside = np.frombuffer(column.data, np.uint8)[starts] & 0xC0 == 0x80
    if bool(inside.any()):
        at = int(starts[inside][0])
        raise UnicodeDecodeError("utf-8", column.data, at, at + 1, "a row begins within one")


def _is_utf8(column: BytesColumn) -> bool:
    try:
        check_utf8(column)
    except UnicodeDecodeError:
        return False
    return True
