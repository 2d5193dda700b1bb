"""What clients send to the broker; the reference: aiokafka's own types of the protocol."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import random
import struct
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

import aiokafka.protocol
from aiokafka.protocol import types
from aiokafka.protocol.api import RequestStruct

from broker.handlers.table import APIS
from broker.protocol.errors import MalformedRequestError
from broker.protocol.fetch import decode_fetch
from broker.protocol.headers import read_header, skip_tags
from broker.protocol.messages import decode_request, is_flexible
from broker.protocol.produce import decode_produce
from tests.fuzz.subject import Outcome, shown

PRODUCE, FETCH = 0, 1
_HEAD = struct.Struct(">hhih")
_WRONG = {(2, 4), (2, 5)}
"""Where aiokafka (0.14) has other fields than Kafka: ListOffsets without the leader epoch."""


def _requests() -> dict[tuple[int, int], Any]:
    """aiokafka's schemas of requests that the broker answers, by key and version."""
    for module in pkgutil.iter_modules(aiokafka.protocol.__path__):
        importlib.import_module(f"aiokafka.protocol.{module.name}")
    answered = {api.key: api for api in APIS}
    found: dict[tuple[int, int], Any] = {}
    for request in _below(RequestStruct):
        key, version = getattr(request, "API_KEY", None), getattr(request, "API_VERSION", None)
        api = None if key is None else answered.get(key)
        if (key, version) in _WRONG:
            continue
        if api is not None and api.min_version <= version <= api.max_version:
            found[key, version] = request.SCHEMA
    return found


def _below(kind: type[Any]) -> Iterator[type[Any]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


class Requests:
    """Whole requests, header and body, of every kind and version that both sides know."""

    def __init__(self) -> None:
        self._schemas = _requests()

    def corpus(self) -> list[bytes]:
        rng = random.Random(7)
        found: list[bytes] = []
        for (key, version), schema in sorted(self._schemas.items()):
            times = 3 if key in (PRODUCE, FETCH) else 1
            found += [_head(key, version) + schema.encode(_some(rng, schema)) for _ in range(times)]
        return found

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for message in messages:
            try:
                ours = self._ours(memoryview(message))
            except MalformedRequestError:
                continue
            if ours is None:
                continue
            accepted += 1
            try:
                theirs: Any = self._theirs(message)
            except (ValueError, struct.error, UnicodeDecodeError) as error:
                theirs = f"refused: {error!r}"
            if theirs is not None and ours != theirs:
                differences.append(shown(message, ours, theirs))
        return Outcome(accepted, differences)

    def _ours(self, frame: memoryview) -> Any:
        """As `broker.runtime.connection` reads a frame; None: a kind that aiokafka has not."""
        header = read_header(frame)
        kind = (header.api_key, header.version)
        if kind not in self._schemas:
            return None
        flexible = header.api_key not in (PRODUCE, FETCH) and is_flexible(*kind)
        body = frame[skip_tags(frame, header.size) if flexible else header.size :]
        if header.api_key == PRODUCE:
            return _produce(body, header.version)
        if header.api_key == FETCH:
            return _fetch(body, header.version)
        return _flat(decode_request(*kind, bytes(body)))

    def _theirs(self, message: bytes) -> Any:
        stream = BytesIO(message)
        key, version, _, length = _HEAD.unpack(stream.read(_HEAD.size))
        if length >= 0:
            stream.seek(length, 1)
        if key not in (PRODUCE, FETCH) and is_flexible(key, version):
            types.TaggedFields.decode(stream)
        schema = self._schemas[key, version]
        _look(schema, BytesIO(message[stream.tell() :]))
        found = schema.decode(stream)
        if key == PRODUCE and stream.read(1):
            raise ValueError("bytes behind the message")
        if key == PRODUCE:
            return _plain_produce(found, version)
        return _plain_fetch(found, version) if key == FETCH else _plain(found)


def _head(key: int, version: int) -> bytes:
    name = b"client"
    flexible = key not in (PRODUCE, FETCH) and is_flexible(key, version)
    return _HEAD.pack(key, version, 5, len(name)) + name + (b"\0" if flexible else b"")


def _look(schema: Any, stream: BytesIO) -> None:
    """aiokafka reads an array of 2**31 empty things for ever: refuse what cannot be there."""
    if isinstance(schema, types.Schema):
        for field in schema.fields:
            _look(field, stream)
    elif isinstance(schema, types.Array):
        compact = isinstance(schema, types.CompactArray)
        length = (
            types.UnsignedVarInt32.decode(stream) - 1 if compact else types.Int32.decode(stream)
        )
        if length > len(stream.getbuffer()):
            raise ValueError("more elements than bytes")
        for _ in range(length):
            _look(schema.array_of, stream)
    else:
        schema.decode(stream)


def _some(rng: random.Random, schema: Any) -> Any:
    """A random value of a type."""
    if isinstance(schema, types.Schema):
        return tuple(_some(rng, field) for field in schema.fields)
    if isinstance(schema, types.Array):
        return [_some(rng, schema.array_of) for _ in range(rng.choice((1, 1, 2)))]
    if isinstance(schema, types.String):
        return rng.choice(("topic", "é", "a" * 20))
    name = schema.__name__ if isinstance(schema, type) else type(schema).__name__
    if name == "TaggedFields":
        return {}
    if name == "Boolean":
        return rng.random() < 0.5
    if "Bytes" in name:
        return rng.randbytes(rng.randrange(30))
    return rng.choice((0, 1, 5))


# ---------------------------------------------------------------- the two hand-written codecs


def _produce(body: memoryview, version: int) -> Any:
    found = decode_produce(body, version)
    parts = [
        (p.topic, p.partition, None if p.records is None else bytes(p.records))
        for p in found.partitions
    ]
    return found.transactional_id, found.acks, found.timeout_ms, parts


def _plain_produce(found: Any, version: int) -> Any:
    transaction = found[0] if version >= 3 else None
    acks, timeout, topics = found[-3:]
    parts = [
        (_named(topic), index, records)
        for topic, partitions in topics or ()
        for index, records in partitions or ()
    ]
    return transaction, acks, timeout, parts


def _fetch(body: memoryview, version: int) -> Any:
    found = decode_fetch(version, body)
    return tuple(found[:7]), [tuple(part) for part in found.partitions]


def _plain_fetch(found: Any, version: int) -> Any:
    head = tuple(found[:5])
    session = tuple(found[5:7]) if version >= 7 else (0, -1)
    topics = found[7] if version >= 7 else found[5]
    parts: list[Any] = []
    for topic, partitions in topics or ():
        for index, *rest in partitions or ():
            epoch = rest.pop(0) if version >= 9 else -1
            parts.append((_named(topic), index, epoch, rest[0], rest[-1]))
    return (*head, *session), parts


def _named(topic: str | None) -> str:
    if topic is None:
        raise ValueError("a topic without a name")
    return topic


# ---------------------------------------------------------------- all others, value by value


def _flat(value: Any) -> list[Any]:
    """The values within kio's classes; before those of an array stands how many it has."""
    if dataclasses.is_dataclass(value):
        fields = [f for f in dataclasses.fields(value) if f.metadata.get("tag") is None]
        return [leaf for field in fields for leaf in _flat(getattr(value, field.name))]
    if isinstance(value, tuple):
        return [len(value), *(leaf for each in value for leaf in _flat(each))]
    if isinstance(value, timedelta):
        return [round(value.total_seconds() * 1000)]
    if isinstance(value, datetime):
        return [round(value.timestamp() * 1000)]
    return [value]


def _plain(value: Any) -> list[Any]:
    """The values within aiokafka's tuples and lists, without tagged fields."""
    if isinstance(value, tuple):
        return [leaf for each in value if not isinstance(each, dict) for leaf in _plain(each)]
    if isinstance(value, list):
        return [len(value), *(leaf for each in value for leaf in _plain(each))]
    return [value]
