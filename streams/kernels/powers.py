"""In which base-2 exponential bucket a double lies, by integers alone: the same on every machine.

Bucket i of scale s is (2**(i / 2**s), 2**((i + 1) / 2**s)], as in OpenTelemetry's data model. The
bounds within an octave are tabled as 53-bit significands, rounded down: a double is above a bound
if its significand is above the table's, since no bound but 1 is a rational number. The table of the
finest scale, 20, has 2**20 entries (8 MB, made in 20 ms when first asked for); one of scale 9 with
a first guess by the upper ten bits of the significand stays in the processor's first cache.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

from streams.kernels.compile import kernel
from streams.kernels.machine import high_product, i64, leading_zeros, u64
from streams.kernels.types import Column, Word

MAX_SCALE = 20
MIN_SCALE = -10
COARSE_SCALE = 9

_STEPS = 1 << MAX_SCALE
_GUESS_BITS = 10
_BETWEEN = MAX_SCALE - COARSE_SCALE
_MANTISSA = np.uint64((1 << 52) - 1)
_HIDDEN = np.uint64(1 << 52)
_TO_STEPS = _STEPS / math.log(2)  # only a first guess: the tables decide

# What kernels take: bounds u64[2**20 + 1], coarse bounds u64[513], guesses i64[1024].
TABLES = "Tuple((u64[::1], u64[::1], i64[::1]))"
Tables = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.int64]]


@functools.cache
def tables() -> Tables:
    """The tables that `index_of` reads."""
    bounds = np.empty(_STEPS + 1, np.uint64)
    _multiply(*_words(_powers(MAX_SCALE // 2)), *_words(_powers(MAX_SCALE)), bounds)
    bounds[_STEPS] = 1 << 53
    coarse = bounds[:: 1 << _BETWEEN].copy()
    slots = (np.uint64(1 << 52)) + (
        np.arange(1 << _GUESS_BITS, dtype=np.uint64) << np.uint64(52 - _GUESS_BITS)
    )
    guesses = np.maximum(np.searchsorted(coarse, slots, side="left") - 1, 0).astype(np.int64)
    return bounds, coarse, guesses


def _powers(scale: int) -> list[int]:
    """The 1,024 numbers 2**(j / 2**scale), as integer numbers of 2**-127, rounded down."""
    guard = 128
    root = 2 << (2 * (127 + guard))
    for _ in range(scale):
        root = math.isqrt(root) << (127 + guard)
    root >>= 127 + guard
    power = 1 << (127 + guard)
    found: list[int] = []
    for _ in range(1024):
        found.append(power >> guard)
        power = power * root >> (127 + guard)
    return found


def _words(numbers: list[int]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """128-bit numbers as their upper and lower words."""
    upper = np.array([number >> 64 for number in numbers], np.uint64)
    return upper, np.array([number & (1 << 64) - 1 for number in numbers], np.uint64)


@kernel("void(u64[::1], u64[::1], u64[::1], u64[::1], u64[::1])", allocates=False)
def _multiply(
    upper: Column, lower: Column, fine_upper: Column, fine_lower: Column, out: Column
) -> None:
    """out[1024 a + b] = the upper 53 bits of the product of number a and fine number b.

    Numbers are words of 128-bit fixed point with 127 fraction bits. What is left out of a product
    is below 2**-124 of it; a test shows that no bound is as near to an integer.
    """
    for a in range(1024):
        for b in range(1024):
            cross = high_product(upper[a], fine_lower[b])
            low = upper[a] * fine_upper[b] + cross
            carry = u64(1) if low < cross else u64(0)
            more = high_product(lower[a], fine_upper[b])
            low = low + more
            if low < more:
                carry += u64(1)
            high = high_product(upper[a], fine_upper[b]) + carry
            out[(a << 10) + b] = high >> u64(10)


@kernel(f"i64(i64, i64, {TABLES})", forceinline=True, allocates=False)
def index_of(magnitude: Word, scale: Word, tables: Column) -> Word:
    """The bucket of the positive finite double with these bits; scale from -10 to 20."""
    bounds, coarse, guesses = tables
    exponent = magnitude >> 52
    significand = u64(magnitude) & _MANTISSA
    if exponent == 0:
        shift = leading_zeros(significand) - 11
        significand = (significand << u64(shift)) & _MANTISSA
        exponent = 1 - shift
    exponent -= 1023
    if significand == u64(0):
        exponent -= 1  # a power of two is the last value of its bucket
        return ((exponent << 20) + 0xFFFFF) >> (20 - scale)
    j = guesses[i64(significand >> u64(52 - _GUESS_BITS))]
    significand |= _HIDDEN
    if significand > coarse[j + 1]:
        j += 1
    if scale <= COARSE_SCALE:
        return ((exponent << COARSE_SCALE) + j) >> (COARSE_SCALE - scale)
    return ((exponent << 20) + _refined(significand, j, bounds)) >> (20 - scale)


@kernel("i64(u64, i64, u64[::1])", allocates=False)
def _refined(significand: Word, coarse: Word, bounds: Column) -> Word:
    """The step of scale 20 within the octave, for a step of scale 9.

    The guess by two terms of the series of the logarithm is off by one at most; the table decides.
    """
    first = coarse << _BETWEEN
    base = bounds[first]
    d = np.float64(i64(significand - base)) / np.float64(i64(base))
    j = first + i64(_TO_STEPS * (d - 0.5 * d * d))
    j = max(first, min(j, first + (1 << _BETWEEN) - 1))
    while j > first and significand <= bounds[j]:
        j -= 1
    while j < first + (1 << _BETWEEN) - 1 and significand > bounds[j + 1]:
        j += 1
    return j


@kernel("f64(i64, u64[::1])", forceinline=True, allocates=False)
def bound_at(step: Word, bounds: Column) -> Word:
    """The greatest double up to 2**(step / 2**20); the greatest finite one from 2**1024 on."""
    exponent = step >> 20
    if exponent >= 1024:
        return 1.7976931348623157e308
    significand = bounds[step & 0xFFFFF]
    if exponent < -1022:
        dropped = -1022 - exponent
        significand = significand >> u64(dropped) if dropped < 64 else u64(0)
        exponent = -1022
    return math.ldexp(np.float64(i64(significand)), exponent - 52)
