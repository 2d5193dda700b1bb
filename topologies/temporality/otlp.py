"""Histogram data points between OTLP's messages and columns; plain, for what is not hot.

Reading, a point without buckets has one for all its values, and one without values says nothing of
sum, minimum and maximum. Writing, sums are rounded once; what is not known is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
)

from streams.aggregates.explicit import ExplicitHistograms, ExplicitPoints
from streams.aggregates.exponential import ExponentialHistograms
from streams.aggregates.exponential_points import ExponentialPoints
from streams.aggregates.port import F64, I64, U8
from streams.kernels.moments import NO_HIGHEST, NO_LOWEST, NO_SUM
from topologies.temporality.samples import Samples

_NO_RECORDED_VALUE = 1
Point = HistogramDataPoint | ExponentialHistogramDataPoint


def explicit_samples(
    streams: Sequence[int], points: Sequence[HistogramDataPoint]
) -> Samples[ExplicitPoints]:
    """Point j is of stream streams[j]."""
    columns = _Columns(points)
    counts = [list(p.bucket_counts) or [p.count] for p in columns.points]
    bounds = [list(p.explicit_bounds) for p in columns.points]
    found = ExplicitPoints(
        *columns.moments(),
        _ends(bounds),
        np.array([x for each in bounds for x in each], np.float64),
        _ends(counts),
        np.array([n for each in counts for n in each], np.int64),
    )
    return columns.samples(streams, found)


def exponential_samples(
    streams: Sequence[int], points: Sequence[ExponentialHistogramDataPoint]
) -> Samples[ExponentialPoints]:
    """Point j is of stream streams[j]."""
    columns = _Columns(points)
    found = ExponentialPoints(
        *columns.moments(),
        np.array([p.zero_count for p in columns.points], np.int64),
        np.array([p.zero_threshold for p in columns.points], np.float64),
        np.array([p.scale for p in columns.points], np.int64),
        *_buckets([p.positive for p in columns.points]),
        *_buckets([p.negative for p in columns.points]),
    )
    return columns.samples(streams, found)


def explicit_messages(
    histograms: ExplicitHistograms, starts: Iterable[int], times: Iterable[int]
) -> list[HistogramDataPoint]:
    """A data point for each row."""
    found: list[HistogramDataPoint] = []
    for r, (start, time) in enumerate(zip(starts, times, strict=True)):
        value = histograms[r]
        point = HistogramDataPoint(
            start_time_unix_nano=start,
            time_unix_nano=time,
            count=value.count,
            explicit_bounds=value.bounds,
            bucket_counts=value.bucket_counts,
        )
        found.append(_with_moments(point, value))
    return found


def exponential_messages(
    histograms: ExponentialHistograms, starts: Iterable[int], times: Iterable[int]
) -> list[ExponentialHistogramDataPoint]:
    """A data point for each row."""
    found: list[ExponentialHistogramDataPoint] = []
    for r, (start, time) in enumerate(zip(starts, times, strict=True)):
        value = histograms[r]
        point = ExponentialHistogramDataPoint(
            start_time_unix_nano=start,
            time_unix_nano=time,
            count=value.count,
            scale=value.scale,
            zero_count=value.zero_count,
            zero_threshold=value.zero_threshold,
        )
        point.positive.offset = value.positive_offset
        point.positive.bucket_counts.extend(value.positive_counts)
        point.negative.offset = value.negative_offset
        point.negative.bucket_counts.extend(value.negative_counts)
        found.append(_with_moments(point, value))
    return found


class _Columns:
    """What both kinds of points have. One without a recorded value has no other fields."""

    def __init__(self, points: Sequence[Any]) -> None:
        self.recorded = np.array([not p.flags & _NO_RECORDED_VALUE for p in points], np.bool_)
        empty = [type(p)() if p.flags & _NO_RECORDED_VALUE else p for p in points]
        self.points: list[Any] = empty
        self._starts = np.array([p.start_time_unix_nano for p in points], np.uint64)
        self._times = np.array([p.time_unix_nano for p in points], np.uint64)

    def moments(self) -> tuple[I64, F64, F64, F64, U8]:
        """counts, sums, lowest, highest, absent."""
        names = (("sum", NO_SUM), ("min", NO_LOWEST), ("max", NO_HIGHEST))
        absent = [sum(bit for name, bit in names if not p.HasField(name)) for p in self.points]
        return (
            np.array([p.count for p in self.points], np.int64),
            np.array([p.sum for p in self.points], np.float64),
            np.array([p.min for p in self.points], np.float64),
            np.array([p.max for p in self.points], np.float64),
            np.array(absent, np.uint8),
        )

    def samples(self, streams: Sequence[int], points: Any) -> Samples[Any]:
        """The columns as samples."""
        return Samples(
            np.array(streams, np.int64),
            self._starts.astype(np.int64),
            self._times.astype(np.int64),
            self.recorded,
            points,
        )


def _buckets(buckets: Sequence[Any]) -> tuple[I64, I64, I64]:
    """First buckets, ends of counts, counts."""
    counts = [list(each.bucket_counts) for each in buckets]
    firsts = np.array([each.offset for each in buckets], np.int64)
    return firsts, _ends(counts), np.array([n for each in counts for n in each], np.int64)


def _ends(parts: Sequence[Sequence[Any]]) -> I64:
    ends = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=ends[1:])
    return ends


def _with_moments(point: Any, value: Any) -> Any:
    for name in ("sum", "min", "max"):
        known = getattr(value, name)
        if not math.isnan(known) and (value.count or name == "sum"):
            setattr(point, name, known)
    return point
