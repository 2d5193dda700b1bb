"""OTLP/JSON to OTLP/protobuf: the same request, in the encoding that the log holds (C).

The fields come from the protocol's own descriptors, so that a new version of OTLP needs no change
here. Rules (OTLP specification, "JSON Protobuf Encoding"): names in lowerCamelCase (the .proto's
own are taken too), 64-bit integers as numbers or decimal strings, enums as integers or names,
trace and span ids in hexadecimal, other bytes in base64, unknown names ignored, null as absent.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

MAX_DEPTH = 100  # as deep as the protobuf parser that reads the result will go
_HEX_FIELDS = ("trace_id", "span_id")
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class JsonError(ValueError):
    """The body is not OTLP/JSON; the message says where and why."""


Scalar = Callable[[Any], bytes]


@dataclass(slots=True)
class _Field:
    """How one field is written: its tag's bytes, and either a scalar's encoder or a message."""

    name: str
    tag: bytes
    repeated: bool
    packed: bool
    presence: bool
    oneof: str
    scalar: Scalar | None
    message: _Message | None


@dataclass(slots=True)
class _Message:
    """A message's fields by the names they may carry in JSON."""

    name: str
    fields: dict[str, _Field]


def request_to_protobuf(body: bytes) -> bytes:
    """The serialized `ExportMetricsServiceRequest` that an OTLP/JSON body stands for.

    Raises JsonError with the path of what is wrong.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise JsonError(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise JsonError("the body is not a JSON object with resourceMetrics in it")
    names = cast("dict[str, Any]", value)
    if names and not any(name in _REQUEST.fields for name in names):
        raise JsonError(f"there is no resourceMetrics in the body, only {', '.join(names)[:200]}")
    return _encode_message(_REQUEST, names, "", 0)


def _encode_message(message: _Message, value: Any, path: str, depth: int) -> bytes:
    if not isinstance(value, dict):
        raise JsonError(f"{path or 'the body'}: expected an object, found {_kind(value)}")
    if depth > MAX_DEPTH:
        raise JsonError(f"{path}: nested deeper than {MAX_DEPTH}")
    out: list[bytes] = []
    seen: dict[str, str] = {}
    for name, item in cast("dict[str, Any]", value).items():
        field = message.fields.get(name)
        if field is None or item is None:
            continue
        where = f"{path}.{name}" if path else name
        if (other := seen.setdefault(field.oneof, name)) != name:
            raise JsonError(f"{where}: given beside {other}, and only one of them may be")
        if field.repeated:
            _encode_repeated(field, item, where, depth, out)
        elif field.scalar is None:
            _encode_child(field, item, where, depth, out)
        else:
            encoded = _encode_scalar(field.scalar, item, where)
            if field.presence or encoded.strip(b"\0"):
                out += (field.tag, encoded)
    return b"".join(out)


def _encode_repeated(field: _Field, items: Any, path: str, depth: int, out: list[bytes]) -> None:
    if not isinstance(items, list):
        raise JsonError(f"{path}: expected a list, found {_kind(items)}")
    elements = cast("list[Any]", items)
    if field.scalar is None:
        for index, item in enumerate(elements):
            _encode_child(field, item, f"{path}[{index}]", depth, out)
        return
    scalar = field.scalar
    encoded = [_encode_scalar(scalar, item, f"{path}[{i}]") for i, item in enumerate(elements)]
    if not field.packed:
        for element in encoded:
            out += (field.tag, element)
    elif encoded:
        data = b"".join(encoded)
        out += (field.tag, _varint(len(data)), data)


def _encode_child(field: _Field, item: Any, path: str, depth: int, out: list[bytes]) -> None:
    assert field.message is not None
    data = _encode_message(field.message, item, path, depth + 1)
    out += (field.tag, _varint(len(data)), data)


def _encode_scalar(scalar: Scalar, value: Any, path: str) -> bytes:
    try:
        return scalar(value)
    except (ValueError, TypeError, OverflowError, struct.error, binascii.Error) as error:
        raise JsonError(f"{path}: {error}") from error


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    return "a string" if isinstance(value, str) else "a list or an object"


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float) else _kind(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _integer(value: Any, low: int, high: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
            raise ValueError(f"not an integer: {_shown(value)}")
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"not an integer: {_shown(value)}")
    if not low <= value <= high:
        raise ValueError(f"{value} is not between {low} and {high}")
    return value


_I64 = (-(2**63), 2**63 - 1)
_U64 = (0, 2**64 - 1)
_I32 = (-(2**31), 2**31 - 1)
_U32 = (0, 2**32 - 1)


def _signed(bounds: tuple[int, int]) -> Scalar:
    return lambda value: _varint(_integer(value, *bounds) & (2**64 - 1))


def _unsigned(bounds: tuple[int, int]) -> Scalar:
    return lambda value: _varint(_integer(value, *bounds))


def _zigzag(value: Any) -> bytes:
    number = _integer(value, *_I64)
    return _varint(number << 1 if number >= 0 else (-number << 1) - 1)


def _fixed(layout: str, bounds: tuple[int, int]) -> Scalar:
    pack = struct.Struct(layout).pack
    return lambda value: pack(_integer(value, *bounds))


_DOUBLE = re.compile(r"NaN|-?Infinity|-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_pack_double = struct.Struct("<d").pack


def _double(value: Any) -> bytes:
    if isinstance(value, str):
        if not _DOUBLE.fullmatch(value):
            raise ValueError(f"not a number: {_shown(value)}")
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"not a number: {_shown(value)}")
    return _pack_double(float(value))


def _bool(value: Any) -> bytes:
    if not isinstance(value, bool):
        raise ValueError(f"neither true nor false: {_shown(value)}")
    return b"\1" if value else b"\0"


def _string(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"not a string: {_shown(value)}")
    data = value.encode("utf-8")
    return _varint(len(data)) + data


def _hex(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"not a string of hexadecimal digits: {_shown(value)}")
    data = binascii.unhexlify(value)
    return _varint(len(data)) + data


def _base64(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"not a string of base64: {_shown(value)}")
    text = value.replace("-", "+").replace("_", "/")
    data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    return _varint(len(data)) + data


def _enum(descriptor: EnumDescriptor) -> Scalar:
    names = {value.name: value.number for value in descriptor.values}

    def encode(value: Any) -> bytes:
        if isinstance(value, str) and value in names:
            value = names[value]
        elif isinstance(value, str) and not value.removeprefix("-").isdigit():
            raise ValueError(f"{_shown(value)} is not one of {', '.join(names)}")
        return _varint(_integer(value, *_I32) & (2**64 - 1))

    return encode


_SCALARS: dict[int, tuple[int, Scalar]] = {
    FieldDescriptor.TYPE_DOUBLE: (_FIXED64, _double),
    FieldDescriptor.TYPE_INT64: (_VARINT, _signed(_I64)),
    FieldDescriptor.TYPE_INT32: (_VARINT, _signed(_I32)),
    FieldDescriptor.TYPE_UINT64: (_VARINT, _unsigned(_U64)),
    FieldDescriptor.TYPE_UINT32: (_VARINT, _unsigned(_U32)),
    FieldDescriptor.TYPE_SINT64: (_VARINT, _zigzag),
    FieldDescriptor.TYPE_SINT32: (_VARINT, lambda value: _zigzag(_integer(value, *_I32))),
    FieldDescriptor.TYPE_FIXED64: (_FIXED64, _fixed("<Q", _U64)),
    FieldDescriptor.TYPE_SFIXED64: (_FIXED64, _fixed("<q", _I64)),
    FieldDescriptor.TYPE_FIXED32: (_FIXED32, _fixed("<I", _U32)),
    FieldDescriptor.TYPE_SFIXED32: (_FIXED32, _fixed("<i", _I32)),
    FieldDescriptor.TYPE_BOOL: (_VARINT, _bool),
    FieldDescriptor.TYPE_STRING: (_LENGTH, _string),
}


def _message_of(descriptor: Descriptor, known: dict[str, _Message]) -> _Message:
    if descriptor.full_name in known:
        return known[descriptor.full_name]
    message = known[descriptor.full_name] = _Message(descriptor.name, {})
    for described in descriptor.fields:
        field = _field_of(described, known)
        message.fields[described.json_name] = message.fields[described.name] = field
    return message


def _field_of(described: FieldDescriptor, known: dict[str, _Message]) -> _Field:
    kind, child, scalar = described.type, None, None
    if kind == FieldDescriptor.TYPE_MESSAGE:
        wire, child = _LENGTH, _message_of(cast(Descriptor, described.message_type), known)
    elif kind == FieldDescriptor.TYPE_ENUM:
        wire, scalar = _VARINT, _enum(cast(EnumDescriptor, described.enum_type))
    elif kind == FieldDescriptor.TYPE_BYTES:
        wire, scalar = _LENGTH, _hex if described.name in _HEX_FIELDS else _base64
    else:
        wire, scalar = _SCALARS[kind]
    packed = described.is_packed
    oneof = described.containing_oneof
    return _Field(
        name=described.name,
        tag=_varint(described.number << 3 | (_LENGTH if packed else wire)),
        repeated=described.is_repeated,
        packed=packed,
        presence=described.has_presence,
        oneof=oneof.name if oneof is not None else described.name,
        scalar=scalar,
        message=child,
    )


_REQUEST = _message_of(ExportMetricsServiceRequest.DESCRIPTOR, {})
