"""The disk of a log that may stop at any operation, and a model of what was appended to it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from crc32c import crc32c

from broker.log.memory_disk import MemoryDisk, MemoryFile
from broker.log.producers import ProducerTable
from broker.records.batch import (
    HEADER,
    HEADER_SIZE,
    TRANSACTIONAL,
)
from broker.records.build import put_varint
from broker.records.codecs import compress


class PowerCut(Exception):
    """The machine stops at this very operation of the disk."""


class ViolationError(Exception):
    """A promise was broken."""


class CrashingFile(MemoryFile):
    def append(self, data: bytes | bytearray | memoryview) -> None:
        self._disk.operation()
        super().append(data)

    def sync(self) -> None:
        self._disk.operation()
        super().sync()


class CrashingDisk(MemoryDisk):
    """Stops at the operation that `left` counts down to."""

    left: int | None = None

    def operation(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise PowerCut

    def open(self, path: str) -> MemoryFile:
        self.operation()
        plain = super().open(path)
        return CrashingFile(self, plain._node)

    def replace(self, path: str, data: bytes) -> None:
        self.operation()
        super().replace(path, data)

    def rename(self, path: str, new: str) -> None:
        self.operation()
        super().rename(path, new)

    def remove(self, path: str) -> None:
        self.operation()
        super().remove(path)


@dataclass(frozen=True)
class Rec:
    offset: int
    time: int
    key: bytes
    value: bytes | None


@dataclass(frozen=True)
class Batch:
    """`commit` is None for data."""

    base: int
    end: int
    producer: int
    transactional: bool
    commit: bool | None
    records: tuple[Rec, ...]
    header: Any


class Model:
    """Everything that was appended, and what follows from it."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.start = 0

    @property
    def end(self) -> int:
        return self.batches[-1].end if self.batches else self.start

    def cut(self, end: int) -> set[int]:
        """The producers of what was behind `end`."""
        lost = {batch.producer for batch in self.batches if batch.end > end}
        self.batches = [
            item for item in self.batches if self.start <= item.base and item.end <= end
        ]
        return lost

    def fates(self) -> dict[int, bool | None]:
        """Of every transactional data batch, by base offset: committed, aborted, or open (None)."""
        fates: dict[int, bool | None] = {}
        running: dict[int, list[int]] = {}
        for batch in self.batches:
            if batch.commit is not None:
                fates.update(dict.fromkeys(running.pop(batch.producer, []), batch.commit))
            elif batch.transactional:
                running.setdefault(batch.producer, []).append(batch.base)
                fates[batch.base] = None
        return fates

    def transactions(self) -> dict[int, list[int]]:
        """The base offsets of the data that each marker ended, by the marker's offset."""
        found: dict[int, list[int]] = {}
        running: dict[int, list[int]] = {}
        for batch in self.batches:
            if batch.commit is not None:
                found[batch.base] = running.pop(batch.producer, [])
            elif batch.transactional:
                running.setdefault(batch.producer, []).append(batch.base)
        return found

    def records(self, start: int, limit: int) -> list[Rec]:
        """What counts in [start, limit): not the aborted ones."""
        fates = self.fates()
        return [
            record
            for batch in self.batches
            if batch.commit is None and fates.get(batch.base, True) is not False
            for record in batch.records
            if start <= record.offset < limit
        ]

    def state(self, start: int, limit: int) -> dict[bytes, bytes]:
        return state_of(self.records(start, limit))

    def producers(self) -> ProducerTable:
        """As a log without compaction knows them."""
        table = ProducerTable()
        for batch in self.batches:
            if batch.producer < 0:
                continue
            if batch.commit is None:
                table.record(batch.header, batch.base, 0)
            else:
                table.record_marker(
                    batch.header, batch.base, 0, commit=batch.commit, coordinator_epoch=0
                )
        return table


def state_of(records: list[Rec]) -> dict[bytes, bytes]:
    state: dict[bytes, bytes] = {}
    for record in records:
        if record.value is None:
            state.pop(record.key, None)
        else:
            state[record.key] = record.value
    return state


def make_batch(
    records: list[tuple[int, bytes | None, bytes | None]],
    codec: int = 0,
    *,
    producer: int = -1,
    epoch: int = -1,
    sequence: int = -1,
    transactional: bool = False,
) -> bytearray:
    """A batch of (time, key, value)."""
    body, base_time = bytearray(), records[0][0]
    for index, (time, key, value) in enumerate(records):
        record = bytearray(1)
        put_varint(record, time - base_time)
        put_varint(record, index)
        for part in (key, value):
            put_varint(record, -1 if part is None else len(part))
            record += part or b""
        record += b"\x02\x02h\x02v"  # one header
        put_varint(body, len(record))
        body += record
    packed = compress(codec, bytes(body), b"")
    batch = bytearray(HEADER_SIZE)
    attributes = codec | (TRANSACTIONAL if transactional else 0)
    HEADER.pack_into(
        batch, 0, 0, HEADER_SIZE + len(packed) - 12, 0, 2, 0, attributes, len(records) - 1,
        base_time, max(time for time, _, _ in records), producer, epoch, sequence, len(records),
    )  # fmt: skip
    batch += packed
    struct.pack_into(">I", batch, 17, crc32c(bytes(batch[21:])))
    return batch
