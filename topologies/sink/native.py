"""ClickHouse's Native format, written from columns: no row is ever a Python object.

A block is: columns, rows, then each column's name, type and data. Numbers are their little-endian
bytes, so a float keeps every bit. Strings carry a length in LEB128. A LowCardinality column is a
dictionary and an index for each row.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_SHARED_DICTIONARIES = struct.pack("<Q", 1)
_ADDITIONAL_KEYS = 1 << 9
_INDEX_TYPE = {1: 0, 2: 1, 4: 2}


def varint(number: int) -> bytes:
    """LEB128, unsigned."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def text(raw: bytes) -> bytes:
    """A string with its length."""
    return varint(len(raw)) + raw


def numbers(column: Array, dtype: str) -> bytes:
    """A column of numbers of a NumPy type such as ``<f8``; the value's bits stay as they are."""
    return np.ascontiguousarray(column, dtype).tobytes()


def low_cardinality(dictionary: Sequence[bytes], index: Array) -> bytes:
    """A LowCardinality(String) column.

    Args:
        dictionary: Values, each once.
        index: u1, u2 or u4 [rows]: which value a row has.
    """
    return _SHARED_DICTIONARIES + _dictionary_column(dictionary, index)


def string_map(
    sizes: Array, keys: Sequence[bytes], key_index: Array, values: Iterable[bytes]
) -> bytes:
    """A Map(LowCardinality(String), String) column.

    Args:
        sizes: i8 [rows]: how many pairs a row has.
        keys: The names that occur, each once.
        key_index: u2 [pairs]: the name of each pair.
        values: The pairs' values, each already written by ``text``; may come joined.
    """
    ends = np.cumsum(sizes, dtype="<u8").tobytes()
    names = _dictionary_column(keys, key_index) if len(key_index) else b""
    return b"".join((_SHARED_DICTIONARIES, ends, names, *values))


def _dictionary_column(dictionary: Sequence[bytes], index: Array) -> bytes:
    if not len(index):
        return b""
    flags = _ADDITIONAL_KEYS | _INDEX_TYPE[index.dtype.itemsize]
    head = struct.pack("<QQ", flags, len(dictionary))
    body = index.astype(index.dtype.newbyteorder("<"), copy=False).tobytes()
    return b"".join((head, *map(text, dictionary), struct.pack("<Q", len(index)), body))


def block(rows: int, columns: Sequence[tuple[str, str, bytes]]) -> bytes:
    """A block of columns given as name, type and data. Blocks may follow one another."""
    parts = [varint(len(columns)), varint(rows)]
    for name, kind, data in columns:
        parts += (text(name.encode()), text(kind.encode()), data)
    return b"".join(parts)
