"""Histograms and sketches of other sizes against plain Python; histograms that came bucketed."""

import math
import random
import struct
import sys
from dataclasses import astuple
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aggregates.references import Sample
from aggregates.sketch_references import (
    bound,
    coupon,
    estimate,
    explicit,
    exponential,
    finest_bucket,
    heaviest,
)

from streams.aggregates import Points
from streams.aggregates.datasketches import read_sketch
from streams.aggregates.distinct import DistinctCount
from streams.aggregates.explicit import (
    DifferentBounds,
    ExplicitHistogram,
    ExplicitPoints,
    contradictory,
)
from streams.aggregates.exponential import ExponentialHistogram
from streams.aggregates.exponential_points import ExponentialPoints, moments_contradict
from streams.aggregates.heaviest import TopK
from streams.aggregates.histogram_mean import HistogramMean
from streams.batch import BytesColumn
from streams.errors import Rejected
from streams.kernels.powers import tables

ONE = np.zeros(1, np.int64)


def finished(aggregate, values):
    state = aggregate.empty(1)
    aggregate.add(state, np.zeros(len(values), np.int64), Points.of_doubles(values))
    return aggregate.finish(state)


def samples(values):
    return [Sample(0, 0, value, False) for value in values]


def hard(chance, count):
    """Doubles of all exponents, subnormals, and the two nearest to bounds of buckets."""
    for _ in range(count):
        sign = chance.choice((1, -1))
        yield sign * abs(struct.unpack("<d", chance.randbytes(7) + b"\x3f")[0])
        yield sign * struct.unpack("<d", chance.randbytes(6) + b"\0\0")[0]
        shift = chance.randrange(21)
        edge = bound(max(chance.randrange(-1074 << 20, 1024 << 20) >> shift << shift, -1074 << 20))
        yield sign * edge
        yield sign * math.nextafter(edge, math.inf)


def test_every_bound_of_the_finest_scale_is_the_exact_one_rounded_down():
    """Two tables of 160 bits, below and above each power: their products have one rounding."""
    bits = 160

    def powers(depth):
        root = 2 << bits
        for _ in range(depth):
            root = math.isqrt(root << bits)
        low = high = 1 << bits
        for _ in range(1024):
            yield low, high
            low, high = low * root >> bits, (high * (root + 1) >> bits) + 1

    coarse, fine = list(powers(10)), list(powers(20))
    shift = 2 * bits - 52
    below = [low * least >> shift for low, _ in coarse for least, _ in fine]
    above = [high * most >> shift for _, high in coarse for _, most in fine]
    bounds = tables()[0].tolist()
    assert below == above
    assert bounds[:-1] == below
    assert bounds[-1] == 1 << 53


@pytest.mark.parametrize(
    ("max_size", "max_scale", "threshold"),
    [(160, 20, 0.0), (4, 20, 0.0), (16384, 20, 1e-9), (33, 0, 0.0), (160, -10, 2.0), (9, 5, 1e300)],
)
def test_values_lie_in_opentelemetrys_buckets(max_size, max_scale, threshold):
    chance = random.Random(max_size)
    aggregate = ExponentialHistogram(
        max_size=max_size, max_scale=max_scale, zero_threshold=threshold
    )
    for count in (1, 2, 40):
        for near in (True, False):
            values = list(hard(chance, count))
            if near:
                values = [math.nextafter(values[0], math.inf), values[0], -values[0] * 1.0001]
            found = finished(aggregate, values)[0]
            assert astuple(found) == exponential(samples(values), max_size, max_scale, threshold)


def test_a_bound_belongs_to_the_bucket_below_it():
    histogram = finished(ExponentialHistogram(max_scale=0), [2.0, math.nextafter(2.0, 3.0)])[0]
    assert (histogram.positive_offset, histogram.positive_counts) == (0, (1, 1))  # (1, 2], (2, 4]
    least = finished(ExponentialHistogram(), [5e-324])[0]
    assert (least.scale, least.positive_offset) == (20, (-1074 << 20) - 1)


@pytest.mark.parametrize("scale", [-10, -3, 0, 1, 5, 9, 10, 15, 20])
def test_an_index_is_the_same_at_every_scale(scale):
    chance = random.Random(scale)
    aggregate = ExponentialHistogram(max_scale=scale)
    for value in hard(chance, 60):
        one = finished(aggregate, [value])[0]
        offset = one.positive_offset if value > 0 else one.negative_offset
        assert offset == finest_bucket(abs(value)) >> 20 - scale


def test_a_quantile_is_no_farther_from_the_value_of_its_rank_than_a_bucket_is_wide():
    rng = np.random.default_rng(1)
    for max_size in (20, 160, 2000):
        for values in (rng.lognormal(0, 1, 5000), -rng.pareto(1, 5000) - 1, rng.normal(5, 1, 5000)):
            found = finished(ExponentialHistogram(max_size=max_size), values)
            base = 2.0 ** (2.0 ** -found.scales[0])
            assert found.quantile(0)[0] == values.min()
            assert found.quantile(1)[0] == values.max()
            for q in (0.001, 0.1, 0.5, 0.9, 0.999):
                true = np.quantile(values, q, method="inverted_cdf")
                got = found.quantile(q)[0]
                assert abs(got - true) <= (base - 1) * min(abs(got), abs(true)) * (1 + 1e-9)


def test_a_quantile_outside_of_0_and_1_is_refused():
    for q in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError):
            finished(ExponentialHistogram(), [1.0]).quantile(q)
        with pytest.raises(ValueError):
            finished(ExplicitHistogram(), [1.0]).quantile(q)


def bucketed(points):
    """ExponentialPoints of dicts with the names of OTLP's fields."""

    def column(name, kind, default=0):
        return np.array([p.get(name, default) for p in points], kind)

    sides = []
    for side in ("positive", "negative"):
        counts = [p.get(f"{side}_counts", []) for p in points]
        offsets = np.cumsum([0, *map(len, counts)])
        flat = np.array([c for each in counts for c in each], np.int64)
        sides += [column(f"{side}_offset", np.int64), offsets, flat]
    total = [
        sum(p.get("positive_counts", [])) + sum(p.get("negative_counts", [])) + p.get("zeros", 0)
        for p in points
    ]
    counts = np.array([p.get("count", t) for p, t in zip(points, total, strict=True)], np.int64)
    return ExponentialPoints(
        counts,
        column("sum", np.float64),
        column("min", np.float64, math.nan),
        column("max", np.float64, math.nan),
        column("absent", np.uint8),
        column("zeros", np.int64),
        column("threshold", np.float64),
        column("scale", np.int64),
        *sides,
    )


def as_point(values, aggregate):
    """The histogram of values as an agent would send it."""
    found = finished(aggregate, values)[0]
    return {
        "sum": found.sum, "min": found.min, "max": found.max, "zeros": found.zero_count,
        "threshold": found.zero_threshold, "scale": found.scale,
        "positive_offset": found.positive_offset, "positive_counts": found.positive_counts,
        "negative_offset": found.negative_offset, "negative_counts": found.negative_counts,
    }  # fmt: skip


def test_histograms_that_came_bucketed_give_the_buckets_of_their_values():
    rng = np.random.default_rng(3)
    aggregate = ExponentialHistogram(max_size=50)
    for _ in range(30):
        parts = [rng.normal(0, 10.0 ** rng.integers(-3, 4), rng.integers(0, 30)) for _ in "12345"]
        agents = [ExponentialHistogram(max_size=int(rng.integers(50, 400))) for _ in parts]
        sent = [as_point(part, agent) for part, agent in zip(parts, agents, strict=True)]
        state = aggregate.empty(2)
        aggregate.add_points(state, np.ones(5, np.int64), bucketed(sent))
        found = aggregate.finish(state)[1]
        want = exponential(samples(np.concatenate(parts)), 50)
        for field in ("count", "min", "max", "zero_count", "scale", "positive_offset",
                      "positive_counts", "negative_offset", "negative_counts"):  # fmt: skip
            assert str(getattr(found, field)) == str(getattr(want, field))
        total = sum(Fraction(p["sum"]) for p in sent)
        assert found.sum == float(total)


def test_points_scales_and_thresholds_join_in_any_order_with_the_same_bytes():
    chance = random.Random(4)
    aggregate = ExponentialHistogram(max_size=12)
    for _ in range(40):
        points = []
        for _ in range(12):
            scale = chance.randrange(-10, 25)
            reach = 2 ** max(scale, 0)
            counts = [chance.choice((0, 0, 1, 5)) for _ in range(chance.randrange(30))]
            if scale < 0:
                counts = counts[:2]
            points.append(
                {
                    "scale": scale,
                    "positive_offset": chance.randrange(-3 * reach, 3 * reach) if scale >= 0 else 0,
                    "positive_counts": counts[: 1 if scale < -8 else None],
                    "negative_offset": 0,
                    "negative_counts": [chance.randrange(3)],
                    "threshold": chance.choice((0.0, 0.0, 0.3, 1.5)),
                    "zeros": chance.randrange(2),
                    "sum": chance.random() * 1e300,
                    "absent": chance.choice((0, 0, 0, 8)),
                }
            )
        encoded = set()
        values = Points.of_doubles([0.7, -3.0, 1e-5])
        for _ in range(6):
            chance.shuffle(points)
            state = aggregate.empty(1)
            cut = chance.randrange(13)
            parts = [points[:cut], points[cut:], None]
            chance.shuffle(parts)
            for part in parts:
                if part is None:
                    aggregate.add(state, np.zeros(3, np.int64), values)
                else:
                    aggregate.add_points(state, np.zeros(len(part), np.int64), bucketed(part))
            encoded.add(aggregate.encode(state))
        assert len(encoded) == 1


def test_a_wider_zero_bucket_swallows_what_it_cuts_when_it_is_published():
    aggregate = ExponentialHistogram()
    state = aggregate.empty(1)
    wide = {"scale": 0, "threshold": 3.0, "zeros": 2, "positive_offset": 3, "positive_counts": [1]}
    fine = {"scale": 0, "positive_offset": -1, "positive_counts": [1, 1, 1, 1]}  # (0.5, 8]
    aggregate.add_points(state, np.zeros(2, np.int64), bucketed([fine, wide]))
    found = aggregate.finish(state)[0]
    assert (found.zero_threshold, found.zero_count) == (4.0, 5)  # (2, 4] was cut by 3
    assert (found.positive_offset, found.positive_counts) == (2, (1, 1))
    assert found.count == 7


def test_what_a_point_does_not_say_is_not_known_afterwards():
    aggregate = ExponentialHistogram()
    state = aggregate.empty(1)
    aggregate.add(state, ONE, Points.of_doubles([3.0]))
    point = {"scale": 0, "positive_counts": [1], "absent": 8 | 16}
    aggregate.add_points(state, ONE, bucketed([point | {"max": 2.0}]))
    found = aggregate.finish(state)[0]
    assert math.isnan(found.sum)
    assert math.isnan(found.min)
    assert found.max == 3.0


@pytest.mark.parametrize(
    ("point", "code"),
    [
        ({"scale": 0, "positive_counts": [1], "count": 2}, "bucket-count"),
        ({"scale": 0, "positive_counts": [2, -1], "count": 1}, "bucket-count"),
        ({"scale": 0, "zeros": -1, "positive_counts": [1], "count": 0}, "bucket-count"),
        ({"scale": -11, "positive_counts": [1]}, "scale"),
        ({"scale": 32, "positive_counts": [1]}, "scale"),
        ({"scale": 0, "positive_offset": 1024, "positive_counts": [1]}, "bucket-range"),
        ({"scale": 0, "positive_offset": -1076, "positive_counts": [1]}, "bucket-range"),
        ({"scale": -10, "positive_offset": 2**31 - 1, "positive_counts": [1]}, "bucket-range"),
        ({"scale": 0, "zeros": 1, "threshold": -1.0}, "zero-threshold"),
        ({"scale": 0, "zeros": 1, "threshold": math.nan}, "zero-threshold"),
    ],
)
def test_a_point_that_contradicts_itself_is_rejected_and_nothing_joins(point, code):
    aggregate = ExponentialHistogram()
    state = aggregate.empty(1)
    with pytest.raises(Rejected, match="exponential histogram point 1") as refused:
        aggregate.add_points(
            state, np.zeros(2, np.int64), bucketed([{"scale": 1, "zeros": 1}, point])
        )
    assert refused.value.code == code
    assert aggregate.encode(state) == aggregate.encode(aggregate.empty(1))


def explicit_points(bounds, counts, sums):
    sizes = np.arange(len(counts) + 1)
    unknown = np.full(len(counts), math.nan)
    return ExplicitPoints(
        np.array([sum(each) for each in counts], np.int64), np.array(sums, np.float64), unknown,
        unknown, np.zeros(len(counts), np.uint8), sizes * len(bounds),
        np.array([b for _ in counts for b in bounds], np.float64), sizes * (len(bounds) + 1),
        np.array([c for each in counts for c in each], np.int64),
    )  # fmt: skip


@pytest.mark.parametrize("bounds", [(), (0.0,), (-1.5, 0.0, 1e-300, 2.0), tuple(range(-50, 51))])
def test_explicit_buckets_take_their_upper_bound(bounds):
    chance = random.Random(len(bounds))
    values = [*hard(chance, 50), *bounds, *(math.nextafter(b, math.inf) for b in bounds), -0.0]
    found = finished(ExplicitHistogram(bounds=bounds), values)
    assert astuple(found[0]) == explicit(samples(values), bounds)


def test_explicit_points_add_up_and_other_bounds_are_refused():
    aggregate = ExplicitHistogram(bounds=(1.0, 2.0))
    state = aggregate.empty(1)
    two = np.zeros(2, np.int64)
    aggregate.add_points(
        state, two, explicit_points((1.0, 2.0), [[1, 2, 3], [4, 5, 6]], [0.1, 0.2])
    )
    found = aggregate.finish(state)
    assert found[0].bucket_counts == (5, 7, 9)
    assert found[0].sum == float(Fraction(0.1) + Fraction(0.2))
    assert found.quantile(0.25)[0] == 1.0 + 0.25 / 7  # rank 5.25 of 21, 5 are up to 1
    assert found.quantile(1)[0] == 2.0  # nothing says how far the last bucket reaches
    before = aggregate.encode(state)
    for bounds in ((1.0, 2.5), (1.0,), (1.0, 2.0, 3.0)):
        if bounds[:2] != (1.0, 2.0):
            wrong = explicit_points(bounds, [[1] * (len(bounds) + 1)], [1.0])
            with pytest.raises(DifferentBounds):
                aggregate.add_points(state, ONE, wrong)
        other = ExplicitHistogram(bounds=bounds)
        with pytest.raises(DifferentBounds):
            aggregate.merge(state, ONE, other.empty(1), ONE)
    assert aggregate.encode(state) == before


@pytest.mark.parametrize("wanted", [(), (1.0,), (0.0, 4.0), (-3.0, 0.0, 1.0, 4.0)])
def test_explicit_points_of_more_bounds_are_coarsened_as_their_values_would_be(wanted):
    chance = random.Random(len(wanted))
    bounds = (-3.0, -0.0, 0.5, 1.0, 4.0)
    values = [chance.choice([*bounds, *hard(chance, 5)]) for _ in range(200)]
    values = [value for value in values if math.isfinite(value)]
    fine = explicit(samples(values), bounds)
    aggregate = ExplicitHistogram(bounds=wanted)
    state = aggregate.empty(1)
    aggregate.add_points(state, ONE, explicit_points(bounds, [fine.bucket_counts], [fine.sum]))
    assert (
        aggregate.finish(state)[0].bucket_counts == explicit(samples(values), wanted).bucket_counts
    )


@pytest.mark.parametrize(
    "point",
    [
        ((1.0, 2.0), [1, 2, 3], 7),
        ((1.0, 2.0), [1, 2], 3),
        ((1.0, 2.0), [1, 2, 3, 4], 10),
        ((2.0, 1.0), [1, 2, 3], 6),
        ((1.0, 1.0), [1, 2, 3], 6),
        ((1.0, math.nan), [1, 2, 3], 6),
        ((1.0, math.inf), [1, 2, 3], 6),
        ((1.0, 2.0), [1, -2, 3], 2),
    ],
)
def test_an_explicit_point_that_contradicts_itself_is_rejected_and_the_others_are_not(point):
    bounds, counts, count = point
    sizes = [(2, 3), (len(bounds), len(counts)), (2, 3)]
    offsets = np.cumsum([(0, 0), *sizes], axis=0).T
    unknown = np.full(3, math.nan)
    points = ExplicitPoints(
        np.array([6, count, 6], np.int64), np.zeros(3), unknown, unknown, np.zeros(3, np.uint8),
        offsets[0].copy(), np.array([1.0, 2.0, *bounds, 1.0, 2.0]),
        offsets[1].copy(), np.array([1, 2, 3, *counts, 1, 2, 3], np.int64),
    )  # fmt: skip
    assert contradictory(points).tolist() == [False, True, False]
    with pytest.raises(Rejected, match="histogram point 1"):
        ExplicitHistogram(bounds=()).load(points)


@pytest.mark.parametrize(
    ("moments", "wrong"),
    [
        ((3, 1.0, 0.0, 1.0, 0), False),
        ((3, 1.0, 1.0, 0.0, 0), True),
        ((3, 1.0, 1.0, 0.0, 16), False),  # it says no minimum
        ((3, math.nan, 0.0, 1.0, 0), False),
        ((0, 0.0, 5.0, 1.0, 0), False),  # nothing has an extreme
        ((0, 1.0, 0.0, 0.0, 0), True),
        ((0, 1.0, 0.0, 0.0, 8), False),  # it says no sum
        ((-1, 0.0, 0.0, 0.0, 0), True),
        ((2**53 + 1, 0.0, 0.0, 0.0, 0), True),
    ],
)
def test_moments_contradict_themselves_or_not(moments, wrong):
    count, total, least, greatest, absent = moments
    found = moments_contradict(
        np.array([count], np.int64), np.array([total]), np.array([least]), np.array([greatest]),
        np.array([absent], np.uint8),
    )  # fmt: skip
    assert found.tolist() == [wrong]


def test_the_mean_of_histogram_points_is_exact():
    aggregate = HistogramMean()
    state = aggregate.empty(4)
    rows = np.array([0, 0, 1, 1, 2], np.int64)
    counts, sums = [3, 2**31, 1, 1, 1], [0.1, 0.2, 1e308, 5e-324, 3.0]
    points = explicit_points((), [[count] for count in counts], sums)
    points.absent[4] = 8  # no sum
    aggregate.merge(state, rows, aggregate.load(points), np.arange(5))
    means = aggregate.finish(state)
    exact = [
        (Fraction(0.1) + Fraction(0.2)) / (3 + 2**31),
        (Fraction(1e308) + Fraction(5e-324)) / 2,
    ]
    assert means[:2].tolist() == [float(each) for each in exact]
    assert np.isnan(means[2:]).all()
    again = aggregate.decode(aggregate.encode(state))
    assert aggregate.finish(again).tobytes() == means.tobytes()


def test_parameters_that_cannot_be_kept_are_refused():
    for wrong in ({"max_size": 3}, {"max_scale": 21}, {"max_scale": -11}, {"zero_threshold": -1.0},
                  {"zero_threshold": math.inf}):  # fmt: skip
        with pytest.raises(ValueError):
            ExponentialHistogram(**wrong)
    for bounds in ((2.0, 1.0), (1.0, 1.0), (math.inf,), (math.nan,), (0.0, -0.0)):
        with pytest.raises(ValueError):
            ExplicitHistogram(bounds=bounds)
    for lg_k in (3, 22):
        with pytest.raises(ValueError):
            DistinctCount(lg_k=lg_k)
    with pytest.raises(ValueError):
        TopK(k=5, capacity=4)


@pytest.mark.parametrize("lg_k", [4, 7, 8, 12])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 24, 25, 384, 385, 3000])
def test_strings_are_counted_as_their_hashes_say(lg_k, count):
    aggregate = DistinctCount(lg_k=lg_k)
    texts = [b"x" * (i % 37) + b"%d" % i for i in range(count)]
    state = aggregate.empty(1)
    twice = BytesColumn.of(texts + texts)
    aggregate.add_strings(state, np.zeros(2 * count, np.int64), twice)
    assert aggregate.finish(state)[0] == estimate({coupon(text) for text in texts}, lg_k)


def test_a_sketch_goes_out_and_comes_back():
    rng = np.random.default_rng(5)
    aggregate, smaller = DistinctCount(lg_k=10), DistinctCount(lg_k=8)
    for count in (0, 5, 90, 400, 20000):
        coarse, fine = smaller.empty(1), aggregate.empty(1)
        values = Points.of_doubles(rng.random(count))
        for each, state in ((aggregate, fine), (smaller, coarse)):
            each.add(state, np.zeros(count, np.int64), values)
        sent = BytesColumn.of(aggregate.sketches(fine))
        again, folded = aggregate.empty(1), smaller.empty(1)
        aggregate.add_sketches(again, ONE, sent)
        assert aggregate.encode(again) == aggregate.encode(fine)
        smaller.add_sketches(folded, ONE, sent)
        if count != 90:  # coupons of the finer one become registers of the coarser
            assert smaller.encode(folded) == smaller.encode(coarse)


def test_a_foreign_sketch_that_cannot_join_is_rejected():
    aggregate = DistinctCount(lg_k=10)
    state = aggregate.empty(1)
    smaller = DistinctCount(lg_k=9)
    one = smaller.empty(1)
    smaller.add(one, np.zeros(900, np.int64), Points.of_doubles(np.arange(900.0)))
    (data,) = smaller.sketches(one)
    for wrong in (data, b"", data[:50], b"\0" * 60, data[:2] + b"\1" + data[3:]):
        with pytest.raises(Rejected):
            aggregate.add_sketches(state, ONE, BytesColumn.of([wrong]))
    with pytest.raises(Rejected):
        read_sketch(9, data[:-1])
    few = smaller.empty(1)
    smaller.add(few, np.zeros(3, np.int64), Points.of_doubles(np.arange(3.0)))
    (coupons,) = smaller.sketches(few)
    no_value = coupons[:8] + b"\1\0\0\0" + coupons[12:]
    endless = coupons[:4] + b"\xff" + coupons[5:5] + bytes([coupons[5] & ~8]) + coupons[6:]
    for wrong in (no_value, endless):
        with pytest.raises(Rejected):
            read_sketch(9, wrong)


@pytest.mark.parametrize("capacity", [1, 8, 30, 100])
def test_the_heaviest_keys_are_exact_and_what_is_beyond_is_said(capacity):
    chance = random.Random(capacity)
    aggregate = TopK(k=min(5, capacity), capacity=capacity)
    for distinct in (1, 8, 60):
        for negative in (False, True):
            keys = [chance.getrandbits(64) for _ in range(distinct)]
            draw = [chance.choice(keys) for _ in range(300)]
            weights = [
                chance.choice((1e300, 0.1, 5e-324, 3.0, math.nan, math.inf))
                * (-1 if negative and chance.random() < 0.3 else 1)
                for _ in draw
            ]
            state = aggregate.empty(1)
            aggregate.add_keyed(
                state, np.zeros(300, np.int64), np.array(draw, np.uint64),
                Points.of_doubles(weights),
            )  # fmt: skip
            want = heaviest(list(zip(draw, weights, strict=True)), aggregate.k, capacity)
            assert astuple(aggregate.finish(state)[0]) == want
