"""Keys of several columns packed into byte strings, and the number that each distinct one has.

A packed key is, a column: one byte (1: the row has a value), a word of 8 bytes (the value, or the
length of a byte string), and the byte string. So equal keys have equal bytes, whatever their types.
"""

from __future__ import annotations

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, copy_bytes, i64, load_u64, prefetch, store_u64, u64
from streams.kernels.murmur import hash_bytes
from streams.kernels.types import Column, Word

HEAD = 9  # bytes of a packed column before those of its string
AHEAD = 32  # keys


@kernel("void(u8[::1], i64[::1], u8[::1], i64[::1])", allocates=False)
def pack_words(data: Column, at: Column, valid: Column, words: Column) -> None:
    """Write valid u8[n] and words i64[n] at data[at[i]], and move at i64[n] behind them."""
    for i in range(at.shape[0]):
        data[at[i]] = valid[i]
        store_u64(data, at[i] + 1, words[i])
        at[i] += 9


@kernel("void(u8[::1], i64[::1], u8[::1], i64[::1])", allocates=False)
def pack_strings(data: Column, at: Column, source: Column, offsets: Column) -> None:
    """Copy source[offsets[i] : offsets[i + 1]] to data[at[i]], and move at i64[n] behind it."""
    for i in range(at.shape[0]):
        size = offsets[i + 1] - offsets[i]
        copy_bytes(data, at[i], source, offsets[i], size)
        at[i] += size


@kernel("void(u8[::1], i64[::1], u8[::1], i64[::1])", allocates=False)
def unpack_words(data: Column, at: Column, valid: Column, words: Column) -> None:
    """The inverse of `pack_words`: valid u8[n] and words i64[n] from data[at[i]]; at moves on."""
    for i in range(at.shape[0]):
        valid[i] = data[at[i]]
        words[i] = i64(load_u64(data, at[i] + 1))
        at[i] += 9


@kernel("void(u8[::1], i64[::1], u64[::1])", allocates=False)
def hash_keys(data: Column, offsets: Column, out: Column) -> None:
    """out u64[n] = the first word of MurmurHash3 of data[offsets[i] : offsets[i + 1]]."""
    for i in range(out.shape[0]):
        out[i] = hash_bytes(data, offsets[i], offsets[i + 1])[0]


@kernel("bool_(u8[::1], i64, u8[::1], i64, i64)", forceinline=True, allocates=False)
def _equal(left: Column, a: Word, right: Column, b: Word, size: Word) -> Word:
    """Whether left[a : a + size] is right[b : b + size]."""
    k = 0
    while k + 8 <= size:
        if load_u64(left, a + k) != load_u64(right, b + k):
            return False
        k += 8
    while k < size:
        if byte_at(left, a + k) != byte_at(right, b + k):
            return False
        k += 1
    return True


@kernel("void(i64[::1], u64[::1], i64)", allocates=False)
def rehash(table: Column, hashes: Column, count: Word) -> None:
    """Enter slots 0..count-1 into an empty table i64[2**k] (slot + 1; 0: free), 2**k > count."""
    mask = table.shape[0] - 1
    for slot in range(count):
        at = i64(hashes[slot] & u64(mask))
        while table[at] != 0:
            at = (at + 1) & mask
        table[at] = slot + 1


@kernel(
    "i64(u8[::1], i64, i64, u64, i64[::1], u64[::1], u8[::1], i64[::1])",
    forceinline=True,
    allocates=False,
)
def _place(
    data: Column,
    begin: Word,
    size: Word,
    found: Word,
    table: Column,
    hashes: Column,
    arena: Column,
    ends: Column,
) -> Word:
    """Where in the table the key data[begin : begin + size] is, or would go; found: its hash."""
    mask = table.shape[0] - 1
    at = i64(found & u64(mask))
    slot = table[at] - 1
    while slot >= 0:
        start = ends[slot]
        if (
            hashes[slot] == found
            and ends[slot + 1] - start == size
            and _equal(arena, start, data, begin, size)
        ):
            break
        at = (at + 1) & mask
        slot = table[at] - 1
    return at


@kernel("i64(u8[::1], i64[::1], i64[::1], i64, i64[::1])", forceinline=True, allocates=False)
def _hash_ahead(data: Column, offsets: Column, table: Column, first: Word, slots: Column) -> Word:
    """The hashes of some keys from the first on, in place of their slots; where it ended.

    What is asked for of a large table comes while the next ones are hashed.
    """
    mask = table.shape[0] - 1
    end = min(slots.shape[0], first + AHEAD)
    for i in range(first, end):
        found = hash_bytes(data, offsets[i], offsets[i + 1])[0]
        prefetch(table, i64(found & u64(mask)))
        slots[i] = i64(found)
    return end


@kernel(
    "i64(i64, u8[::1], i64[::1], i64[::1], u64[::1], u8[::1], i64[::1], i64[::1], i64[::1])",
    allocates=False,
)
def intern(
    first: Word,
    data: Column,
    offsets: Column,
    table: Column,
    hashes: Column,
    arena: Column,
    ends: Column,
    count: Column,
    slots: Column,
) -> Word:
    """Give keys first..n-1 of data, offsets i64[n + 1], the slots they have, or new ones.

    table i64[2**k] as of `rehash`; hashes u64[c], arena u8[a] and ends i64[c + 1] hold the keys of
    the slots; count i64[1] says how many there are; slots i64[n] is written. Returns how far it
    came: n, or the key for which there is no room.
    """
    mask = table.shape[0] - 1
    n = slots.shape[0]
    hashed = first
    for i in range(first, n):
        if i == hashed:
            hashed = _hash_ahead(data, offsets, table, i, slots)
        begin = offsets[i]
        size = offsets[i + 1] - begin
        found = u64(slots[i])
        at = _place(data, begin, size, found, table, hashes, arena, ends)
        slot = table[at] - 1
        if slot < 0:
            slot = count[0]
            start = ends[slot]
            if slot >= hashes.shape[0] or 2 * slot >= mask or start + size > arena.shape[0]:
                return i
            copy_bytes(arena, start, data, begin, size)
            ends[slot + 1] = start + size
            hashes[slot] = found
            table[at] = slot + 1
            count[0] = slot + 1
        slots[i] = slot
    return n


@kernel("void(u8[::1], i64[::1], i64[::1], u64[::1], u8[::1], i64[::1], i64[::1])", allocates=False)
def find_keys(
    data: Column,
    offsets: Column,
    table: Column,
    hashes: Column,
    arena: Column,
    ends: Column,
    slots: Column,
) -> None:
    """slots i64[n] = the slot of each key as `intern` knows it, -1 where there is none."""
    hashed = 0
    for i in range(slots.shape[0]):
        if i == hashed:
            hashed = _hash_ahead(data, offsets, table, i, slots)
        begin = offsets[i]
        size = offsets[i + 1] - begin
        at = _place(data, begin, size, u64(slots[i]), table, hashes, arena, ends)
        slots[i] = table[at] - 1
