"""The codec of Fetch, versions 4 to 11 (non-flexible), by hand.

Records travel as the bytes the log returned: the response is a list of pieces, none of them copied.
"""

from __future__ import annotations

import struct
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from broker.protocol.errors import MalformedRequestError
from broker.protocol.lengths import read_count, read_name

_I16 = struct.Struct(">h")
_I32 = struct.Struct(">i")
_HEAD = struct.Struct(">iiiib")  # replica, max wait, min bytes, max bytes, isolation
_SESSION = struct.Struct(">ii")
_RESULT = struct.Struct(">ihqq")
_ABORTED = struct.Struct(">qq")
_PARTITION_4 = struct.Struct(">iqi")  # index, offset, max bytes
_PARTITION_5 = struct.Struct(">iqqi")  # index, offset, log start, max bytes
_PARTITION_9 = struct.Struct(">iiqqi")  # index, leader epoch, offset, log start, max bytes

READ_COMMITTED = 1


class FetchPartition(NamedTuple):
    topic: str
    partition: int
    leader_epoch: int
    offset: int
    max_bytes: int


class FetchRequest(NamedTuple):
    replica_id: int
    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    isolation: int
    session_id: int
    session_epoch: int
    partitions: list[FetchPartition]


class FetchResult(NamedTuple):
    """`aborted`: (producer id, first offset) pairs, or None for read_uncommitted."""

    topic: str
    partition: int
    error: int
    high_watermark: int
    last_stable_offset: int
    log_start: int
    aborted: list[tuple[int, int]] | None
    records: bytes | memoryview


def decode_fetch(version: int, body: memoryview) -> FetchRequest:
    """Read a Fetch request (v4-11). Raises MalformedRequestError."""
    try:
        return _decode(version, body)
    except (struct.error, IndexError, UnicodeDecodeError) as problem:
        raise MalformedRequestError(f"Fetch: {problem}") from problem


def _decode(version: int, body: memoryview) -> FetchRequest:
    replica, max_wait, min_bytes, max_bytes, isolation = _HEAD.unpack_from(body)
    at = _HEAD.size
    session_id, session_epoch = 0, -1
    if version >= 7:
        session_id, session_epoch = _SESSION.unpack_from(body, at)
        at += 8
    topics, at = read_count(body, at)
    parts: list[FetchPartition] = []
    for _ in range(topics):
        topic, at = read_name(body, at)
        count, at = read_count(body, at)
        for _ in range(count):
            part, at = _partition(version, topic, body, at)
            parts.append(part)
    if version >= 7:
        _check_rest(version, body, at)
    return FetchRequest(
        replica, max_wait, min_bytes, max_bytes, isolation, session_id, session_epoch, parts
    )


def _check_rest(version: int, body: memoryview, at: int) -> None:
    """The partitions that leave the session, and the client's rack, are there, and not used."""
    topics, at = read_count(body, at)
    for _ in range(topics):
        _, at = read_name(body, at)
        count, at = read_count(body, at)
        at += 4 * count
        if at > len(body):
            raise MalformedRequestError("Fetch: forgotten partitions reach past the request")
    if version >= 11:
        read_name(body, at)


def _partition(version: int, topic: str, body: memoryview, at: int) -> tuple[FetchPartition, int]:
    if version >= 9:
        index, epoch, offset, _, limit = _PARTITION_9.unpack_from(body, at)
        return FetchPartition(topic, index, epoch, offset, limit), at + _PARTITION_9.size
    if version >= 5:
        index, offset, _, limit = _PARTITION_5.unpack_from(body, at)
        return FetchPartition(topic, index, -1, offset, limit), at + _PARTITION_5.size
    index, offset, limit = _PARTITION_4.unpack_from(body, at)
    return FetchPartition(topic, index, -1, offset, limit), at + _PARTITION_4.size


_topic_of = attrgetter("topic")


def encode_fetch(
    version: int, results: list[FetchResult], error: int = 0
) -> list[bytes | memoryview]:
    """The response body in pieces, in the order of the results: a topic stands before each run of
    its partitions, for librdkafka asks for the same topic again after others.

    No fetch sessions are kept: the session id is 0, so each request names all its partitions.
    """
    pieces: list[bytes | memoryview] = []
    head = bytearray(4)  # throttle time
    if version >= 7:
        head += struct.pack(">hi", error, 0)
    runs = [(topic, sum(1 for _ in run)) for topic, run in groupby(results, _topic_of)]
    head += _I32.pack(len(runs))
    upcoming = iter(runs)
    left = 0
    for result in results:
        if left == 0:
            topic, left = next(upcoming)
            name = topic.encode()
            head += _I16.pack(len(name)) + name + _I32.pack(left)
        left -= 1
        head += _RESULT.pack(
            result.partition, result.error, result.high_watermark, result.last_stable_offset
        )
        if version >= 5:
            head += struct.pack(">q", result.log_start)
        head += _I32.pack(-1 if result.aborted is None else len(result.aborted))
        for producer_id, first_offset in result.aborted or ():
            head += _ABORTED.pack(producer_id, first_offset)
        if version >= 11:
            head += b"\xff\xff\xff\xff"  # preferred read replica: none
        head += _I32.pack(len(result.records))
        if len(result.records):
            pieces.append(bytes(head))
            pieces.append(result.records)
            head = bytearray()
    if head:
        pieces.append(bytes(head))
    return pieces
