"""Every planted mistake is found by its own code, and nothing else is reported."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.otlp_check.good_streams import CUMULATIVE, DELTA, EPOCH, NAMES, SECOND, Story, good
from topologies.otlp_check import RULES, Checker, Finding

Edit = Callable[[Story], object]


def findings(story: Story) -> list[Finding]:
    checker = Checker()
    return [found for body in story.bodies() for found in checker.feed(body)]


def at(seconds: float) -> int:
    return EPOCH + int(seconds * SECOND)


def move(story: Story, request: int, start: float | None = None, time: float | None = None):
    """Give the first point of a request, and of no other, another start or time."""
    point = story.point(request)
    if start is not None:
        point.start_time_unix_nano = at(start)
    if time is not None:
        point.time_unix_nano = at(time)


def swap(story: Story, one: int, other: int):
    """Let the first stream's points of two requests come in the other's place."""
    first, second = story.point(one), story.point(other)
    kept = type(first)()
    kept.CopyFrom(first)
    first.CopyFrom(second)
    second.CopyFrom(kept)


def again(story: Story, request: int, **fields: object):
    """The first point of a request a second time, with other fields."""
    points = story.data(request).data_points
    added = points.add()
    added.CopyFrom(points[0])
    for name, value in fields.items():
        setattr(added, name, value)


def put(**fields: object) -> Edit:
    """Set fields of the first point of the fourth request."""

    def edit(story: Story):
        for name, value in fields.items():
            setattr(story.point(3), name, value)

    return edit


def from_there(**fields: object) -> Edit:
    """Set fields of the first point of the fourth request and all later ones."""

    def edit(story: Story):
        for request in (3, 4, 5):
            for name, value in fields.items():
                setattr(story.point(request), name, value)

    return edit


def of_metric(*requests: int, **fields: object) -> Edit:
    def edit(story: Story):
        for request in requests:
            for name, value in fields.items():
                setattr(story.metric(request), name, value)

    return edit


def of_data(*requests: int, **fields: object) -> Edit:
    def edit(story: Story):
        for request in requests:
            for name, value in fields.items():
                setattr(story.data(request), name, value)

    return edit


def as_gauge(story: Story):
    points = list(story.data(3).data_points)
    story.metric(3).gauge.data_points.extend(points)


def drop(name: str) -> Edit:
    return lambda story: story.point(3).ClearField(name)


def no_record(story: Story, request: int = 3):
    """The first point of a request says that there is no value, as a staleness marker."""
    point = story.point(request)
    for field in [field.name for field, _ in point.ListFields()]:
        if field not in ("attributes", "start_time_unix_nano", "time_unix_nano"):
            point.ClearField(field)
    point.flags = 1


def restart(story: Story, request: int, since: float):
    """From a request on, the first stream counts from a new start."""
    for later in range(request, 6):
        point = story.point(later)
        point.start_time_unix_nano = at(since)
        if story.kind == "sum":
            point.as_double = 1.0 + later
        else:
            point.CopyFrom(good(f"{story.kind}/cumulative").point(later - request))
            point.start_time_unix_nano = at(since)
            point.time_unix_nano = at(10 * later + 10)


def buckets(*counts: int, bounds: tuple[float, ...] = (1.0, 5.0), **fields: object) -> Edit:
    def edit(story: Story):
        point = story.point(3)
        point.ClearField("bucket_counts")
        point.ClearField("explicit_bounds")
        point.bucket_counts.extend(counts)
        point.explicit_bounds.extend(bounds)
        put(**fields)(story)

    return edit


def exponent(offset: int, *counts: int, side: str = "positive", **fields: object) -> Edit:
    def edit(story: Story):
        side_of = getattr(story.point(3), side)
        side_of.ClearField("bucket_counts")
        side_of.offset = offset
        side_of.bucket_counts.extend(counts)
        put(**fields)(story)

    return edit


def quantile(number: int, **fields: float) -> Edit:
    def edit(story: Story):
        for name, value in fields.items():
            setattr(story.point(3).quantile_values[number], name, value)

    return edit


def key_of(where: Callable[[Story], object], key: str) -> Edit:
    return lambda story: where(story).add(key=key)  # type: ignore[attr-defined]


def resource(story: Story):
    return story.requests[3].resource_metrics[0].resource.attributes


def scope(story: Story):
    return story.requests[3].resource_metrics[0].scope_metrics[0].scope.attributes


def nested(story: Story):
    for _ in range(2):
        inside = story.point(3).attributes[1].value.kvlist_value.values.add(key="k")
        inside.value.int_value = 1


def both(*edits: Edit) -> Edit:
    return lambda story: [edit(story) for edit in edits]


C, D = "counter/cumulative", "counter/delta"
H, E = "histogram/cumulative", "exponential/cumulative"
HD, ED = "histogram/delta", "exponential/delta"

PLANTED: list[tuple[str, str, Edit]] = [
    # envelopes and metrics
    ("repeated-request", C, lambda s: s.requests.insert(4, s.requests[3])),
    ("empty-envelope", C, lambda s: s.requests[3].ClearField("resource_metrics")),
    ("empty-envelope", C, lambda s: s.requests[3].resource_metrics.add()),
    ("empty-envelope", C, lambda s: s.requests[3].resource_metrics[0].scope_metrics.add()),
    ("empty-envelope", C, lambda s: s.data(3).ClearField("data_points")),
    ("empty-metric-name", C, of_metric(3, name="")),
    ("metric-without-data", C, lambda s: s.metric(3).ClearField("sum")),
    ("unspecified-temporality", C, of_data(3, aggregation_temporality=0)),
    ("unspecified-temporality", H, of_data(*range(6), aggregation_temporality=0)),
    ("kind-conflict", C, as_gauge),
    ("unit-conflict", C, of_metric(3, 4, unit="MiBy")),
    ("unit-conflict", "gauge", of_metric(5, unit="")),
    ("temporality-conflict", C, of_data(3, aggregation_temporality=DELTA)),
    ("temporality-conflict", ED, of_data(0, aggregation_temporality=CUMULATIVE)),
    ("monotonicity-conflict", C, of_data(3, is_monotonic=False)),
    ("description-conflict", C, of_metric(3, 5, description="What m was")),
    # attributes
    ("duplicate-attribute-key", C, key_of(lambda s: s.point(3).attributes, "a")),
    ("duplicate-attribute-key", C, key_of(resource, "pid")),
    ("duplicate-attribute-key", C, key_of(scope, "s")),
    ("duplicate-attribute-key", C, nested),
    ("empty-attribute-key", H, key_of(lambda s: s.point(3).attributes, "")),
    # points
    ("zero-time", "gauge", put(time_unix_nano=0)),
    ("zero-time", H, put(time_unix_nano=0)),
    ("start-after-time", C, put(start_time_unix_nano=at(41))),
    ("start-after-time", HD, lambda s: move(s, 5, time=49.5)),
    ("missing-start-time", D, put(start_time_unix_nano=0)),
    ("missing-start-time", C, from_there(start_time_unix_nano=0)),
    ("missing-start-time", E, lambda s: [s.point(i).ClearField("start_time_unix_nano")
                                         for i in range(6)]),
    ("missing-value", "gauge", drop("as_double")),
    ("missing-value", C, drop("as_double")),
    ("no-recorded-value-with-value", "gauge", put(flags=1)),
    ("no-recorded-value-with-value", HD, put(flags=1)),
    ("no-recorded-value-with-value", "updown/delta", put(flags=1, as_int=0)),
    ("reserved-flags", C, put(flags=4)),
    ("exemplar-without-value", C, lambda s: s.point(3).exemplars[0].ClearField("as_double")),
    # the order of points: delta
    ("duplicate-point", D, lambda s: again(s, 3)),
    ("duplicate-point", D, lambda s: again(s, 3, as_int=7)),
    ("overlapping-intervals", D, lambda s: move(s, 3, start=29.999)),
    ("overlapping-intervals", HD, lambda s: move(s, 3, start=5)),
    ("overlapping-intervals", ED, lambda s: move(s, 3, time=40.001)),
    ("overlapping-intervals", D, lambda s: again(s, 5, start_time_unix_nano=at(12),
                                                 time_unix_nano=at(14))),
    ("out-of-order-point", "gauge", lambda s: swap(s, 2, 3)),
    ("gap", D, lambda s: move(s, 3, start=31)),
    ("gap", D, lambda s: s.data(3).data_points.pop(0)),
    ("negative-monotonic-sum", D, put(as_double=-0.5)),
    # the order of points: cumulative and sampled
    ("duplicate-point", C, lambda s: again(s, 3, as_double=11.0)),
    ("duplicate-point", "gauge", lambda s: again(s, 3)),
    ("duplicate-point", "gauge", lambda s: move(s, 3, time=30)),
    ("duplicate-point", "summary", lambda s: again(s, 3)),
    ("overlapping-sequences", C, lambda s: restart(s, 3, since=29)),
    ("overlapping-sequences", "histogram/cumulative", lambda s: restart(s, 3, since=29.9)),
    ("start-went-back", C, lambda s: restart(s, 3, since=-5)),
    ("decrease-without-reset", C, put(as_double=7.0)),
    ("decrease-without-reset", C, put(as_int=7)),
    ("decrease-without-reset", "summary", put(count=11)),
    ("decrease-without-reset", H, buckets(3, 0, 5, count=8)),
    ("decrease-without-reset", E, exponent(-2, 1, 0, 4, 0, 8, count=17)),
    ("decrease-without-start-time", "summary",
     lambda s: [setattr(s.point(i), "start_time_unix_nano", 0) for i in range(6)]
     and setattr(s.point(3), "count", 11)),
    ("bucket-decrease", H, buckets(2, 0, 10)),
    ("bucket-decrease", E, exponent(-2, 8, 0, 2, 0, 10)),
    ("bucket-decrease", E, exponent(-2, 8, 0, 5, 0, 8, zero_count=2, count=23)),
    ("bucket-decrease", E, exponent(-1, 5, 4, 10, scale=0, count=23)),
    ("extremum-shrank", H, put(max=8.5)),
    ("extremum-shrank", E, put(min=0.25)),
    ("sum-decrease", H, put(sum=37.0)),
    ("negative-monotonic-sum", C, lambda s: [setattr(s.point(0), "as_double", -1.0)]),
    ("out-of-order-point", C, lambda s: swap(s, 2, 3)),
    ("resumed-without-new-start", C, no_record),
    ("resumed-without-new-start", H, no_record),
    ("reset", C, lambda s: restart(s, 3, since=30)),
    ("reset", C, lambda s: restart(s, 3, since=40)),
    ("reset", H, lambda s: restart(s, 3, since=33)),
    # distributions
    ("bucket-count-mismatch", HD, buckets(1, 2)),
    ("bucket-count-mismatch", HD, buckets()),
    ("bucket-count-mismatch", HD, buckets(3, bounds=(1.0,))),
    ("count-mismatch", HD, put(count=4)),
    ("count-mismatch", ED, put(zero_count=2)),
    ("bounds-not-increasing", HD, buckets(1, 0, 2, bounds=(5.0, 5.0))),
    ("bounds-not-increasing", HD, buckets(1, 0, 2, bounds=(5.0, float("nan")))),
    ("bounds-not-increasing", HD, buckets(1, 2, bounds=(float("nan"),))),
    ("min-above-max", HD, put(min=9.5)),
    ("min-above-max", ED, put(max=-1.0)),
    ("sum-of-nothing", HD, buckets(0, 0, 0, count=0)),
    ("sum-with-negative-values", HD, buckets(1, 0, 2, bounds=(-1.0, 5.0))),
    ("sum-with-negative-values", ED, exponent(0, 1, side="negative", count=7)),
    ("scale-out-of-range", ED, put(scale=21)),
    ("scale-out-of-range", ED, put(scale=-12)),
    ("bucket-index-out-of-range", ED, exponent(2048, 5)),
    ("bucket-index-out-of-range", ED, exponent(-2150, 5)),
    ("bad-zero-threshold", ED, put(zero_threshold=-0.1)),
    ("bad-zero-threshold", ED, put(zero_threshold=float("nan"))),
    ("zero-threshold-in-bucket", ED, put(zero_threshold=0.6)),
    ("quantile-out-of-range", "summary", quantile(2, quantile=99.0)),
    ("quantile-out-of-range", "summary", quantile(2, quantile=float("nan"))),
    ("quantiles-not-increasing", "summary", quantile(1, quantile=0.0)),
    ("negative-quantile-value", "summary", quantile(0, value=-1.0)),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_good_stream_breaks_no_rule(name: str):
    assert findings(good(name)) == []


@pytest.mark.parametrize(
    ("code", "name", "edit"),
    PLANTED,
    ids=[f"{number}-{code}-{name}" for number, (code, name, _) in enumerate(PLANTED)],
)
def test_a_planted_mistake_is_found_and_nothing_else(code: str, name: str, edit: Edit):
    story = good(name)
    edit(story)
    found = findings(story)
    assert [each.code for each in found] == [code], [str(each) for each in found]
    assert found[0].expected
    assert found[0].found
    assert found[0].where.startswith("request ")


def test_bytes_that_are_no_request_are_a_finding_and_the_next_request_is_examined():
    story = good(C)
    checker = Checker()
    bodies = story.bodies()
    codes = [
        f.code for f in checker.feed(bodies[0]) + checker.feed(b"\x0a\xff") + checker.feed(b"\0")
    ]
    assert codes == ["undecodable-request"] * 2
    assert checker.feed(bodies[1]) == []
    assert checker.counts.points == 4


def test_every_rule_is_planted():
    assert {code for code, _, _ in PLANTED} | {"undecodable-request"} == set(RULES)
    assert len(PLANTED) >= 30
