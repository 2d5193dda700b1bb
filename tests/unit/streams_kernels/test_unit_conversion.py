"""A converted value is the exact one, rounded once, for every double and every integer."""

from __future__ import annotations

import math
import random
import struct
from fractions import Fraction

import numpy as np
import pytest

from metric_registry.ucum import Conversion, conversion
from streams.kernels.exact import nearest
from streams.kernels.rows import IS_CUMULATIVE, IS_INTEGER
from streams.kernels.units import conversion_row, convert_points

PAIRS = [
    ("ms", "s"), ("s", "ms"), ("By", "KiBy"), ("KiBy", "By"), ("MiBy", "MBy"), ("MBy", "MiBy"),
    ("min", "s"), ("h", "d"), ("wk", "a"), ("a", "wk"), ("mo", "ns"), ("ns", "a"), ("%", "1"),
    ("[ppm]", "%"), ("Cel", "K"), ("K", "Cel"), ("[degF]", "Cel"), ("Cel", "[degF]"),
    ("[degF]", "K"), ("mCel", "[degF]"), ("TiBy", "pBy"), ("pBy", "TiBy"), ("bit/s", "By/h"),
    ("kW.h", "J"), ("J", "kW.h"), ("By/min", "Mibit/s"), ("Ps", "ps"), ("ps", "Ps"), ("mo", "d"),
]  # fmt: skip
HARD = [
    0.0, -0.0, 5e-324, -5e-324, 1e-323, 2.2250738585072014e-308, 2.225073858507201e-308,
    4.450147717014403e-308, 1.7976931348623157e308, -1.7976931348623157e308, 1.7e308, 1e305,
    math.inf, -math.inf, math.nan, 1.0, -1.0, 0.1, 32.0, -40.0, -273.15, 273.15, -459.67, 1e22,
    9007199254740993.0, 9007199254740992.0, 4503599627370496.5, 1e-5, 6755399441055744.0,
]  # fmt: skip
WHOLE = [0, 1, -1, 32, 1000, 999, -1000, 5000, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1]
WHOLE += [-(2**63), 10**18, 3 * 10**17, -(10**15) - 1, 1024, 50, 212]


def expected(value: float | int, by: Conversion) -> float | int:
    """The rule in words of Fractions."""
    if isinstance(value, float) and (not math.isfinite(value) or by == Conversion()):
        return value
    exact = Fraction(value) * by.p / by.q + by.offset
    if isinstance(value, int):
        if exact.denominator == 1 and -(2**63) <= exact < 2**63:
            return int(exact)
    elif value == 0 and by.offset == 0:
        return value
    rounded = nearest(exact)
    return -0.0 if exact < 0 and rounded == 0 else rounded


def converted(values: list[float] | list[int], by: Conversion) -> list[float | int]:
    integer = isinstance(values[0], int)
    raws = np.array(values, np.int64 if integer else np.float64).view(np.int64).copy()
    metas = np.full(len(values), IS_CUMULATIVE | (IS_INTEGER if integer else 0), np.uint8)
    table = np.array([[0] * 6, conversion_row(*by.integers())], np.int64)
    which = np.array([0, 1], np.uint16)
    convert_points(np.ones(len(values), np.int32), which, table, raws, metas)
    assert (metas & IS_CUMULATIVE).all()
    return [
        int(raw) if meta & IS_INTEGER else float(raw.view(np.float64))
        for raw, meta in zip(raws, metas, strict=True)
    ]


def same(got: float | int, want: float | int) -> bool:
    if isinstance(got, int) or isinstance(want, int):
        return type(got) is type(want) and got == want
    return struct.pack(">d", got) == struct.pack(">d", want) or (got != got and want != want)


def agree(values: list[float] | list[int], by: Conversion) -> None:
    for value, got in zip(values, converted(values, by), strict=True):
        assert same(got, expected(value, by)), (value, by, got, expected(value, by))


def by_units(source: str, target: str) -> Conversion:
    found = conversion(source, target)
    assert isinstance(found, Conversion)
    return found


def drawn(rng: random.Random, count: int) -> list[float]:
    """Any bits, and near the values at which the result is tied or tiny."""
    words = [rng.getrandbits(64) for _ in range(count)]
    return [struct.unpack(">d", struct.pack(">Q", word))[0] for word in words]


def tied(rng: random.Random, by: Conversion, count: int) -> list[float]:
    """Doubles near the middle of two neighbouring results."""
    found: list[float] = []
    for _ in range(count):
        power = rng.choice([-1074, -1073, -1060, -1022, -1000, -60, 0, 60, 900])
        middle = Fraction(2 * rng.getrandbits(53) + 1, 2) * Fraction(2) ** power
        there = (middle - by.offset) * by.q / by.p
        value = nearest(there)
        found += [value, math.nextafter(value, math.inf), math.nextafter(value, -math.inf)]
    return found


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_converted_value_is_the_exact_one_rounded_once(source: str, target: str) -> None:
    by = by_units(source, target)
    rng = random.Random(f"{source} {target}")
    agree(HARD, by)
    agree(drawn(rng, 400), by)
    agree([math.ldexp(rng.getrandbits(53), rng.randrange(-60, 20)) for _ in range(200)], by)
    agree(tied(rng, by, 100), by)
    agree([count * 5e-324 for count in range(1, 100)], by)  # ties among the smallest
    agree(WHOLE, by)
    agree([rng.getrandbits(rng.randrange(1, 64)) * rng.choice([1, -1]) for _ in range(300)], by)
    wanted = [Fraction(rng.getrandbits(40) - 2**39) for _ in range(200)]
    agree([int((w - by.offset) * by.q / by.p) % 2**62 for w in wanted], by)


def test_any_conversion_of_63_bits_is_exact() -> None:
    rng = random.Random(5)
    for _ in range(150):
        sizes = [rng.randrange(1, 63) for _ in range(3)]
        p, q, n = (rng.getrandbits(size) | 1 for size in sizes)
        offset = Fraction(n * rng.choice([0, 1, -1]), q) * Fraction(2) ** rng.randrange(-70, 70)
        reduced = Fraction(p, q) * Fraction(2) ** rng.randrange(-200, 200)
        by = Conversion(reduced.numerator, reduced.denominator, offset)
        agree(drawn(rng, 40) + tied(rng, by, 20) + HARD, by)
        agree([*WHOLE, *(rng.getrandbits(63) for _ in range(20))], by)


def test_points_of_other_streams_are_left_alone() -> None:
    raws = np.array([1, 2, 3], np.int64)
    metas = np.full(3, IS_INTEGER, np.uint8)
    table = np.array([[0] * 6, conversion_row(1000, 0, 0, 0, 1)], np.int64)
    slots = np.array([0, 1, 7], np.int32)  # nobody has heard of stream 7
    convert_points(slots, np.array([0, 1], np.uint16), table, raws, metas)
    assert raws.tolist() == [1, 2000, 3]
