"""Fingerprint to slot: the table in which every point of every micro-batch is looked up.

Open addressing, linear probing, at most half full. An entry is u64[2]: the first word of the
fingerprint, which also says where it goes; the upper half of the second word and, below it, the
slot plus one (0: free). So 96 bits of a keyed hash are compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.kernels.compile import kernel
from streams.kernels.machine import i64, prefetch, u64

Entries = NDArray[Any]
Words = NDArray[Any]

_AHEAD = 12
_UPPER = np.uint64(0xFFFFFFFF00000000)
_LOWER = np.uint64(0x00000000FFFFFFFF)
_LARGEST_SLOT = (1 << 31) - 2


@kernel("i64(u64[:, ::1], u64, u64)", forceinline=True, allocates=False)
def _place_of(entries: Entries, a: np.uint64, b: np.uint64) -> int:
    """Where the fingerprint is, or the free place for it."""
    mask = entries.shape[0] - 1
    place = i64(a) & mask
    while True:
        low = entries[place, 1]
        if low & _LOWER == u64(0) or (entries[place, 0] == a and (low ^ b) & _UPPER == u64(0)):
            return place
        place = (place + 1) & mask


@kernel("i64(u64[:, ::1], u64[::1], u64[::1], i32[::1], i32[::1])", allocates=False)
def look_up(entries: Entries, a: Words, b: Words, slots: NDArray[Any], missed: NDArray[Any]) -> int:
    """The slot of each fingerprint (a[i], b[i]) into ``slots`` where that is -1, which it stays
    where it is not known.

    Rows not known are listed in ``missed``, as long as ``slots``; returns how many those are.
    """
    mask = entries.shape[0] - 1
    rows = slots.shape[0]
    count = 0
    for row in range(rows):
        if row + _AHEAD < rows and slots[row + _AHEAD] < 0:
            prefetch(entries, i64(a[row + _AHEAD]) & mask)
        if slots[row] >= 0:
            continue
        place = _place_of(entries, a[row], b[row])
        slot = i64(entries[place, 1] & _LOWER) - 1
        slots[row] = slot
        if slot < 0:
            missed[count] = row
            count += 1
    return count


@kernel("i64(u64[:, ::1], u64, u64)", allocates=False)
def slot_of(entries: Entries, a: np.uint64, b: np.uint64) -> int:
    """The slot of one fingerprint, or -1."""
    return i64(entries[_place_of(entries, a, b), 1] & _LOWER) - 1


@kernel("void(u64[:, ::1], u64, u64, i64)", allocates=False)
def remember(entries: Entries, a: np.uint64, b: np.uint64, slot: int) -> None:
    """Add a fingerprint; the caller keeps half of the table free."""
    place = _place_of(entries, a, b)
    entries[place, 0] = a
    entries[place, 1] = (b & _UPPER) | u64(slot + 1)


@kernel("void(u64[:, ::1], u64[:, ::1])", allocates=False)
def _copy_entries(entries: Entries, larger: Entries) -> None:
    mask = larger.shape[0] - 1
    rows = entries.shape[0]
    for row in range(rows):
        if row + _AHEAD < rows:
            prefetch(larger, i64(entries[row + _AHEAD, 0]) & mask)
        low = entries[row, 1]
        if low & _LOWER != u64(0):
            place = _place_of(larger, entries[row, 0], low)
            larger[place, 0] = entries[row, 0]
            larger[place, 1] = low


class FingerprintTable:
    """The entries, and how they grow.

    It is a cache: one slot may have several fingerprints (the same attributes encoded in another
    order). When encodings outnumber slots by far, an agent varies them without end: then the table
    is emptied, not grown, and what is in use is looked up once again.
    """

    def __init__(self, capacity: int = 1 << 12) -> None:
        self.entries = np.zeros((_size(capacity), 2), np.uint64)
        self.count = 0

    def reserve(self, more: int, slots: int) -> None:
        """Make room for ``more`` fingerprints, of a table of ``slots`` slots by now."""
        wanted = self.count + more
        if 2 * wanted <= self.entries.shape[0]:
            return None
        if self.count > 32_768 + 8 * slots:
            self.entries[:] = 0
            self.count = 0
            return self.reserve(more, slots)
        larger = np.zeros((_size(wanted), 2), np.uint64)
        _copy_entries(self.entries, larger)
        self.entries = larger
        return None


def _size(fingerprints: int) -> int:
    return 1 << max(6, (2 * fingerprints - 1).bit_length())
