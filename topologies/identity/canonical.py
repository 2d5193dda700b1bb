"""Canonical bytes: what a resource or a stream is, whatever the encoding and order of attributes.

Layout, little endian; ``text`` is a u32 length and UTF-8, ``map`` a u32 count and, in ascending
order of the key's UTF-8 bytes, ``text`` key and value:

    origin  := 0x01, text tenant, map resource attributes
    scope   := origin, text scope name, text scope version, map scope attributes
    context := scope, text metric name, text unit, u8 kind
    stream  := context, map point attributes
    value   := u8 type, then: string text | bool u8 | int i64 | double 8 bytes of its bits |
               array u32 count, values | map | bytes u32 length, bytes | string index i64

``kind`` is that of :mod:`topologies.encodings.points`, MONOTONIC included. Of attributes with the
same key the last one counts. Doubles are their bits. These bytes are durable: hashes of them route
records and identify streams in state, so a change of this layout is a new version (first byte).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

VERSION = b"\x01"
ABSENT, STRING, BOOL, INT, DOUBLE, ARRAY, MAP, BYTES, STRING_INDEX = range(9)

_STRING = bytes((STRING,))
_U32 = struct.Struct("<I")
_I64 = struct.Struct("<q")
_F64 = struct.Struct("<d")


def text(value: str) -> bytes:
    """A string's canonical bytes."""
    return sized(value.encode())


def sized(value: bytes) -> bytes:
    """Bytes behind their u32 length."""
    return _U32.pack(len(value)) + value


def attribute_map(attributes: Iterable[KeyValue]) -> bytes:
    """The canonical map of parsed attributes."""
    by_key = {each.key.encode(): each.value for each in attributes}
    parts = [_U32.pack(len(by_key))]
    for key in sorted(by_key):
        parts += (sized(key), any_value(by_key[key]))
    return b"".join(parts)


def any_value(value: AnyValue) -> bytes:
    """The canonical bytes of a parsed attribute value."""
    match value.WhichOneof("value"):
        case "string_value":
            return b"\x01" + text(value.string_value)
        case "bool_value":
            return b"\x02\x01" if value.bool_value else b"\x02\x00"
        case "int_value":
            return b"\x03" + _I64.pack(value.int_value)
        case "double_value":
            return b"\x04" + _F64.pack(value.double_value)
        case "array_value":
            values = value.array_value.values
            return b"\x05" + _U32.pack(len(values)) + b"".join(map(any_value, values))
        case "kvlist_value":
            return b"\x06" + attribute_map(value.kvlist_value.values)
        case "bytes_value":
            return b"\x07" + sized(value.bytes_value)
        case "string_value_strindex":
            return b"\x08" + _I64.pack(value.string_value_strindex)
        case _:
            return b"\x00"


def doubles(numbers: Iterable[float]) -> bytes:
    """Numbers that end a stream's canonical bytes: the bounds of explicit histograms."""
    return b"".join(_F64.pack(number) for number in numbers)


def origin(tenant: str, resource_attributes: Iterable[KeyValue]) -> bytes:
    """Where points come from: the canonical bytes of tenant and resource."""
    return VERSION + text(tenant) + attribute_map(resource_attributes)


class Reader:
    """Reads canonical bytes back, from an offset on."""

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self._data = data
        self._offset = offset

    def sized(self) -> bytes:
        """The bytes behind a u32 length."""
        return self._take(self.u32())

    def text(self) -> str:
        """A string."""
        return self.sized().decode()

    def byte(self) -> int:
        """A u8."""
        return self._take(1)[0]

    def u32(self) -> int:
        """A u32."""
        return int.from_bytes(self._take(4), "little")

    def map(self) -> dict[str, Any]:
        """Attributes as Python values: str, bool, int, float, list, dict, bytes or None."""
        found: dict[str, Any] = {}
        data = self._data
        for _ in range(self.u32()):
            key = self.text()
            at = self._offset
            if data[at : at + 1] == _STRING:  # nearly all are: no calls for them
                begin = at + 5
                end = begin + int.from_bytes(data[at + 1 : begin], "little")
                if end > len(data):
                    raise ValueError("canonical bytes end too early")
                found[key] = data[begin:end].decode()
                self._offset = end
            else:
                found[key] = self.value()
        return found

    def doubles(self) -> tuple[float, ...]:
        """All that is left, eight bytes each."""
        rest = self._data[self._offset :]
        return struct.unpack(f"<{len(rest) // 8}d", rest)

    def value(self) -> Any:
        """One attribute value."""
        kind = self.byte()
        if kind == STRING:
            return self.text()
        if kind == BOOL:
            return self.byte() != 0
        if kind in (INT, STRING_INDEX):
            return _I64.unpack(self._take(8))[0]
        if kind == DOUBLE:
            return _F64.unpack(self._take(8))[0]
        if kind == ARRAY:
            return [self.value() for _ in range(self.u32())]
        if kind == MAP:
            return self.map()
        return self.sized() if kind == BYTES else None

    def _take(self, length: int) -> bytes:
        begin = self._offset
        self._offset += length
        if self._offset > len(self._data):
            raise ValueError("canonical bytes end too early")
        return self._data[begin : self._offset]
