"""What the edge says: OTLP/HTTP responses in the request's encoding (C).

Errors are `google.rpc.Status` messages, pieces refused for good are `partial_success`; agents retry
429, 502, 503 and 504 only. Source: OTLP specification, "OTLP/HTTP Response".
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass

from google.rpc import code_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)


class Encoding(enum.Enum):
    """How a request's body is written, and so its answer's."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response. `reason` is the kebab-case word it is counted under ("" if all went well).

    `headers` are names in lower case and values.
    """

    status: int
    content_type: str
    body: bytes
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()


_CODES = {
    400: code_pb2.INVALID_ARGUMENT,
    401: code_pb2.UNAUTHENTICATED,
    404: code_pb2.NOT_FOUND,
    405: code_pb2.UNIMPLEMENTED,
    408: code_pb2.DEADLINE_EXCEEDED,
    411: code_pb2.INVALID_ARGUMENT,
    413: code_pb2.RESOURCE_EXHAUSTED,
    415: code_pb2.INVALID_ARGUMENT,
    500: code_pb2.INTERNAL,
    503: code_pb2.UNAVAILABLE,
}


def failure(
    status: int,
    reason: str,
    message: str,
    encoding: Encoding,
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    """An error, as a `google.rpc.Status` in the request's encoding."""
    code = _CODES[status]
    if encoding is Encoding.PROTOBUF:
        body = status_pb2.Status(code=code, message=message).SerializeToString()
    else:
        body = json.dumps({"code": code, "message": message}).encode()
    return Answer(status, encoding.value, body, reason, headers)


def unavailable(reason: str, message: str, encoding: Encoding, retry_after: int) -> Answer:
    """A 503 that asks the agent to send the same request again in `retry_after` seconds."""
    return failure(503, reason, message, encoding, (("retry-after", str(retry_after)),))


def success(encoding: Encoding, rejected_points: int = 0, message: str = "") -> Answer:
    """Everything is on the log, but for `rejected_points`, which must not be sent again."""
    response = ExportMetricsServiceResponse()
    if rejected_points or message:
        response.partial_success.rejected_data_points = rejected_points
        response.partial_success.error_message = message
    if encoding is Encoding.PROTOBUF:
        body = response.SerializeToString()
    elif rejected_points or message:
        part = {"rejectedDataPoints": str(rejected_points), "errorMessage": message}
        body = json.dumps({"partialSuccess": part}).encode()
    else:
        body = b"{}"
    return Answer(200, encoding.value, body, "partial" if rejected_points else "")
