"""What an observer says of requests, against plain counts over the same points."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from metric_registry.planner.statistics import RESOURCE
from topologies.observe.observer import Observer, batches

SECOND = 10**9
Point = tuple[str, str, dict[str, str], dict[str, str], int, float]


def request_of(points: list[Point]) -> bytes:
    """A metric that begins with `c` is a cumulative counter; the others are gauges."""
    request = ExportMetricsServiceRequest()
    for metric, unit, resource, attributes, time, value in points:
        block = request.resource_metrics.add()
        for name, text in resource.items():
            block.resource.attributes.add(key=name).value.string_value = text
        made = block.scope_metrics.add().metrics.add(name=metric, unit=unit, description="d")
        data: Any = made.gauge
        if metric.startswith("c"):
            data = made.sum
            data.aggregation_temporality, data.is_monotonic = 2, True
        point = data.data_points.add(time_unix_nano=time, as_double=value)
        for name, text in attributes.items():
            point.attributes.add(key=name).value.string_value = text
    return request.SerializeToString()


def some(rng: random.Random) -> list[Point]:
    points: list[Point] = []
    for number in range(rng.randrange(1, 200)):
        metric = rng.choice(["c", "g", "h.g"])
        resource = {"host": f"h{rng.randrange(3)}"} if rng.random() < 0.9 else {}
        attributes = {name: rng.choice("xyz") for name in rng.sample(["mode", "host"], 1)}
        time = (1_000 + number - rng.choice([0, 0, 0, rng.randrange(100)])) * SECOND
        unit = rng.choice(["s", "s", "ms"]) if metric == "g" else "s"
        points.append((metric, unit, resource, attributes, time, rng.uniform(-5, 5)))
    return points


def label(point: Point, name: str) -> str | None:
    return point[3].get(name, point[2].get(name))


def identity(point: Point) -> tuple[object, ...]:
    metric, unit, resource, attributes, *_ = point
    return metric, unit, tuple(sorted(resource.items())), tuple(sorted(attributes.items()))


@pytest.mark.parametrize("seed", range(60))
def test_it_counts_what_plain_counting_does(seed: int) -> None:
    rng = random.Random(seed)
    points = some(rng)
    observer = Observer()
    pieces = [points[at : at + 7] for at in range(0, len(points), 7)]
    for batch in batches(map(request_of, pieces), size=rng.choice([1, 500, 1 << 20])):
        observer.feed(batch, "t", "a file")
    found = {metric.name: metric for metric in observer.seen().metrics}

    assert sorted(found) == sorted({point[0] for point in points})
    for name, metric in found.items():
        own = [point for point in points if point[0] == name]
        streams = {identity(point): point for point in own}
        assert metric.streams == len(streams)
        assert metric.points == len(own)
        assert metric.kind == ("sum" if name == "c" else "gauge")
        assert (metric.monotonic, metric.temporality) == (
            (True, "cumulative") if name == "c" else (False, None)
        )
        values = [point[5] for point in own]
        assert (metric.least, metric.greatest) == (min(values), max(values))
        assert metric.description == "d"
        units = Counter(point[1] for point in streams.values())
        assert units[metric.unit] == max(units.values())
        assert bool(metric.others) == (len(units) > 1)
        gaps = []
        for key in streams:
            times = sorted(point[4] for point in own if identity(point) == key)
            if times[-1] > times[0]:
                gaps.append((times[-1] - times[0]) / (len(times) - 1))
        expected = statistics.median(gaps) if gaps else None
        assert metric.interval_ns == (None if expected is None else pytest.approx(expected, abs=1))
        for attribute in metric.attributes:
            had = Counter(label(point, attribute.name) for point in streams.values())
            assert attribute.streams == sum(n for value, n in had.items() if value is not None)
            assert sorted(attribute.values) == sorted(filter(None, had))
            assert (attribute.distinct, attribute.more) == (len(attribute.values), False)
        for keep in (["mode"], ["host"], ["host", "mode"], []):
            groups = {tuple(label(point, name) for name in keep) for point in streams.values()}
            assert metric.groups(keep) == len(groups)


@pytest.mark.parametrize("seed", range(40))
def test_statistics_are_plain_counts(seed: int) -> None:
    rng = random.Random(seed)
    points = some(rng)
    first, second = Observer(), Observer()
    for at in range(0, len(points), 5):
        first.feed([request_of(points[at : at + 5])], "t", "a file")
    for point in rng.sample(points, len(points)):
        second.feed([request_of([point])], "t")
    found = first.statistics(False)
    assert found.measured.points == len(points)
    times = [point[4] for point in points]
    assert found.measured.seconds == (max(times) - min(times)) / SECOND
    for name, metric in found.metrics.items():
        streams = list({identity(p): p for p in points if p[0] == name}.values())
        assert metric.streams == len(streams)
        names = {each for p in streams for each in (*p[2], *p[3])}
        assert set(metric.attributes) == {*names, "tenant", RESOURCE}
        for each in names:
            one = metric.attributes[each]
            had = Counter(label(p, each) for p in streams if label(p, each) is not None)
            assert (one.values, one.distinct, one.streams) == (had, len(had), had.total())
            assert one.resource == all(each not in p[3] for p in streams)
        whole = {tuple(sorted(p[2].items())) for p in streams}
        assert metric.attributes[RESOURCE].distinct == len(whole)
        assert metric.attributes["tenant"].values == {"t": len(streams)}
        for one, other, count in metric.pairs:
            if RESOURCE not in (one, other):
                assert count == len({(label(p, one), label(p, other)) for p in streams})
        several = {each for each in names if len({label(p, each) for p in streams}) > 1}
        paired = {(a, b) for a, b, _ in metric.pairs if RESOURCE not in (a, b)}
        assert paired == {(a, b) for a in several for b in several if a < b}
    again = second.statistics(False)  # what came first, and with what, is of no importance
    rates = {name: one.points_per_second for name, one in found.metrics.items()}
    assert again.metrics == found.metrics
    assert rates == {name: one.points_per_second for name, one in again.metrics.items()}


def test_attributes_cannot_pass_for_the_tenant_or_the_resource() -> None:
    observer = Observer()
    for text in "abc":
        named = {"tenant": text, RESOURCE: text}
        observer.feed([request_of([("g", "s", named, named, SECOND, 1.0)])], "t")
    metric = observer.statistics(False).metrics["g"]
    assert metric.attributes["tenant"].values == {"t": 3}
    assert {name: one.distinct for name, one in metric.attributes.items()} == {
        "tenant": 1,
        RESOURCE: 3,
    }


def test_statistics_say_how_often_points_come() -> None:
    observer = Observer()
    for time in (5, 15, 25):
        points: list[Point] = [("g", "s", {"host": h}, {}, time * SECOND, 1.0) for h in "abc"]
        observer.feed([request_of(points)], "t")
    observer.feed([request_of([("g", "s", {"host": "new"}, {}, 25 * SECOND, 1.0)])], "t")
    found = observer.statistics(True)
    metric = found.metrics["g"]
    assert metric.interval_ns == 10 * SECOND
    assert metric.points_per_second == pytest.approx(0.4)
    assert found.measured.in_part
    assert (found.measured.requests, found.measured.seconds) == (4, 20.0)
    assert found.measured.since == "1970-01-01T00:00:05Z"


@pytest.mark.parametrize("seed", range(20))
def test_it_says_how_late_points_came(seed: int) -> None:
    rng = random.Random(seed)
    late: list[int] = []
    newest = 0
    observer = Observer()
    for number in range(rng.randrange(1, 3_000)):
        time = 1_000 + number - (rng.randrange(500) if rng.random() < 0.01 else 0)
        newest = max(newest, time)
        late.append(newest - time)
        observer.feed([request_of([("g", "s", {}, {}, time * SECOND, 1.0)])], "t", 0)
    behind = observer.seen().behind_ns
    assert behind is not None
    assert sum(1 for each in late if each * SECOND <= behind) >= 0.999 * len(late)
    assert not behind or sum(1 for each in late if each * SECOND < behind) < 0.999 * len(late)


def test_partitions_are_late_each_by_itself() -> None:
    observer = Observer()
    for partition, time in ((0, 1_000), (1, 10), (0, 1_001), (1, 11)):
        observer.feed([request_of([("g", "s", {}, {}, time * SECOND, 1.0)])], "t", partition)
    assert observer.seen().behind_ns == 0


def test_without_an_order_nothing_is_said_of_it() -> None:
    observer = Observer()
    observer.feed([request_of([("g", "s", {}, {}, 5, 1.0)])], "t")
    assert observer.seen().behind_ns is None


def test_what_is_no_request_is_told_and_left_out() -> None:
    observer = Observer()
    observer.feed([b"\x0a\x7f", request_of([("g", "s", {}, {}, 5, 1.0)])], "t")
    assert observer.points == 1
    assert len(observer.refused) == 1


def test_summaries_are_seen_without_streams() -> None:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="gc", unit="s")
    metric.summary.data_points.add(time_unix_nano=5, count=1)
    observer = Observer()
    observer.feed([request.SerializeToString()] * 2, "t")
    (found,) = observer.seen().metrics
    assert (found.name, found.kind, found.unit, found.points) == ("gc", "summary", "s", 2)


def test_tenants_have_streams_of_their_own() -> None:
    observer = Observer()
    for tenant in ("a", "b", "a"):
        observer.feed([request_of([("g", "s", {}, {}, 5, 1.0)])], tenant)
    assert observer.streams == 2
