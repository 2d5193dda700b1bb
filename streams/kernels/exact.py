"""Exact sums: 192-bit fixed point with 96 fraction bits, in three 64-bit limbs, low limb first.

A sum is an integer number of 2**-96 in two's complement, so adding is associative and commutative
to the bit. Doubles that have bits below 2**-96 or reach 2**63 do not fit; the caller keeps those
apart (`fits`). Sums of up to 2**32 values that fit cannot overflow. The NumPy these equal:
``math.fsum``, and ``Fraction`` for a mean.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.machine import leading_zeros, u64
from streams.kernels.types import Column, Word

FRACTION_BITS = 96
LARGEST_EXPONENT = 63  # |value| < 2**63, so that 2**32 of them stay below 2**95
SPILL_BITS = 1074  # every finite double is an integer number of 2**-1074

_MANTISSA = np.uint64((1 << 52) - 1)
_HIDDEN = np.uint64(1 << 52)


@kernel("bool_(i64)", forceinline=True, allocates=False)
def fits(bits: Word) -> Word:
    """Whether the finite double with these bits is a multiple of 2**-96 below 2**63."""
    u = np.uint64(bits)
    field = np.int64((u >> np.uint64(52)) & np.uint64(0x7FF))
    mantissa = u & _MANTISSA
    if field == 0:
        return mantissa == np.uint64(0)
    if field == 2047 or field - 1023 >= LARGEST_EXPONENT:
        return False
    shift = field - 1023 - 52 + 96
    if shift >= 0:
        return True
    if shift <= -53:
        return False
    low = (np.uint64(1) << np.uint64(-shift)) - np.uint64(1)
    return ((mantissa | _HIDDEN) & low) == np.uint64(0)


@kernel("void(i64[:, ::1], i64, i64, u64, u64, u64)", forceinline=True, allocates=False)
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


@kernel("void(i64[:, ::1], i64, i64, u64, u64, u64, bool_)", forceinline=True, allocates=False)
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


@kernel("void(i64[:, ::1], i64, i64, i64, bool_)", forceinline=True, allocates=False)
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


@kernel("void(i64[:, ::1], i64, i64, i64, bool_)", forceinline=True, allocates=False)
def add_integer(rows: Column, r: Word, c: Word, value: Word, negate: Word) -> None:
    """Add (or subtract) a 64-bit integer: it is shifted by 96 bits into the two upper limbs."""
    negative = value < 0
    magnitude = ~np.uint64(value) + np.uint64(1) if negative else np.uint64(value)
    mid = magnitude << np.uint64(32)
    hi = magnitude >> np.uint64(32)
    add_magnitude(rows, r, c, np.uint64(0), mid, hi, negative != negate)


@kernel("void(i64[:, ::1], i64, i64, i64[:, ::1], i64, i64)", forceinline=True, allocates=False)
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


@kernel("f64(u64, u64, u64, bool_, i64)", forceinline=True, allocates=False)
def nearest_double(high: Word, mid: Word, low: Word, sticky: Word, exponent: Word) -> Word:
    """The double nearest to (high, mid, low) * 2**exponent, ties to even.

    sticky: whether something below the last bit is set as well.
    """
    while high == u64(0):
        if mid == u64(0) and low == u64(0):
            return 0.0
        high, mid, low = mid, low, u64(0)
        exponent -= 64
    zeros = leading_zeros(high)
    if zeros > 0:
        high = (high << u64(zeros)) | (mid >> u64(64 - zeros))
        mid = mid << u64(zeros)
    mantissa = high >> u64(11)
    rest = high & u64(0x7FF)
    more = sticky or mid != u64(0) or low != u64(0)
    half = u64(0x400)
    if rest > half or (rest == half and (more or mantissa & u64(1) != u64(0))):
        mantissa += u64(1)
    return math.ldexp(np.float64(mantissa), exponent + 128 - zeros + 11)


LARGEST_DIVISOR = 1 << 31


@kernel("f64(i64[:, ::1], i64, i64, i64)", forceinline=True, allocates=False)
def round_mean(rows: Column, r: Word, c: Word, count: Word) -> Word:
    """The double nearest to the exact sum in rows[r, c:c+3] divided by count in 1..2**31.

    Equals ``float(Fraction(limbs, 2**96) / count)``.
    """
    low = u64(rows[r, c])
    mid = u64(rows[r, c + 1])
    high = u64(rows[r, c + 2])
    negative = rows[r, c + 2] < 0
    if negative:
        low = ~low + u64(1)
        carry = u64(1) if low == u64(0) else u64(0)
        mid = ~mid + carry
        carry = u64(1) if carry == u64(1) and mid == u64(0) else u64(0)
        high = ~high + carry
    if count == 1:
        value = nearest_double(high, mid, low, False, -FRACTION_BITS)
    else:
        value = _divided(high, mid, low, u64(count))
    return -value if negative else value


@kernel("f64(u64, u64, u64, u64)", forceinline=True, allocates=False)
def _divided(high: Word, mid: Word, low: Word, divisor: Word) -> Word:
    """The double nearest to (high, mid, low) * 2**-96 / divisor, the divisor below 2**32.

    The upper 128 bits, normalised, give a quotient of 96 bits at least; what is left out can only
    decide a tie.
    """
    exponent = -FRACTION_BITS
    if high == u64(0):
        high, mid, low = mid, low, u64(0)
        exponent -= 64
    if high == u64(0):
        high, mid = mid, u64(0)
        exponent -= 64
    if high == u64(0):
        return 0.0
    zeros = leading_zeros(high)
    if zeros > 0:
        high = (high << u64(zeros)) | (mid >> u64(64 - zeros))
        mid = (mid << u64(zeros)) | (low >> u64(64 - zeros))
        low = low << u64(zeros)
        exponent -= zeros
    quotient = u64(0)
    upper = u64(0)
    remainder = u64(0)
    for i in range(4):
        word = high if i < 2 else mid
        digit = word >> u64(32) if i % 2 == 0 else word & u64(0xFFFFFFFF)
        part = (remainder << u64(32)) | digit
        each = part // divisor
        remainder = part - each * divisor
        if i < 2:
            upper = (upper << u64(32)) | each
        else:
            quotient = (quotient << u64(32)) | each
    return nearest_double(upper, quotient, u64(0), remainder != u64(0) or low != u64(0), exponent)


@kernel("void(i64[:, ::1], i64, i64[::1], f64[::1])", allocates=False)
def finish_mean(rows: Column, column: Word, counts: Column, out: Column) -> None:
    """out[r] = the double nearest to the exact sum in rows[r, column:column+3] over counts[r].

    rows i64[n, w], counts i64[n] up to 2**31 (1: the sum itself), out f64[n]. A count of 0 gives
    0.0. Equals ``float(Fraction(limbs, 2**96) / count)``.
    """
    for r in range(rows.shape[0]):
        if counts[r] > 0:
            out[r] = round_mean(rows, r, column, counts[r])
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
    field = (bits >> 52) & 0x7FF
    mantissa = bits & ((1 << 52) - 1)
    magnitude = (mantissa | 1 << 52) << (field - 1) if field else mantissa
    return -magnitude if bits < 0 else magnitude


def exact_mean(low: int, mid: int, high: int, spill: int, count: int) -> float:
    """The double nearest to (limbs + spilled values) / count; infinity past the largest double."""
    total = Fraction(total_of(low, mid, high), 1 << FRACTION_BITS)
    total += Fraction(spill, 1 << SPILL_BITS)
    return nearest(total / count)


def nearest(value: Fraction) -> float:
    """The double nearest to the value; infinity past the largest double."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def nearest_root(value: Fraction) -> float:
    """The double nearest to the square root of a value that is not negative.

    Values from 2**-2400 on: the root is cut at 2**-1200, and a bit below says what was cut off.
    """
    scaled, rest = divmod(value.numerator << 2400, value.denominator)
    root = math.isqrt(scaled)
    more = rest != 0 or root * root != scaled
    return nearest(Fraction(2 * root + more, 1 << 1201))
