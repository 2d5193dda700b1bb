"""What may not fall from one cumulative point to the next under the same start."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import le

from topologies.otlp_check.findings import Problem
from topologies.otlp_check.points import Distribution


def shrunk(before: Distribution, after: Distribution) -> Iterator[Problem]:
    """What fell; buckets are compared where both points have the same, or after downscaling."""
    if after.count < before.count:
        yield "decrease-without-reset", f"count {before.count}", f"count {after.count}"
    elif fallen := _fallen_bucket(before, after):
        yield fallen
    elif before.sum is not None and after.sum is not None and after.sum < before.sum:
        yield "sum-decrease", f"sum {before.sum}", f"sum {after.sum}"
    if before.low is not None and after.low is not None and after.low > before.low:
        yield "extremum-shrank", f"min {before.low}", f"min {after.low}"
    if before.high is not None and after.high is not None and after.high < before.high:
        yield "extremum-shrank", f"max {before.high}", f"max {after.high}"


def _fallen_bucket(before: Distribution, after: Distribution) -> Problem | None:
    if before.bounds != after.bounds or before.zeros[0] != after.zeros[0]:
        return None  # bounds and thresholds may change: they are not identifying
    if after.zeros[1] < before.zeros[1]:
        return "bucket-decrease", f"zero count {before.zeros[1]}", f"{after.zeros[1]}"
    if before.offsets == after.offsets and before.scale == after.scale:
        grew = len(before.buckets) <= len(after.buckets) and all(
            map(le, before.buckets, after.buckets)
        )
        if grew and before.negative == after.negative:
            return None
    elif before.bounds:
        return None
    return _compare(before, after)


def _compare(before: Distribution, after: Distribution) -> Problem | None:
    scale = min(before.scale, after.scale)
    for side in (0, 1):
        old, new = _buckets(before, side, scale), _buckets(after, side, scale)
        for index, count in old.items():
            if new.get(index, 0) < count:
                name = "bucket" if side == 0 else "negative bucket"
                found = f"{name} {index}: {new.get(index, 0)}"
                return "bucket-decrease", f"{name} {index}: {count}", found
    return None


def _buckets(value: Distribution, side: int, scale: int) -> dict[int, int]:
    """Counts by index at a coarser scale."""
    counts, offset = (value.buckets, value.negative)[side], value.offsets[side]
    shift = value.scale - scale
    indexed = [(offset + at >> shift, count) for at, count in enumerate(counts) if count]
    return {
        index: sum(count for _, count in same)
        for index, same in groupby(indexed, key=lambda pair: pair[0])
    }
