"""Between the reference's samples and the product's columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
)
from temporality.reference import Delta, Sample

from streams.aggregates.pooled import exact_sum, highest_of, lowest_of
from streams.kernels.exponential import FIRST, LAST, NEGATIVE, POSITIVE, SCALE, THRESHOLD, ZEROS
from streams.kernels.moments import COUNT, FLAGS, MOMENTS_WIDTH, NO_SUM, TOTAL
from streams.kernels.sequence import KINDS
from topologies.temporality.chain import Contributions
from topologies.temporality.deltas import Advance
from topologies.temporality.otlp import explicit_samples, exponential_samples
from topologies.temporality.samples import Samples


def message(s: Sample) -> Any:
    """The sample as OTLP says it."""
    explicit = s.bounds is not None
    point = HistogramDataPoint() if explicit else ExponentialHistogramDataPoint()
    point.start_time_unix_nano, point.time_unix_nano = s.start, s.time
    if not s.recorded:
        point.flags = 1
        return point
    point.count = s.count
    for name in ("sum", "min", "max"):
        if getattr(s, name) is not None:
            setattr(point, name, getattr(s, name))
    if s.bounds is not None:
        point.explicit_bounds.extend(s.bounds)
        point.bucket_counts.extend(s.counts)
        return point
    point.scale, point.zero_count, point.zero_threshold = s.scale, s.zeros, s.threshold
    for name in ("positive", "negative"):
        buckets = dict(getattr(s, name))
        if buckets:
            first, last = min(buckets), max(buckets)
            getattr(point, name).offset = first
            counts = [buckets.get(k, 0) for k in range(first, last + 1)]
            getattr(point, name).bucket_counts.extend(counts)
    return point


def samples_of(samples: Sequence[Sample]) -> Samples[Any]:
    """The samples, all of one kind, as columns."""
    convert = explicit_samples if samples[0].bounds is not None else exponential_samples
    return convert([s.stream for s in samples], [message(s) for s in samples])


def buckets(state: Any, r: int, c: int) -> dict[int, int]:
    row = state.rows[r]
    mask = (1 << int(row[c + 1])) - 1
    found = {
        k: int(state.pool[0, int(row[c]) + (k & mask)])
        for k in range(int(row[c + FIRST]), int(row[c + LAST]) + 1)
    }
    assert not found or (found[min(found)] and found[max(found)]), "a range ends in zeros"
    return {k: n for k, n in found.items() if n}


def shape(found: Contributions, r: int) -> tuple[Any, ...]:
    row = found.state.rows[r]
    if hasattr(found.kind.aggregate, "bounds"):
        counts = tuple(int(n) for n in row[MOMENTS_WIDTH:])
        return tuple(found.kind.aggregate.bounds.tolist()), counts
    threshold = float(row[THRESHOLD : THRESHOLD + 1].copy().view(np.float64)[0])
    sides = [buckets(found.state, r, c) for c in (POSITIVE, NEGATIVE)]
    return (int(row[SCALE]), threshold, int(row[ZEROS]), *sides)


def total(state: Any, r: int) -> Any:
    flags = int(state.rows[r, FLAGS])
    if flags & NO_SUM:
        return None
    if flags & 7:
        return {1: math.nan, 2: math.inf, 4: -math.inf}[flags & 7]
    return exact_sum(state.rows[r, TOTAL:], state.pool)


def deltas_of(found: Iterable[Contributions]) -> list[Delta]:
    """What was contributed, by stream, bounds and time."""
    out: list[Delta] = []
    for part in found:
        lows, highs = lowest_of(part.state), highest_of(part.state)
        for r in range(len(part)):
            low, high = (None if x != x else float(x) for x in (lows[r], highs[r]))
            out.append(
                Delta(
                    int(part.streams[r]), int(part.starts[r]), int(part.times[r]),
                    bool(part.whole[r]), int(part.state.rows[r, COUNT]), total(part.state, r),
                    low, high, shape(part, r),
                )
            )  # fmt: skip
    return in_order(out)


def in_order(found: Iterable[Delta]) -> list[Delta]:
    return sorted(
        found, key=lambda d: (d.stream, str(d.shape[0]) if len(d.shape) == 2 else "", d.time)
    )


def noticed(found: Advance) -> list[tuple[int, str, int]]:
    return sorted((stream, KINDS[kind], time) for stream, kind, time in found.notices.tolist())
