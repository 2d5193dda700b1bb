"""Attributes as a key: equal for equal sets, whatever their order; and as text for people."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

Attributes = tuple[tuple[Any, ...], ...]
"""(key, text) for a string, (key, kind, value) for anything else; sorted by key."""

_key = itemgetter(0)
_packed = struct.Struct(">d").pack


def canonical(attributes: Iterable[KeyValue]) -> Attributes:
    """The attributes as a sorted tuple: hashable, equal only for equal sets."""
    pairs: list[tuple[Any, ...]] = []
    for attribute in attributes:
        value = attribute.value
        text = value.string_value
        pairs.append((attribute.key, text) if text else (attribute.key, *_other(value)))
    if len(pairs) > 1:
        pairs.sort(key=_key)
    return tuple(pairs)


def _other(value: AnyValue) -> tuple[Any, ...]:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return ("",)
    if kind is None:
        return ("empty", None)
    if kind == "double_value":  # by bits: NaN is itself, and 0.0 is not -0.0
        return (kind, _packed(value.double_value))
    if kind == "array_value":
        return (kind, tuple(_nested(each) for each in value.array_value.values))
    if kind == "kvlist_value":
        return (kind, canonical(value.kvlist_value.values))
    return (kind, getattr(value, kind))


def _nested(value: AnyValue) -> tuple[Any, ...]:
    return _other(value) if not value.string_value else (value.string_value,)


def wrong_keys(attributes: Attributes) -> Iterator[tuple[str, str, str]]:
    """What is wrong with the keys, also of nested maps: (code, one value, the other)."""
    before: tuple[Any, ...] | None = None
    for pair in attributes:
        if not pair[0]:
            yield "empty-attribute-key", "a key", f"a value without one: {_value(pair)}"
        if before is not None and before[0] == pair[0]:
            yield "duplicate-attribute-key", _pair(before), _pair(pair)
        if pair[1] == "kvlist_value" and len(pair) == 3:
            yield from wrong_keys(pair[2])
        before = pair


def text(attributes: Attributes) -> str:
    """For people: {host="a", port=80}."""
    return "{" + ", ".join(_pair(pair) for pair in attributes) + "}"


def _pair(pair: tuple[Any, ...]) -> str:
    return f"{pair[0]}={_value(pair)}"


def _value(pair: tuple[Any, ...]) -> str:
    if len(pair) == 2:
        return json.dumps(pair[1], ensure_ascii=False)
    _, kind, value = pair
    if kind == "double_value":
        return repr(struct.unpack(">d", value)[0])
    if kind == "array_value":
        return "[" + ", ".join(_value(("", *each)) for each in value) + "]"
    if kind == "kvlist_value":
        return text(value)
    return "empty" if kind == "empty" else json.dumps(value, default=bytes.hex)
