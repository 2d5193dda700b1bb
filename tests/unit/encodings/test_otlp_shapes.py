"""Histogram points from their bytes: what the reference parser reads, however it was written."""

from __future__ import annotations

import random
from dataclasses import fields

import numpy as np
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
)

from topologies.encodings.otlp_shapes import explicit_points, exponential_points
from topologies.temporality.otlp import explicit_samples, exponential_samples

NUMBERS = [0.0, -0.0, 1.5, -2.5, 1e300, 5e-324, float("inf")]


def moments(rng: random.Random, point):
    for name in ("sum", "min", "max"):
        if rng.random() < 0.7:
            setattr(point, name, rng.choice(NUMBERS))
    if rng.random() < 0.5:
        point.attributes.add(key="k").value.string_value = "v" * rng.randrange(200)
    point.time_unix_nano = rng.getrandbits(60)
    return point


def explicit(rng: random.Random) -> HistogramDataPoint:
    size = rng.choice([0, 0, 1, 3, 40])
    counts = [rng.choice([0, 1, 7, 1 << 40]) for _ in range(size + 1)]
    point = HistogramDataPoint(explicit_bounds=sorted(rng.sample(range(-50, 50), size)))
    point.count = sum(counts)
    if size or rng.random() < 0.5:
        point.bucket_counts.extend(counts)
    return moments(rng, point)


def exponential(rng: random.Random) -> ExponentialHistogramDataPoint:
    point = ExponentialHistogramDataPoint(
        scale=rng.randrange(-10, 21), zero_count=rng.choice([0, 3])
    )
    for side in (point.positive, point.negative):
        if rng.random() < 0.7:
            side.offset = rng.choice([0, -1, 5, -40]) >> max(0, -point.scale)
            side.bucket_counts.extend(rng.choice([0, 1, 300]) for _ in range(rng.randrange(20)))
    point.zero_threshold = rng.choice([0.0, 0.5])
    counts = [*point.positive.bucket_counts, *point.negative.bucket_counts]
    point.count = point.zero_count + sum(counts)
    return moments(rng, point)


def rewritten(rng: random.Random, point) -> bytes:
    """The same point with its fields in another order, as far as that is the same."""
    parts = []
    for field, _ in point.ListFields():
        one = type(point)()
        if field.name in ("positive", "negative") or not field.is_repeated:
            value = getattr(point, field.name)
            if field.message_type:
                getattr(one, field.name).CopyFrom(value)
            else:
                setattr(one, field.name, value)
            parts.append(one.SerializeToString())
        else:  # repeated fields in pieces, which belong behind one another
            values = list(getattr(point, field.name))
            cut = rng.randrange(len(values) + 1)
            pieces = []
            for some in (values[:cut], values[cut:]):
                one = type(point)()
                getattr(one, field.name).extend(some)
                pieces.append(one.SerializeToString())
            parts.append(b"".join(pieces))
    rng.shuffle(parts)
    return b"".join(parts)


def packed(parts: list[bytes]):
    sizes = np.array([len(part) for part in parts], np.int64)
    ends = np.cumsum(sizes)
    return np.frombuffer(b"".join(parts) + bytes(32), np.uint8).copy(), ends - sizes, ends


def same(ours, theirs) -> bool:
    return all(
        np.array_equal(
            np.asarray(getattr(ours, field.name)).view(np.uint8),
            np.asarray(getattr(theirs, field.name)).view(np.uint8),
        )
        for field in fields(theirs)
    )


@pytest.mark.parametrize("seed", range(20))
def test_points_are_read_as_the_reference_parser_reads_them(seed: int):
    rng = random.Random(seed)
    for make, ours, theirs in (
        (explicit, explicit_points, explicit_samples),
        (exponential, exponential_points, exponential_samples),
    ):
        points = [make(rng) for _ in range(rng.choice([0, 1, 30]))]
        want = theirs([0] * len(points), points).points
        assert same(ours(*packed([p.SerializeToString() for p in points])), want)
        assert same(ours(*packed([rewritten(rng, point) for point in points])), want)


def test_unpacked_counts_and_bounds_are_read_as_well():
    data = b"\x21" + (3).to_bytes(8, "little")
    data += b"".join(b"\x31" + n.to_bytes(8, "little") for n in (1, 2))
    data += b"\x39" + np.float64(2.5).tobytes()
    want = explicit_samples([0], [HistogramDataPoint.FromString(data)]).points
    assert same(explicit_points(*packed([data])), want)
    assert (want.bounds.tolist(), want.bucket_counts.tolist()) == ([2.5], [1, 2])
    shape = b"\x21" + (3).to_bytes(8, "little") + b"\x42\x06\x08\x03\x10\x01\x10\x02"
    want = exponential_samples([0], [ExponentialHistogramDataPoint.FromString(shape)]).points
    assert same(exponential_points(*packed([shape])), want)
    assert (want.positive_firsts.tolist(), want.positive_counts.tolist()) == ([-2], [1, 2])
