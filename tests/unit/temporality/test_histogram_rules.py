"""The table of rules of topologies/temporality/README.md, row by row, for histograms."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from temporality.columns import deltas_of, noticed, samples_of
from temporality.reference import Sample, deltas

from topologies.temporality.deltas import ExplicitDeltas, ExponentialDeltas

PANE, GAP = 10, 25
BOUNDS = (0.0, 10.0)


def explicit(time, counts, total, start=3, **more):
    return Sample(0, start, time, sum(counts), total, bounds=BOUNDS, counts=tuple(counts), **more)


def exponential(time, positive, start=3, *, zeros=0, negative=(), total=None, **more):
    """positive: {bucket: count}."""
    count = zeros + sum(positive.values()) + sum(dict(negative).values())
    total = float(count) if total is None else total
    return Sample(
        0, start, time, count, total, zeros=zeros, positive=tuple(positive.items()),
        negative=tuple(dict(negative).items()), **more,
    )  # fmt: skip


A = explicit(11, (0, 2, 1), 30.0, min=4.0, max=20.0)  # its start lies in another pane: a base line
E = exponential(11, {2: 2, 5: 1}, scale=1)
ONCE = ("unknown-start", 11)

# id: samples, (count, sum, buckets or None) of each contribution, kinds noticed
EXPLICIT = {
    "difference": ([A, explicit(14, (0, 3, 1), 33.5)], [(1, 3.5, (0, 1, 0))], [ONCE]),
    "start-changed": ([A, explicit(14, (0, 3, 1), 33.5, 11)], [(4, 33.5, (0, 3, 1))],
                      [ONCE, ("start-changed", 14)]),
    "count-fell": ([A, explicit(14, (0, 1, 1), 21.0)], [(2, 21.0, (0, 1, 1))],
                   [ONCE, ("decreased", 14)]),
    "bucket-fell": ([A, explicit(14, (0, 1, 3), 90.0)], [(4, 90.0, (0, 1, 3))],
                    [ONCE, ("decreased", 14)]),
    "sum-fell": ([A, explicit(14, (0, 3, 1), 29.0)], [(4, 29.0, (0, 3, 1))],
                 [ONCE, ("decreased", 14)]),
    "sum-fell-and-may": ([explicit(11, (1, 2, 1), 30.0), explicit(14, (2, 2, 1), 29.0)],
                         [(1, -1.0, (1, 0, 0))], [ONCE]),
    "sum-of-the-same-values": ([A, explicit(14, (0, 2, 1), 29.999)],
                               [(0, 29.999 - 30, (0, 0, 0))], [ONCE]),
    "overlap": ([A, explicit(14, (0, 3, 1), 33.5, 10)], [(0, 0.0, (0, 0, 0))],
                [ONCE, ("overlap", 14)]),
    "restart-at-the-last-sample": ([A, explicit(14, (0, 3, 1), 33.5, 11)],
                                   [(4, 33.5, (0, 3, 1))], [ONCE, ("start-changed", 14)]),
    "first-began-in-its-pane": ([explicit(14, (0, 3, 1), 33.5, 11)], [(4, 33.5, (0, 3, 1))], []),
    "first-otherwise": ([A], [], [ONCE]),
    "start-says-nothing": ([explicit(14, (0, 3, 1), 33.5, 14), explicit(16, (0, 4, 1), 34.5, 14)],
                           [(1, 1.0, (0, 1, 0))], [("unknown-start", 14)]),
    "start-says-nothing-after-others": ([A, explicit(14, (0, 3, 1), 33.5, 14),
                                         explicit(16, (0, 4, 1), 34.5, 14)],
                                        [(1, 3.5, (0, 1, 0)), (1, 1.0, (0, 1, 0))], [ONCE]),
    "start-not-stated": ([A, explicit(14, (0, 3, 1), 33.5, 0)], [(1, 3.5, (0, 1, 0))], [ONCE]),
    "gap": ([A, explicit(36, (0, 3, 1), 33.5), explicit(62, (0, 4, 1), 34.5)],
            [(1, 3.5, (0, 1, 0))], [ONCE, ("gap", 62)]),
    "gap-and-began": ([A, explicit(37, (0, 3, 1), 33.5, 31)], [(4, 33.5, (0, 3, 1))],
                      [ONCE, ("gap", 37)]),
    "tie": ([A, explicit(14, (0, 3, 1), 33.5), explicit(14, (0, 2, 1), 31.0)],
            [(1, 3.5, (0, 1, 0))], [ONCE, ("tie", 14)]),
    "out-of-order": ([explicit(16, (0, 4, 1), 34.5), A, explicit(14, (0, 3, 1), 33.5)],
                     [(1, 3.5, (0, 1, 0)), (1, 1.0, (0, 1, 0))], [ONCE]),
    "other-bounds": ([A, replace(explicit(14, (0, 3, 1), 33.5), bounds=(0.0, 20.0))], [],
                     [ONCE, ("unknown-start", 14)]),
    "no-recorded-value": ([A, Sample(0, 3, 12, 0, None, recorded=False, bounds=()),
                           explicit(14, (0, 3, 1), 33.5)], [(1, 3.5, (0, 1, 0))], [ONCE]),
    "no-sum": ([A, explicit(14, (0, 3, 1), None)], [(1, None, (0, 1, 0))], [ONCE]),
    "infinite-sum": ([A, explicit(14, (0, 3, 1), math.inf)], [(1, math.inf, (0, 1, 0))], [ONCE]),
    "from-nothing": ([explicit(11, (0, 0, 0), 0.0), A_LATER := replace(A, time=14)],
                     [(3, 30.0, (0, 2, 1))], [ONCE]),
}  # fmt: skip

# id: samples, (count, scale, threshold, zeros, positive) of each contribution, kinds noticed
EXPONENTIAL = {
    "difference": ([E, exponential(14, {2: 2, 5: 2}, scale=1)], [(1, 1, 0.0, 0, {5: 1})], [ONCE]),
    "offsets-move": ([E, exponential(14, {-4: 1, 2: 2, 5: 1, 9: 1}, scale=1)],
                     [(2, 1, 0.0, 0, {-4: 1, 9: 1})], [ONCE]),
    "scale-falls": ([E, exponential(14, {1: 3, 2: 1}, scale=0)], [(1, 0, 0.0, 0, {1: 1})], [ONCE]),
    "scale-rises": ([exponential(11, {1: 3}, scale=0), exponential(14, {2: 2, 3: 2}, scale=1)],
                    [(1, 0, 0.0, 0, {1: 1})], [ONCE]),
    "scale-falls-and-a-bucket": ([E, exponential(14, {1: 1, 2: 3}, scale=0)],
                                 [(4, 0, 0.0, 0, {1: 1, 2: 3})], [ONCE, ("decreased", 14)]),
    "threshold-widens": ([exponential(11, {-4: 2, 3: 1}, scale=0),
                          exponential(14, {3: 2}, zeros=3, scale=0, threshold=0.5)],
                         [(2, 0, 0.5, 1, {3: 1})], [ONCE]),
    "threshold-cuts-a-bucket": ([exponential(11, {-2: 2, 3: 1}, scale=0),
                                 exponential(14, {3: 2}, zeros=3, scale=0, threshold=0.3)],
                                [(2, 0, 0.5, 1, {3: 1})], [ONCE]),
    "threshold-narrows": ([exponential(11, {3: 1}, zeros=2, scale=0, threshold=0.5),
                           exponential(14, {-3: 3, 3: 1}, scale=0)],
                          [(1, 20, 0.5, 1, {})], [ONCE]),
    "zero-count-fell": ([exponential(11, {3: 1}, zeros=2, scale=0),
                         exponential(14, {3: 4}, zeros=1, scale=0)],
                        [(5, 0, 0.0, 1, {3: 4})], [ONCE, ("decreased", 14)]),
    "negative-bucket-fell": ([exponential(11, {3: 1}, negative={1: 2}, scale=0),
                              exponential(14, {3: 9}, negative={1: 1}, scale=0)],
                             [(10, 0, 0.0, 0, {3: 9})], [ONCE, ("decreased", 14)]),
    "sum-fell": ([exponential(11, {3: 1}, scale=0, total=9.0),
                  exponential(14, {3: 2}, scale=0, total=8.5)],
                 [(2, 0, 0.0, 0, {3: 2})], [ONCE, ("decreased", 14)]),
    "sum-fell-and-may": ([exponential(11, {3: 1}, scale=0, total=9.0),
                          exponential(14, {3: 1}, negative={1: 1}, scale=0, total=6.0)],
                         [(1, 0, 0.0, 0, {})], [ONCE]),
}  # fmt: skip


@pytest.mark.parametrize("rule", EXPLICIT)
def test_each_rule_for_explicit_buckets(rule):
    samples, want, kinds = EXPLICIT[rule]
    for order in (samples, samples[::-1]):
        found = ExplicitDeltas(PANE, GAP).advance(samples_of(order))
        got = deltas_of(found.contributions)
        assert [(d.count, d.shape[1]) for d in got] == [(n, counts) for n, _, counts in want]
        for delta, (_, total, _) in zip(got, want, strict=True):
            assert delta.sum == total or float(delta.sum) == pytest.approx(total, abs=1e-12)
        assert noticed(found) == sorted((0, kind, time) for kind, time in kinds)
    plain, seen = deltas(samples, pane=PANE, gap=GAP)
    assert [(d.count, d.shape[1]) for d in plain] == [(n, counts) for n, _, counts in want]
    assert seen == sorted((0, kind, time) for kind, time in kinds)


@pytest.mark.parametrize("rule", EXPONENTIAL)
def test_each_rule_for_exponential_buckets(rule):
    samples, want, kinds = EXPONENTIAL[rule]
    for order in (samples, samples[::-1]):
        found = ExponentialDeltas(PANE, GAP).advance(samples_of(order))
        got = [(d.count, *d.shape[:4]) for d in deltas_of(found.contributions)]
        assert got == want
        assert noticed(found) == sorted((0, kind, time) for kind, time in kinds)
    plain, seen = deltas(samples, pane=PANE, gap=GAP)
    assert [(d.count, *d.shape[:4]) for d in plain] == want
    assert seen == sorted((0, kind, time) for kind, time in kinds)


def test_minimum_and_maximum_are_known_of_whole_samples_only():
    later = explicit(14, (0, 3, 1), 33.5, min=4.0, max=20.0)
    (delta,) = deltas_of(ExplicitDeltas(PANE, GAP).advance(samples_of([A, later])).contributions)
    assert (delta.whole, delta.min, delta.max) == (False, None, None)
    anew = replace(later, start=12)
    (delta,) = deltas_of(ExplicitDeltas(PANE, GAP).advance(samples_of([A, anew])).contributions)
    assert (delta.whole, delta.min, delta.max) == (True, 4.0, 20.0)
    assert (delta.start, delta.time) == (12, 14)
    empty = explicit(11, (0, 0, 0), 0.0)
    (delta,) = deltas_of(
        ExplicitDeltas(PANE, GAP).advance(samples_of([empty, later])).contributions
    )
    assert (delta.whole, delta.start, delta.min, delta.max) == (True, 11, 4.0, 20.0)


def test_ten_bounds_are_not_taken_for_exponential_buckets():
    bounds = tuple(float(x) for x in range(10))  # as many columns as an exponential row has
    counts = tuple(range(11))
    first = Sample(0, 3, 11, 55, 9.0, bounds=bounds, counts=counts)
    later = replace(first, time=14, count=66, counts=tuple(n + 1 for n in counts))
    (delta,) = deltas_of(
        ExplicitDeltas(PANE, GAP).advance(samples_of([first, later])).contributions
    )
    assert delta.shape[1] == (1,) * 11


def test_of_twins_that_differ_in_a_bucket_alone_the_same_one_is_kept_in_any_order():
    for first, second in (
        (explicit(11, (0, 2, 1), 30.0), explicit(11, (0, 1, 2), 30.0)),
        (explicit(11, (0, 2, 1), 30.0, min=1.0), explicit(11, (0, 2, 1), 30.0, min=2.0)),
        (exponential(11, {2: 2, 5: 1}, scale=1), exponential(11, {2: 1, 5: 2}, scale=1)),
        (exponential(11, {2: 3}, scale=1), exponential(11, {2: 3}, scale=2)),
        (exponential(11, {2: 3}, scale=1), exponential(11, {3: 3}, scale=1)),
    ):
        kept = []
        for order in ([first, second], [second, first]):
            made = (ExplicitDeltas if first.bounds else ExponentialDeltas)(PANE, GAP)
            made.advance(samples_of(order))
            kept.append(made.encode())
        assert kept[0] == kept[1]


def test_the_columns_say_what_the_message_said():
    found = samples_of([A, explicit(14, (0, 3, 1), None)])
    assert found.points.absent.tolist() == [0, 56]
    assert np.diff(found.points.bound_offsets).tolist() == [2, 2]
