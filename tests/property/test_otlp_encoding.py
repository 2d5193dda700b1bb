"""The scanner reads what the reference parser reads, or refuses what it refuses.

TIDEMILL_MUTATIONS: how many damaged messages to try (3,000 unless set).
"""

import os
import random
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint

from topologies.identity import (
    MalformedError,
    all_points_have_time,
    canonical_resource_key,
    split_by_resource,
)

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "unit" / "encodings"))

from otlp_reference import Subject, corpus, differences  # noqa: E402

MUTATIONS = int(os.environ.get("TIDEMILL_MUTATIONS", "3000"))

names = st.text(st.sampled_from(["a", "b", "\0", "é", "€", "\U0001f600", "."]), max_size=3)
u64s = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1))
i64s = st.one_of(st.integers(-2, 2), st.integers(-(2**63), 2**63 - 1))
scalars = st.one_of(
    st.builds(AnyValue),
    names.map(lambda value: AnyValue(string_value=value)),
    st.booleans().map(lambda value: AnyValue(bool_value=value)),
    i64s.map(lambda value: AnyValue(int_value=value)),
    st.floats().map(lambda value: AnyValue(double_value=value)),
    st.binary(max_size=20).map(lambda value: AnyValue(bytes_value=value)),
    st.integers(0, 9).map(lambda value: AnyValue(string_value_strindex=value)),
)


def _nested(inner):
    lists = st.lists(inner, max_size=3)
    maps = st.lists(st.tuples(names, inner), max_size=3)
    return st.one_of(
        lists.map(lambda values: AnyValue(array_value={"values": values})),
        maps.map(
            lambda items: AnyValue(
                kvlist_value={"values": [KeyValue(key=key, value=value) for key, value in items]}
            )
        ),
    )


values = st.one_of(scalars, scalars, st.recursive(scalars, _nested, max_leaves=4))
attributes = st.lists(
    st.one_of(st.builds(KeyValue, key=names, value=values), st.builds(KeyValue, key=names)),
    max_size=4,
)
numbers = st.one_of(
    st.just({}), i64s.map(lambda v: {"as_int": v}), st.floats().map(lambda v: {"as_double": v})
)
points = st.builds(
    lambda attributes, time, start, value, flags: NumberDataPoint(
        attributes=attributes, time_unix_nano=time, start_time_unix_nano=start, flags=flags, **value
    ),
    attributes,
    u64s,
    u64s,
    numbers,
    st.integers(0, 3),
)


def _metric(name, unit, shape, data_points, temporality, monotonic):
    metric = Metric(name=name, unit=unit, description=name)
    if shape == "gauge":
        metric.gauge.data_points.extend(data_points)
    elif shape == "sum":
        metric.sum.data_points.extend(data_points)
        metric.sum.aggregation_temporality = temporality
        metric.sum.is_monotonic = monotonic
    elif shape == "histogram":
        for point in data_points:
            metric.histogram.data_points.add(
                attributes=point.attributes, bucket_counts=[1, 2], explicit_bounds=[0.5]
            )
    elif shape == "exponential":
        for point in data_points:
            into = metric.exponential_histogram.data_points.add(attributes=point.attributes)
            into.positive.bucket_counts.extend([1, 300, point.time_unix_nano])
    elif shape == "summary":
        for point in data_points:
            metric.summary.data_points.add(attributes=point.attributes)
    return metric


metrics = st.builds(
    _metric,
    names,
    names,
    st.sampled_from(["gauge", "sum", "sum", "histogram", "exponential", "summary", "none"]),
    st.lists(points, max_size=4),
    st.integers(0, 3),
    st.booleans(),
)


@st.composite
def requests(draw):
    request = ExportMetricsServiceRequest()
    for _ in range(draw(st.integers(0, 2))):
        resource_metrics = request.resource_metrics.add(schema_url=draw(names))
        resource_metrics.resource.attributes.extend(draw(attributes))
        for _ in range(draw(st.integers(0, 2))):
            scope_metrics = resource_metrics.scope_metrics.add()
            if draw(st.booleans()):
                scope_metrics.scope.name = draw(names)
                scope_metrics.scope.attributes.extend(draw(attributes))
            scope_metrics.metrics.extend(draw(st.lists(metrics, max_size=3)))
    return request.SerializeToString()


SUBJECT = Subject(points=8, size=64)


@given(st.lists(requests(), min_size=1, max_size=3))
def test_any_request_is_read_as_by_the_reference_parser(messages):
    assert differences(SUBJECT, messages) == []


@given(requests(), requests())
def test_a_request_joined_to_another_is_both(one, other):
    assert differences(SUBJECT, [one + other, one, other]) == []


def mutate(rng: random.Random, message: bytes) -> bytes:
    data = bytearray(message)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(data)) if data else 0
        match rng.randrange(8):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                data[at : at + 1] = bytes([(data[at] if data else 0) ^ (1 << rng.randrange(8))])
            case 2:
                del data[at : at + rng.choice((1, 2, 9))]
            case 3:
                data[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 2, 9))))
            case 4:
                del data[at:]
            case 5:
                source = rng.randrange(len(data) + 1)
                data[at:at] = data[source : source + rng.randrange(40)]
            case 6:
                data[at:at] = rng.choice((b"\x80", b"\xff", b"\x80\x00", b"\xff" * 9 + b"\x01"))
            case 7:
                data[at : at + 1] = bytes([((data[at] if data else 0) + rng.choice((1, -1))) & 255])
    return bytes(data)


def test_damaged_requests_are_refused_or_read_as_by_the_reference_parser():
    rng = random.Random(20)
    subject = Subject()
    originals = corpus()
    assert differences(subject, originals) == []
    done = 0
    while done < MUTATIONS:
        batch = [mutate(rng, rng.choice(originals)) for _ in range(50)]
        assert differences(subject, batch) == [], f"mutation {done} of seed 20"
        done += len(batch)


def test_the_same_holds_with_every_index_checked(tmp_path):
    """Runs the damaged requests once more, in kernels that raise at an index out of bounds."""
    script = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]\n"
        "import test_otlp_encoding as t\n"
        "t.test_damaged_requests_are_refused_or_read_as_by_the_reference_parser()\n"
        "from streams.kernels.compile import bounds_checked\n"
        "assert bounds_checked()\n"
    )
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "TIDEMILL_MUTATIONS": "500"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=250)


@given(st.lists(requests(), max_size=3), st.booleans())
def test_pieces_of_a_request_hold_what_it_holds_in_order_a_resource_each(parts, doubled):
    message = b"".join(parts) * (2 if doubled else 1)
    whole = ExportMetricsServiceRequest.FromString(message).resource_metrics
    by_key: dict[bytes, list[bytes]] = {}
    for entry in whole:
        key = canonical_resource_key("acme", entry.resource.SerializeToString())
        by_key.setdefault(key, []).append(entry.SerializeToString(deterministic=True))
    found = {}
    for resource, piece in split_by_resource(message):
        read = ExportMetricsServiceRequest.FromString(piece).resource_metrics
        key = canonical_resource_key("acme", resource)
        assert key not in found
        found[key] = [entry.SerializeToString(deterministic=True) for entry in read]
        times = [
            point.time_unix_nano
            for entry in read
            for scope in entry.scope_metrics
            for metric in scope.metrics
            for kind in ("gauge", "sum", "histogram", "exponential_histogram", "summary")
            for point in getattr(metric, kind).data_points
        ]
        assert all_points_have_time(piece) == all(times)
    assert found == by_key
    assert list(found) == list(by_key)


@given(st.binary(max_size=60))
def test_cutting_anything_fails_cleanly_or_gives_pieces(data):
    try:
        pieces = split_by_resource(data)
    except MalformedError:
        return
    assert sum(len(piece) for _, piece in pieces) <= len(data)
