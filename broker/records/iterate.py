"""The records inside a batch, for the few that must look: times, replay, deep checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from broker.records.batch import CODEC_MASK, HEADER_SIZE, LOG_APPEND_TIME, BatchHeader
from broker.records.codecs import CorruptRecordsError, decompress


class RecordView(NamedTuple):
    """One record. `offset` is absolute, `timestamp` in Unix milliseconds."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: int


def iterate(batch: bytes | bytearray | memoryview, header: BatchHeader) -> Iterator[RecordView]:
    """Each record of one whole batch, which compaction may have thinned out: offsets grow, within
    the batch's range. Raises CorruptRecordsError."""
    if not header.record_count:
        return
    try:
        data = decompress(header.attributes & CODEC_MASK, bytes(batch[HEADER_SIZE : header.size]))
        at, least = 0, header.base_offset
        for index in range(header.record_count):
            size, at = read_varint(data, at)
            if size < 0 or at + size > len(data):
                raise CorruptRecordsError(f"record {index} reaches past the batch")
            record = _record(data, at, at + size, header)
            if not least <= record.offset < header.next_offset:
                raise CorruptRecordsError(f"record {index} has another offset")
            least = record.offset + 1
            yield record
            at += size
    except (IndexError, UnicodeDecodeError) as problem:
        raise CorruptRecordsError(str(problem)) from problem
    if at != len(data):
        raise CorruptRecordsError(f"{len(data) - at} bytes behind the last record")


def _record(data: bytes, at: int, end: int, header: BatchHeader) -> RecordView:
    time_delta, at = read_varint(data, at + 1)
    offset_delta, at = read_varint(data, at)
    key, at = _bytes(data, at, end)
    value, at = _bytes(data, at, end)
    headers, at = read_varint(data, at)
    if headers < 0:
        raise CorruptRecordsError("a negative number of headers")
    for _ in range(headers):
        name, at = _bytes(data, at, end)
        if name is None:
            raise CorruptRecordsError("a header without a name")
        name.decode()  # clients read it as text, and would stop for ever if it is none
        _, at = _bytes(data, at, end)
    if at != end:
        raise CorruptRecordsError("a record's length is not that of its parts")
    stamped = header.attributes & LOG_APPEND_TIME
    time = header.max_timestamp if stamped else header.base_timestamp + time_delta
    return RecordView(header.base_offset + offset_delta, time, key, value, headers)


def _bytes(data: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    size, at = read_varint(data, at)
    if size == -1:
        return None, at
    if size < 0 or at + size > end:
        raise CorruptRecordsError("a part reaches past its record")
    return data[at : at + size], at + size


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint at `at`, and where it ends. IndexError, CorruptRecordsError."""
    byte = data[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
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
