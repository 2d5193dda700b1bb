"""Exponential histogram data points that came bucketed, as agents send them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.aggregates.pooled import Pooled
from streams.aggregates.port import F64, I64, U8
from streams.errors import Rejected
from streams.kernels.buckets import fit_counts, unpack_range
from streams.kernels.exponential import FIRST, LAST, NEGATIVE, POSITIVE, SCALE, THRESHOLD, ZEROS
from streams.kernels.moments import NO_HIGHEST, NO_LOWEST, WIDE_WORDS, load_moments
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
    ranges = (
        (POSITIVE, points.positive_firsts, points.positive_offsets, points.positive_counts),
        (NEGATIVE, points.negative_firsts, points.negative_offsets, points.negative_counts),
    )
    _refuse(~_range(points.scales, MIN_SCALE, _FINEST), "scale", "a scale is not within -10 to 31")
    thresholds = points.zero_thresholds + 0.0
    _refuse(~((thresholds >= 0) & (thresholds < np.inf)), "zero-threshold",
            "a zero threshold is no finite number of 0 or more")  # fmt: skip
    _refuse(points.zero_counts < 0, "bucket-count", "a zero count is negative")
    total = points.zero_counts.copy()
    loaded: list[tuple[int, I64, I64, I64]] = []
    for c, firsts, offsets, counts in ranges:
        total += _checked(points.scales, firsts, offsets, counts)
        loaded.append((c, firsts.copy(), offsets.copy(), counts.copy()))
    _refuse(total != points.counts, "bucket-count", "the buckets do not add up to the count")
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


def _checked(scales: I64, firsts: I64, offsets: I64, counts: I64) -> I64:
    """How many values each point has in these buckets, i64[k]."""
    sizes = np.diff(offsets)
    whole = len(offsets) == len(scales) + 1 and offsets[0] == 0 and offsets[-1] == len(counts)
    if not whole or bool((sizes < 0).any()):
        raise Rejected("bucket-count", "the offsets of the bucket counts do not fit them")
    sums = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=sums[1:])
    whose = np.repeat(np.arange(len(scales)), sizes)
    _refuse(counts < 0, "bucket-count", "a bucket count is negative", whose)
    places = np.arange(len(counts)) - offsets[whose] + firsts[whose]
    octaves = places >> np.maximum(scales, 0)[whose]
    octaves = np.where(scales[whose] < 0, octaves << np.maximum(-scales, 0)[whose], octaves)
    reach = np.int64(1) << np.maximum(-scales, 0)[whose]
    outside = (octaves > 1023) | (octaves + reach <= -1075)
    _refuse(outside & (counts > 0), "bucket-range", "a bucket holds no double", whose)
    return sums[offsets[1:]] - sums[offsets[:-1]]


def _range(column: I64, low: int, high: int) -> Mask:
    return (column >= low) & (column <= high)


def _refuse(wrong: Mask, code: str, why: str, whose: I64 | None = None) -> None:
    at = np.flatnonzero(wrong)
    if len(at):
        first = int(at[0] if whose is None else whose[at[0]])
        raise Rejected(code, f"exponential histogram point {first}: {why}")
