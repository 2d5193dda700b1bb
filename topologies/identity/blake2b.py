"""BLAKE2b-128 for kernels (RFC 7693): the bits of ``hashlib.blake2b(data, digest_size=16)``.

A state is u64[9]: the chain value and the number of bytes compressed. A scratch is u64[32]: the
working vector and the words of a block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, i64, load_u64, u64

Words = Any
Bytes = NDArray[np.uint8]

BLOCK = 128
STATE, SCRATCH = 9, 32

_IV = np.array(
    [
        0x6A09E667F3BCC908,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ],
    np.uint64,
)
_SIGMA: Any = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    ],
    np.int64,
)
# The first word of the parameter block: digest of 16 bytes, no key, sequential.
_PARAMETERS = np.uint64(0x01010010)
_INVERTED = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel("u64(u64, u64)", forceinline=True, allocates=False)
def _rotate(value: np.uint64, right: np.uint64) -> np.uint64:
    return (value >> right) | (value << (u64(64) - right))


@kernel("void(u64[::1], i64, i64, i64, i64, u64, u64)", forceinline=True, allocates=False)
def _mix(v: Words, a: int, b: int, c: int, d: int, x: np.uint64, y: np.uint64) -> None:
    va = v[a] + v[b] + x
    vd = _rotate(v[d] ^ va, u64(32))
    vc = v[c] + vd
    vb = _rotate(v[b] ^ vc, u64(24))
    va = va + vb + y
    vd = _rotate(vd ^ va, u64(16))
    vc = vc + vd
    vb = _rotate(vb ^ vc, u64(63))
    v[a], v[b], v[c], v[d] = va, vb, vc, vd


@kernel("void(u64[::1], u64[::1], i64, bool_)", allocates=False)
def _compress(state: Words, scratch: Words, count: int, last: bool) -> None:
    """One block, already in ``scratch[16:32]``, of which ``count`` bytes are input."""
    state[8] += u64(count)
    for i in range(8):
        scratch[i] = state[i]
        scratch[i + 8] = _IV[i]
    scratch[12] ^= state[8]
    if last:
        scratch[14] ^= _INVERTED
    for turn in range(12):
        s = turn % 10
        for i in range(4):
            x = scratch[16 + _SIGMA[s, 2 * i]]
            y = scratch[16 + _SIGMA[s, 2 * i + 1]]
            _mix(scratch, i, i + 4, i + 8, i + 12, x, y)
        for i in range(4):
            x = scratch[16 + _SIGMA[s, 8 + 2 * i]]
            y = scratch[16 + _SIGMA[s, 9 + 2 * i]]
            _mix(scratch, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, x, y)
    for i in range(8):
        state[i] ^= scratch[i] ^ scratch[i + 8]


@kernel("void(u8[::1], i64, i64, u64[::1])", allocates=False)
def _load_block(data: Bytes, begin: int, end: int, scratch: Words) -> None:
    """Up to 128 bytes into the words of the block, zeros behind."""
    for word in range(16):
        first = begin + 8 * word
        if first + 8 <= end:
            scratch[16 + word] = load_u64(data, first)
            continue
        value = u64(0)
        for i in range(max(i64(0), end - first)):
            value |= u64(byte_at(data, first + i)) << u64(8 * i)
        scratch[16 + word] = value


@kernel("void(u64[::1])", allocates=False)
def begin_hash(state: Words) -> None:
    """An empty state."""
    for i in range(8):
        state[i] = _IV[i]
    state[0] ^= _PARAMETERS
    state[8] = u64(0)


@kernel("i64(u8[::1], i64, i64, u64[::1], u64[::1])", allocates=False)
def hash_blocks(data: Bytes, begin: int, end: int, state: Words, scratch: Words) -> int:
    """Add the whole blocks of ``data[begin:end]``, behind which more must follow.

    Returns where the bytes not yet added begin.
    """
    while end - begin >= BLOCK:
        _load_block(data, begin, begin + BLOCK, scratch)
        _compress(state, scratch, BLOCK, False)
        begin += BLOCK
    return begin


@kernel("void(u8[::1], i64, i64, u64[::1], u64[::1])", allocates=False)
def finish_hash(data: Bytes, begin: int, end: int, state: Words, scratch: Words) -> None:
    """Add ``data[begin:end]`` and finish: the digest is ``state[0], state[1]``, little endian."""
    while end - begin > BLOCK:
        _load_block(data, begin, begin + BLOCK, scratch)
        _compress(state, scratch, BLOCK, False)
        begin += BLOCK
    _load_block(data, begin, end, scratch)
    _compress(state, scratch, end - begin, True)
