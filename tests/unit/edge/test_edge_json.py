"""OTLP/JSON becomes the protobuf request that it stands for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from topologies.edge.otlp_json import JsonError, request_to_protobuf
from topologies.host.record import read_requests

RECORDING = Path(__file__).parents[2] / "data" / "host_10m.otlp.zst"


def parse(document: Any) -> ExportMetricsServiceRequest:
    return ExportMetricsServiceRequest.FromString(
        request_to_protobuf(json.dumps(document).encode())
    )


def gauge(point: dict[str, Any]) -> dict[str, Any]:
    metric = {"name": "m", "gauge": {"dataPoints": [point]}}
    return {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}


def point_of(request: ExportMetricsServiceRequest) -> Any:
    return request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0]


def test_recorded_requests_survive_the_way_through_json() -> None:
    for serialized in list(read_requests(RECORDING))[::50]:
        request = ExportMetricsServiceRequest.FromString(serialized)
        body = json_format.MessageToJson(request).encode()
        assert ExportMetricsServiceRequest.FromString(request_to_protobuf(body)) == request


def test_ids_are_hexadecimal_and_64_bit_integers_may_be_strings() -> None:
    exemplar = {
        "traceId": "5B8EFFF798038103D269B633813FC60C",
        "spanId": "eee19b7ec3c1b174",
        "timeUnixNano": 1544712660300000000,
        "asInt": "-9223372036854775808",
    }
    point = point_of(
        parse(
            gauge({"timeUnixNano": "1544712660300000000", "asDouble": 1, "exemplars": [exemplar]})
        )
    )
    assert point.time_unix_nano == 1544712660300000000
    assert point.exemplars[0].trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert point.exemplars[0].span_id.hex() == "eee19b7ec3c1b174"
    assert point.exemplars[0].as_int == -(2**63)


@pytest.mark.parametrize("temporality", [2, "2", "AGGREGATION_TEMPORALITY_CUMULATIVE"])
def test_enums_are_integers_or_names(temporality: Any) -> None:
    metric = {"name": "m", "sum": {"aggregationTemporality": temporality, "isMonotonic": True}}
    request = parse({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]})
    found = request.resource_metrics[0].scope_metrics[0].metrics[0].sum
    assert (found.aggregation_temporality, found.is_monotonic) == (2, True)


def test_names_as_in_the_proto_files_are_taken_and_unknown_names_and_nulls_are_not() -> None:
    metric = {"name": "m", "gauge": {"data_points": [{"as_int": 0, "asDouble": None, "new": 1}]}}
    point = point_of(parse({"resource_metrics": [{"scope_metrics": [{"metrics": [metric]}]}]}))
    assert point.WhichOneof("value") == "as_int"


def test_histograms_keep_their_packed_lists_and_optional_zeros() -> None:
    data = {
        "bucketCounts": ["1", 2, 0],
        "explicitBounds": [0.5, "Infinity"],
        "sum": 0,
        "count": "3",
    }
    exponential = {"scale": -3, "positive": {"offset": -1, "bucketCounts": [0, "5"]}, "max": 0.0}
    metrics = [
        {"name": "h", "histogram": {"dataPoints": [data]}},
        {"name": "e", "exponentialHistogram": {"dataPoints": [exponential]}},
    ]
    found = parse({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]})
    first, second = found.resource_metrics[0].scope_metrics[0].metrics
    point = first.histogram.data_points[0]
    assert list(point.bucket_counts) == [1, 2, 0]
    assert list(point.explicit_bounds) == [0.5, math.inf]
    assert (point.HasField("sum"), point.HasField("min"), point.count) == (True, False, 3)
    other = second.exponential_histogram.data_points[0]
    assert (other.scale, other.positive.offset) == (-3, -1)
    assert list(other.positive.bucket_counts) == [0, 5]
    assert other.HasField("max")


attribute_values = st.recursive(
    st.one_of(
        st.text().map(lambda value: {"stringValue": value}),
        st.booleans().map(lambda value: {"boolValue": value}),
        st.integers(-(2**63), 2**63 - 1).map(lambda value: {"intValue": str(value)}),
        st.floats(allow_nan=False, allow_infinity=False).map(lambda value: {"doubleValue": value}),
        st.just({}),
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda many: {"arrayValue": {"values": many}}),
    max_leaves=6,
)


@given(value=attribute_values, number=st.floats(allow_nan=False, allow_infinity=False))
def test_whatever_the_values_the_reference_parser_agrees(value: Any, number: float) -> None:
    document = gauge({"asDouble": number, "attributes": [{"key": "k", "value": value}]})
    expected = json_format.ParseDict(document, ExportMetricsServiceRequest())
    assert parse(document) == expected


@pytest.mark.parametrize(
    ("document", "where"),
    [
        (gauge({"timeUnixNano": "soon"}), "dataPoints[0].timeUnixNano: not an integer"),
        (gauge({"timeUnixNano": -1}), "-1 is not between 0"),
        (gauge({"timeUnixNano": True}), "not an integer"),
        (gauge({"asDouble": "0x1"}), "asDouble: not a number"),
        (gauge({"asInt": 1, "asDouble": 1}), "given beside asInt"),
        (gauge({"exemplars": [{"traceId": "xyz"}]}), "exemplars[0].traceId"),
        (gauge({"attributes": {}}), "attributes: expected a list"),
        (gauge({"attributes": [1]}), "attributes[0]: expected an object"),
        (gauge({"attributes": [{"key": "\ud800"}]}), ""),
        ({"resourceSpans": []}, "no resourceMetrics"),
        ([], "not a JSON object"),
    ],
)
def test_a_mistake_is_named_with_its_place(document: Any, where: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse(document)
    assert where in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"a":NaN}', b"[" * 100_000, b'{"a":' * 9999]
)
def test_what_is_not_json_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(JsonError):
        request_to_protobuf(body)


def test_nesting_beyond_what_the_reader_of_the_result_takes_is_refused() -> None:
    value: Any = {"stringValue": "x"}
    for _ in range(60):
        value = {"arrayValue": {"values": [value]}}
    with pytest.raises(JsonError, match="deeper than"):
        parse(gauge({"attributes": [{"key": "k", "value": value}]}))
