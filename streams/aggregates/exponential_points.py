"""Exponential histogram data points that came bucketed, as agents send them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.aggregates.pooled import Pooled
from streams.aggregates.port import F64, I64, U8
from streams.errors import Rejected
from streams.kernels.buckets import fit_counts, unpack_range
from streams.kernels.exponential import FIRST, LAST, NEGATIVE, POSITIVE, SCALE, THRESHOLD, ZEROS
from streams.kernels.moments import NO_HIGHEST, NO_LOWEST, NO_SUM, WIDE_WORDS, load_moments
from streams.kernels.powers import MIN_SCALE

_FINEST = 31  # the finest scale that is read; at 31 an offset of 32 bits spans half an octave

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ExponentialPoints:
    """Histogram data points that came bucketed, as parallel columns of k points.

    Attributes:
        counts, sums, lowest, highest: i64[k], f64[k], f64[k], f64[k].
        absent: u8[k], NO_SUM, NO_LOWEST and NO_HIGHEST of `streams.kernels.moments`, of what a
            point does not say.
        zero_counts, zero_thresholds: i64[k], f64[k].
        scales: i64[k].
        positive_firsts, positive_offsets, positive_counts: i64[k], the offset of OTLP, that is the
            index of the first bucket; i64[k + 1] and i64[.], the counts of point j are
            positive_counts[positive_offsets[j] : positive_offsets[j + 1]].
        negative_firsts, negative_offsets, negative_counts: The same for negative values.
    """

    counts: I64
    sums: F64
    lowest: F64
    highest: F64
    absent: U8
    zero_counts: I64
    zero_thresholds: F64
    scales: I64
    positive_firsts: I64
    positive_offsets: I64
    positive_counts: I64
    negative_firsts: I64
    negative_offsets: I64
    negative_counts: I64

    def __len__(self) -> int:
        return len(self.counts)


def load_points(points: ExponentialPoints, state: Pooled, max_scale: int) -> Pooled:
    """Put point j into row j of a state of empty rows, at its own scale but at most max_scale.

    Returns that state.

    Raises:
        Rejected: A point contradicts itself, or has a scale or buckets that no double needs.
    """
    for wrong, code, why in faults(points):
        _refuse(wrong, code, why)
    thresholds = points.zero_thresholds + 0.0
    loaded = [
        (c, firsts.copy(), offsets.copy(), counts.copy())
        for c, firsts, offsets, counts in _ranges(points)
    ]
    room = sum(8 * len(points) + 2 * len(counts) for *_, counts in loaded)
    state.grow(room)
    for c, firsts, offsets, counts in loaded:
        kept = fit_counts(points.scales, firsts, offsets, counts, max_scale)
        state.rows[:, c + FIRST] = firsts
        unpack_range(state.rows, c, offsets, counts[:kept], state.pool, state.used)
    ends = state.rows[:, [POSITIVE + LAST, NEGATIVE + LAST]]
    used = (ends >= state.rows[:, [POSITIVE + FIRST, NEGATIVE + FIRST]]).any(axis=1)
    state.rows[used, SCALE] = np.minimum(points.scales, max_scale)[used]
    state.rows[:, ZEROS] = points.zero_counts
    filled = points.counts > 0
    bits = thresholds.view(np.int64)
    state.rows[filled, THRESHOLD] = np.maximum(state.rows[:, THRESHOLD], bits)[filled]
    load_all_moments(
        state, points.counts, points.sums, points.lowest, points.highest, points.absent
    )
    return state


Range = tuple[int, I64, I64, I64]


def _ranges(points: ExponentialPoints) -> tuple[Range, Range]:
    """The buckets of either sign: where a row keeps them, firsts, offsets, counts."""
    return (
        (POSITIVE, points.positive_firsts, points.positive_offsets, points.positive_counts),
        (NEGATIVE, points.negative_firsts, points.negative_offsets, points.negative_counts),
    )


def faults(points: ExponentialPoints) -> Iterator[tuple[Mask, str, str]]:
    """How points contradict themselves: which do, a code, and why.

    Raises:
        Rejected: The columns do not fit together.
    """
    yield ~_range(points.scales, MIN_SCALE, _FINEST), "scale", "a scale is not within -10 to 31"
    wide = (points.zero_thresholds >= 0) & (points.zero_thresholds < np.inf)
    yield ~wide, "zero-threshold", "a zero threshold is no finite number of 0 or more"
    yield points.zero_counts < 0, "bucket-count", "a zero count is negative"
    total = points.zero_counts.copy()
    for _, firsts, offsets, counts in _ranges(points):
        yield _any_of(counts < 0, offsets), "bucket-count", "a bucket count is negative"
        added, outside = _reach(points.scales, firsts, offsets, counts)
        total += added
        yield outside, "bucket-range", "a bucket holds no double"
    yield total != points.counts, "bucket-count", "the buckets do not add up to the count"


def _any_of(wrong: Mask, offsets: I64) -> Mask:
    """Whether some of each point's buckets are."""
    sums = np.zeros(len(wrong) + 1, np.int64)
    np.cumsum(wrong, out=sums[1:])
    return sums[offsets[1:]] > sums[offsets[:-1]]


MOST = 1 << 53
"""Values that a point may have: sums of them stay far below 2**63."""


def moments_contradict(
    counts: I64, sums: F64, lowest: F64, highest: F64, absent: U8
) -> npt.NDArray[np.bool_]:
    """Which points have no count that can be, a sum of no values, or a minimum above the maximum.

    All as in `ExponentialPoints`; bool[k].
    """
    wrong = (counts < 0) | (counts > MOST)
    wrong |= (counts == 0) & (absent & NO_SUM == 0) & (sums != 0)
    return wrong | (counts > 0) & (absent & (NO_LOWEST | NO_HIGHEST) == 0) & (lowest > highest)


def load_all_moments(
    state: Pooled, counts: I64, sums: F64, lowest: F64, highest: F64, absent: U8
) -> None:
    """Count, sum, minimum and maximum of points into rows that are empty; NaN is not known."""
    missing = absent | np.where(np.isnan(lowest), NO_LOWEST, 0).astype(np.uint8)
    missing |= np.where(np.isnan(highest), NO_HIGHEST, 0).astype(np.uint8)
    sum_bits, low_bits, high_bits = (
        np.ascontiguousarray(each, np.float64).view(np.int64) for each in (sums, lowest, highest)
    )

    def step(done: int) -> int:
        return load_moments(
            done, counts, sum_bits, low_bits, high_bits, missing,
            state.rows, state.pool, state.used,
        )  # fmt: skip

    state.fill(step, len(counts), WIDE_WORDS)


def _reach(scales: I64, firsts: I64, offsets: I64, counts: I64) -> tuple[I64, Mask]:
    """How many values each point has in these buckets i64[k], and whether some of them cannot be.

    A scale that cannot be is taken for one that can.
    """
    scales = np.clip(scales, MIN_SCALE, _FINEST)
    sizes = np.diff(offsets)
    whole = len(offsets) == len(scales) + 1 and offsets[0] == 0 and offsets[-1] == len(counts)
    if not whole or bool((sizes < 0).any()):
        raise Rejected("bucket-count", "the offsets of the bucket counts do not fit them")
    sums = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=sums[1:])
    whose = np.repeat(np.arange(len(scales)), sizes)
    places = np.arange(len(counts)) - offsets[whose] + firsts[whose]
    octaves = places >> np.maximum(scales, 0)[whose]
    octaves = np.where(scales[whose] < 0, octaves << np.maximum(-scales, 0)[whose], octaves)
    reach = np.int64(1) << np.maximum(-scales, 0)[whose]
    outside = (octaves > 1023) | (octaves + reach <= -1075)
    added = sums[offsets[1:]] - sums[offsets[:-1]]
    return added, _any_of(outside & (counts > 0), offsets)


def _range(column: I64, low: int, high: int) -> Mask:
    return (column >= low) & (column <= high)


def _refuse(wrong: Mask, code: str, why: str) -> None:
    at = np.flatnonzero(wrong)
    if len(at):
        raise Rejected(code, f"exponential histogram point {int(at[0])}: {why}")
