"""Request headers: version 1, and version 2 with tagged fields."""

from __future__ import annotations

import struct
from typing import NamedTuple

from broker.protocol.errors import MalformedRequestError

_FIXED = struct.Struct(">hhih")
API_VERSIONS = 18


class Header(NamedTuple):
    """A request header. `size`: bytes of the part that every version has."""

    api_key: int
    version: int
    correlation_id: int
    client_id: str | None
    size: int


def read_header(frame: memoryview) -> Header:
    """Read the part of a request header that does not depend on the kind of request."""
    try:
        api_key, version, correlation_id, length = _FIXED.unpack_from(frame)
    except struct.error as problem:
        raise MalformedRequestError("a request shorter than its header") from problem
    if length < 0:
        return Header(api_key, version, correlation_id, None, 10)
    end = 10 + length
    if end > len(frame):
        raise MalformedRequestError("the client id reaches past the request")
    return Header(api_key, version, correlation_id, str(frame[10:end], "utf-8", "replace"), end)


def skip_tags(frame: bytes | memoryview, at: int) -> int:
    """The place behind the tagged fields that start at `at`. Raises MalformedRequestError."""
    count, at = read_uvarint(frame, at)
    last = -1
    for _ in range(count):
        tag, at = read_uvarint(frame, at)
        if tag <= last:
            raise MalformedRequestError(f"tagged field {tag} behind {last}")
        last = tag
        size, at = read_uvarint(frame, at)
        at += size
        if at > len(frame):
            raise MalformedRequestError("a tagged field reaches past the request")
    return at


def read_uvarint(frame: bytes | memoryview, at: int) -> tuple[int, int]:
    """A varint of at most five bytes, and where it ends. Raises MalformedRequestError."""
    value = shift = 0
    while True:
        if at >= len(frame) or shift > 28:
            raise MalformedRequestError("a varint that is cut short, or of more than five bytes")
        byte = frame[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
