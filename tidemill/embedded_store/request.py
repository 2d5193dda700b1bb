"""A request as ClickHouse's HTTP interface understands it: what is SQL, setting, parameter."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from tidemill.embedded_store import errors
from tidemill.embedded_store.errors import StoreError

# What the interface itself acts on, and the engine must not be given as settings.
_OWN = {
    "query", "database", "user", "password", "quota_key", "query_id", "session_id",
    "session_timeout", "session_check", "default_format", "compress", "decompress",
    "buffer_size", "wait_end_of_query", "client_protocol_version", "role", "stacktrace",
    "enable_http_compression", "send_progress_in_http_headers", "close_session",
    "http_headers_progress_interval_ms", "cancel_http_readonly_queries_on_client_close",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z_]\w*\Z")
_MAX_SESSION_S = 3600.0
_DEFAULT_SESSION_S = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its body not yet unpacked.

    Attributes:
        read_only: GET and HEAD may only read.
        query: SQL from the address; the body follows it on a new line.
        settings: For this request alone.
        parameters: Values of ``{name:Type}``, as text.
        cancel: Stop the query when the client goes away.
        accepted: Codings the client reads, empty when the answer is to be sent as it is.
    """

    read_only: bool
    query: bytes
    body: bytes
    coding: str
    database: str
    query_id: str
    session_id: str
    session_timeout: float
    session_check: bool
    default_format: str
    wait_end: bool
    cancel: bool
    accepted: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]


def read_request(
    method: str, query_string: bytes, headers: Mapping[str, str], body: bytes, fresh_id: str
) -> Request:
    """Sort a request's parts.

    Args:
        headers: By name in small letters.
        fresh_id: Query id for a request without one.

    Raises:
        StoreError: A part that this interface does not offer, or that cannot be read.
    """
    given = dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True))
    coding = headers.get("content-encoding", "").lower()
    if headers.get("content-type", "").startswith("multipart/form-data"):
        given.update(_form_fields(headers["content-type"], body))
        body = b""
    for name in ("compress", "decompress"):
        if given.get(name, "0") not in ("0", ""):
            raise StoreError(
                errors.NOT_IMPLEMENTED,
                f"'{name}=1' (native block framing) is not offered by the embedded store: "
                "use Content-Encoding and Accept-Encoding, or no compression",
            )
    return Request(
        read_only=method in ("GET", "HEAD"),
        query=given.get("query", "").encode("utf-8", "surrogateescape"),
        body=body,
        coding=coding,
        database=given.get("database", headers.get("x-clickhouse-database", "")),
        query_id=given.get("query_id") or fresh_id,
        session_id=given.get("session_id", ""),
        session_timeout=_session_timeout(given.get("session_timeout", "")),
        session_check=_flag(given, "session_check"),
        default_format=given.get("default_format", headers.get("x-clickhouse-format", "")),
        wait_end=_flag(given, "wait_end_of_query"),
        cancel=_flag(given, "cancel_http_readonly_queries_on_client_close"),
        accepted=headers.get("accept-encoding", "")
        if _flag(given, "enable_http_compression")
        else "",
        settings=_settings(given),
        parameters={k[6:]: v for k, v in given.items() if k.startswith("param_")},
    )


def credentials(query_string: bytes, headers: Mapping[str, str]) -> tuple[str, str]:
    """User and password from wherever ClickHouse's clients put them."""
    basic = headers.get("authorization", "")
    if basic.lower().startswith("basic "):
        try:
            user, _, password = base64.b64decode(basic[6:], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    given = dict(parse_qsl(query_string.decode("latin-1")))
    user = headers.get("x-clickhouse-user", given.get("user", "default"))
    return user, headers.get("x-clickhouse-key", given.get("password", ""))


def _flag(given: Mapping[str, str], name: str) -> bool:
    return given.get(name, "0").lower() in ("1", "true")


def _settings(given: Mapping[str, str]) -> dict[str, str]:
    named = {k: v for k, v in given.items() if k not in _OWN and not k.startswith("param_")}
    for name in named:
        if not _NAME.match(name):
            raise StoreError(errors.BAD_REQUEST_PARAMETER, f"'{name}' is no name of a setting")
    return named


def _session_timeout(text: str) -> float:
    if not text:
        return _DEFAULT_SESSION_S
    if not text.isdigit() or float(text) > _MAX_SESSION_S:
        raise StoreError(
            errors.INVALID_SESSION_TIMEOUT,
            f"session_timeout '{text}' is not a number of seconds up to {_MAX_SESSION_S:.0f}",
        )
    return float(text)


def _form_fields(content_type: str, body: bytes) -> dict[str, str]:
    """The text fields of a multipart form (RFC 7578); a file in it is external data."""
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    if found is None:
        raise StoreError(errors.BAD_REQUEST_PARAMETER, "a multipart form without its boundary")
    fields: dict[str, str] = {}
    for part in body.split(b"--" + found.group(1).encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        if name is None or b"filename=" in head:
            raise StoreError(
                errors.NOT_IMPLEMENTED,
                "external data is not offered by the embedded store: insert it into a "
                "temporary table of a session first",
            )
        fields[name.group(1).decode()] = value[:-2].decode("utf-8", "surrogateescape")
    return fields
