"""Exact sums of squares, and the variance and its root that follow, each rounded once.

A sum of squares is a whole number of 2**-192 in six 64-bit limbs, low limb first, never negative.
Values that fit a sum (`streams.kernels.exact.fits`: multiples of 2**-96 below 2**63, and all 64-bit
integers) have squares that are multiples of 2**-192 up to 2**126, so 2**64 of them cannot overflow.

With S the sum, Q the sum of squares and n the count, both exact, the variance is
(n Q - S**2) / (n d), with d = n or, for a sample, n - 1. The numerator is a whole number of 2**-192
below 2**384; two divisions by numbers below 2**32 leave at least 320 bits of quotient and a sticky
bit, of which 53 are kept.
"""

from __future__ import annotations

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.exact import FRACTION_BITS, nearest_double
from streams.kernels.machine import i64, leading_zeros, multiply_high, u64
from streams.kernels.types import Column, Word

LIMBS = 6
SCRATCH = 9  # words that `variance_of` works in: the numerator, and the magnitude of the sum
LARGEST_COUNT = (1 << 32) - 1

_MANTISSA = np.uint64((1 << 52) - 1)
_HIDDEN = np.uint64(1 << 52)


@kernel("u64(i64[:, ::1], i64, i64, u64, u64)", forceinline=True, allocates=False)
def _add_word(rows: Column, r: Word, c: Word, word: Word, carry: Word) -> Word:
    """rows[r, c] += word + carry; returns the carry out."""
    before = u64(rows[r, c])
    with_word = before + word
    out = u64(1) if with_word < before else u64(0)
    after = with_word + carry
    if after < with_word:
        out = u64(1)
    rows[r, c] = i64(after)
    return out


@kernel("void(i64[:, ::1], i64, i64, u64, i64)", forceinline=True, allocates=False)
def _add_squared(rows: Column, r: Word, c: Word, magnitude: Word, shift: Word) -> None:
    """rows[r, c:c+6] += (magnitude * 2**shift)**2, for shift in 0..106."""
    low = magnitude * magnitude
    high = multiply_high(magnitude, magnitude)
    places = 2 * shift
    word = places >> 6
    within = u64(places & 63)
    first, second, third = low, high, u64(0)
    if within != u64(0):
        rest = u64(64) - within
        first = low << within
        second = (high << within) | (low >> rest)
        third = high >> rest
    carry = _add_word(rows, r, c + word, first, u64(0))
    carry = _add_word(rows, r, c + word + 1, second, carry)
    carry = _add_word(rows, r, c + word + 2, third, carry)
    at = word + 3
    while carry != u64(0) and at < LIMBS:
        carry = _add_word(rows, r, c + at, u64(0), carry)
        at += 1


@kernel("void(i64[:, ::1], i64, i64, i64)", forceinline=True, allocates=False)
def add_square_of_double(rows: Column, r: Word, c: Word, bits: Word) -> None:
    """rows[r, c:c+6] += the square of the double with these bits, for which `fits` holds."""
    u = u64(bits)
    field = i64((u >> u64(52)) & u64(0x7FF))
    if field == 0:
        return
    mantissa = (u & _MANTISSA) | _HIDDEN
    shift = field - 1023 - 52 + FRACTION_BITS
    if shift < 0:
        mantissa = mantissa >> u64(-shift)
        shift = 0
    _add_squared(rows, r, c, mantissa, shift)


@kernel("void(i64[:, ::1], i64, i64, i64)", forceinline=True, allocates=False)
def add_square_of_integer(rows: Column, r: Word, c: Word, value: Word) -> None:
    """rows[r, c:c+6] += the square of a 64-bit integer."""
    magnitude = ~u64(value) + u64(1) if value < 0 else u64(value)
    _add_squared(rows, r, c, magnitude, FRACTION_BITS)


@kernel("void(i64[:, ::1], i64, i64, i64[:, ::1], i64, i64)", forceinline=True, allocates=False)
def add_squares(rows: Column, r: Word, c: Word, other: Column, o: Word, oc: Word) -> None:
    """rows[r, c:c+6] += other[o, oc:oc+6]."""
    carry = u64(0)
    for at in range(LIMBS):
        carry = _add_word(rows, r, c + at, u64(other[o, oc + at]), carry)


@kernel("void(i64[:, ::1], i64, i64, u64[::1])", forceinline=True, allocates=False)
def _magnitude(rows: Column, r: Word, c: Word, words: Column) -> None:
    """words[6:9] = the absolute value of the sum in rows[r, c:c+3]."""
    negative = rows[r, c + 2] < 0
    carry = u64(1)
    for at in range(3):
        word = u64(rows[r, c + at])
        if negative:
            word = ~word + carry
            carry = u64(1) if carry != u64(0) and word == u64(0) else u64(0)
        words[LIMBS + at] = word


@kernel("void(i64[:, ::1], i64, i64, u64, u64[::1])", forceinline=True, allocates=False)
def _times(rows: Column, r: Word, c: Word, factor: Word, words: Column) -> None:
    """words[0:6] = the sum of squares in rows[r, c:c+6] times the factor."""
    carry = u64(0)
    for at in range(LIMBS):
        limb = u64(rows[r, c + at])
        low = limb * factor + carry
        carry = multiply_high(limb, factor) + (u64(1) if low < carry else u64(0))
        words[at] = low


@kernel("void(u64[::1])", forceinline=True, allocates=False)
def _less_square(words: Column) -> None:
    """words[0:6] -= words[6:9]**2."""
    for i in range(3):
        borrow = u64(0)
        for j in range(3):
            left, right = words[LIMBS + i], words[LIMBS + j]
            low = left * right
            part = low + borrow
            borrow = multiply_high(left, right) + (u64(1) if part < low else u64(0))
            before = words[i + j]
            words[i + j] = before - part
            if before < part:
                borrow += u64(1)
        at = i + 3
        while borrow != u64(0) and at < LIMBS:
            before = words[at]
            words[at] = before - borrow
            borrow = u64(1) if before < borrow else u64(0)
            at += 1


@kernel("i64(u64[::1])", forceinline=True, allocates=False)
def _normalise(words: Column) -> Word:
    """Shift words[0:6], which are not all zero, up to the top; returns by how many bits."""
    shifted = 0
    while words[LIMBS - 1] == u64(0):
        for at in range(LIMBS - 1, 0, -1):
            words[at] = words[at - 1]
        words[0] = u64(0)
        shifted += 64
    zeros = leading_zeros(words[LIMBS - 1])
    if zeros > 0:
        for at in range(LIMBS - 1, 0, -1):
            words[at] = (words[at] << u64(zeros)) | (words[at - 1] >> u64(64 - zeros))
        words[0] = words[0] << u64(zeros)
    return shifted + zeros


@kernel("bool_(u64[::1], u64)", forceinline=True, allocates=False)
def _divide(words: Column, divisor: Word) -> Word:
    """words[0:6] //= a divisor in 1..2**32 - 1; whether there was a remainder."""
    remainder = u64(0)
    for step in range(LIMBS):
        at = LIMBS - 1 - step
        word = words[at]
        part = (remainder << u64(32)) | (word >> u64(32))
        upper = part // divisor
        remainder = part - upper * divisor
        part = (remainder << u64(32)) | (word & u64(0xFFFFFFFF))
        lower = part // divisor
        remainder = part - lower * divisor
        words[at] = (upper << u64(32)) | lower
    return remainder != u64(0)


@kernel("UniTuple(u64, 2)(u64, u64)", forceinline=True, allocates=False)
def square_root(high: Word, low: Word) -> Word:
    """(root, rest): the integer square root of high * 2**64 + low; rest is 0 if it is exact.

    high at least 2**62. The double nearest to the upper word gives the root to 2**12; one step of
    Newton's method on the exact 128-bit remainder to 1; comparison of squares does the rest.
    """
    guess = np.sqrt(np.float64(high)) * 4294967296.0
    root = u64(0xFFFFFFFFFFFFFFFF) if guess >= 18446744073709551615.0 else u64(guess)
    below = root * root
    borrow = u64(1) if low < below else u64(0)
    difference = i64(high - multiply_high(root, root) - borrow)
    remainder = np.float64(difference) * 18446744073709551616.0 + np.float64(low - below)
    step = i64(np.floor(remainder / (2.0 * np.float64(root))))
    if step < 0:
        root -= u64(-step)
    elif root + u64(step) < root:
        root = u64(0xFFFFFFFFFFFFFFFF)
    else:
        root += u64(step)
    while _above(root, high, low):
        root -= u64(1)
    while root != u64(0xFFFFFFFFFFFFFFFF) and not _above(root + u64(1), high, low):
        root += u64(1)
    exact = root * root == low and multiply_high(root, root) == high
    return root, u64(0) if exact else u64(1)


@kernel("bool_(u64, u64, u64)", forceinline=True, allocates=False)
def _above(root: Word, high: Word, low: Word) -> Word:
    """Whether root**2 > high * 2**64 + low."""
    upper = multiply_high(root, root)
    return upper > high or (upper == high and root * root > low)


@kernel("f64(u64[::1], bool_, i64)", forceinline=True, allocates=False)
def _root(words: Column, sticky: Word, exponent: Word) -> Word:
    """The double nearest to the root of words[3:6] * 2**exponent; sticky: and something more."""
    high, mid, low = words[5], words[4], words[3]
    if high == u64(0):
        high, mid, low = mid, low, u64(0)
        exponent -= 64
    zeros = leading_zeros(high)
    if zeros > 0:
        high = (high << u64(zeros)) | (mid >> u64(64 - zeros))
        mid = (mid << u64(zeros)) | (low >> u64(64 - zeros))
        low = low << u64(zeros)
    exponent += 64 - zeros
    sticky = sticky or low != u64(0)
    if exponent & 1 != 0:
        sticky = sticky or mid & u64(1) != u64(0)
        mid = (mid >> u64(1)) | (high << u64(63))
        high = high >> u64(1)
        exponent += 1
    root, rest = square_root(high, mid)
    return nearest_double(root, u64(0), u64(0), sticky or rest != u64(0), exponent // 2 - 128)


@kernel("f64(i64[:, ::1], i64, i64, i64, i64, i64, bool_, u64[::1])", allocates=False)
def variance_of(
    rows: Column,
    r: Word,
    total: Word,
    squares: Word,
    count: Word,
    divisor: Word,
    root: Word,
    words: Column,
) -> Word:
    """The double nearest to the variance, or to its root.

    rows[r, total:total+3] is the sum, rows[r, squares:squares+6] the sum of squares of count
    values; divisor is count or count - 1; both in 1..LARGEST_COUNT. words u64[SCRATCH].
    Equals ``float((count * Q - S**2) / (count * divisor))`` in rationals.
    """
    _magnitude(rows, r, total, words)
    _times(rows, r, squares, u64(count), words)
    _less_square(words)
    left = u64(0)
    for at in range(LIMBS):
        left |= words[at]
    if left == u64(0):
        return 0.0
    exponent = 192 - 2 * FRACTION_BITS - _normalise(words)
    more = _divide(words, u64(count))
    more = _divide(words, u64(divisor)) or more
    more = more or words[0] != u64(0) or words[1] != u64(0) or words[2] != u64(0)
    if root:
        return _root(words, more, exponent)
    return nearest_double(words[5], words[4], words[3], more, exponent)
