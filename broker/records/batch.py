"""The header of a record batch (magic 2): read, check, patch.

Layout: https://kafka.apache.org/documentation/#recordbatch. The CRC covers everything from the
attributes on, so base offset and leader epoch may be written into a checked batch in place.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from crc32c import crc32c

from broker.protocol.errors import ErrorCode

HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_SIZE = 61
LENGTH_PREFIX = 12
"""Bytes that the batch's own length field does not count."""
_OFFSET = struct.Struct(">q")
_EPOCH = struct.Struct(">i")
_TIMES_AT = 27
_ATTRIBUTES_AT = 21
_CRC_AT = 17

CODEC_MASK = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20
DELETE_HORIZON = 0x40
"""The base timestamp is the time from which tombstones or the marker may go (KIP-534)."""
LAST_CODEC = 4
NO_PRODUCER = -1
MAX_INT32 = 0x7FFFFFFF


class BatchHeader(NamedTuple):
    """One batch header, fields in the order of the wire. Times are Unix milliseconds."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return self.length + LENGTH_PREFIX

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def last_sequence(self) -> int:
        """Sequence of the last record; sequences wrap from 2^31 - 1 to 0."""
        return (self.base_sequence + self.last_offset_delta) & MAX_INT32

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & CONTROL)

    @property
    def delete_horizon_ms(self) -> int | None:
        """When compaction may remove the batch's tombstones, or the marker; None: not yet known."""
        return self.base_timestamp if self.attributes & DELETE_HORIZON else None


class Refusal(NamedTuple):
    """Why a batch is not appended."""

    error: int
    message: str


def read_header(data: bytes | bytearray | memoryview, at: int = 0) -> BatchHeader:
    """The header at `at`; struct.error if fewer than 61 bytes are left."""
    return BatchHeader(*HEADER.unpack_from(data, at))


def crc_is_good(data: bytes | bytearray | memoryview, at: int, header: BatchHeader) -> bool:
    """Whether the batch at `at` has the checksum that its header states."""
    with memoryview(data) as view:
        return crc32c(view[at + _ATTRIBUTES_AT : at + header.size]) == header.crc


def check_client_batch(records: memoryview, max_bytes: int) -> BatchHeader | Refusal:
    """What a client sent for one partition: exactly one whole, sane batch, or why not."""
    if len(records) < HEADER_SIZE:
        return Refusal(ErrorCode.corrupt_message, "fewer bytes than a batch header")
    header = BatchHeader(*HEADER.unpack_from(records))
    if header.magic != 2:
        return Refusal(
            ErrorCode.unsupported_for_message_format, f"magic {header.magic}: only 2 is stored"
        )
    size = header.length + LENGTH_PREFIX
    if size != len(records):
        if HEADER_SIZE <= size < len(records):
            return Refusal(ErrorCode.invalid_record, "more than one batch for a partition")
        return Refusal(ErrorCode.corrupt_message, "the batch's length is not that of its bytes")
    if size > max_bytes:
        return Refusal(
            ErrorCode.message_too_large, f"a batch of {size} bytes; the topic takes {max_bytes}"
        )
    if crc32c(records[_ATTRIBUTES_AT:]) != header.crc:
        return Refusal(ErrorCode.corrupt_message, "the batch's checksum is wrong")
    return _check_fields(header) or header


def _check_fields(header: BatchHeader) -> Refusal | None:
    attributes = header.attributes
    if header.record_count <= 0 or header.record_count != header.last_offset_delta + 1:
        return Refusal(
            ErrorCode.invalid_record,
            f"{header.record_count} records with last offset delta {header.last_offset_delta}",
        )
    if attributes & CONTROL:
        return Refusal(ErrorCode.invalid_record, "a client may not write control batches")
    if attributes & CODEC_MASK > LAST_CODEC:
        return Refusal(
            ErrorCode.unsupported_compression_type, f"compression codec {attributes & CODEC_MASK}"
        )
    if header.producer_id == NO_PRODUCER:
        if attributes & TRANSACTIONAL:
            return Refusal(ErrorCode.invalid_record, "a transactional batch without a producer id")
    elif header.producer_id < 0 or header.producer_epoch < 0 or header.base_sequence < 0:
        return Refusal(ErrorCode.invalid_record, "a producer id without an epoch and sequence")
    return None


def patch_position(
    batch: bytearray | memoryview, base_offset: int, leader_epoch: int, at: int = 0
) -> None:
    """Write base offset and leader epoch into the batch, in place; the CRC stays good."""
    _OFFSET.pack_into(batch, at, base_offset)
    _EPOCH.pack_into(batch, at + LENGTH_PREFIX, leader_epoch)


def patch_log_append_time(batch: bytearray | memoryview, header: BatchHeader, now_ms: int) -> None:
    """Stamp the batch with the broker's time (message.timestamp.type=LogAppendTime)."""
    struct.pack_into(">h", batch, _ATTRIBUTES_AT, header.attributes | LOG_APPEND_TIME)
    struct.pack_into(">q", batch, _TIMES_AT + 8, now_ms)
    with memoryview(batch) as view:
        struct.pack_into(">I", batch, _CRC_AT, crc32c(view[_ATTRIBUTES_AT:]))
