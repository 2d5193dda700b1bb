"""A request becomes records by resource; what can't be stored is kept and told."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable

import pytest
from google.protobuf import json_format
from google.rpc import status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from topologies.edge.answers import Answer, Encoding
from topologies.edge.config import EdgeConfig
from topologies.edge.cut import UnparsableError, cut, digest, partition_of
from topologies.edge.head import Admitted
from topologies.edge.oversize import points_in, split_oversize
from topologies.edge.receive import Accepted, Kept, answer_for, kept_answer, receive
from topologies.edge.records import Outcome, Record

CONFIG = EdgeConfig(bootstrap="127.0.0.1:1", max_record=4000)
NOW = 1_700_000_000_000_000_000
PROTOBUF = Admitted("acme", Encoding.PROTOBUF, "identity")


def request_of(
    hosts: Iterable[str], *, points: int = 3, metrics: int = 1, timed: bool = True
) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    for host in hosts:
        resource = request.resource_metrics.add()
        resource.resource.attributes.add(key="host.name").value.string_value = host
        resource.schema_url = "https://example.org/schema"
        scope = resource.scope_metrics.add()
        scope.scope.name = "test"
        for number in range(metrics):
            metric = scope.metrics.add(name=f"metric.{number}", unit="By")
            for index in range(points):
                metric.gauge.data_points.add(
                    time_unix_nano=NOW + index if timed else 0, as_double=index + 0.5
                )
    return request


def cut_up(request: ExportMetricsServiceRequest, limit: int = 1 << 20) -> list[Record]:
    cutting = cut(
        request.SerializeToString(),
        tenant="acme",
        topic="telemetry.raw",
        partitions=4,
        received_ns=NOW,
        limit=limit,
    )
    assert not cutting.refused
    return list(cutting.records)


def test_every_resource_is_a_record_of_its_own_with_the_bytes_as_they_came() -> None:
    request = request_of("abcde")
    records = cut_up(request)
    assert b"".join(record.value for record in records) == request.SerializeToString()
    assert len({record.key for record in records}) == 5
    for record in records:
        headers = dict(record.headers)
        assert headers["encoding"] == b"otlp"
        assert headers["tenant"] == b"acme"
        assert headers["received"] == str(NOW).encode()
        expected = hashlib.blake2b(b"acme\0" + record.value, digest_size=16).digest()
        assert headers["digest"] == expected == digest("acme", record.value)
        assert record.partition == int.from_bytes(record.key[:8], "big") % 4
        assert partition_of(record.key, 4) == record.partition
        assert len(record.key) == 16


def test_a_resource_keeps_its_key_whatever_else_is_in_the_request_and_tenants_differ() -> None:
    alone, beside = cut_up(request_of("a")), cut_up(request_of("ba"))
    assert alone[0].key == beside[1].key
    data = request_of("a").SerializeToString()
    other = cut(data, tenant="b", topic="t", partitions=4, received_ns=NOW, limit=9999).records[0]
    assert other.key != alone[0].key
    assert dict(other.headers)["digest"] != dict(alone[0].headers)["digest"]


def test_points_without_a_time_carry_no_digest_since_two_of_them_may_be_equal() -> None:
    assert "digest" not in dict(cut_up(request_of("a", timed=False))[0].headers)


def test_a_piece_too_large_for_a_record_is_cut_again_the_same_way_each_time() -> None:
    request = request_of("ab", points=300, metrics=5)
    records = cut_up(request, limit=4000)
    assert len(records) > 10
    assert all(len(record.value) <= 4000 for record in records)
    assert records == cut_up(request, limit=4000)
    assert len({record.key for record in records}) == 2
    merged = ExportMetricsServiceRequest()
    for record in records:
        merged.MergeFromString(record.value)
    assert points_of(merged) == points_of(request)


def points_of(request: ExportMetricsServiceRequest) -> list[tuple[str, str, bytes]]:
    return [
        (
            resource.resource.attributes[0].value.string_value,
            metric.name + scope.scope.name + metric.unit + resource.schema_url,
            point.SerializeToString(),
        )
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.gauge.data_points
    ]


@settings(max_examples=40, deadline=None)
@given(
    hosts=st.lists(st.sampled_from("ab"), max_size=3),
    points=st.integers(0, 40),
    metrics=st.integers(0, 8),
    limit=st.integers(60, 3000),
)
def test_cutting_keeps_every_point_once_and_in_order(
    hosts: list[str], points: int, metrics: int, limit: int
) -> None:
    request = request_of(hosts, points=points, metrics=metrics)
    merged = ExportMetricsServiceRequest()
    for part in split_oversize(request.SerializeToString(), limit):
        assert len(part) <= limit or points_in(part) <= 1
        merged.MergeFromString(part)
    assert points_of(merged) == points_of(request)


def accepted(decision: Accepted | Kept | Answer) -> Accepted:
    assert isinstance(decision, Accepted)
    return decision


def take(request: Admitted, body: bytes) -> Accepted | Kept | Answer:
    return receive(request, body, CONFIG, received_ns=NOW, partitions=4)


def test_json_and_protobuf_of_the_same_request_are_the_same_record() -> None:
    request = request_of("a")
    from_protobuf = accepted(take(PROTOBUF, request.SerializeToString())).records
    body = gzip.compress(json_format.MessageToJson(request).encode())
    from_json = accepted(take(Admitted("acme", Encoding.JSON, "gzip"), body)).records
    assert from_json == from_protobuf


def test_a_point_too_large_to_store_is_partial_success_and_kept() -> None:
    request = request_of("ab", points=1)
    big = request.resource_metrics[1].scope_metrics[0].metrics[0].gauge.data_points[0]
    big.attributes.add(key="blob").value.string_value = "x" * 5000
    decided = accepted(take(PROTOBUF, request.SerializeToString()))
    assert decided.pieces == 1
    assert len(decided.records) == 2
    letter = decided.records[1]
    assert letter.topic == "telemetry.dead-letter"
    headers = dict(letter.headers)
    assert headers["code"] == b"point-too-large"
    assert int(headers["length"]) > 5000
    assert len(letter.value) == CONFIG.max_record
    answer = answer_for(PROTOBUF, decided, [Outcome.APPENDED] * 2, CONFIG)
    assert answer.status == 200
    response = ExportMetricsServiceResponse.FromString(answer.body)
    assert response.partial_success.rejected_data_points == 1
    assert "bytes" in response.partial_success.error_message


def test_one_piece_in_doubt_and_the_agent_sends_everything_again() -> None:
    decided = accepted(take(PROTOBUF, request_of("abc").SerializeToString()))
    done = [Outcome.APPENDED] * 3
    assert answer_for(PROTOBUF, decided, done, CONFIG).status == 200
    for index in range(3):
        outcomes = list(done)
        outcomes[index] = Outcome.UNKNOWN
        answer = answer_for(PROTOBUF, decided, outcomes, CONFIG)
        assert answer.status == 503
        assert int(dict(answer.headers)["retry-after"]) >= 1
    assert answer_for(PROTOBUF, decided, [*done[:2], Outcome.REFUSED], CONFIG).status == 413


@pytest.mark.parametrize(
    ("request_head", "body", "code", "encoding"),
    [
        (PROTOBUF, b"\x0a\xff", "unparsable", "otlp"),
        (PROTOBUF, b"{}", "unparsable", "otlp"),
        (Admitted("acme", Encoding.JSON, "identity"), b"\x0a\x00", "unparsable", "otlp-json"),
        (Admitted("acme", Encoding.PROTOBUF, "gzip"), b"abc", "corrupt-compression", "otlp+gzip"),
    ],
)
def test_a_body_that_does_not_parse_is_kept_before_it_is_refused(
    request_head: Admitted, body: bytes, code: str, encoding: str
) -> None:
    decided = take(request_head, body)
    assert isinstance(decided, Kept)
    headers = dict(decided.letter.headers)
    assert (headers["code"].decode(), headers["encoding"].decode()) == (code, encoding)
    assert decided.letter.value == body
    assert decided.letter.key == b"edge"
    assert headers["tenant"] == b"acme"
    answer = kept_answer(request_head, decided, [Outcome.APPENDED], CONFIG)
    assert answer.status == 400
    if request_head.encoding is Encoding.JSON:
        message = json.loads(answer.body)["message"]
    else:
        message = status_pb2.Status.FromString(answer.body).message
    assert "telemetry.dead-letter" in message
    assert kept_answer(request_head, decided, [Outcome.UNKNOWN], CONFIG).status == 503


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60), at=st.integers(0, 10_000), length=st.integers(0, 20))
def test_no_mutation_of_a_request_does_more_than_be_refused(
    data: bytes, at: int, length: int
) -> None:
    body = request_of("ab").SerializeToString()
    at %= len(body)
    mutated = body[:at] + data + body[at + length :]
    try:
        cutting = cut(mutated, tenant="t", topic="x", partitions=4, received_ns=NOW, limit=1 << 20)
    except UnparsableError:
        return
    for record in cutting.records:
        ExportMetricsServiceRequest.FromString(record.value)
