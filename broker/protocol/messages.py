"""Control-plane messages: decoded by kio's native reader, encoded from plain dicts.

kio's generated classes are the schema (one class a message and version, from Kafka's own message
definitions). A response is a mapping with Kafka's field names in snake case; its encoder is
compiled once per class into a list of small functions, because kio's own encoder costs 20-400 us a
message and would force handlers to build one class per version.
"""

from __future__ import annotations

import dataclasses
import struct
import typing
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from kio.index import load_request_schema, load_response_schema
from kio.serial import entity_reader

from broker.protocol.counts import check_counts, shape_of
from broker.protocol.errors import MalformedRequestError

Write = Callable[[bytearray, Any], None]

_FIXED = {
    "int8": ">b",
    "int16": ">h",
    "int32": ">i",
    "int64": ">q",
    "uint8": ">B",
    "uint16": ">H",
    "uint32": ">I",
    "uint64": ">Q",
    "float64": ">d",
    "bool": ">?",
    "error_code": ">h",
    "timedelta_i32": ">i",
    "timedelta_i64": ">q",
    "datetime_i64": ">q",
}


@cache
def is_flexible(api_key: int, version: int) -> bool:
    """Whether this version uses compact lengths and tagged fields (KIP-482)."""
    return bool(load_request_schema(api_key, version).__flexible__)


@cache
def _reader(api_key: int, version: int) -> Any:
    return entity_reader(load_request_schema(api_key, version))


def decode_request(api_key: int, version: int, body: bytes) -> Any:
    """The message in `body`. Bytes behind it are ignored, as Kafka does: librdkafka sends some.

    Raises MalformedRequestError if the bytes are not a message of that kind and version.
    """
    check_counts(api_key, version, body)
    try:
        message, _ = _reader(api_key, version)(body, 0)
    except Exception as problem:
        raise MalformedRequestError(f"api {api_key} version {version}: {problem}") from problem
    return message


def encode_response(api_key: int, version: int, fields: Mapping[str, Any]) -> bytes:
    """The bytes of a response; fields the version lacks are dropped, absent ones take defaults."""
    out = bytearray()
    _entity_writer(load_response_schema(api_key, version))(out, fields)
    return bytes(out)


def milliseconds(value: timedelta | int) -> int:
    """A duration field as a number of milliseconds."""
    if isinstance(value, timedelta):
        return round(value.total_seconds() * 1000)
    return value


def write_uvarint(out: bytearray, value: int) -> None:
    """Append an unsigned varint (base 128, little end first)."""
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


@cache
def _entity_writer(entity: type[Any]) -> Write:
    hints = typing.get_type_hints(entity)
    flexible = bool(entity.__flexible__)
    plain: list[tuple[str, Any, Write]] = []
    tagged: list[tuple[int, str, Any, Write]] = []
    for field in dataclasses.fields(entity):
        default = _default(field, hints[field.name])
        tag = field.metadata.get("tag")
        write = _field_writer(field, hints[field.name], flexible, tagged=tag is not None)
        if tag is None:
            plain.append((field.name, default, write))
        else:
            tagged.append((tag, field.name, default, write))
    tagged.sort(key=lambda item: item[0])

    def write_entity(out: bytearray, fields: Mapping[str, Any]) -> None:
        for name, default, write in plain:
            write(out, fields.get(name, default))
        if flexible:
            _write_tags(out, tagged, fields)

    return write_entity


def _write_tags(
    out: bytearray, tagged: list[tuple[int, str, Any, Write]], fields: Mapping[str, Any]
) -> None:
    present = [(tag, name, write) for tag, name, _, write in tagged if name in fields]
    write_uvarint(out, len(present))
    for tag, name, write in present:
        value = bytearray()
        write(value, fields[name])
        write_uvarint(out, tag)
        write_uvarint(out, len(value))
        out += value


def _default(field: dataclasses.Field[Any], hint: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        value: Any = field.default
        return milliseconds(value) if isinstance(value, timedelta) else value
    kind, array, nullable = shape_of(hint)
    if nullable:
        return None
    if array:
        return ()
    if dataclasses.is_dataclass(kind):
        return {}
    return {"string": "", "bytes": b"", "records": b"", "uuid": None}.get(
        field.metadata.get("kafka_type", ""), 0
    )


def _field_writer(
    field: dataclasses.Field[Any], hint: Any, flexible: bool, *, tagged: bool
) -> Write:
    kind, array, nullable = shape_of(hint)
    nullable = nullable and not tagged
    if dataclasses.is_dataclass(kind):
        item = _entity_writer(typing.cast(type[Any], kind))
        if not array and nullable:
            return _nullable_entity(item)
    else:
        item = _primitive_writer(field.metadata["kafka_type"], flexible, nullable and not array)
    return _array_writer(item, flexible) if array else item


def _nullable_entity(write: Write) -> Write:
    def write_nullable(out: bytearray, value: Any) -> None:
        out.append(0xFF if value is None else 1)
        if value is not None:
            write(out, value)

    return write_nullable


def _array_writer(item: Write, flexible: bool) -> Write:
    def write_array(out: bytearray, values: Any) -> None:
        if flexible:
            write_uvarint(out, 0 if values is None else len(values) + 1)
        else:
            out.extend(struct.pack(">i", -1 if values is None else len(values)))
        for value in values or ():
            item(out, value)

    return write_array


def _primitive_writer(kafka_type: str, flexible: bool, nullable: bool) -> Write:
    if kafka_type in _FIXED:
        return _fixed_writer(_FIXED[kafka_type], nullable)
    if kafka_type == "uuid":
        return lambda out, value: out.extend(value.bytes if isinstance(value, UUID) else bytes(16))
    if kafka_type == "string":
        return _sized_writer(">h", flexible, lambda value: value.encode())
    return _sized_writer(">i", flexible, bytes)


def _fixed_writer(layout: str, nullable: bool) -> Write:
    pack = struct.Struct(layout).pack

    def write_fixed(out: bytearray, value: Any) -> None:
        if type(value) is not int:
            value = _number(value)
        out.extend(pack(value))

    if not nullable:
        return write_fixed
    return lambda out, value: write_fixed(out, -1 if value is None else value)


def _number(value: Any) -> Any:
    if isinstance(value, timedelta):
        return milliseconds(value)
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    return value


def _sized_writer(layout: str, flexible: bool, encode: Callable[[Any], bytes]) -> Write:
    pack = struct.Struct(layout).pack

    def write_sized(out: bytearray, value: Any) -> None:
        if value is None:
            out.extend(b"\0" if flexible else pack(-1))
            return
        data = encode(value)
        if flexible:
            write_uvarint(out, len(data) + 1)
        else:
            out.extend(pack(len(data)))
        out.extend(data)

    return write_sized
