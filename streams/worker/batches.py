"""Record batches that are encoded and compressed before aiokafka (0.14) gets them.

aiokafka compresses a batch on the event loop when it sends it, and takes one call a record to fill
it. A batch that is ready needs its producer, epoch and sequence alone, and they stand in its header
(Kafka protocol, "Record Batch", magic 2).
"""

# aiokafka ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import struct
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import cramjam
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from crc32c import crc32c

MAGIC = 2
ZSTD = 4
_LEVEL = 1  # by default aiokafka takes 3: a sixth slower for these columns, and no smaller
_LENGTH_AT, _LENGTH_FROM = 8, 12
_CRC_AT = 17
_CRC_FROM = 21
_ATTRIBUTES_AT = 21
_PRODUCER_AT = 43
_HEADER = 61


class Entry(NamedTuple):
    """What a record of a batch holds."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class ReadyBatch:
    """In place of aiokafka's `BatchBuilder`, which has these methods: one that takes no more."""

    def __init__(self, encoded: bytearray, records: int) -> None:
        self._encoded = encoded
        self._records = records

    def append(self, **_: Any) -> None:
        """None: it is full."""

    def close(self) -> None:
        """It always is."""

    def closed(self) -> bool:
        return True

    def record_count(self) -> int:
        return self._records

    def size(self) -> int:
        """Bytes."""
        return len(self._encoded)

    def _set_producer_state(self, producer: int, epoch: int, sequence: int) -> None:
        struct.pack_into(">qhi", self._encoded, _PRODUCER_AT, producer, epoch, sequence)
        checksum = crc32c(memoryview(self._encoded)[_CRC_FROM:])
        struct.pack_into(">I", self._encoded, _CRC_AT, checksum)

    def _build(self) -> bytearray:
        return self._encoded


def encode(
    entries: Iterable[Entry], batch_bytes: int, *, transactional: bool = True
) -> list[ReadyBatch]:
    """All entries in their order, zstd, in batches of at most `batch_bytes` before compression or
    of one record. They bear the time of now, as records of a producer do."""
    now = time.time_ns() // 1_000_000
    ready: list[ReadyBatch] = []
    builder, count = _builder(batch_bytes, transactional), 0
    for key, value, headers in entries:
        headers_ = list(headers)
        if builder.append(count, now, key, value, headers_) is None:
            ready.append(ReadyBatch(_compressed(builder.build()), count))
            builder, count = _builder(batch_bytes, transactional), 0
            builder.append(count, now, key, value, headers_)
        count += 1
    if count:
        ready.append(ReadyBatch(_compressed(builder.build()), count))
    return ready


def _builder(batch_bytes: int, transactional: bool) -> Any:
    return DefaultRecordBatchBuilder(MAGIC, 0, int(transactional), -1, -1, 0, batch_bytes)


def _compressed(batch: bytearray) -> bytearray:
    """The batch with its records compressed, if that makes it smaller."""
    records = cramjam.zstd.compress(memoryview(batch)[_HEADER:], level=_LEVEL)
    if len(records) >= len(batch) - _HEADER:
        return batch
    packed = batch[:_HEADER]
    packed += records
    struct.pack_into(">i", packed, _LENGTH_AT, len(packed) - _LENGTH_FROM)
    (attributes,) = struct.unpack_from(">h", packed, _ATTRIBUTES_AT)
    struct.pack_into(">h", packed, _ATTRIBUTES_AT, attributes | ZSTD)
    return packed
