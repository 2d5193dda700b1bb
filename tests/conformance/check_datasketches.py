"""Our distinct counts against Apache DataSketches: each reads the other's sketches, equal ones.

    make conformance-datasketches

Not a part of `make test`: `datasketches` is no dependency, and is installed beside the environment.
Prints what was compared; ends with 1 and a sentence if something differs.
"""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Sequence

import datasketches as theirs
import numpy as np

from streams.aggregates import Points
from streams.aggregates.distinct import DistinctCount
from streams.batch import BytesColumn
from streams.kernels.rows import IS_INTEGER

COUNTS = (0, 1, 6, 7, 8, 9, 24, 25, 96, 97, 383, 384, 385, 386, 1000, 6000, 60_000)
TYPES = (theirs.tgt_hll_type.HLL_4, theirs.tgt_hll_type.HLL_6, theirs.tgt_hll_type.HLL_8)
ONE = np.zeros(1, np.int64)

Value = int | float | str


def ours_of(ours: DistinctCount, values: Sequence[Value]):
    """A state of one row that these values, all of a kind, have joined."""
    state = ours.empty(1)
    rows = np.zeros(len(values), np.int64)
    if values and isinstance(values[0], str):
        ours.add_strings(state, rows, BytesColumn.of(str(value).encode() for value in values))
    elif values and isinstance(values[0], int):
        raws = np.array(values, np.int64)
        metas = np.full(len(raws), IS_INTEGER, np.uint8)
        ours.add(state, rows, Points(rows, rows, raws, metas))
    else:
        ours.add(state, rows, Points.of_doubles(np.array(values, np.float64)))
    return state


def theirs_of(lg_k: int, values: Sequence[Value], kind: theirs.tgt_hll_type):
    sketch = theirs.hll_sketch(lg_k, kind)
    for value in values:
        sketch.update(value)
    return sketch


def union_of(lg_k: int, *sketches: theirs.hll_sketch):
    """United, so that what counts is registers and not the order of arrival."""
    union = theirs.hll_union(lg_k)
    for sketch in sketches:
        union.update(sketch)
    return union.get_result(theirs.tgt_hll_type.HLL_8)


def without_order(sketch: theirs.hll_sketch) -> theirs.hll_sketch:
    """The same registers, marked as having come out of order, so that they are what is estimated.

    A union of small sketches is still one that saw every value come.
    """
    data = bytearray(sketch.serialize_compact())
    if data[7] & 3 == 2:
        data[5] |= 16
    return theirs.hll_sketch.deserialize(bytes(data))


def content(data: bytes) -> bytes | list[int]:
    """The registers of a compact HLL_8 sketch, or its coupons in order."""
    mode = data[7] & 3
    if mode == 2:
        return data[16:]  # behind the numbers that depend on the order of arrival
    start = 8 if mode == 0 else 12
    return sorted(struct.unpack(f"<{(len(data) - start) // 4}I", data[start:]))


def check(name: str, found: object, want: object) -> None:
    if found != want:
        sys.exit(f"differs: {name}: {str(found)[:200]} and {str(want)[:200]}")


def compare(lg_k: int, values: Sequence[Value], what: str) -> float:
    """One set of values, every way; returns the relative distance of the two estimates."""
    ours = DistinctCount(lg_k=lg_k)
    state = ours_of(ours, values)
    (written,) = ours.sketches(state)
    halves = [theirs_of(lg_k, values[part::2], TYPES[2]) for part in (0, 1)]
    united = without_order(union_of(lg_k, *halves))
    read = theirs.hll_sketch.deserialize(written)
    check(f"{what}: content", content(written), content(united.serialize_compact()))
    check(f"{what}: their estimate", read.get_estimate(), united.get_estimate())
    again = union_of(lg_k, read, halves[0])
    check(f"{what}: their union", content(again.serialize_compact()), content(written))
    for kind in TYPES:
        sketch = theirs_of(lg_k, values, kind)
        for data in (sketch.serialize_compact(), sketch.serialize_updatable()):
            back = ours.empty(1)
            ours.add_sketches(back, ONE, BytesColumn.of([data]))
            check(f"{what}: {kind} read", ours.encode(back), ours.encode(state))
            ours.merge(back, ONE, state, ONE)
            check(f"{what}: {kind} united", ours.encode(back), ours.encode(state))
    estimate = float(ours.finish(state)[0])
    return abs(estimate - united.get_estimate()) / max(estimate, 1.0)


def main() -> None:
    chance = random.Random(1)
    for lg_k in (4, 7, 8, 10, 12, 14, 17, 21):
        farthest = 0.0
        for count in COUNTS:
            integers = [chance.getrandbits(64) - (1 << 63) for _ in range(count)]
            doubles = [chance.gauss(0, 1e3) for _ in range(count)]
            doubles[:3] = [0.0, -0.0, float("nan")][: len(doubles[:3])]
            texts = ["é" * (i % 40) + str(chance.random()) for i in range(count)]
            for values in (integers, doubles, texts):
                kind = type(values[0]).__name__ if values else "none"
                farthest = max(farthest, compare(lg_k, values, f"lg_k {lg_k}, {count} {kind}"))
        print(
            f"lg_k {lg_k:2}: {3 * len(COUNTS)} sets equal; estimates at most {farthest:.3%} apart "
            f"(standard error {1.04 / 2 ** (lg_k / 2):.3%})",
            flush=True,
        )


if __name__ == "__main__":
    main()
