"""Histogram points as columns; the reference is upb."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
)

from tests.fuzz.subject import Outcome, shown
from tests.fuzz.subjects.otlp import requests
from topologies.encodings.otlp import Scanner
from topologies.encodings.otlp_shapes import explicit_points, exponential_points, places
from topologies.encodings.points import EXPONENTIAL_HISTOGRAM, HISTOGRAM, KIND_MASK

_ABSENT = (("sum", 8), ("min", 16), ("max", 32))
_SIGN = 1 << 63


class HistogramPoints:
    """What the scanner takes of histograms and exponential histograms."""

    def __init__(self) -> None:
        self._scanner = Scanner(b"a key of 16 bytes or more")

    def corpus(self) -> list[bytes]:
        rng = random.Random(5)
        return [*(_explicit(rng) for _ in range(6)), *(_exponential(rng) for _ in range(6)),
                *(each for each in requests() if _has_histograms(each))]  # fmt: skip

    def check(self, messages: Sequence[bytes]) -> Outcome:
        points = self._scanner.scan(list(messages), ["a"] * len(messages))
        accepted, differences = 0, list[str]()
        for kind, read, message, fields in (
            (HISTOGRAM, explicit_points, HistogramDataPoint, _explicit_fields),
            (EXPONENTIAL_HISTOGRAM, exponential_points, ExponentialHistogramDataPoint,
             _exponential_fields),
        ):  # fmt: skip
            rows = np.flatnonzero(points.kind & KIND_MASK == kind)
            columns = read(points.buffer, *places(points, rows))
            for j, (begin, end) in enumerate(zip(*places(points, rows), strict=True)):
                raw = points.buffer[begin:end].tobytes()
                theirs = fields(message.FromString(raw))
                accepted += 1
                if (ours := _row(columns, j)) != theirs:
                    differences.append(shown(raw, ours, theirs))
        return Outcome(accepted, differences)


def _has_histograms(raw: bytes) -> bool:
    return any(
        metric.WhichOneof("data") in ("histogram", "exponential_histogram")
        for resource in ExportMetricsServiceRequest.FromString(raw).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )


def _explicit(rng: random.Random) -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="h")
    for _ in range(rng.choice((1, 3))):
        point = metric.histogram.data_points.add(time_unix_nano=7, sum=1.5)
        point.bucket_counts.extend(rng.choice((0, 1, 1 << 40)) for _ in range(rng.randrange(5)))
        point.explicit_bounds.extend(map(float, range(max(0, len(point.bucket_counts) - 1))))
        point.count = sum(point.bucket_counts) or 3
        if rng.random() < 0.5:
            point.min, point.max = -0.0, float("inf")
    return request.SerializeToString()


def _exponential(rng: random.Random) -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="e")
    for _ in range(rng.choice((1, 3))):
        point = metric.exponential_histogram.data_points.add(scale=rng.randrange(-10, 21))
        point.count, point.zero_count, point.zero_threshold = 9, 2, 0.5
        for side in (point.positive, point.negative):
            side.offset = rng.choice((0, -1, 70_000, -(1 << 31)))
            side.bucket_counts.extend(rng.choice((0, 1, 300)) for _ in range(rng.randrange(6)))
        if rng.random() < 0.5:
            point.max = 2.5
    return request.SerializeToString()


def _row(columns: Any, j: int) -> list[Any]:
    """One point's part of every column; bits of doubles, for there are many NaN."""
    names = list(columns.__dataclass_fields__)
    found: list[Any] = []
    for at, name in enumerate(names):
        column = getattr(columns, name)
        if name.endswith("_offsets"):
            continue
        if at and names[at - 1].endswith("_offsets"):
            begin, end = getattr(columns, names[at - 1])[j : j + 2]
            found.append(_bits(column[begin:end]))
        else:
            found += _bits(column[j : j + 1])
    return found


def _bits(part: Any) -> list[int]:
    whole = np.ascontiguousarray(part)
    return (whole.view(np.int64) if whole.dtype == np.float64 else whole).tolist()


def _signed(word: int) -> int:
    return word - 2 * _SIGN if word >= _SIGN else word


def _doubles(*values: float) -> list[int]:
    return np.array(values, np.float64).view(np.int64).tolist()


def _moments(point: Any) -> list[int]:
    absent = sum(bit for name, bit in _ABSENT if not point.HasField(name))
    return [_signed(point.count), *_doubles(point.sum, point.min, point.max), absent]


def _explicit_fields(point: HistogramDataPoint) -> list[Any]:
    counts = [_signed(each) for each in point.bucket_counts]
    if not counts and not point.explicit_bounds:
        counts = [_signed(point.count)]
    return [*_moments(point), _doubles(*point.explicit_bounds), counts]


def _exponential_fields(point: ExponentialHistogramDataPoint) -> list[Any]:
    found = [*_moments(point), _signed(point.zero_count), *_doubles(point.zero_threshold)]
    found.append(point.scale)
    for side in (point.positive, point.negative):
        found += [side.offset, [_signed(each) for each in side.bucket_counts]]
    return found
