"""A batch with some of its records gone: offsets, sequences, compression and times stay.

Base offset and last offset delta are those of the batch as it was produced, so its place in the
log, the offsets around the holes and the producer's sequences read as before.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from crc32c import crc32c

from broker.records.batch import (
    CODEC_MASK,
    DELETE_HORIZON,
    HEADER,
    HEADER_SIZE,
    LENGTH_PREFIX,
    LOG_APPEND_TIME,
    BatchHeader,
)
from broker.records.build import put_varint
from broker.records.codecs import CorruptRecordsError, compress, decompress
from broker.records.iterate import read_varint

_CRC_AT = 17
_CRC_FROM = 21


class RawRecord(NamedTuple):
    """Where a record lies in the decompressed bytes, and what compaction asks of it."""

    offset: int
    time_delta: int
    key: bytes | None
    is_tombstone: bool
    start: int
    """Of its length."""
    body: int
    """Of what is behind its time."""
    end: int


def records_of(batch: bytes | bytearray | memoryview, header: BatchHeader) -> bytes:
    """The decompressed records of one whole batch. Raises CorruptRecordsError."""
    if not header.record_count:
        return b""
    return decompress(header.attributes & CODEC_MASK, bytes(batch[HEADER_SIZE : header.size]))


def unpack(data: bytes, header: BatchHeader) -> list[RawRecord]:
    """Every record in `data`, as far as compaction looks. Raises CorruptRecordsError."""
    found: list[RawRecord] = []
    base, behind, end_of_data = header.base_offset, header.next_offset, len(data)
    at, least = 0, base
    try:
        for _ in range(header.record_count):
            start = at
            size, at = read_varint(data, at)
            end = at + size
            time_delta, body = read_varint(data, at + 1)
            delta, at = read_varint(data, body)
            offset = base + delta
            length, at = read_varint(data, at)
            key = None
            if length >= 0:
                key = data[at : at + length]
                at += length
            length, at = read_varint(data, at)
            if not (at < end <= end_of_data and least <= offset < behind):
                raise CorruptRecordsError(f"a record of offset {offset} is not whole")
            found.append(RawRecord(offset, time_delta, key, length < 0, start, body, end))
            at, least = end, offset + 1
    except IndexError as problem:
        raise CorruptRecordsError(str(problem)) from problem
    return found


def rewrite(
    header: BatchHeader,
    batch: bytes | bytearray | memoryview,
    data: bytes,
    kept: Sequence[RawRecord],
    horizon_ms: int | None = None,
) -> bytes:
    """The batch with the records `kept` of its `data`; with `horizon_ms`, that is noted in it.

    Without records an empty batch is left, which says what the producer's last sequence was.
    """
    attributes, base_time, max_time = header.attributes, header.base_timestamp, header.max_timestamp
    if kept and not attributes & LOG_APPEND_TIME:
        max_time = base_time + max(record.time_delta for record in kept)
    if horizon_ms is None:
        body = b"".join([data[record.start : record.end] for record in kept])
    else:
        body = _moved(data, kept, base_time - horizon_ms)
        attributes |= DELETE_HORIZON
        base_time = horizon_ms
    if not kept:
        attributes &= ~(CODEC_MASK | DELETE_HORIZON)
    else:
        like = bytes(batch[HEADER_SIZE : HEADER_SIZE + 16])
        body = compress(attributes & CODEC_MASK, body, like)
    out = bytearray(HEADER_SIZE)
    HEADER.pack_into(
        out, 0, header.base_offset, HEADER_SIZE + len(body) - LENGTH_PREFIX, header.leader_epoch,
        header.magic, 0, attributes, header.last_offset_delta, base_time, max_time,
        header.producer_id, header.producer_epoch, header.base_sequence, len(kept),
    )  # fmt: skip
    out += body
    struct.pack_into(">I", out, _CRC_AT, crc32c(memoryview(out)[_CRC_FROM:]))
    return bytes(out)


def _moved(data: bytes, kept: Sequence[RawRecord], later: int) -> bytes:
    """The records with `later` milliseconds added to their time deltas."""
    out = bytearray()
    for record in kept:
        moved = bytearray(1)  # a record's attributes, which are unused
        put_varint(moved, record.time_delta + later)
        moved += data[record.body : record.end]
        put_varint(out, len(moved))
        out += moved
    return bytes(out)
