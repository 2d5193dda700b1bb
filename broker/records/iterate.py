"""The records inside a batch, for the few that must look: times, replay, deep checks."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cramjam

from broker.records.batch import CODEC_MASK, HEADER_SIZE, LOG_APPEND_TIME, BatchHeader

_XERIAL = b"\x82SNAPPY\x00"


class CorruptRecordsError(Exception):
    """The records are not what the batch's header says."""


class RecordView(NamedTuple):
    """One record. `offset` is absolute, `timestamp` in Unix milliseconds."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: int


def iterate(batch: bytes | bytearray | memoryview, header: BatchHeader) -> Iterator[RecordView]:
    """Each record of one whole batch. Raises CorruptRecordsError."""
    try:
        data = _decompress(header.attributes & CODEC_MASK, bytes(batch[HEADER_SIZE : header.size]))
        at = 0
        for expected in range(header.record_count):
            size, at = _varint(data, at)
            if size < 0 or at + size > len(data):
                raise CorruptRecordsError(f"record {expected} reaches past the batch")
            record = _record(data, at, at + size, header)
            if record.offset != header.base_offset + expected:
                raise CorruptRecordsError(f"record {expected} has another offset")
            yield record
            at += size
    except (IndexError, struct.error) as problem:
        raise CorruptRecordsError(str(problem)) from problem
    if at != len(data):
        raise CorruptRecordsError(f"{len(data) - at} bytes behind the last record")


def _record(data: bytes, at: int, end: int, header: BatchHeader) -> RecordView:
    time_delta, at = _varint(data, at + 1)
    offset_delta, at = _varint(data, at)
    key, at = _bytes(data, at, end)
    value, at = _bytes(data, at, end)
    headers, at = _varint(data, at)
    if headers < 0:
        raise CorruptRecordsError("a negative number of headers")
    for _ in range(headers):
        name, at = _bytes(data, at, end)
        if name is None:
            raise CorruptRecordsError("a header without a name")
        _, at = _bytes(data, at, end)
    if at != end:
        raise CorruptRecordsError("a record's length is not that of its parts")
    stamped = header.attributes & LOG_APPEND_TIME
    time = header.max_timestamp if stamped else header.base_timestamp + time_delta
    return RecordView(header.base_offset + offset_delta, time, key, value, headers)


def _bytes(data: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    size, at = _varint(data, at)
    if size == -1:
        return None, at
    if size < 0 or at + size > end:
        raise CorruptRecordsError("a part reaches past its record")
    return data[at : at + size], at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
        if shift > 63:
            raise CorruptRecordsError("a varint of more than ten bytes")


def _decompress(codec: int, data: bytes) -> bytes:
    try:
        return _CODECS[codec](data)
    except KeyError:
        raise CorruptRecordsError(f"compression codec {codec}") from None
    except (cramjam.DecompressionError, ValueError, struct.error) as problem:
        raise CorruptRecordsError(f"codec {codec}: {problem}") from problem


def _gzip(data: bytes) -> bytes:
    return bytes(cramjam.gzip.decompress(data))


def _lz4(data: bytes) -> bytes:
    return bytes(cramjam.lz4.decompress(data))


def _zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.decompress(data))


def _snappy(data: bytes) -> bytes:
    """Raw snappy, or the Java library's framing: a 16-byte head, then sized blocks."""
    if not data.startswith(_XERIAL):
        return bytes(cramjam.snappy.decompress_raw(data))
    out = bytearray()
    at = 16
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        out += bytes(cramjam.snappy.decompress_raw(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return bytes(out)


_CODECS: dict[int, Callable[[bytes], bytes]] = {0: bytes, 1: _gzip, 2: _snappy, 3: _lz4, 4: _zstd}
