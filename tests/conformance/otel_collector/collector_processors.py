"""What the Collector's cumulativetodelta and deltatocumulative processors emit, checked.

    make conformance-otel

builds them (Go 1.26 or newer, and the modules that go.mod names) and runs this file. The page of
`topologies/otlp_check` explains each difference that is expected here from the specification.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality

from tests.unit.otlp_check.good_streams import EPOCH, SECOND, Story, good
from tests.unit.otlp_check.sdk_process import process
from tidemill.otlp_files import read_requests
from topologies.otlp_check import Checker

ROOT = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("OTEL_PROCESSORS", ROOT / ".venv" / "bin" / "otel-processors"))
STREAMS = int(os.environ.get("TIDEMILL_COLLECTOR_STREAMS", "300"))
TO_DELTA, TO_CUMULATIVE = "cumulativetodelta", "deltatocumulative"
TAKES = {TO_DELTA: "cumulative", TO_CUMULATIVE: "delta"}
Codes = dict[str, int]


def processed(processor: str, bodies: list[bytes]) -> list[bytes]:
    """What the processor passes on, request by request; nothing where it passed on nothing."""
    framed = b"".join(struct.pack(">I", len(body)) + body for body in bodies)
    done = subprocess.run([BINARY, processor], input=framed, capture_output=True, check=True)
    out, at = [], 0
    while at < len(done.stdout):
        (size,) = struct.unpack_from(">I", done.stdout, at)
        out.append(done.stdout[at + 4 : at + 4 + size])
        at += 4 + size
    assert len(out) == len(bodies)
    return [body for body in out if body]


def checked(bodies: list[bytes]) -> Codes:
    checker = Checker()
    codes = Counter(found.code for body in bodies for found in checker.feed(body))
    assert checker.counts.points > 0
    return dict(codes)


def temporalities(bodies: list[bytes]) -> set[int]:
    """Those of monotonic sums and of histograms: what both processors convert."""
    found = set()
    for body in bodies:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metric in (m for scope in resource.scope_metrics for m in scope.metrics):
                data = getattr(metric, metric.WhichOneof("data"))
                if metric.HasField("sum") and not data.is_monotonic:
                    continue
                if hasattr(data, "aggregation_temporality"):
                    found.add(data.aggregation_temporality)
    return found


def of_all_points(change: Callable[[Story, int, int], None], *requests: int):
    """A fault that changes both streams of a story alike."""

    def edit(story: Story) -> None:
        for request in requests:
            for number in (0, 1):
                change(story, request, number)

    return edit


def steady(story: Story) -> None:
    """Nothing is wrong."""


def a_request_lost(story: Story) -> None:
    del story.requests[3]


def a_request_late(story: Story) -> None:
    story.requests[2], story.requests[3] = story.requests[3], story.requests[2]


def points_twice(story: Story) -> None:
    again = ExportMetricsServiceRequest()
    again.CopyFrom(story.requests[3])
    again.resource_metrics[0].schema_url = "https://example.org/schema/1"
    story.requests.insert(4, again)


def restarted(story: Story, request: int, number: int) -> None:
    """The writer begins anew at 32 s, and says so."""
    point = story.point(request, number)
    time = point.time_unix_nano
    fresh = Story(story.kind, temporality=2, monotonic=story.kind == "sum")
    point.CopyFrom(fresh.point(request - 3, number))
    point.time_unix_nano, point.start_time_unix_nano = time, EPOCH + 32 * SECOND


def restarted_silently(story: Story, request: int, number: int) -> None:
    """The same, under the old start."""
    restarted(story, request, number)
    story.point(request, number).start_time_unix_nano = EPOCH


def no_value(story: Story, request: int, number: int) -> None:
    point = story.point(request, number)
    for field in [field.name for field, _ in point.ListFields()]:
        if field not in ("attributes", "start_time_unix_nano", "time_unix_nano"):
            point.ClearField(field)
    point.flags = 1


def no_start(story: Story, request: int, number: int) -> None:
    story.point(request, number).start_time_unix_nano = 0


def overlapping(story: Story, request: int, number: int) -> None:
    story.point(request, number).start_time_unix_nano = EPOCH + 25 * SECOND


RESTART = of_all_points(restarted, 3, 4, 5)
SILENT = of_all_points(restarted_silently, 3, 4, 5)
NO_VALUE = of_all_points(no_value, 3)
NO_START = of_all_points(no_start, *range(6))
OVERLAP = of_all_points(overlapping, 3)
CONVERTED = ["counter", "histogram", "exponential"]

CASES: list[tuple[str, str, str, Callable[[Story], None], Codes]] = [
    *[(TO_DELTA, kind, name, edit, codes) for kind in CONVERTED for name, edit, codes in (
        ("steady", steady, {}),
        ("a request lost", a_request_lost, {}),
        ("restart", RESTART, {"gap": 2}),
        ("silent restart", SILENT, {"gap": 2}),
        ("points twice", points_twice, {}),
        ("no recorded value", NO_VALUE, {}),
        ("no start", NO_START, {}),
        ("a request late", a_request_late, {"overlapping-intervals": 2}),
    )],
    # Sums that are not monotonic pass unchanged, with the faults that they had.
    (TO_DELTA, "updown", "steady", steady, {}),
    (TO_DELTA, "updown", "a request lost", a_request_lost, {}),
    (TO_DELTA, "updown", "a request late", a_request_late, {"out-of-order-point": 2}),
    (TO_DELTA, "updown", "points twice", points_twice, {"duplicate-point": 2}),
    *[(TO_CUMULATIVE, kind, name, edit, codes) for kind in [*CONVERTED, "updown"]
      for name, edit, codes in (
        ("steady", steady, {}),
        ("a request lost", a_request_lost, {}),
        ("a request late", a_request_late, {}),
        ("points twice", points_twice, {}),
        ("overlap", OVERLAP, {}),
        ("no recorded value", NO_VALUE, {"reset": 2} if kind == "histogram" else {}),
        ("no start", NO_START, {"missing-start-time": 2}),
    )],
]  # fmt: skip


@pytest.mark.parametrize(
    ("processor", "kind", "name", "edit", "codes"),
    CASES,
    ids=[f"{processor}-{kind}-{name}" for processor, kind, name, *_ in CASES],
)
def test_a_generated_stream(
    processor: str, kind: str, name: str, edit: Callable[[Story], None], codes: Codes
):
    story = good(f"{kind}/{TAKES[processor]}")
    edit(story)
    passed = processed(processor, story.bodies())
    assert checked(passed) == codes, name
    if kind != "updown":
        assert temporalities(passed) == {1 if processor == TO_DELTA else 2}


@pytest.mark.parametrize("processor", [TO_DELTA, TO_CUMULATIVE])
def test_what_the_sdk_exports_with_a_restart(processor: str):
    given = AggregationTemporality[TAKES[processor].upper()]
    passed = processed(processor, process(given, 8) + process(given, 5))
    assert set(checked(passed)) <= {"gap", "reset"}
    assert temporalities(passed) == {1 if processor == TO_DELTA else 2}


@pytest.mark.parametrize("processor", [TO_DELTA, TO_CUMULATIVE])
def test_ten_minutes_recorded_of_a_host(processor: str):
    bodies = [body for _, body in read_requests(ROOT / "tests/data/host_10m.otlp.zst")]
    recorded = [body for body in bodies if isinstance(body, bytes)]
    passed = processed(processor, recorded)
    assert len(passed) == len(recorded) == 300
    assert checked(passed) == {}
    if processor == TO_DELTA:
        there_and_back = processed(TO_CUMULATIVE, passed)
        assert checked(there_and_back) == {}
        assert temporalities(there_and_back) == {2}


def random_stream(rng: random.Random, way: str, late: bool) -> list[bytes]:
    """Counters of 40 collections: restarts, lost and (if asked for) late requests."""
    start, total, before = 0, 0, 0
    bodies: list[tuple[float, bytes]] = []
    for number in range(1, 41):
        time = number * 10
        if rng.random() < 0.1:
            start, total = before + rng.choice([0, 3, 9]), 0
            before = start
        step = rng.randrange(50)
        total += step
        request = ExportMetricsServiceRequest()
        metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
        metric.sum.is_monotonic = True
        metric.sum.aggregation_temporality = 1 if way == "delta" else 2
        since = before if way == "delta" else start
        metric.sum.data_points.add(
            start_time_unix_nano=EPOCH + since * SECOND,
            time_unix_nano=EPOCH + time * SECOND,
            as_int=step if way == "delta" else total,
        )
        before = time
        if rng.random() < 0.9:
            due = number + (rng.choice([0, 0, 0, 0, 1.5, 4.5]) if late else 0)
            bodies.append((due, request.SerializeToString()))
    return [body for _, body in sorted(bodies, key=lambda each: each[0])]


@pytest.mark.parametrize("late", [False, True], ids=["in order", "late"])
@pytest.mark.parametrize("processor", [TO_DELTA, TO_CUMULATIVE])
def test_random_streams(processor: str, late: bool):
    """Notes at most; only late points, which cumulativetodelta takes as new, overlap."""
    broken: Counter[str] = Counter()
    for seed in range(STREAMS):
        given = random_stream(random.Random(seed), TAKES[processor], late)
        assert set(checked(given)) <= {"gap", "reset", *(["out-of-order-point"] if late else [])}
        broken.update(checked(processed(processor, given)))
    allowed = {"gap", "reset"}
    if late and processor == TO_DELTA:
        allowed |= {"overlapping-intervals", "out-of-order-point", "start-after-time"}
    assert set(broken) <= allowed, broken
