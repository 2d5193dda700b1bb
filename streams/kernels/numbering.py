"""Keys of one word, numbered in order of first appearance: an open addressing table.

The table i64[2**k] holds numbers plus one (0: free) and is at most half full; the key of number i
is keys[i].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streams.kernels.compile import kernel
from streams.kernels.machine import i64, u64

Array = Any
I64 = npt.NDArray[np.int64]
_SPREAD = 0x9E3779B97F4A7C15  # of Fibonacci hashing (Knuth 6.4): neighbours come far apart


@kernel("i64(i64[::1], i64[::1], i64)", forceinline=True, allocates=False)
def find(table: Array, keys: Array, key: int) -> int:
    """The number of a key; if it has none, the negated free place less 1."""
    mask = table.shape[0] - 1
    at = i64((u64(key) * u64(_SPREAD)) >> u64(20)) & mask
    while table[at] != 0:
        number = table[at] - 1
        if keys[number] == key:
            return number
        at = (at + 1) & mask
    return -at - 1


@kernel("void(i64[::1], i64[::1], i64[::1], i64[::1])", allocates=False)
def find_all(table: Array, keys: Array, wanted: Array, out: Array) -> None:
    """out[i] = the number of wanted[i], or -1."""
    for i in range(wanted.shape[0]):
        out[i] = max(i64(-1), find(table, keys, wanted[i]))


@kernel("void(i64[::1], i64[::1], i64)", allocates=False)
def _enter(table: Array, keys: Array, count: int) -> None:
    for number in range(count):
        table[-find(table, keys, keys[number]) - 1] = number + 1


class Numbers:
    """Keys and their numbers; kernels may add to `table` and `keys` what was reserved."""

    def __init__(self) -> None:
        self.table = np.zeros(16, np.int64)
        self.keys = np.zeros(8, np.int64)
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def reserve(self, more: int) -> None:
        """Make room for so many more keys."""
        wanted = self.count + more
        if wanted <= len(self.keys):
            return
        size = max(wanted, 2 * len(self.keys))
        keys = np.zeros(size, np.int64)
        keys[: self.count] = self.keys[: self.count]
        self.keys = keys
        self.table = np.zeros(1 << (2 * size - 1).bit_length(), np.int64)
        _enter(self.table, self.keys, self.count)

    def find(self, key: int) -> int:
        """The number of a key, -1: it has none."""
        return max(-1, int(find(self.table, self.keys, key)))

    def find_all(self, keys: I64) -> I64:
        """The numbers of these keys, -1 where one has none."""
        out = np.empty(len(keys), np.int64)
        find_all(self.table, self.keys, np.ascontiguousarray(keys), out)
        return out

    def add(self, key: int) -> int:
        """Give the next number to a key that has none."""
        self.reserve(1)
        place = int(find(self.table, self.keys, key))
        self.table[-place - 1] = self.count + 1
        self.keys[self.count] = key
        self.count += 1
        return self.count - 1
