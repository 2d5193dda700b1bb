"""Batches that the broker writes itself: transaction markers and coordinators' records."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from crc32c import crc32c

from broker.records.batch import CONTROL, HEADER, HEADER_SIZE, LENGTH_PREFIX, TRANSACTIONAL

ABORT = 0
COMMIT = 1
_CRC_FROM = 21
_MARKER_KEY = struct.Struct(">hh")
_MARKER_VALUE = struct.Struct(">hi")


def build_batch(
    records: Sequence[tuple[bytes | None, bytes | None]],
    now_ms: int,
    *,
    attributes: int = 0,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
) -> bytearray:
    """One uncompressed batch of (key, value) pairs, all of them at `now_ms`; base offset 0."""
    body = bytearray()
    for index, (key, value) in enumerate(records):
        record = bytearray(b"\0\0")  # attributes, time delta
        put_varint(record, index)
        _sized(record, key)
        _sized(record, value)
        record += b"\0"  # headers
        put_varint(body, len(record))
        body += record
    batch = bytearray(HEADER_SIZE)
    HEADER.pack_into(
        batch, 0, 0, HEADER_SIZE + len(body) - LENGTH_PREFIX, 0, 2, 0, attributes,
        len(records) - 1, now_ms, now_ms, producer_id, producer_epoch, base_sequence, len(records),
    )  # fmt: skip
    batch += body
    struct.pack_into(">I", batch, 17, crc32c(memoryview(batch)[_CRC_FROM:]))
    return batch


def build_marker(
    producer_id: int, producer_epoch: int, *, commit: bool, coordinator_epoch: int, now_ms: int
) -> bytearray:
    """The control batch that ends a transaction in one partition (KIP-98)."""
    key = _MARKER_KEY.pack(0, COMMIT if commit else ABORT)
    value = _MARKER_VALUE.pack(0, coordinator_epoch)
    return build_batch(
        [(key, value)],
        now_ms,
        attributes=TRANSACTIONAL | CONTROL,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
    )


def marker_is_commit(batch: bytes | bytearray | memoryview, at: int = 0) -> bool:
    """Whether the control batch at `at` commits (else it aborts)."""
    (length,) = struct.unpack_from(">i", batch, at + 8)
    # the record ends with: key, value's length (one byte), value, number of headers (one byte)
    behind = _MARKER_KEY.size + 1 + _MARKER_VALUE.size + 1
    return _MARKER_KEY.unpack_from(batch, at + LENGTH_PREFIX + length - behind)[1] == COMMIT


def marker_epoch(batch: bytes | bytearray | memoryview) -> int:
    """The coordinator's epoch in one whole control batch."""
    return int.from_bytes(batch[-5:-1], "big", signed=True)


def put_varint(out: bytearray, value: int) -> None:
    """Append a zigzag varint."""
    value = (value << 1) ^ (value >> 63)
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _sized(out: bytearray, data: bytes | None) -> None:
    if data is None:
        put_varint(out, -1)
    else:
        put_varint(out, len(data))
        out += data
