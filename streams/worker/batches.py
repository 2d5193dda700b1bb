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
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import cramjam
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import encode_varint
from crc32c import crc32c

MAGIC = 2
ZSTD = 4
_LEVEL = 1  # by default aiokafka takes 3: a sixth slower for these columns, and no smaller
LENGTH_AT, LENGTH_FROM = 8, 12
CRC_AT = 17
CRC_FROM = 21
ATTRIBUTES_AT = 21
_PRODUCER_AT = 43
HEADER = struct.Struct(">qiibIhiqqqhii")
TRANSACTIONAL = 0x10
_LARGE = 512
"""Bytes of a record from which on the client's builder is the slower one: it copies them as often
as its memory grows, and takes their checksum with a table before they are compressed."""


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
        checksum = crc32c(memoryview(self._encoded)[CRC_FROM:])
        struct.pack_into(">I", self._encoded, CRC_AT, checksum)

    def _build(self) -> bytearray:
        return self._encoded


def encode(
    entries: Iterable[Entry], batch_bytes: int, *, transactional: bool = True
) -> list[ReadyBatch]:
    """All entries in their order, zstd, in batches of at most `batch_bytes` before compression or
    of one record. They bear the time of now, as records of a producer do."""
    chosen = list(entries)
    values = sum(len(entry.value or b"") for entry in chosen)
    encoder = _encode_large if values >= _LARGE * len(chosen) else _encode_small
    return list(encoder(chosen, batch_bytes, time.time_ns() // 1_000_000, transactional))


def _encode_small(
    entries: Sequence[Entry], batch_bytes: int, now: int, transactional: bool
) -> Iterator[ReadyBatch]:
    builder, count = _builder(batch_bytes, transactional), 0
    for key, value, headers in entries:
        headers_ = list(headers)
        if builder.append(count, now, key, value, headers_) is None:
            yield ReadyBatch(_compressed(builder.build()), count)
            builder, count = _builder(batch_bytes, transactional), 0
            builder.append(count, now, key, value, headers_)
        count += 1
    if count:
        yield ReadyBatch(_compressed(builder.build()), count)


def _builder(batch_bytes: int, transactional: bool) -> Any:
    return DefaultRecordBatchBuilder(MAGIC, 0, int(transactional), -1, -1, 0, batch_bytes)


def _compressed(batch: bytearray) -> bytearray:
    """A batch with its records compressed."""
    _, _, _, _, _, attributes, _, now, _, _, _, _, count = HEADER.unpack_from(batch)
    records = memoryview(batch)[HEADER.size :]
    return whole_batch(records, count, now, transactional=bool(attributes & TRANSACTIONAL))


def _encode_large(
    entries: Sequence[Entry], batch_bytes: int, now: int, transactional: bool
) -> Iterator[ReadyBatch]:
    parts: list[bytes] = []
    count, size = 0, HEADER.size
    for entry in entries:
        record = _record(count, entry)
        more = sum(map(len, record))
        if count and size + more > batch_bytes:
            yield ReadyBatch(
                whole_batch(b"".join(parts), count, now, transactional=transactional), count
            )
            record = _record(0, entry)
            parts, count, size = [], 0, HEADER.size
        parts += record
        count += 1
        size += more
    if count:
        yield ReadyBatch(
            whole_batch(b"".join(parts), count, now, transactional=transactional), count
        )


def _record(number: int, entry: Entry) -> list[bytes]:
    """A record (Kafka protocol, "Record") with no time of its own, in parts."""
    key, value, headers = entry
    before = b"\0\0" + _varint(number) + _sized(key)  # attributes, time, offset
    after = bytearray(_varint(len(headers)))
    for name, content in headers:
        after += _sized(name.encode()) + _sized(content)
    text = b"" if value is None else value
    head = _varint(-1 if value is None else len(value))
    length = len(before) + len(head) + len(text) + len(after)
    return [_varint(length) + before + head, text, bytes(after)]


def _sized(content: bytes | None) -> bytes:
    return _varint(-1) if content is None else _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Zigzag."""
    found = bytearray()
    encode_varint(number, found.append)
    return bytes(found)


def whole_batch(
    records: bytes | memoryview, count: int, now: int, *, transactional: bool
) -> bytearray:
    """A batch of so many encoded records, compressed if that makes them smaller; its checksum
    comes with the producer. now: unix ms."""
    packed = cramjam.zstd.compress(records, level=_LEVEL)
    attributes = TRANSACTIONAL if transactional else 0
    if smaller := len(packed) < len(records):
        attributes |= ZSTD
    body = packed if smaller else records
    batch = bytearray(HEADER.size + len(body))
    HEADER.pack_into(
        batch, 0, 0, len(batch) - LENGTH_FROM, -1, MAGIC, 0, attributes, count - 1, now, now,
        -1, -1, 0, count,
    )  # fmt: skip
    batch[HEADER.size :] = memoryview(body)
    return batch
