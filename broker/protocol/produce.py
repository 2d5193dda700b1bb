"""The codec of Produce, versions 0 to 8 (non-flexible), by hand: it is the hottest request.

Record batches stay views into the receive buffer. A request with one topic and one partition, which
is most of them, takes a path of its own (it halves the time of small requests).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from broker.protocol.errors import MalformedRequestError
from broker.protocol.lengths import read_count, read_name

_I16 = struct.Struct(">h")
_I32 = struct.Struct(">i")
_SETTINGS = struct.Struct(">hii")  # acks, timeout, topics
_ONE_HEAD = struct.Struct(">hhiih")  # transactional id's length, settings, topic's length
_ONE_TOPIC = struct.Struct(">ih")
_ONE_PARTITION = struct.Struct(">iii")  # partitions, index, record bytes
_ONE_RESULT = struct.Struct(">iihqqqihi")  # a result, and the rest of the answer (version 8)
_RESULT = struct.Struct(">ihqqq")
_RESULT_SIZES = (14, 14, 22, 22, 22, 30)
"""Bytes of a partition's result by version: append time since 2, log start since 5."""


class PartitionData(NamedTuple):
    """What a request brings for one partition; `records` is None where it sent null."""

    topic: str
    partition: int
    records: memoryview | None


class ProduceRequest(NamedTuple):
    transactional_id: str | None
    acks: int
    timeout_ms: int
    partitions: list[PartitionData]


class PartitionResult(NamedTuple):
    """`log_append_time` is -1 where the topic keeps the producer's times."""

    topic: str
    partition: int
    error: int
    base_offset: int
    log_append_time: int
    log_start: int
    message: str | None = None
    bad_records: tuple[int, ...] = ()
    """Places of the records that the message is about (KIP-467)."""


def decode_produce(body: memoryview, version: int) -> ProduceRequest:
    """Read a Produce request (v0-8). Raises MalformedRequestError."""
    try:
        return _decode(body, version)
    except (struct.error, IndexError, UnicodeDecodeError) as problem:
        raise MalformedRequestError(f"Produce: {problem}") from problem


def _decode(body: memoryview, version: int) -> ProduceRequest:
    if version >= 3:
        transaction, acks, timeout_ms, topics, length = _ONE_HEAD.unpack_from(body)
        if transaction == -1 and topics == 1 and length >= 0:
            at = _ONE_HEAD.size + length
            count, index, size = _ONE_PARTITION.unpack_from(body, at)
            records = body[at + _ONE_PARTITION.size :]
            if count == 1 and len(records) == size:
                topic = str(body[_ONE_HEAD.size : at], "utf-8")
                only = PartitionData(topic, index, records)
                return ProduceRequest(None, acks, timeout_ms, [only])
    return _decode_any(body, version)


def _decode_any(body: memoryview, version: int) -> ProduceRequest:
    at = 0
    transactional_id = None
    if version >= 3:
        (length,) = _I16.unpack_from(body)
        at = 2
        if length >= 0:
            transactional_id, at = read_name(body, 0)
    acks, timeout_ms, _ = _SETTINGS.unpack_from(body, at)
    topics, at = read_count(body, at + 6)
    parts: list[PartitionData] = []
    for _ in range(topics):
        topic, at = read_name(body, at)
        count, at = read_count(body, at)
        for _ in range(count):
            index, size = _I32.unpack_from(body, at)[0], _I32.unpack_from(body, at + 4)[0]
            at += 8
            records = None
            if size >= 0:
                records = body[at : at + size]
                if len(records) != size:
                    raise MalformedRequestError("Produce: records reach past the request")
                at += size
            parts.append(PartitionData(topic, index, records))
    if at != len(body):
        raise MalformedRequestError("Produce: bytes behind the message")
    return ProduceRequest(transactional_id, acks, timeout_ms, parts)


def encode_produce(version: int, results: list[PartitionResult]) -> bytes:
    """The response body of Produce v0-8; results of one topic must be neighbours."""
    if version == 8 and len(results) == 1 and results[0].message is None:
        topic, partition, error, base_offset, time, log_start, _, _ = results[0]
        name = topic.encode()
        return (
            _ONE_TOPIC.pack(1, len(name))
            + name
            + _ONE_RESULT.pack(1, partition, error, base_offset, time, log_start, 0, -1, 0)
        )
    out = bytearray()
    topics = 0
    count_at = 0
    count = 0
    previous: str | None = None
    for result in results:
        if result.topic != previous:
            if previous is not None:
                _I32.pack_into(out, count_at, count)
            previous = result.topic
            topics += 1
            name = previous.encode()
            out += _I16.pack(len(name))
            out += name
            count_at, count = len(out), 0
            out += b"\0\0\0\0"
        count += 1
        out += _RESULT.pack(
            result.partition,
            result.error,
            result.base_offset,
            result.log_append_time,
            result.log_start,
        )[: _RESULT_SIZES[min(version, 5)]]
        if version >= 8:
            _add_record_errors(out, result.message, result.bad_records)
    if previous is not None:
        _I32.pack_into(out, count_at, count)
    return _I32.pack(topics) + out + (b"\0\0\0\0" if version >= 1 else b"")


def _add_record_errors(out: bytearray, message: str | None, bad_records: tuple[int, ...]) -> None:
    out += _I32.pack(len(bad_records))
    for index in bad_records:
        out += _I32.pack(index) + b"\xff\xff"
    if message is None:
        out += b"\xff\xff"
    else:
        text = message.encode()
        out += _I16.pack(len(text))
        out += text
