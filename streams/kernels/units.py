"""Values of one unit become values of another, each rounded once to the nearest double.

A conversion is `(v * a * 2**j + b * 2**k) / c` with odd integers below 2**63. Multiplying or
dividing by one integer below 2**53 is one IEEE operation, which rounds once; all else is computed
in 256 bits. An integer stays one where the result is one and fits. The plain reference is
`nearest(Fraction(v) * p / q + offset)`.
"""

from __future__ import annotations

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.machine import (
    double_bits,
    double_of,
    i64,
    leading_zeros,
    multiply_high,
    u64,
)
from streams.kernels.rows import IS_INTEGER
from streams.kernels.types import Column, Word

# A conversion, i64[CONVERSION_WIDTH]: how, and a, j, b, k, c of the formula
HOW, A, J, B, K, C = range(6)
CONVERSION_WIDTH = 6

# How: not at all, by one product, by one division, exactly
AS_IT_IS, TIMES, OVER, EXACTLY = range(4)

_NAN_BITS = 0x7FF8000000000000
_INFINITY_BITS = 0x7FF0000000000000
_MAGNITUDE = 0x7FFFFFFFFFFFFFFF
_MANTISSA = (1 << 52) - 1
_GREATEST = np.iinfo(np.int64).max
_LEAST = np.iinfo(np.int64).min
_WHOLE = 1 << 53  # integers up to here are doubles
_TOP = 254  # where the greater summand's first bit goes


def conversion_row(a: int, j: int, b: int, k: int, c: int) -> list[int]:
    """The row of a conversion. TIMES and OVER keep their one integer in the place of `a`."""
    if b == 0 and c == 1 and j >= 0 and (a << j) <= _WHOLE:
        times = a << j
        return [TIMES if times > 1 else AS_IT_IS, times, 0, 0, 0, 1]
    if b == 0 and a == 1 and j <= 0 and (c << -j) <= _WHOLE:
        return [OVER, c << -j, 0, 0, 0, 1]
    return [EXACTLY, a, j, b, k, c]


@kernel("u64(u64, u64, i64)", forceinline=True, allocates=False)
def _bits_from(high: Word, low: Word, first: Word) -> Word:
    """64 bits of (high, low) from bit `first` on, which may lie anywhere."""
    if first >= 128 or first <= -64:
        return u64(0)
    if first >= 64:
        return high >> u64(first - 64)
    if first > 0:
        return (low >> u64(first)) | (high << u64(64 - first))
    return low << u64(-first)


@kernel("bool_(u64, u64, i64)", forceinline=True, allocates=False)
def _any_below(high: Word, low: Word, count: Word) -> Word:
    """Whether any of the lowest `count` bits of (high, low) is set."""
    if count <= 0:
        return False
    if count >= 128:
        return (high | low) != u64(0)
    if count > 64:
        return low != u64(0) or (high << u64(128 - count)) != u64(0)
    return (low << u64(64 - count)) != u64(0)


@kernel("i64(u64, u64)", forceinline=True, allocates=False)
def _length(high: Word, low: Word) -> Word:
    """Bits of (high, low) up to the first that is set."""
    if high != u64(0):
        return 128 - leading_zeros(high)
    return 64 - leading_zeros(low)


@kernel("i64(u64, i64, bool_)", forceinline=True, allocates=False)
def _nearest_bits(word: Word, exponent: Word, more: Word) -> Word:
    """The bits of the double nearest to word * 2**exponent, ties to even; word's top bit is set.

    more: something below the last bit is set as well.
    """
    leading = exponent + 63
    if leading > 1023:
        return _INFINITY_BITS
    drop = i64(11)
    if leading < -1022:
        drop += -1022 - leading
    if drop > 64:
        return 0
    if drop == 64:
        mantissa = u64(0)
        rest = word
    else:
        mantissa = word >> u64(drop)
        rest = word << u64(64 - drop)
    half = u64(1) << u64(63)
    if rest > half or (rest == half and (more or mantissa & u64(1) != u64(0))):
        mantissa += u64(1)
    if leading < -1022:
        return i64(mantissa)
    return ((leading + 1022) << 52) + i64(mantissa)


@kernel(
    "UniTuple(i64, 2)(u64, i64, bool_, bool_, i64[:, ::1], i64)", forceinline=True, allocates=False
)
def _exactly(
    magnitude: Word, exponent: Word, negative: Word, integer: Word, table: Column, row: Word
) -> tuple[Word, Word]:
    """(raw, whether it is an integer) of the converted value of +-magnitude * 2**exponent."""
    factor = u64(table[row, A])
    divisor = u64(table[row, C])
    b = table[row, B]
    x1, x0 = multiply_high(magnitude, factor), magnitude * factor
    y0 = u64(-b) if b < 0 else u64(b)
    x_at, y_at = exponent + table[row, J], table[row, K]
    if (x1 | x0) == u64(0) and y0 == u64(0):
        return (0, 1) if integer else (_LEAST if negative else 0, 0)
    x_top = _length(x1, x0) + x_at if (x1 | x0) != u64(0) else i64(-(1 << 20))
    y_top = _length(u64(0), y0) + y_at if y0 != u64(0) else i64(-(1 << 20))
    base = max(x_top, y_top) - _TOP
    x, y = x_at - base, y_at - base
    n0, n1 = _bits_from(x1, x0, -x), _bits_from(x1, x0, 64 - x)
    n2, n3 = _bits_from(x1, x0, 128 - x), _bits_from(x1, x0, 192 - x)
    zero = u64(0)
    m0, m1 = _bits_from(zero, y0, -y), _bits_from(zero, y0, 64 - y)
    m2, m3 = _bits_from(zero, y0, 128 - y), _bits_from(zero, y0, 192 - y)
    more = _any_below(x1, x0, -x) or _any_below(zero, y0, -y)
    if negative == (b < 0):
        n0, n1, n2, n3 = _plus(n0, n1, n2, n3, m0, m1, m2, m3)
    else:
        if _less(n0, n1, n2, n3, m0, m1, m2, m3):
            n0, m0, n1, m1, n2, m2, n3, m3 = m0, n0, m1, n1, m2, n2, m3, n3
            negative = not negative
        n0, n1, n2, n3 = _plus(n0, n1, n2, n3, ~m0, ~m1, ~m2, ~m3)
        if not more:  # else one is taken away: a fraction of the last bit is missing
            n0, n1, n2, n3 = _plus(n0, n1, n2, n3, u64(1), zero, zero, zero)
    if (n0 | n1 | n2 | n3) == zero:
        return (0, 1) if integer else (0, 0)
    while n3 == zero:
        n3, n2, n1, n0 = n2, n1, n0, zero
        base -= 64
    return _quotient(n0, n1, n2, n3, base, divisor, more, negative, integer)


@kernel(
    "UniTuple(u64, 4)(u64, u64, u64, u64, u64, u64, u64, u64)", forceinline=True, allocates=False
)
def _plus(
    a0: Word, a1: Word, a2: Word, a3: Word, b0: Word, b1: Word, b2: Word, b3: Word
) -> tuple[Word, Word, Word, Word]:
    """The sum, modulo 2**256, low word first."""
    one, zero = u64(1), u64(0)
    s0 = a0 + b0
    c0 = one if s0 < a0 else zero
    s1 = a1 + b1
    c1 = one if s1 < a1 else zero
    s1 += c0
    if s1 < c0:
        c1 = one
    s2 = a2 + b2
    c2 = one if s2 < a2 else zero
    s2 += c1
    if s2 < c1:
        c2 = one
    return s0, s1, s2, a3 + b3 + c2


@kernel("bool_(u64, u64, u64, u64, u64, u64, u64, u64)", forceinline=True, allocates=False)
def _less(a0: Word, a1: Word, a2: Word, a3: Word, b0: Word, b1: Word, b2: Word, b3: Word) -> Word:
    """Whether a is less than b, low words first."""
    if a3 != b3:
        return a3 < b3
    if a2 != b2:
        return a2 < b2
    if a1 != b1:
        return a1 < b1
    return a0 < b0


@kernel(
    "UniTuple(i64, 2)(u64, u64, u64, u64, i64, u64, bool_, bool_, bool_)",
    forceinline=True,
    allocates=False,
)
def _quotient(
    n0: Word, n1: Word, n2: Word, n3: Word, base: Word, divisor: Word, more: Word,
    negative: Word, integer: Word,
) -> tuple[Word, Word]:  # fmt: skip
    """(raw, whether it is an integer) of +-n * 2**base / divisor; n3 is not 0.

    Bits of the quotient are found one by one, until there are 64 from the first on.
    """
    word, rest = u64(0), u64(0)
    at = i64(256)
    while word >> u64(63) == u64(0):
        rest = (rest << u64(1)) | (n3 >> u64(63))
        n3 = (n3 << u64(1)) | (n2 >> u64(63))
        n2 = (n2 << u64(1)) | (n1 >> u64(63))
        n1 = (n1 << u64(1)) | (n0 >> u64(63))
        n0 = n0 << u64(1)
        word = word << u64(1)
        if rest >= divisor:
            rest -= divisor
            word |= u64(1)
        at -= 1
    more = more or (rest | n0 | n1 | n2 | n3) != u64(0)
    exponent = base + at
    if integer and not more and exponent <= 0 and exponent > -64:
        whole = word >> u64(-exponent)
        exact = exponent == 0 or (word << u64(64 + exponent)) == u64(0)
        if exact and (whole <= u64(_GREATEST) or (negative and whole == u64(_GREATEST) + u64(1))):
            return (i64(u64(0) - whole) if negative else i64(whole)), 1
    bits = _nearest_bits(word, exponent, more)
    return (bits | _LEAST if negative else bits), 0


@kernel("UniTuple(i64, 2)(i64, i64[:, ::1], i64)", forceinline=True, allocates=False)
def _integer(value: Word, table: Column, row: Word) -> tuple[Word, Word]:
    """(raw, whether it is an integer) of a converted integer."""
    how, by = table[row, HOW], table[row, A]
    small = -_WHOLE <= value <= _WHOLE
    if how == TIMES:
        if -(_GREATEST // by) <= value <= _GREATEST // by:
            return value * by, 1
        if small:
            return double_bits(np.float64(value) * np.float64(by)), 0
        return _exactly_of(value, table, row, by, 1)
    if how == OVER:
        whole = value // by
        if whole * by == value:
            return whole, 1
        if small:
            return double_bits(np.float64(value) / np.float64(by)), 0
        return _exactly_of(value, table, row, 1, by)
    negative = value < 0
    magnitude = u64(0) - u64(value) if negative else u64(value)
    return _exactly(magnitude, i64(0), negative, True, table, row)


@kernel("UniTuple(i64, 2)(i64, i64[:, ::1], i64, i64, i64)", forceinline=True, allocates=False)
def _exactly_of(
    value: Word, table: Column, row: Word, times: Word, over: Word
) -> tuple[Word, Word]:
    """(raw, 0) of value * times / over, which is no integer of 64 bits."""
    negative = value < 0
    magnitude = u64(0) - u64(value) if negative else u64(value)
    high, low = multiply_high(magnitude, u64(times)), magnitude * u64(times)
    if high != u64(0):
        return _quotient(u64(0), u64(0), low, high, i64(-128), u64(over), False, negative, False)
    return _quotient(u64(0), u64(0), u64(0), low, i64(-192), u64(over), False, negative, False)


@kernel("i64(i64, i64[:, ::1], i64)", forceinline=True, allocates=False)
def _double(bits: Word, table: Column, row: Word) -> Word:
    """The bits of a converted double."""
    how = table[row, HOW]
    value = double_of(bits)
    if value != value:
        return _NAN_BITS
    if how == TIMES:
        return double_bits(value * np.float64(table[row, A]))
    if how == OVER:
        return double_bits(value / np.float64(table[row, A]))
    size = bits & _MAGNITUDE
    if size == _INFINITY_BITS:
        return bits
    field = size >> 52
    mantissa = u64(size & _MANTISSA)
    if field > 0:
        mantissa |= u64(1) << u64(52)
    else:
        field = i64(1)
    raw, _ = _exactly(mantissa, field - 1075, bits < 0, False, table, row)
    return raw


@kernel("void(i32[::1], u16[::1], i64[:, ::1], i64[::1], u8[::1])", allocates=False)
def convert_points(
    slots: Column, which: Column, table: Column, raws: Column, metas: Column
) -> None:
    """Convert, in place, the values of points whose stream is read in another unit.

    slots i32[n]; which u16[streams], the row of each stream's conversion in table
    i64[k, CONVERSION_WIDTH], 0: none; raws i64[n], metas u8[n] as in `streams.kernels.rows`.
    """
    for i in range(slots.shape[0]):
        slot = slots[i]
        if slot >= which.shape[0]:
            continue
        row = i64(which[slot])
        if row == 0:
            continue
        if metas[i] & IS_INTEGER != 0:
            raw, whole = _integer(raws[i], table, row)
            raws[i] = raw
            if whole == 0:
                metas[i] = np.uint8(metas[i] & ~IS_INTEGER)
        else:
            raws[i] = _double(raws[i], table, row)
