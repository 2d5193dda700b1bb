"""Requests cut by resource, as bytes: nothing is encoded anew."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from google.protobuf.message import DecodeError
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from topologies.identity.canonical import origin

_RESOURCE_METRICS = _RESOURCE = 0x0A  # field 1, length-delimited
_FIXED = {1: 8, 5: 4}


class MalformedError(ValueError):
    """The bytes are not a request; the message says what is wrong with them."""


@lru_cache(maxsize=1 << 16)
def canonical_resource_key(
    tenant: str, resource: bytes, names: tuple[str, ...] | None = None
) -> bytes:
    """The 16 bytes by which a resource's records are routed; equal for equal attributes.

    ``resource`` is an encoded ``Resource`` message; ``names``: attributes that count, None: all.
    Raises :class:`MalformedError`. Remembers the resources seen last, since they repeat.
    """
    try:
        attributes = Resource.FromString(resource).attributes
    except DecodeError as error:
        raise MalformedError("a resource is not an OTLP Resource message") from error
    chosen = [one for one in attributes if names is None or one.key in names]
    return hashlib.blake2b(origin(tenant, chosen), digest_size=16).digest()


def split_by_resource(request: bytes) -> list[tuple[bytes, bytes]]:
    """The request cut at its ``ResourceMetrics``: (encoded Resource, piece) a distinct resource.

    A piece is a valid request holding all ResourceMetrics of one canonical resource, as they were,
    in order; pieces are in order of first appearance. Fields of the request that OTLP does not
    know are left out. Raises :class:`MalformedError` where the outer two levels do not parse.
    """
    pieces: dict[bytes, tuple[bytes, list[bytes]]] = {}
    position = 0
    while position < len(request):
        tag, begin, end = _field(request, position)
        if tag == _RESOURCE_METRICS:
            resource = _resource_of(request, begin, end)
            key = canonical_resource_key("", resource)
            pieces.setdefault(key, (resource, []))[1].append(request[position:end])
        position = end
    return [(resource, b"".join(parts)) for resource, parts in pieces.values()]


def _resource_of(request: bytes, position: int, end: int) -> bytes:
    """The Resource of a ResourceMetrics; several occurrences are one, joined."""
    found: list[bytes] = []
    while position < end:
        tag, begin, after = _field(request, position)
        if after > end:
            raise MalformedError("a field ends after its message")
        if tag == _RESOURCE:
            found.append(request[begin:after])
        position = after
    return found[0] if len(found) == 1 else b"".join(found)


def _field(data: bytes, position: int) -> tuple[int, int, int]:
    """(tag, first byte of the value, position after it) of the field at a position."""
    tag, begin = _varint(data, position, 5)
    wire = tag & 7
    if tag < 8 or tag >> 32 or wire in (3, 4, 6, 7):
        raise MalformedError("a field's tag is not valid, or a group")
    if wire == 2:
        length, begin = _varint(data, begin, 5)
        end = begin + length
    elif wire == 0:
        _, end = _varint(data, begin, 10)
    else:
        end = begin + _FIXED[wire]
    if end > len(data):
        raise MalformedError("a field ends after its message")
    return tag, begin, end


def _varint(data: bytes, position: int, longest: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[position : position + longest]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise MalformedError("a varint does not end")
