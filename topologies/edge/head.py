"""What a request's head alone decides: where to, from whom, how it is written, how long (C)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from topologies.edge.access import Denied, authenticate
from topologies.edge.answers import Answer, Encoding, failure
from topologies.edge.config import EdgeConfig, is_loopback

METRICS_PATH = "/v1/metrics"
CODINGS = ("identity", "gzip", "deflate", "zstd")
_OTHER_SIGNALS = ("/v1/traces", "/v1/logs", "/v1development/profiles")
_TYPES = {
    "application/x-protobuf": Encoding.PROTOBUF,
    "application/protobuf": Encoding.PROTOBUF,
    "application/json": Encoding.JSON,
}


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request. Header names are lower case; `client` is the peer's address."""

    method: str
    path: str
    headers: Mapping[str, str]
    client: str | None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request whose body may be read."""

    tenant: str
    encoding: Encoding
    coding: str


def admit(head: Head, config: EdgeConfig) -> Admitted | Answer:
    """Decide from the head; the body has not been read yet."""
    encoding = _encoding(head.headers)
    answer_in = encoding or Encoding.JSON
    if head.path != METRICS_PATH:
        return _not_found(head.path, answer_in)
    if head.method != "POST":
        message = f"{METRICS_PATH} takes POST, not {head.method}"
        return failure(405, "method", message, answer_in, (("allow", "POST"),))
    local = is_loopback(config.host) and is_loopback(head.client)
    tenant = authenticate(
        head.headers, tokens=config.tokens, anonymous_tenant=config.anonymous_tenant, local=local
    )
    if isinstance(tenant, Denied):
        challenge = (("www-authenticate", 'Bearer realm="tidemill"'),)
        return failure(401, "unauthenticated", tenant.message, answer_in, challenge)
    if encoding is None:
        given = head.headers.get("content-type", "")
        message = (
            f"Content-Type {given!r} is not one of {', '.join(_TYPES)} (charset utf-8): "
            "set the exporter to OTLP over HTTP"
        )
        return failure(415, "content-type", message, answer_in)
    coding = head.headers.get("content-encoding", "identity").strip().lower() or "identity"
    if coding not in CODINGS:
        message = f"Content-Encoding {coding!r} is not one of {', '.join(CODINGS)}"
        accept = (("accept-encoding", ", ".join(CODINGS)),)
        return failure(415, "content-encoding", message, encoding, accept)
    length = head.headers.get("content-length", "")
    if length.isdigit() and int(length) > config.max_body:
        return too_large(encoding, config)
    return Admitted(tenant, encoding, coding)


def too_large(encoding: Encoding, config: EdgeConfig) -> Answer:
    """413: the body, as sent or decompressed, is over the limit."""
    message = (
        f"the body is larger than {config.max_body} bytes (counted after decompression): "
        "send smaller batches"
    )
    return failure(413, "too-large", message, encoding)


def _encoding(headers: Mapping[str, str]) -> Encoding | None:
    kind, _, parameters = headers.get("content-type", "").partition(";")
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "charset" and value.strip('"').lower() not in ("utf-8", "utf8"):
            return None
    return _TYPES.get(kind.strip().lower())


def _not_found(path: str, encoding: Encoding) -> Answer:
    if path in _OTHER_SIGNALS:
        message = f"{path} is not taken here: this edge takes metrics, at {METRICS_PATH}"
    else:
        message = f"nothing is at {path!r}: metrics go to {METRICS_PATH}"
    return failure(404, "path", message, encoding)
