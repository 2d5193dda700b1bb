"""MurmurHash3 x64 128 (Austin Appleby, public domain) of words and byte strings.

With the seed 9001 these are the hashes of Apache DataSketches, so that sketches of both can be
united.
"""

from __future__ import annotations

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, i64, load_u64, u64
from streams.kernels.types import Column, Word

SEED = 9001

_C1 = 0x87C37B91114253D5
_C2 = 0x4CF5AD432745937F


@kernel("u64(u64, i64)", forceinline=True, allocates=False)
def _rotated(word: Word, by: Word) -> Word:
    return (word << u64(by)) | (word >> u64(64 - by))


@kernel("u64(u64)", forceinline=True, allocates=False)
def _mixed(word: Word) -> Word:
    word = (word ^ (word >> u64(33))) * u64(0xFF51AFD7ED558CCD)
    word = (word ^ (word >> u64(33))) * u64(0xC4CEB9FE1A85EC53)
    return word ^ (word >> u64(33))


@kernel("u64(u64)", forceinline=True, allocates=False)
def _first_key(word: Word) -> Word:
    return _rotated(word * u64(_C1), 31) * u64(_C2)


@kernel("u64(u64)", forceinline=True, allocates=False)
def _second_key(word: Word) -> Word:
    return _rotated(word * u64(_C2), 33) * u64(_C1)


@kernel("UniTuple(u64, 2)(u64, u64, i64)", forceinline=True, allocates=False)
def _finished(h1: Word, h2: Word, length: Word) -> Word:
    h1 = h1 ^ u64(length)
    h2 = h2 ^ u64(length)
    h1 = h1 + h2
    h2 = h2 + h1
    h1 = _mixed(h1)
    h2 = _mixed(h2)
    h1 = h1 + h2
    return h1, h2 + h1


@kernel("UniTuple(u64, 2)(i64)", forceinline=True, allocates=False)
def hash_word(word: Word) -> Word:
    """The two halves of the hash of the 8 bytes of a word, little endian."""
    return _finished(u64(SEED) ^ _first_key(u64(word)), u64(SEED), 8)


@kernel("UniTuple(u64, 2)(u8[::1], i64, i64)", allocates=False)
def hash_bytes(data: Column, first: Word, end: Word) -> Word:
    """The two halves of the hash of data[first:end]; the caller has checked that they exist."""
    h1 = u64(SEED)
    h2 = u64(SEED)
    at = first
    while at + 16 <= end:
        h1 = _rotated(h1 ^ _first_key(load_u64(data, at)), 27) + h2
        h1 = h1 * u64(5) + u64(0x52DCE729)
        h2 = _rotated(h2 ^ _second_key(load_u64(data, at + 8)), 31) + h1
        h2 = h2 * u64(5) + u64(0x38495AB5)
        at += 16
    low = u64(0)
    high = u64(0)
    for k in range(at, end):
        byte = u64(byte_at(data, k))
        if k - at < 8:
            low |= byte << u64(8 * (k - at))
        else:
            high |= byte << u64(8 * (k - at - 8))
    if end - at > 8:
        h2 = h2 ^ _second_key(high)
    if end > at:
        h1 = h1 ^ _first_key(low)
    return _finished(h1, h2, i64(end - first))
