"""Exact sums: 192-bit fixed point with 96 fraction bits, in three 64-bit limbs, low limb first.

A sum is an integer number of 2**-96 in two's complement, so adding is associative and commutative
to the bit. Doubles that have bits below 2**-96 or reach 2**90 do not fit; the caller keeps those
apart (`fits`). Sums of up to 2**32 values that fit cannot overflow. The NumPy these equal:
``math.fsum``, and ``Fraction`` for a mean.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.types import Column, Word

FRACTION_BITS = 96
LARGEST_EXPONENT = 90  # |value| < 2**90
SPILL_BITS = 1074  # every finite double is an integer number of 2**-1074

_MANTISSA = np.uint64((1 << 52) - 1)
_HIDDEN = np.uint64(1 << 52)


@kernel("bool_(i64)", forceinline=True)
def fits(bits: Word) -> Word:
    """Whether the finite double with these bits is a multiple of 2**-96 below 2**90."""
    u = np.uint64(bits)
    field = np.int64((u >> np.uint64(52)) & np.uint64(0x7FF))
    mantissa = u & _MANTISSA
    if field == 0:
        return mantissa == np.uint64(0)
    if field == 2047 or field - 1023 >= 90:
        return False
    shift = field - 1023 - 52 + 96
    if shift >= 0:
        return True
    if shift <= -53:
        return False
    low = (np.uint64(1) << np.uint64(-shift)) - np.uint64(1)
    return ((mantissa | _HIDDEN) & low) == np.uint64(0)


@kernel("void(i64[:, ::1], i64, i64, u64, u64, u64)", forceinline=True)
def _add3(rows: Column, r: Word, c: Word, lo: Word, mid: Word, hi: Word) -> None:
    """rows[r, c:c+3] += (lo, mid, hi), modulo 2**192."""
    a0 = np.uint64(rows[r, c])
    s0 = a0 + np.uint64(lo)
    carry0 = np.uint64(1) if s0 < a0 else np.uint64(0)
    a1 = np.uint64(rows[r, c + 1])
    s1 = a1 + np.uint64(mid)
    carry1 = np.uint64(1) if s1 < a1 else np.uint64(0)
    s1c = s1 + carry0
    if s1c < s1:
        carry1 = np.uint64(1)
    s2 = np.uint64(rows[r, c + 2]) + np.uint64(hi) + carry1
    rows[r, c] = np.int64(s0)
    rows[r, c + 1] = np.int64(s1c)
    rows[r, c + 2] = np.int64(s2)


@kernel("void(i64[:, ::1], i64, i64, u64, u64, u64, bool_)", forceinline=True)
def add_magnitude(
    rows: Column, r: Word, c: Word, lo: Word, mid: Word, hi: Word, negative: Word
) -> None:
    """rows[r, c:c+3] += or -= the unsigned 192-bit magnitude."""
    if negative:
        lo = ~np.uint64(lo) + np.uint64(1)
        carry = np.uint64(1) if lo == np.uint64(0) else np.uint64(0)
        mid = ~np.uint64(mid) + carry
        carry = np.uint64(1) if (carry == np.uint64(1) and mid == np.uint64(0)) else np.uint64(0)
        hi = ~np.uint64(hi) + carry
    _add3(rows, r, c, lo, mid, hi)


@kernel("void(i64[:, ::1], i64, i64, i64, bool_)", forceinline=True)
def add_double(rows: Column, r: Word, c: Word, bits: Word, negate: Word) -> None:
    """Add (or subtract) the double with these bits, for which `fits` holds."""
    u = np.uint64(bits)
    field = np.int64((u >> np.uint64(52)) & np.uint64(0x7FF))
    if field == 0:
        return
    mantissa = (u & _MANTISSA) | _HIDDEN
    shift = field - 1023 - 52 + 96
    lo = np.uint64(0)
    mid = np.uint64(0)
    hi = np.uint64(0)
    if shift < 0:
        lo = mantissa >> np.uint64(-shift)
    else:
        word = shift >> 6
        within = np.uint64(shift & 63)
        low = mantissa << within
        high = np.uint64(0)
        if within > np.uint64(11):
            high = mantissa >> (np.uint64(64) - within)
        if word == 0:
            lo = low
            mid = high
        elif word == 1:
            mid = low
            hi = high
        else:
            hi = low
    negative = (u >> np.uint64(63)) == np.uint64(1)
    add_magnitude(rows, r, c, lo, mid, hi, negative != negate)


@kernel("void(i64[:, ::1], i64, i64, i64, bool_)", forceinline=True)
def add_integer(rows: Column, r: Word, c: Word, value: Word, negate: Word) -> None:
    """Add (or subtract) a 64-bit integer: it is shifted by 96 bits into the two upper limbs."""
    negative = value < 0
    magnitude = ~np.uint64(value) + np.uint64(1) if negative else np.uint64(value)
    mid = magnitude << np.uint64(32)
    hi = magnitude >> np.uint64(32)
    add_magnitude(rows, r, c, np.uint64(0), mid, hi, negative != negate)


@kernel("void(i64[:, ::1], i64, i64, i64[:, ::1], i64, i64)", forceinline=True)
def add_limbs(rows: Column, r: Word, c: Word, other: Column, o: Word, oc: Word) -> None:
    """rows[r, c:c+3] += other[o, oc:oc+3]."""
    _add3(
        rows,
        r,
        c,
        np.uint64(other[o, oc]),
        np.uint64(other[o, oc + 1]),
        np.uint64(other[o, oc + 2]),
    )


@kernel("f64(u64[::1], i64, bool_, i64)", forceinline=True)
def _round(words: Column, count: Word, sticky: Word, exponent: Word) -> Word:
    """The double nearest to words (32-bit, low first) * 2**exponent, ties to even."""
    top = count - 1
    while top >= 0 and words[top] == np.uint64(0):
        top -= 1
    if top < 0:
        return 0.0
    bit = 31
    while (words[top] >> np.uint64(bit)) & np.uint64(1) == np.uint64(0):
        bit -= 1
    highest = top * 32 + bit
    mantissa = np.uint64(0)
    taken = 0
    position = highest
    while taken < 53:
        mantissa = mantissa << np.uint64(1)
        if position >= 0:
            mantissa |= (words[position >> 5] >> np.uint64(position & 31)) & np.uint64(1)
        position -= 1
        taken += 1
    half = np.uint64(0)
    rest = sticky
    if position >= 0:
        half = (words[position >> 5] >> np.uint64(position & 31)) & np.uint64(1)
        inside = words[position >> 5] & ((np.uint64(1) << np.uint64(position & 31)) - np.uint64(1))
        rest = rest or inside != np.uint64(0)
        for i in range(position >> 5):
            rest = rest or words[i] != np.uint64(0)
    if half == np.uint64(1) and (rest or (mantissa & np.uint64(1)) == np.uint64(1)):
        mantissa += np.uint64(1)
    return math.ldexp(np.float64(mantissa), highest - 52 + exponent)


@kernel("f64(i64[:, ::1], i64, i64, i64, u64[::1], u64[::1])", forceinline=True)
def round_mean(
    rows: Column, r: Word, c: Word, count: Word, words: Column, quotient: Column
) -> Word:
    """The double nearest to the exact sum in rows[r, c:c+3] divided by count in 1..2**31.

    words and quotient are scratch, u64[9]. Equals ``float(Fraction(limbs, 2**96) / count)``.
    """
    negative = rows[r, c + 2] < 0
    carry = np.uint64(1)
    for i in range(3):
        words[i] = np.uint64(0)
        limb = np.uint64(rows[r, c + i])
        if negative:
            limb = ~limb + carry
            if limb != np.uint64(0):
                carry = np.uint64(0)
        words[3 + 2 * i] = limb & np.uint64(0xFFFFFFFF)
        words[4 + 2 * i] = limb >> np.uint64(32)
    divisor = np.uint64(count)
    remainder = np.uint64(0)
    for i in range(8, -1, -1):
        part = (remainder << np.uint64(32)) | words[i]
        quotient[i] = part // divisor
        remainder = part - quotient[i] * divisor
    value = _round(quotient, 9, remainder != np.uint64(0), -2 * 96)
    return -value if negative else value


@kernel("void(i64[:, ::1], i64, i64[::1], f64[::1])")
def finish_mean(rows: Column, column: Word, counts: Column, out: Column) -> None:
    """out[r] = the double nearest to the exact sum in rows[r, column:column+3] over counts[r].

    rows i64[n, w], counts i64[n] up to 2**31 (1: the sum itself), out f64[n]. A count of 0 gives
    0.0. Equals ``float(Fraction(limbs, 2**96) / count)``.
    """
    words = np.zeros(9, np.uint64)
    quotient = np.zeros(9, np.uint64)
    for r in range(rows.shape[0]):
        if counts[r] > 0:
            out[r] = round_mean(rows, r, column, counts[r], words, quotient)
        else:
            out[r] = 0.0


def limbs_of(total: int) -> tuple[int, int, int]:
    """The limbs (signed 64-bit, low first) of an integer number of 2**-96."""
    mask = (1 << 64) - 1
    parts = [(total >> shift) & mask for shift in (0, 64, 128)]
    low, mid, high = (part - (1 << 64) if part >> 63 else part for part in parts)
    return low, mid, high


def total_of(low: int, mid: int, high: int) -> int:
    """The integer number of 2**-96 that three signed limbs stand for."""
    mask = (1 << 64) - 1
    return (low & mask) | ((mid & mask) << 64) | (high << 128)


def spill_of(bits: int) -> int:
    """The finite double with these bits as an integer number of 2**-1074."""
    (value,) = struct.unpack("<d", struct.pack("<q", bits))
    return int(Fraction(value) * (1 << SPILL_BITS))


def exact_mean(low: int, mid: int, high: int, spill: int, count: int) -> float:
    """The double nearest to (limbs + spilled values) / count; infinity past the largest double."""
    total = Fraction(total_of(low, mid, high), 1 << FRACTION_BITS)
    total += Fraction(spill, 1 << SPILL_BITS)
    try:
        return float(total / count)
    except OverflowError:
        return math.inf if total > 0 else -math.inf
