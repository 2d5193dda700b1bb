"""Byte strings numbered in order of first appearance, kept packed.

The number of a string is found by its 128-bit hash, in an open addressing table of i32 that holds
numbers plus one; the hashes and the bytes lie in arrays by number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.batch import picked
from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, i64, u64

Hashes = NDArray[Any]
Table = NDArray[Any]
Ends = NDArray[Any]
Bytes = NDArray[np.uint8]
Arrays = tuple[Table, Hashes, Ends, Table, Bytes]

# The type of an Interner's arrays, as kernels take them: table, hashes, ends, owners, data.
ARRAYS = "Tuple((i32[::1], u64[:, ::1], i64[::1], i32[::1], u8[::1]))"


@kernel("i64(i32[::1], u64[:, ::1], u64, u64)", allocates=False)
def find(table: Table, hashes: Hashes, a: np.uint64, b: np.uint64) -> int:
    """The number of the string with this hash; if there is none, the negated free place less 1."""
    mask = table.shape[0] - 1
    place = i64(b) & mask
    while table[place] != 0:
        number = i64(table[place]) - 1
        if hashes[number, 0] == a and hashes[number, 1] == b:
            return number
        place = (place + 1) & mask
    return -place - 1


@kernel("void(i32[::1], u64[:, ::1], u64[:, ::1], i64[::1])", allocates=False)
def find_all(table: Table, hashes: Hashes, wanted: Hashes, out: NDArray[np.int64]) -> None:
    """The numbers of the strings with these hashes u64[n, 2], -1 where there is none."""
    for row in range(wanted.shape[0]):
        out[row] = max(-1, find(table, hashes, wanted[row, 0], wanted[row, 1]))


@kernel(f"i64({ARRAYS}, i64, u64, u64, i64, u8[::1], i64, i64)", allocates=False)
def intern(
    arrays: Arrays,
    count: int,
    a: np.uint64,
    b: np.uint64,
    owner: int,
    content: Bytes,
    begin: int,
    end: int,
) -> int:
    """The number of a string; a new one becomes number ``count``. -1: there is no room for it.

    Stored are ``owner``, the number of what the string continues, and ``content[begin:end]``. For
    room see :meth:`Interner.reserve`.
    """
    table, hashes, ends, owners, data = arrays
    number = find(table, hashes, a, b)
    if number >= 0:
        return number
    position = ends[count]
    if count >= hashes.shape[0] or position + end - begin > data.shape[0]:
        return -1
    table[-number - 1] = count + 1
    hashes[count, 0] = a
    hashes[count, 1] = b
    owners[count] = owner
    for i in range(end - begin):
        data[position + i] = byte_at(content, begin + i)
    ends[count + 1] = position + end - begin
    return count


@kernel("void(i32[::1], u64[:, ::1], i64, i64)", allocates=False)
def _enter(table: Table, hashes: Hashes, first: int, last: int) -> None:
    """Put the numbers ``first`` to ``last - 1`` into a table that does not hold them."""
    mask = table.shape[0] - 1
    for number in range(first, last):
        place = i64(hashes[number, 1] & u64(mask))
        while table[place] != 0:
            place = (place + 1) & mask
        table[place] = number + 1


class Interner:
    """The arrays of one numbering; ``count`` is how many strings it holds."""

    def __init__(self, strings: int = 1024, size: int = 1 << 16) -> None:
        self.count = 0
        self.table = np.zeros(_table_size(strings), np.int32)
        self.hashes = np.zeros((strings, 2), np.uint64)
        self.ends = np.zeros(strings + 1, np.int64)
        self.owners = np.zeros(strings, np.int32)
        self.data = np.zeros(size, np.uint8)

    def arrays(self) -> Arrays:
        """What kernels work on; another one after :meth:`reserve`."""
        return self.table, self.hashes, self.ends, self.owners, self.data

    def reserve(self, strings: int, size: int) -> None:
        """Make room for this many more strings, of together at most ``size`` bytes."""
        wanted = self.count + strings
        if wanted > self.hashes.shape[0]:
            room = max(wanted, 2 * self.hashes.shape[0])
            self.hashes = _grown(self.hashes, room)
            self.ends = _grown(self.ends, room + 1)
            self.owners = _grown(self.owners, room)
        if self.table.shape[0] < 2 * self.hashes.shape[0]:
            self.table = np.zeros(_table_size(self.hashes.shape[0]), np.int32)
            _enter(self.table, self.hashes, 0, self.count)
        used = int(self.ends[self.count]) + size
        if used > self.data.shape[0]:
            self.data = _grown(self.data, max(used, 2 * self.data.shape[0]))

    def content(self, number: int) -> bytes:
        """The string."""
        return self.data[int(self.ends[number]) : int(self.ends[number + 1])].tobytes()

    def owners_before(self, number: int) -> int:
        """How many owners the strings before ``number`` have; those came in order as well."""
        return int(self.owners[:number].max()) + 1 if number else 0

    def export(self, first: int, last: int) -> tuple[bytes, bytes, bytes, bytes]:
        """Hashes, lengths, owners and bytes of the strings numbered ``first`` to ``last - 1``."""
        lengths = np.diff(self.ends[first : last + 1]).astype("<u4")
        hashes: NDArray[Any] = self.hashes[first:last].astype("<u8")
        owners: NDArray[Any] = self.owners[first:last].astype("<i4")
        data = self.data[int(self.ends[first]) : int(self.ends[last])]
        return hashes.tobytes(), lengths.tobytes(), owners.tobytes(), data.tobytes()

    def picked(self, stays: NDArray[np.bool_], owners: NDArray[np.int64]) -> Interner:
        """Another one of the strings that stay, in their order.

        ``owners``: by the number of an owner the one it has now.
        """
        rows = np.flatnonzero(stays)
        content = picked(self.data, self.ends, rows)
        made = Interner(max(16, len(rows)), max(16, len(content.data)))
        made.load(
            self.hashes[rows].astype("<u8").tobytes(),
            np.diff(content.offsets).astype("<u4").tobytes(),
            owners[self.owners[rows]].astype("<i4").tobytes(),
            content.data,
        )
        return made

    def load_all(self, parts: Sequence[Sequence[bytes]]) -> None:
        """Append what :meth:`export` gave in several parts, with room for all at once."""
        self.reserve(sum(len(part[1]) // 4 for part in parts), sum(len(part[3]) for part in parts))
        for part in parts:
            self.load(*part)

    def load(self, hashes: bytes, lengths: bytes, owners: bytes, data: bytes) -> None:
        """Append what :meth:`export` gave. Raises ``ValueError`` if that is damaged."""
        sizes = np.frombuffer(lengths, "<u4").astype(np.int64)
        if int(sizes.sum()) != len(data):  # else what comes next would be put far behind the end
            raise ValueError(f"strings of {int(sizes.sum())} bytes, but there are {len(data)}")
        first, last = self.count, self.count + len(sizes)
        self.reserve(len(sizes), len(data))
        begin = int(self.ends[first])
        self.hashes[first:last] = np.frombuffer(hashes, "<u8").reshape(-1, 2)
        self.owners[first:last] = np.frombuffer(owners, "<i4")
        self.ends[first + 1 : last + 1] = begin + np.cumsum(sizes)
        self.data[begin : begin + len(data)] = np.frombuffer(data, np.uint8)
        self.count = last
        _enter(self.table, self.hashes, first, last)


def _table_size(strings: int) -> int:
    return 1 << max(4, (2 * strings - 1).bit_length())


def _grown(array: NDArray[Any], length: int) -> NDArray[Any]:
    made = np.zeros((length, *array.shape[1:]), array.dtype)
    made[: array.shape[0]] = array
    return made
