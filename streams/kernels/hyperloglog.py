"""HyperLogLog as rows: few distinct values as a set of coupons, many as registers.

A *coupon* is what Apache DataSketches keeps of a hash: 26 bits of address and, above them, the
number of leading zeros of the other half plus one (1 to 63). A row is i64[HLL_WIDTH]. While a row
has at most `limit` coupons they are an open-addressed set of 2**BITS words of the pool; then its
registers, u8[2**lg_k], are packed eight to a word of the pool. Register s is the greatest number of
the coupons whose address ends in the lg_k bits of s. Whether a row has registers depends on the
number of its distinct coupons, and both forms on their set alone.
"""

from __future__ import annotations

import math

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.machine import double_of, i64, leading_zeros, u64
from streams.kernels.murmur import hash_bytes, hash_word
from streams.kernels.rows import IS_INTEGER, to_bits
from streams.kernels.types import Column, Word

AT = 0  # where the set or the registers are in the pool
BITS = 1  # of the set's size; REGISTERS where the row has registers; 0: the row is empty
HELD = 2  # distinct coupons in the set
HLL_WIDTH = 3

REGISTERS = -1
LARGEST = 63  # of a register

_LEAST_BITS = 3
_ADDRESS = (1 << 26) - 1


@kernel("i64(u64, u64)", forceinline=True, allocates=False)
def coupon_of(h1: Word, h2: Word) -> Word:
    """The coupon of a hash."""
    return ((min(leading_zeros(h2), 62) + 1) << 26) | i64(h1 & u64(_ADDRESS))


@kernel("void(i64[:, ::1], i64, i64, i64)", forceinline=True, allocates=False)
def _raise(pool: Column, at: Word, coupon: Word, mask: Word) -> None:
    """The coupon joins the registers at pool[0, at:]."""
    slot = coupon & mask
    value = u64(coupon >> 26)
    shift = u64((slot & 7) << 3)
    word = u64(pool[0, at + (slot >> 3)])
    if (word >> shift) & u64(0xFF) < value:
        pool[0, at + (slot >> 3)] = i64((word & ~(u64(0xFF) << shift)) | (value << shift))


@kernel("bool_(i64[:, ::1], i64, i64, i64)", forceinline=True, allocates=False)
def _insert(pool: Column, at: Word, bits: Word, coupon: Word) -> Word:
    """The coupon joins the set at pool[0, at : at + 2**bits]. False: it was there."""
    mask = (1 << bits) - 1
    place = i64((u64(coupon) * u64(0x9E3779B97F4A7C15)) >> u64(64 - bits))
    while pool[0, at + place] != 0:
        if pool[0, at + place] == coupon:
            return False
        place = (place + 1) & mask
    pool[0, at + place] = coupon
    return True


@kernel("void(i64[:, ::1], i64, i64, i64, i64[:, ::1], i64[::1])", allocates=False)
def _outgrow(rows: Column, r: Word, lg_k: Word, limit: Word, pool: Column, used: Column) -> None:
    """Give row r a set twice as large or, past the limit, registers."""
    old = rows[r, AT]
    size = (1 << rows[r, BITS]) if rows[r, BITS] > 0 else 0
    to = used[0]
    promoted = rows[r, HELD] > limit
    bits = max(rows[r, BITS] + 1, _LEAST_BITS)
    used[0] += 1 << (lg_k - 3) if promoted else 1 << bits
    for k in range(size):
        coupon = pool[0, old + k]
        if coupon != 0:
            if promoted:
                _raise(pool, to, coupon, (1 << lg_k) - 1)
            else:
                _insert(pool, to, bits, coupon)
    rows[r, AT] = to
    rows[r, BITS] = REGISTERS if promoted else bits
    if promoted:
        rows[r, HELD] = 0


@kernel(
    "void(i64[:, ::1], i64, i64, i64, i64, i64[:, ::1], i64[::1])",
    forceinline=True,
    allocates=False,
)
def _join(
    rows: Column, r: Word, coupon: Word, lg_k: Word, limit: Word, pool: Column, used: Column
) -> None:
    """The coupon joins row r; the pool has `spare_words` to spare."""
    bits = rows[r, BITS]
    if bits == REGISTERS:
        _raise(pool, rows[r, AT], coupon, (1 << lg_k) - 1)
        return
    if bits == 0:
        _outgrow(rows, r, lg_k, limit, pool, used)
    if _insert(pool, rows[r, AT], rows[r, BITS], coupon):
        rows[r, HELD] += 1
        if rows[r, HELD] > limit or rows[r, HELD] * 4 > 3 << rows[r, BITS]:
            _outgrow(rows, r, lg_k, limit, pool, used)


@kernel("void(i64[::1], u8[::1], i64[::1])", allocates=False)
def coupons_of_values(raws: Column, metas: Column, out: Column) -> None:
    """out[i] = the coupon of value i: raws i64[k], metas u8[k] as in `Points`.

    Integers are hashed as 64-bit integers, doubles by their bits, -0.0 as 0.0, every NaN as the one
    canonical NaN.
    """
    for i in range(raws.shape[0]):
        word = raws[i]
        if (i64(metas[i]) & IS_INTEGER) == 0:
            word = to_bits(double_of(word) + 0.0)
        h1, h2 = hash_word(word)
        out[i] = coupon_of(h1, h2)


@kernel("void(u8[::1], i64[::1], i64[::1])", allocates=False)
def coupons_of_strings(data: Column, offsets: Column, out: Column) -> None:
    """out[i] = the coupon of the string data[offsets[i] : offsets[i + 1]]; offsets i64[k + 1]."""
    for i in range(out.shape[0]):
        h1, h2 = hash_bytes(data, offsets[i], offsets[i + 1])
        out[i] = coupon_of(h1, h2)


@kernel(
    "i64(i64, i64[::1], i64[::1], i64[:, ::1], i64[:, ::1], i64[::1], i64, i64, i64)",
    allocates=False,
)
def add_coupons(
    start: Word,
    which: Column,
    coupons: Column,
    rows: Column,
    pool: Column,
    used: Column,
    lg_k: Word,
    limit: Word,
    spare: Word,
) -> Word:
    """Coupons i64[k], from start on, join rows which i64[k] of rows i64[n, HLL_WIDTH].

    Returns how many have joined: fewer than k if the pool i64[1, m] has to grow first; spare: words
    that one of them may take.
    """
    for i in range(start, which.shape[0]):
        if used[0] + spare > pool.shape[1]:
            return i
        _join(rows, which[i], coupons[i], lg_k, limit, pool, used)
    return which.shape[0]


@kernel("void(i64[:, ::1], i64, i64, i64[:, ::1], i64)", allocates=False)
def _raise_all(pool: Column, at: Word, words: Word, theirs: Column, there: Word) -> None:
    """Each register at pool[0, at:] becomes the greater of itself and the one at theirs."""
    for k in range(words):
        mine = u64(pool[0, at + k])
        other = u64(theirs[0, there + k])
        if mine == other or other == u64(0):
            continue
        out = u64(0)
        for shift in range(0, 64, 8):
            out |= max((mine >> u64(shift)) & u64(0xFF), (other >> u64(shift)) & u64(0xFF)) << u64(
                shift
            )
        pool[0, at + k] = i64(out)


@kernel(
    "i64(i64, i64[::1], i64[:, ::1], i64[:, ::1], i64[::1], i64[::1], i64[:, ::1], i64[:, ::1],"
    " i64, i64, i64)",
    allocates=False,
)
def merge_sketches(
    start: Word,
    which: Column,
    rows: Column,
    pool: Column,
    used: Column,
    order: Column,
    other: Column,
    theirs: Column,
    lg_k: Word,
    limit: Word,
    spare: Word,
) -> Word:
    """Row order[j] of other, with the pool theirs, joins row which[j] of rows, from j = start on.

    which, order i64[k]; rows, other i64[., HLL_WIDTH]. Returns how many have joined: fewer than k
    if the pool has to grow first; spare: words that one merge may take.
    """
    for j in range(start, which.shape[0]):
        if used[0] + spare > pool.shape[1]:
            return j
        r = which[j]
        o = order[j]
        if other[o, BITS] == REGISTERS:
            if rows[r, BITS] != REGISTERS:
                rows[r, HELD] += limit + 1
                _outgrow(rows, r, lg_k, limit, pool, used)
            _raise_all(pool, rows[r, AT], 1 << (lg_k - 3), theirs, other[o, AT])
        elif other[o, BITS] > 0:
            for k in range(1 << other[o, BITS]):
                coupon = theirs[0, other[o, AT] + k]
                if coupon != 0:
                    _join(rows, r, coupon, lg_k, limit, pool, used)
    return which.shape[0]


@kernel("void(i64[:, ::1], i64[:, ::1], i64[::1])", allocates=False)
def pack_coupons(rows: Column, pool: Column, out: Column) -> None:
    """out = row << 32 | coupon of all coupons in sets, i64[as many]; row by row, else unordered."""
    to = 0
    for r in range(rows.shape[0]):
        if rows[r, BITS] <= 0:
            continue
        for k in range(1 << rows[r, BITS]):
            coupon = pool[0, rows[r, AT] + k]
            if coupon != 0:
                out[to] = (r << 32) | coupon
                to += 1


@kernel("void(i64[:, ::1], i64[:, ::1], i64, i64[::1], f64[::1])", allocates=False)
def estimates(rows: Column, pool: Column, lg_k: Word, tally: Column, out: Column) -> None:
    """out[r] = about how many distinct values joined row r.

    Of coupons: their number c plus c (c - 1) / (6 * 2**26), the values expected to share one (two
    values share one with a chance of 1/3 * 2**-26). Of registers: the improved raw estimator of
    O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), section 2.4,
    a function of how many registers have which value; tally i64[64] is scratch.
    """
    for r in range(rows.shape[0]):
        if rows[r, BITS] != REGISTERS:
            held = np.float64(rows[r, HELD])
            out[r] = held + held * (held - 1.0) / 402653184.0
            continue
        for v in range(64):
            tally[v] = 0
        for k in range(1 << (lg_k - 3)):
            word = u64(pool[0, rows[r, AT] + k])
            for shift in range(0, 64, 8):
                tally[i64((word >> u64(shift)) & u64(0xFF))] += 1
        m = np.float64(i64(1) << lg_k)
        z = m * _tau(1.0 - np.float64(tally[LARGEST]) / m)
        for v in range(LARGEST - 1, 0, -1):
            z = 0.5 * (z + np.float64(tally[v]))
        z = z + m * _sigma(np.float64(tally[0]) / m)
        out[r] = 0.5 / 0.6931471805599453 * m * m / z


@kernel("f64(f64)", forceinline=True, allocates=False)
def _sigma(x: Word) -> Word:
    """x plus the sum over k of x**(2**k) * 2**(k - 1); infinite at 1."""
    if x == 1.0:
        return np.inf
    y = 1.0
    z = x
    before = -1.0
    while z != before:
        x = x * x
        before = z
        z = z + x * y
        y = y + y
    return z


@kernel("f64(f64)", forceinline=True, allocates=False)
def _tau(x: Word) -> Word:
    """A third of 1 - x less the sum over k of (1 - x**(2**-k))**2 * 2**-k; 0 at 0 and 1."""
    if x == 0.0 or x == 1.0:
        return 0.0
    y = 1.0
    z = 1.0 - x
    before = -1.0
    while z != before:
        x = math.sqrt(x)
        before = z
        y = 0.5 * y
        z = z - (1.0 - x) * (1.0 - x) * y
    return z / 3.0


def coupon_limit(lg_k: int) -> int:
    """The most coupons a row keeps as a set: as many as Apache DataSketches."""
    return 7 if lg_k < 8 else 3 * (1 << (lg_k - 3)) // 4


def spare_words(lg_k: int) -> int:
    """Words of the pool that one coupon, or one merged row, may take."""
    return 3 << max(lg_k - 3, _LEAST_BITS)
