"""Weights by key, of a bounded number of keys a row; what is beyond the bound is one sum.

A row is i64[HEAVY_WIDTH], its entries i64[ENTRY_WIDTH] each in the pool, in ascending order of the
mixed key. A row keeps the `capacity` keys with the smallest mixed keys of all that joined; weights
of the others join the sum OTHER. A key that is kept in the end was among the smallest at any time,
so its weight is whole; so all is a function of the set of points, whatever was added or merged
first.
"""

from __future__ import annotations

from streams.kernels.compile import kernel
from streams.kernels.exact import add_integer
from streams.kernels.machine import double_of, i64, u64
from streams.kernels.moments import SUM_WIDTH, WIDE_WORDS, add_to_sum, merge_sums
from streams.kernels.rows import IS_INTEGER, special_flag, to_bits
from streams.kernels.types import Column, Word

HELD = 0  # entries
AT = 1  # where they are in the pool
ROOM = 2  # for so many entries
NEGATIVE_SEEN = 3  # 1: some weight was below zero
EXCLUDED = 4  # weights that are not finite, which are in no sum
OTHER_COUNT = 5
OTHER = 6  # a sum
HEAVY_WIDTH = OTHER + SUM_WIDTH

KEY = 0
ENTRY_COUNT = 1
WEIGHT = 2  # a sum
ENTRY_WIDTH = WEIGHT + SUM_WIDTH

_LEAST_ROOM = 8


@kernel("i64(i64)", forceinline=True, allocates=False)
def mixed(key: Word) -> Word:
    """A one-to-one scrambling of 64 bits (the finish of MurmurHash3), as a signed integer."""
    word = u64(key)
    word = (word ^ (word >> u64(33))) * u64(0xFF51AFD7ED558CCD)
    word = (word ^ (word >> u64(33))) * u64(0xC4CEB9FE1A85EC53)
    return i64(word ^ (word >> u64(33)))


@kernel("i64(i64[:, ::1], i64, i64, i64)", forceinline=True, allocates=False)
def _find(pool: Column, at: Word, held: Word, key: Word) -> Word:
    """How many of the entries have a smaller key."""
    low = i64(0)
    while held > 0:
        half = held >> 1
        if pool[0, at + (low + half) * ENTRY_WIDTH + KEY] < key:
            low += half + 1
            held -= half + 1
        else:
            held = half
    return low


@kernel("void(i64[:, ::1], i64, i64, i64[:, ::1], i64[::1])", allocates=False)
def _enlarge(rows: Column, r: Word, capacity: Word, pool: Column, used: Column) -> None:
    """Give row r room for twice the entries, at most capacity."""
    at = rows[r, AT]
    room = min(capacity, max(2 * rows[r, ROOM], _LEAST_ROOM))
    to = used[0]
    used[0] += room * ENTRY_WIDTH
    for k in range(rows[r, HELD] * ENTRY_WIDTH):
        pool[0, to + k] = pool[0, at + k]
    rows[r, AT] = to
    rows[r, ROOM] = room


@kernel("i64(i64[:, ::1], i64, i64, i64, i64[:, ::1], i64[::1])", allocates=False)
def _entry(rows: Column, r: Word, key: Word, capacity: Word, pool: Column, used: Column) -> Word:
    """Where in the pool the entry of this mixed key is; it is made if missing, -1 if beyond."""
    held = rows[r, HELD]
    place = _find(pool, rows[r, AT], held, key)
    at = rows[r, AT] + place * ENTRY_WIDTH
    if place < held and pool[0, at + KEY] == key:
        return at
    if place == capacity:
        return -1
    if held == capacity:
        held -= 1
        last = rows[r, AT] + held * ENTRY_WIDTH
        rows[r, OTHER_COUNT] += pool[0, last + ENTRY_COUNT]
        merge_sums(rows, r, OTHER, pool, used, pool, 0, last + WEIGHT, pool)
    elif held == rows[r, ROOM]:
        _enlarge(rows, r, capacity, pool, used)
        at = rows[r, AT] + place * ENTRY_WIDTH
    for k in range(rows[r, AT] + held * ENTRY_WIDTH - 1, at - 1, -1):
        pool[0, k + ENTRY_WIDTH] = pool[0, k]
    for k in range(ENTRY_WIDTH):
        pool[0, at + k] = 0
    pool[0, at + KEY] = key
    rows[r, HELD] = held + 1
    return at


@kernel(
    "i64(i64, i64[::1], i64[::1], i64[::1], u8[::1], i64[:, ::1], i64[:, ::1], i64[::1], i64, i64)",
    allocates=False,
)
def add_weights(
    start: Word,
    which: Column,
    keys: Column,
    raws: Column,
    metas: Column,
    rows: Column,
    pool: Column,
    used: Column,
    capacity: Word,
    spare: Word,
) -> Word:
    """Weights start.. of keys i64[k] join rows which i64[k] of rows i64[n, HEAVY_WIDTH].

    raws i64[k], metas u8[k] as in `Points`. Returns how many have joined: fewer than k if the pool
    i64[1, m] has to grow first; spare: words that one weight may take.
    """
    for i in range(start, which.shape[0]):
        if used[0] + spare > pool.shape[1]:
            return i
        r = which[i]
        integer = (i64(metas[i]) & IS_INTEGER) != 0
        raw = raws[i]
        if not integer and special_flag(raw) != 0:
            rows[r, EXCLUDED] += 1
            continue
        if raw < 0 and (integer or double_of(raw) < 0.0):
            rows[r, NEGATIVE_SEEN] = 1
        at = _entry(rows, r, mixed(keys[i]), capacity, pool, used)
        if at < 0:
            rows[r, OTHER_COUNT] += 1
            if integer:
                add_integer(rows, r, OTHER, raw, False)
            else:
                add_to_sum(rows, r, OTHER, raw, pool, used)
        else:
            pool[0, at + ENTRY_COUNT] += 1
            if integer:
                add_integer(pool, 0, at + WEIGHT, raw, False)
            else:
                add_to_sum(pool, 0, at + WEIGHT, raw, pool, used)
    return which.shape[0]


@kernel("i64(i64, i64[::1], i64, i64[:, ::1], i64[:, ::1], i64[::1], i64[:, ::1], i64[:, ::1],"
        " i64[::1], i64, i64)", allocates=False)  # fmt: skip
def merge_weights(
    start: Word,
    which: Column,
    first: Word,
    rows: Column,
    pool: Column,
    used: Column,
    other: Column,
    theirs: Column,
    order: Column,
    capacity: Word,
    spare: Word,
) -> Word:
    """Row order[j] of other, with the pool theirs, joins row which[j] of rows, from j = start on.

    which, order i64[k]; rows, other i64[., HEAVY_WIDTH]; of row order[start], entries before
    `first` have joined already. Returns how far it came, as j << 32 | entries of row order[j];
    that is before k << 32 if the pool has to grow first; spare: words that one entry may take.
    """
    for j in range(start, which.shape[0]):
        r = which[j]
        o = order[j]
        for k in range(first, other[o, HELD]):
            if used[0] + spare > pool.shape[1]:
                return (j << 32) | k
            there = other[o, AT] + k * ENTRY_WIDTH
            count = theirs[0, there + ENTRY_COUNT]
            at = _entry(rows, r, theirs[0, there + KEY], capacity, pool, used)
            if at < 0:
                rows[r, OTHER_COUNT] += count
                merge_sums(rows, r, OTHER, pool, used, theirs, 0, there + WEIGHT, theirs)
            else:
                pool[0, at + ENTRY_COUNT] += count
                merge_sums(pool, 0, at + WEIGHT, pool, used, theirs, 0, there + WEIGHT, theirs)
        if used[0] + spare > pool.shape[1]:
            return (j << 32) | other[o, HELD]
        rows[r, NEGATIVE_SEEN] |= other[o, NEGATIVE_SEEN]
        rows[r, EXCLUDED] += other[o, EXCLUDED]
        rows[r, OTHER_COUNT] += other[o, OTHER_COUNT]
        merge_sums(rows, r, OTHER, pool, used, other, o, OTHER, theirs)
        first = 0
    return which.shape[0] << 32


@kernel("void(i64[::1], u8[::1], i64[::1])", allocates=False)
def keys_of_values(raws: Column, metas: Column, out: Column) -> None:
    """out[i] = the bits of value i as a double, the nearest to an integer; -0.0 as 0.0, one NaN."""
    for i in range(raws.shape[0]):
        if (i64(metas[i]) & IS_INTEGER) != 0:
            out[i] = to_bits(float(raws[i]))
        else:
            out[i] = to_bits(double_of(raws[i]) + 0.0)


def unmixed(key: int) -> int:
    """The key of which this is the mixed one, as an unsigned 64-bit integer."""
    mask = (1 << 64) - 1
    word = key & mask
    word ^= word >> 33
    word = word * pow(0xC4CEB9FE1A85EC53, -1, 1 << 64) & mask
    word ^= word >> 33
    word = word * pow(0xFF51AFD7ED558CCD, -1, 1 << 64) & mask
    return word ^ word >> 33


def spare_words(capacity: int) -> int:
    """Words of the pool that one weight, or one merged entry, may take."""
    return capacity * ENTRY_WIDTH + 2 * WIDE_WORDS
