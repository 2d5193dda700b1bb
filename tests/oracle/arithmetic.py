"""Exact arithmetic over measured values: nothing is rounded before the published number.

A measured value is an `int` (OTLP as_int) or a `float` (as_double). A finite result is a
`Fraction`; infinities and NaN stay floats and follow IEEE 754.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from fractions import Fraction

Number = int | float | Fraction
NAN = struct.unpack(">d", bytes.fromhex("7ff8000000000000"))[0]


def to_double(number: Number) -> float:
    """The nearest double (ties to even); beyond the range an infinity; any NaN canonical."""
    try:
        rounded = float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
    return NAN if math.isnan(rounded) else rounded


def bits(number: float) -> int:
    """The 64 bits of a double, NaN canonical: what equality means here."""
    return struct.unpack(">Q", struct.pack(">d", to_double(number)))[0]


def of_bits(pattern: int) -> float:
    """The double with these 64 bits."""
    return float(struct.unpack(">d", struct.pack(">Q", pattern))[0])


def rank(number: Number) -> int:
    """Total order of doubles as an integer: -inf < ... < -0 < +0 < ... < inf < NaN."""
    pattern = bits(to_double(number))
    return pattern if pattern < 1 << 63 else (1 << 63) - 1 - pattern


def is_finite(number: Number) -> bool:
    """Integers and rationals always are."""
    return not isinstance(number, float) or math.isfinite(number)


def total(numbers: Sequence[Number]) -> Number:
    """The exact sum. An infinity wins over finite numbers; NaN, or inf - inf, gives NaN."""
    strange = [number for number in numbers if not is_finite(number)]
    if strange:
        return to_double(sum(strange))
    ratios = [number.as_integer_ratio() for number in numbers]
    if any(bottom & (bottom - 1) for _, bottom in ratios):
        raise ValueError("a number here is no fraction of a power of two: round it first")
    scale = max(bottom for _, bottom in ratios)
    return Fraction(sum(top * (scale // bottom) for top, bottom in ratios), scale)


def mean(numbers: Sequence[Number]) -> float:
    """The exact sum over the count, rounded once."""
    summed = total(numbers)
    return to_double(summed / len(numbers))


def difference(later: Number, earlier: Number) -> Number:
    """`later - earlier` exactly; IEEE rules when one of them is an infinity or NaN."""
    if is_finite(later) and is_finite(earlier):
        return Fraction(later) - Fraction(earlier)
    return to_double(to_double(later) - to_double(earlier))


def fold(aggregate: str, numbers: Sequence[Number]) -> Number:
    """One of sum, count, min, max, avg over at least one number; order does not matter."""
    if aggregate in ("sum", "increase"):
        return total(numbers)
    if aggregate == "count":
        return len(numbers)
    if aggregate == "avg":
        return mean(numbers)
    doubles = [to_double(number) for number in numbers]
    if any(math.isnan(double) for double in doubles):
        return NAN
    if aggregate == "min":
        return min(doubles, key=rank)
    if aggregate == "max":
        return max(doubles, key=rank)
    raise ValueError(f"unknown aggregate {aggregate!r}")
