"""Histogram data points of streams, as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from streams.aggregates.explicit import ExplicitPoints
from streams.aggregates.exponential_points import ExponentialPoints

I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
P = TypeVar("P", ExplicitPoints, ExponentialPoints)


@dataclass(frozen=True, slots=True)
class Samples(Generic[P]):
    """k histogram points, in any order.

    Attributes:
        streams: i64[k], slots of streams, 0 or more.
        starts, times: i64[k], unix ns; start 0: not stated.
        recorded: bool[k], False where the point says that there is no value.
        points: k points.
    """

    streams: I64
    starts: I64
    times: I64
    recorded: Mask
    points: P

    def __len__(self) -> int:
        return len(self.streams)


def _ragged(offsets: I64, places: I64) -> tuple[I64, I64]:
    """Where the parts at these places are in ragged data: their new offsets, and all indexes."""
    sizes = offsets[places + 1] - offsets[places]
    begins = np.zeros(len(places) + 1, np.int64)
    np.cumsum(sizes, out=begins[1:])
    which: I64 = np.repeat(offsets[places] - begins[:-1], sizes)
    which += np.arange(len(which))
    return begins, which


def explicit_at(points: ExplicitPoints, places: I64) -> ExplicitPoints:
    """The points at these places."""
    bound_offsets, bounds = _ragged(points.bound_offsets, places)
    bucket_offsets, buckets = _ragged(points.bucket_offsets, places)
    return ExplicitPoints(
        points.counts[places],
        points.sums[places],
        points.lowest[places],
        points.highest[places],
        points.absent[places],
        bound_offsets,
        points.bounds[bounds],
        bucket_offsets,
        points.bucket_counts[buckets],
    )


def exponential_at(points: ExponentialPoints, places: I64) -> ExponentialPoints:
    """The points at these places."""
    positive_offsets, positive = _ragged(points.positive_offsets, places)
    negative_offsets, negative = _ragged(points.negative_offsets, places)
    return ExponentialPoints(
        points.counts[places],
        points.sums[places],
        points.lowest[places],
        points.highest[places],
        points.absent[places],
        points.zero_counts[places],
        points.zero_thresholds[places],
        points.scales[places],
        points.positive_firsts[places],
        positive_offsets,
        points.positive_counts[positive],
        points.negative_firsts[places],
        negative_offsets,
        points.negative_counts[negative],
    )
