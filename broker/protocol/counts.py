"""Whether a message can hold what its counts say, before it is decoded.

kio's native reader makes room for as many elements as a count says: a hundred bytes that say to
hold 2**31 topics would end the process. So every message is walked through first; an element takes
a byte at least.
"""

from __future__ import annotations

import dataclasses
import struct
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any

from kio.index import load_request_schema

from broker.protocol.errors import MalformedRequestError
from broker.protocol.headers import read_uvarint, skip_tags

Skip = Callable[[bytes, int], int]
"""From the body and where a value begins to where it ends."""

_WIDTHS = {
    "int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint8": 1, "uint16": 2, "uint32": 4,
    "uint64": 8, "float64": 8, "bool": 1, "error_code": 2, "timedelta_i32": 4,
    "timedelta_i64": 8, "datetime_i64": 8, "uuid": 16,
}  # fmt: skip
_I16 = struct.Struct(">h")
_I32 = struct.Struct(">i")


def check_counts(api_key: int, version: int, body: bytes) -> None:
    """Raises MalformedRequestError: an array has more elements than there are bytes."""
    try:
        end = _walker(api_key, version)(body, 0)
    except (struct.error, IndexError) as problem:
        raise MalformedRequestError(f"api {api_key} version {version}: {problem}") from problem
    if end > len(body):
        raise MalformedRequestError(f"api {api_key} version {version}: it is cut short")


@cache
def _walker(api_key: int, version: int) -> Skip:
    return _entity(load_request_schema(api_key, version))


@cache
def _entity(entity: type[Any]) -> Skip:
    """All fields, one after the other; those of a fixed width that are neighbours in one step."""
    hints = typing.get_type_hints(entity)
    flexible = bool(entity.__flexible__)
    steps: list[int | Skip] = []
    for field in dataclasses.fields(entity):
        if field.metadata.get("tag") is not None:
            continue
        step = _field(field, hints[field.name], flexible)
        if isinstance(step, int) and steps and isinstance(steps[-1], int):
            steps[-1] += step
        else:
            steps.append(step)
    if flexible:
        steps.append(skip_tags)
    skips = [_fixed(step) if isinstance(step, int) else step for step in steps]

    def skip(body: bytes, at: int) -> int:
        for each in skips:
            at = each(body, at)
        return at

    return skip


def shape_of(hint: Any) -> tuple[Any, bool, bool]:
    """(item type, is it an array, may it be null) of a type hint like `tuple[X, ...] | None`."""
    nullable = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        nullable = len(inner) < len(typing.get_args(hint))
        hint = inner[0]
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True, nullable
    return hint, False, nullable


def _fixed(width: int) -> Skip:
    return lambda body, at: at + width


def _field(field: dataclasses.Field[Any], hint: Any, flexible: bool) -> int | Skip:
    kind, array, nullable = shape_of(hint)
    if dataclasses.is_dataclass(kind):
        item: int | Skip = _entity(typing.cast("type[Any]", kind))
        if not array and nullable:
            return _nullable(item)
    else:
        kafka_type = field.metadata["kafka_type"]
        item = _WIDTHS.get(kafka_type, 0) or _sized(flexible, kafka_type == "string")
    return _array(item, flexible) if array else item


def _nullable(item: Skip) -> Skip:
    return lambda body, at: at + 1 if body[at] >= 0x80 else item(body, at + 1)


def _sized(flexible: bool, is_text: bool) -> Skip:
    """A string or bytes; null is of no bytes."""
    if flexible:

        def compact(body: bytes, at: int) -> int:
            size, at = read_uvarint(body, at)
            return at + max(size - 1, 0)

        return compact
    layout = _I16 if is_text else _I32

    def plain(body: bytes, at: int) -> int:
        return at + layout.size + max(layout.unpack_from(body, at)[0], 0)

    return plain


def _array(item: int | Skip, flexible: bool) -> Skip:
    def skip(body: bytes, at: int) -> int:
        if flexible:
            count, at = read_uvarint(body, at)
            count -= 1
        else:
            count, at = _I32.unpack_from(body, at)[0], at + 4
        if count > len(body) - at:
            raise MalformedRequestError(f"an array of {count} in the last {len(body) - at} bytes")
        if isinstance(item, int):
            return at + item * max(count, 0)
        for _ in range(count):
            at = item(body, at)
        return at

    return skip
