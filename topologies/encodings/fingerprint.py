"""A keyed 128-bit hash of raw bytes, for kernels: what a point's attributes are recognised by.

Two independent lanes of 64 bits, each folding the 128-bit product of its state and of 16 bytes of
input, as wyhash does with one. Without the key nobody can look for collisions. It is a cache key
only: it depends on how attributes were encoded and in which order, and never leaves the process.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from streams.kernels.compile import kernel
from streams.kernels.machine import high_product, load_u64
from topologies.encodings.wire import Bytes

Words = NDArray[np.uint64]

_ODD = np.uint64(0x9E3779B97F4A7C15)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


def key_words(key: bytes) -> Words:
    """Four words from a secret of 16 bytes or more."""
    if len(key) < 16:
        raise ValueError("the fingerprint key needs at least 16 bytes")
    return np.frombuffer(hashlib.blake2b(key, digest_size=32).digest(), "<u8").astype(np.uint64)


def seed_words(key: bytes, tenant: str) -> Words:
    """The two words that a tenant's fingerprints start from."""
    digest = hashlib.blake2b(tenant.encode(), key=key[:64], digest_size=16).digest()
    return np.frombuffer(digest, "<u8").astype(np.uint64)


@kernel("u64(u64, u64)", forceinline=True, allocates=False)
def fold(a: np.uint64, b: np.uint64) -> np.uint64:
    """Both halves of the product, exclusive-ored."""
    return (a * b) ^ high_product(a, b)


@kernel(
    "UniTuple(u64, 2)(u8[::1], i64, i64, u64, u64, u64, u64, u64, u64)",
    forceinline=True,
    allocates=False,
)
def absorb(
    buffer: Bytes,
    begin: int,
    end: int,
    a: np.uint64,
    b: np.uint64,
    k0: np.uint64,
    k1: np.uint64,
    k2: np.uint64,
    k3: np.uint64,
) -> tuple[np.uint64, np.uint64]:
    """The state (a, b) after these bytes; the buffer must go on for 16 bytes after ``end``.

    The key comes as four words, since that keeps them in registers (24 ns against 49 a point).
    """
    length = np.uint64(end - begin) * _ODD
    a ^= length
    b ^= length
    p = begin
    while p + 16 <= end:
        low = load_u64(buffer, p)
        high = load_u64(buffer, p + 8)
        a = fold(low ^ k0, high ^ a)
        b = fold(low ^ b, high ^ k1)
        p += 16
    rest = end - p
    low = np.uint64(0)
    high = np.uint64(0)
    if rest >= 8:
        low = load_u64(buffer, p)
        if rest > 8:
            high = load_u64(buffer, p + 8) & (_ALL >> np.uint64(128 - 8 * rest))
    elif rest > 0:
        low = load_u64(buffer, p) & (_ALL >> np.uint64(64 - 8 * rest))
    a = fold(low ^ k2, high ^ a)
    b = fold(low ^ b, high ^ k3)
    return a, b


@kernel("UniTuple(u64, 2)(u8[::1], i64, i64, u64, u64, u64[::1])", allocates=False)
def absorb_span(
    buffer: Bytes, begin: int, end: int, a: np.uint64, b: np.uint64, key: Words
) -> tuple[np.uint64, np.uint64]:
    """:func:`absorb`, for what is hashed once a message or metric."""
    return absorb(buffer, begin, end, a, b, key[0], key[1], key[2], key[3])
