"""Keys of rows: packed into byte strings, numbered, and unpacked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from streams.batch import Array, BytesColumn
from streams.kernels.gather import gather
from streams.kernels.intern import (
    HEAD,
    find_keys,
    hash_keys,
    intern,
    pack_strings,
    pack_words,
    rehash,
    unpack_words,
)
from streams.schema import Type
from streams.values import Values, masked

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

_FIRST = 64


class PackedKeys:
    """n keys: data u8[m], offsets i64[n + 1]."""

    __slots__ = ("data", "offsets")

    def __init__(self, data: U8, offsets: I64) -> None:
        self.data = data
        self.offsets = offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: I64) -> PackedKeys:
        """The keys at these places, in their order."""
        return picked_keys(self.data, self.offsets, rows)

    def hashes(self) -> U64:
        """u64[n]: the same for equal keys, on every machine."""
        out = np.empty(len(self), np.uint64)
        hash_keys(self.data, self.offsets, out)
        return out


def picked_keys(data: U8, offsets: I64, rows: I64) -> PackedKeys:
    """The keys data[offsets[r] : offsets[r + 1]] of these rows, in their order."""
    ends = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(offsets[rows + 1] - offsets[rows], out=ends[1:])
    out = np.empty(int(ends[-1]), np.uint8)
    gather(data, offsets, np.ascontiguousarray(rows), ends, out)
    return PackedKeys(out, ends)


def pack(columns: Sequence[Values], n: int) -> PackedKeys:
    """The n keys that the rows of these columns are; no value is a value of its own."""
    sizes = np.full(n, HEAD * len(columns), np.int64)
    for column in columns:
        if column.type.is_text:
            sizes += np.diff(column.texts.offsets)
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    data = np.empty(int(offsets[-1]), np.uint8)
    at = offsets[:-1].copy()
    for column in columns:
        valid = column.is_valid().astype(np.uint8)
        if column.type.is_text:
            strings = column.texts
            starts = np.ascontiguousarray(strings.offsets, np.int64).copy()
            pack_words(data, at, valid, np.diff(starts))
            pack_strings(data, at, np.frombuffer(strings.data, np.uint8).copy(), starts)
        else:
            pack_words(data, at, valid, column.numbers.astype(np.int64))
    return PackedKeys(data, offsets)


def unpack(data: U8, starts: I64, schema: Mapping[str, Type]) -> dict[str, Values]:
    """The columns of the keys that begin at data[starts[i]]."""
    at = np.array(starts, np.int64)
    n = len(at)
    found: dict[str, Values] = {}
    for name, kind in schema.items():
        valid, words = np.empty(n, np.uint8), np.empty(n, np.int64)
        unpack_words(data, at, valid, words)
        there = valid.astype(np.bool_)
        if kind.is_text:
            ends = np.zeros(n + 1, np.int64)
            np.cumsum(words, out=ends[1:])
            out = np.empty(int(ends[-1]), np.uint8)
            gather(data, np.append(at, 0), np.arange(n), ends, out)
            at += words
            found[name] = masked(kind, BytesColumn(ends, out.tobytes()), there)
        else:
            numbers = words.astype(np.bool_) if kind.kind == "bool" else words
            found[name] = masked(kind, numbers, there)
    return found


class KeyIndex:
    """Numbers keys 0, 1, 2, ... in the order in which they are first seen."""

    def __init__(self) -> None:
        self._table = np.zeros(4 * _FIRST, np.int64)
        self._hashes = np.zeros(_FIRST, np.uint64)
        self._arena = np.zeros(32 * _FIRST, np.uint8)
        self._ends = np.zeros(_FIRST + 1, np.int64)
        self._count = np.zeros(1, np.int64)

    def __len__(self) -> int:
        return int(self._count[0])

    def slots(self, keys: PackedKeys) -> I64:
        """i64[n]: the number of each key; new keys get the next ones."""
        found = np.empty(len(keys), np.int64)
        done = 0
        while True:
            done = intern(
                done, keys.data, keys.offsets, self._table, self._hashes, self._arena, self._ends,
                self._count, found,
            )  # fmt: skip
            if done == len(found):
                return found
            self._grow(int(keys.offsets[done + 1] - keys.offsets[done]))

    def find(self, keys: PackedKeys) -> I64:
        """i64[n]: the number of each key; -1 for those never seen."""
        found = np.empty(len(keys), np.int64)
        find_keys(
            keys.data, keys.offsets, self._table, self._hashes, self._arena, self._ends, found
        )
        return found

    def hashes(self) -> U64:
        """u64[n]: the hashes of the keys, by their numbers."""
        return self._hashes[: len(self)]

    def packed(self, first: int, end: int) -> PackedKeys:
        """The keys numbered first..end-1."""
        offsets = self._ends[first : end + 1]
        base = int(offsets[0])
        return PackedKeys(self._arena[base : int(offsets[-1])].copy(), offsets - base)

    def picked(self, slots: I64) -> PackedKeys:
        """The keys of these numbers, in their order."""
        return picked_keys(self._arena, self._ends, slots)

    def columns(self, slots: I64, schema: Mapping[str, Type]) -> dict[str, Values]:
        """The columns of the keys of these numbers."""
        return unpack(self._arena, self._ends[slots], schema)

    def _grow(self, size: int) -> None:
        """Room for another key of this size, and for as many again as there are."""
        count = len(self)
        if count >= len(self._hashes):
            self._hashes = _longer(self._hashes, 2 * count)
            self._ends = _longer(self._ends, 2 * count + 1)
        if 2 * count >= len(self._table) - 1:
            self._table = np.zeros(4 * len(self._table), np.int64)
            rehash(self._table, self._hashes, count)
        if int(self._ends[count]) + size > len(self._arena):
            self._arena = _longer(self._arena, 2 * len(self._arena) + size)


def _longer(array: Array, length: int) -> Array:
    out = np.zeros(length, array.dtype)
    out[: len(array)] = array
    return out
