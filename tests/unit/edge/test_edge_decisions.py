"""What the edge decides before it has touched a socket or the log."""

from __future__ import annotations

import gzip
import os
import zlib
from typing import Any

import cramjam
import pytest
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)

from topologies.edge.access import Denied, Tokens, authenticate
from topologies.edge.answers import Answer, Encoding, failure, success
from topologies.edge.budget import Budget
from topologies.edge.clock import ClockWatch
from topologies.edge.config import (
    EdgeConfig,
    EdgeConfigError,
    is_loopback,
    parse_tokens,
    tokens_of,
)
from topologies.edge.head import Admitted, Head, admit
from topologies.edge.inflate import CorruptError, TooLargeError, inflate

SECRET = "0123456789abcdef0123"
CONFIG = EdgeConfig(bootstrap="127.0.0.1:1", tokens=tokens_of({SECRET: "acme"}))
zstd: Any = getattr(cramjam, "zstd")  # noqa: B009


def head(**changes: Any) -> Head:
    headers = {"content-type": "application/x-protobuf"} | changes.pop("headers", {})
    fields = {"method": "POST", "path": "/v1/metrics", "client": "127.0.0.1"} | changes
    return Head(headers=headers, **fields)


def refused(decision: Admitted | Answer) -> Answer:
    assert isinstance(decision, Answer)
    return decision


def test_a_known_token_speaks_for_its_tenant() -> None:
    decision = admit(head(headers={"authorization": f"Bearer {SECRET}"}), CONFIG)
    assert decision == Admitted("acme", Encoding.PROTOBUF, "identity")


@pytest.mark.parametrize("given", ["Bearer wrong", "Bearer", "Basic dTpw", f"Token {SECRET}", ""])
def test_a_wrong_token_is_refused_even_on_loopback_and_told_how_to_do_it(given: str) -> None:
    answer = refused(admit(head(headers={"authorization": given}), CONFIG))
    assert answer.status == 401
    assert dict(answer.headers)["www-authenticate"].startswith("Bearer")
    status = status_pb2.Status.FromString(answer.body)
    assert (status.code, "token" in status.message.lower()) == (16, True)
    assert SECRET not in status.message


def test_without_a_token_only_clients_of_this_machine_are_the_anonymous_tenant() -> None:
    assert admit(head(), CONFIG) == Admitted("default", Encoding.PROTOBUF, "identity")
    assert refused(admit(head(client="192.0.2.7"), CONFIG)).status == 401
    assert refused(admit(head(client=None), CONFIG)).status == 401
    forwarded = head(headers={"x-forwarded-for": "192.0.2.7"})
    assert refused(admit(forwarded, CONFIG)).status == 401
    public = EdgeConfig(bootstrap="x", host="0.0.0.0", tokens=tokens_of({SECRET: "acme"}))
    assert refused(admit(head(), public)).status == 401


def test_a_password_is_never_taken_for_a_token() -> None:
    tokens = Tokens.of({SECRET: "acme"})
    found = authenticate(
        {"authorization": f"bearer  {SECRET} "}, tokens=tokens, anonymous_tenant=None, local=False
    )
    assert found == "acme"
    assert isinstance(authenticate({}, tokens=tokens, anonymous_tenant=None, local=True), Denied)
    assert SECRET not in repr(tokens)


def test_an_edge_that_nobody_could_deliver_to_does_not_start() -> None:
    with pytest.raises(EdgeConfigError, match="--tokens"):
        EdgeConfig(bootstrap="x", host="0.0.0.0")
    with pytest.raises(EdgeConfigError, match="can't be a tenant"):
        EdgeConfig(bootstrap="x", anonymous_tenant="a/b")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
        (None, False),
    ],
)
def test_loopback_is_this_machine_and_nothing_else(host: str | None, local: bool) -> None:
    assert is_loopback(host) is local


def test_tokens_are_read_one_a_line_with_mistakes_named_by_line_and_never_by_token() -> None:
    tokens = parse_tokens(f"# ours\n\n{SECRET} acme\n{SECRET}x other\n", "tokens.txt")
    assert (tokens.tenant(SECRET), tokens.tenant(SECRET + "x")) == ("acme", "other")
    for text, message in [
        ("short acme", "tokens.txt:1: the token is shorter"),
        (f"\n{SECRET}", "tokens.txt:2: expected two words"),
        (f"{SECRET} a/b", "can't be a tenant"),
        (f"{SECRET} a\n{SECRET} b", "two tenants"),
        ("# nothing", "holds no token"),
    ]:
        with pytest.raises(EdgeConfigError, match=message) as caught:
            parse_tokens(text, "tokens.txt")
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (head(path="/v1/traces"), 404),
        (head(path="/"), 404),
        (head(method="GET"), 405),
        (head(method="OPTIONS"), 405),
        (head(headers={"content-type": "text/plain"}), 415),
        (head(headers={"content-type": "application/json; charset=latin-1"}), 415),
        (head(headers={"content-encoding": "br"}), 415),
        (head(headers={"content-encoding": "gzip, gzip"}), 415),
        (head(headers={"content-length": str(64 * 1024 * 1024 + 1)}), 413),
    ],
)
def test_a_head_that_can_not_be_served_is_refused_before_its_body(given: Head, status: int) -> None:
    answer = refused(admit(given, CONFIG))
    assert answer.status == status
    assert answer.reason
    assert answer.body


def test_json_in_utf_8_and_codings_in_any_case_are_taken() -> None:
    given = head(
        headers={"content-type": 'Application/JSON; charset="UTF-8"', "content-encoding": "GZip"}
    )
    assert admit(given, CONFIG) == Admitted("default", Encoding.JSON, "gzip")


def test_answers_are_in_the_encoding_of_the_request() -> None:
    assert failure(400, "x", "why", Encoding.JSON).body == b'{"code": 3, "message": "why"}'
    assert status_pb2.Status.FromString(failure(503, "x", "w", Encoding.PROTOBUF).body).code == 14
    assert (success(Encoding.JSON).body, success(Encoding.PROTOBUF).body) == (b"{}", b"")
    part = ExportMetricsServiceResponse.FromString(success(Encoding.PROTOBUF, 3, "why").body)
    assert part.partial_success.rejected_data_points == 3
    expected = b'{"partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "why"}}'
    assert success(Encoding.JSON, 3, "why").body == expected


def deflate_raw(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


WRITERS = {
    "identity": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": lambda data: bytes(zstd.compress(data)),
}


@given(data=st.binary(max_size=2000))
@pytest.mark.parametrize("coding", WRITERS)
def test_every_coding_gives_back_what_was_compressed(coding: str, data: bytes) -> None:
    assert inflate(WRITERS[coding](data), coding, 2000) == data


def test_raw_deflate_and_several_members_are_read() -> None:
    assert inflate(deflate_raw(b"abc" * 99), "deflate", 1000) == b"abc" * 99
    assert inflate(gzip.compress(b"ab") + gzip.compress(b"c"), "gzip", 3) == b"abc"
    assert inflate(WRITERS["zstd"](b"ab") + WRITERS["zstd"](b"c"), "zstd", 3) == b"abc"


@pytest.mark.parametrize("coding", WRITERS)
def test_one_byte_over_the_bound_is_too_large(coding: str) -> None:
    data = os.urandom(1000) + bytes(100_000)
    assert inflate(WRITERS[coding](data), coding, len(data)) == data
    with pytest.raises(TooLargeError):
        inflate(WRITERS[coding](data), coding, len(data) - 1)


def test_many_small_members_do_not_pass_the_bound() -> None:
    with pytest.raises(TooLargeError):
        inflate(gzip.compress(b"x" * 100) * 11, "gzip", 1000)


@given(data=st.binary(max_size=300), cut=st.integers(0, 40))
@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_garbage_and_torn_bodies_are_corrupt_and_nothing_else(
    coding: str, data: bytes, cut: int
) -> None:
    whole = WRITERS[coding](b"telemetry" * 20)
    for body in (data, whole[: len(whole) - 1 - cut % (len(whole) - 1)], whole + b"\1"):
        try:
            inflate(body, coding, 1 << 16)
        except (CorruptError, TooLargeError):
            continue
        assert coding != "gzip" or body.startswith(b"\x1f\x8b")


def test_the_budget_lets_one_request_through_whatever_its_size_and_no_second_one() -> None:
    budget = Budget(100)
    assert budget.take(60)
    assert budget.take(500, held=60)
    assert not budget.take(1)
    budget.give_back(560)
    assert budget.take(40)
    assert budget.take(60)
    assert not budget.take(1)
    assert budget.used == 100


def test_a_clock_that_jumps_is_noticed_once_and_one_that_is_slewed_is_not() -> None:
    watch = ClockWatch()
    second = 1_000_000_000
    assert [watch.look(1000 * second + i * second, i * second) for i in range(3)] == [0, 0, 0]
    assert watch.look(1000 * second + 3 * second - 7 * second, 3 * second) == -7 * second
    assert watch.look(1000 * second + 4 * second - 7 * second, 4 * second) == 0
    assert all(
        watch.look(997 * second + i * (second + 500_000), 4 * second + i * second) == 0
        for i in range(20_000)
    )
    assert watch.jumps == 1
