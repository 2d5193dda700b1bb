"""Points that are hard on arithmetic: a row a distribution, a row of all of them, an empty row."""

from __future__ import annotations

import math
import random
import struct

import numpy as np
from aggregates.references import SECOND, Sample

from streams.aggregates import Points
from streams.kernels.rows import IS_CUMULATIVE, IS_INTEGER


def _any_bits(chance: random.Random) -> float:
    """Any finite double, all exponents alike."""
    while True:
        (value,) = struct.unpack("<d", chance.randbytes(8))
        if math.isfinite(value):
            return value


def _nan(chance: random.Random) -> float:
    """Either sign, any payload, quiet or not."""
    pattern = chance.choice((0x7FF0, 0xFFF0)) << 48 | chance.randrange(1, 1 << 52)
    return struct.unpack("<d", pattern.to_bytes(8, "little"))[0]


DISTRIBUTIONS = {
    "cancellation": lambda c: c.choice((1e308, -1e308, 1e-308, 1.0, -1.0, 1.5e300, 0.1)),
    "subnormal": lambda c: c.choice((1, -1)) * c.randrange(1, 1 << 52) * 5e-324,
    "past 2**53": lambda c: c.choice((1, -1)) * (2**53 + c.randrange(-5, 5)) * c.choice((1, 1.0)),
    "64 bits": lambda c: c.choice((-(2**63), 2**63 - 1, -(2**63) + 1, 2.0**63, c.getrandbits(62))),
    "infinities": lambda c: c.choice((math.inf, math.inf, 1.0, -5, 1e308)),
    "both infinities": lambda c: c.choice((math.inf, -math.inf, 1.0)),
    "NaN": lambda c: c.choice((_nan(c), math.inf, 1.0, -2)),
    "zeros": lambda c: c.choice((0.0, -0.0, 0)),
    "huge range": _any_bits,
    "largest": lambda c: c.choice((1, 1, 1, -1)) * c.choice((1.7e308, 1.79e308, 1e308)),
    "equal": lambda c: 0.1,
    "near": lambda c: 1e9 + c.randrange(5) * 2.0**-23,
    "counter": lambda c: c.choice((c.randrange(10**6), c.randrange(10**6) / 8)),
    "measured": lambda c: c.gauss(20, 5),
    "out of limbs": lambda c: c.choice((1, -1)) * 2.0 ** c.randrange(55, 70) * c.random(),
    "carries": lambda c: c.choice((1 - 2.0**-53, 2.0**-14, 2.0**-18, 2.0**-50, -(2.0**-14))),
    "small": lambda c: c.choice((1, -1)) * 2.0 ** c.randrange(-110, -40) * c.random(),
}
"""Each a function of a `random.Random` that gives an `int` of 64 bits or a `float`."""

ROWS = len(DISTRIBUTIONS) + 2  # the row after the last distribution has all, the last has none
MIXED = len(DISTRIBUTIONS)


def samples(seed: int, each: int) -> list[list[Sample]]:
    """For each of ROWS rows its points; `each` of them a distribution.

    Streams are cumulative, or not, or a mixture; times tie, and lie close together or far apart.
    """
    chance = random.Random(seed)
    rows: list[list[Sample]] = []
    for draw in DISTRIBUTIONS.values():
        row: list[Sample] = []
        step = chance.choice((SECOND, 300 * SECOND))
        cumulative = chance.choice((0.0, 0.5, 1.0))
        for _ in range(each):
            time = chance.randrange(1, each) * step
            start = chance.choice((0, time // 3, 5 * SECOND, time - chance.randrange(9) * SECOND))
            row.append(Sample(time, start, draw(chance), chance.random() < cumulative))
        rows.append(row)
    mixed = [chance.choice(row) for row in rows for _ in range(3)]
    return [*rows, mixed, []]


def columns(rows: list[list[Sample]]) -> tuple[np.ndarray, Points]:
    """(row of each point i64[k], the points)."""
    owners = [at for at, row in enumerate(rows) for _ in row]
    points = [point for row in rows for point in row]
    packed = b"".join(
        struct.pack("<q" if isinstance(p.value, int) else "<d", p.value) for p in points
    )
    metas = [
        (IS_INTEGER if isinstance(p.value, int) else 0) | (IS_CUMULATIVE if p.cumulative else 0)
        for p in points
    ]
    return np.array(owners, np.int64), Points(
        np.array([p.time for p in points], np.int64),
        np.array([p.start for p in points], np.int64),
        np.frombuffer(packed, np.int64).copy(),
        np.array(metas, np.uint8),
    )
