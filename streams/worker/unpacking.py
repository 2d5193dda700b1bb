"""What a fetch brought, in place of aiokafka's (0.14) `MemoryRecords`.

Checksums by the processor's instruction, and what is compressed unpacked into memory that the next
batch uses again, up to a bound: aiokafka reads each byte with a table, takes new memory for what
was unpacked, copies it, and believes any batch. Records are still read by its compiled reader.
"""

# aiokafka and cramjam ship no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

import cramjam
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from crc32c import crc32c

from streams.worker.batches import (
    ATTRIBUTES_AT,
    CRC_AT,
    CRC_FROM,
    HEADER,
    LENGTH_AT,
    LENGTH_FROM,
    MAGIC,
)

MOST_UNPACKED = 128 << 20
"""Bytes of a batch; the broker refuses one that holds more."""
_MAGIC_AT = 16
_LAST_DELTA_AT = 23
_CODEC = 0x07
_HEADER = HEADER.size
_OLD_HEADER = 26
"""Bytes of offset, length, checksum, magic, attributes and the lengths of no key and no value."""
_SNAPPY_FRAMED = b"\x82SNAPPY\0" + b"\0\0\0\1" * 2
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_NO_ROOM = ("failed to write whole buffer", "smaller than required")
"""How cramjam says that memory, and not the content, is what was wrong."""
QUIET_S = 2.0
QUIET_WAIT_MS = 250
_KEPT = 16 << 20
"""Bytes of memory for unpacking that a thread keeps."""


class FetchedBatches:
    """The batches of one partition in a fetch response, the last of which may be cut off."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0

    def size_in_bytes(self) -> int:
        return len(self._data)

    def has_next(self) -> bool:
        """Whether there is another whole batch."""
        return self._end(self._at) is not None

    def next_batch(self) -> Any:
        """The next one, in aiokafka's words; until the next call.

        Raises:
            CorruptRecordException: Its checksum is wrong, or it does not unpack.
        """
        end = self._end(self._at)
        batch = self._data[self._at : end]
        self._at = len(self._data) if end is None else end
        if not _is_new(batch):
            return _old(batch)
        offset = _offset(batch)
        if struct.unpack_from(">I", batch, CRC_AT)[0] != crc32c(batch[CRC_FROM:]):
            raise _wrong_checksum(offset)
        codec = batch[ATTRIBUTES_AT + 1] & _CODEC
        if codec in _into:
            batch = _unpacked(batch, codec)
        return DefaultRecordBatch(batch)

    def next_offset(self) -> int | None:
        """Behind the last whole batch; None: there is none.

        Raises:
            CorruptRecordException: That batch is none.
        """
        at, last = self._at, None
        while (end := self._end(at)) is not None:
            at, last = end, at
        if last is None:
            return None
        batch = self._data[last:at]
        if not _is_new(batch):
            return int(_old(batch).next_offset)
        (delta,) = struct.unpack_from(">i", batch, _LAST_DELTA_AT)
        return _offset(batch) + delta + 1

    def _end(self, at: int) -> int | None:
        """Behind the batch that begins here, if it is whole."""
        if at + LENGTH_FROM > len(self._data):
            return None
        (length,) = struct.unpack_from(">i", self._data, at + LENGTH_AT)
        end = at + LENGTH_FROM + length
        return None if length < 0 or end > len(self._data) else end


def read_with(fetcher: Any) -> None:
    """Have this fetcher of aiokafka's make `FetchedBatches` of what comes from now on, and wake up
    who waits at every answer: one without records may say how far they are stable."""
    plain = type(fetcher)._proc_fetch_request
    names = {**plain.__globals__, "MemoryRecords": FetchedBatches}
    own = FunctionType(plain.__code__, names, plain.__name__, plain.__defaults__, plain.__closure__)

    waits = FetchWaits(fetcher._fetch_max_wait_ms, time.monotonic())

    async def answered(fetcher: Any, assignment: Any, node: Any, request: Any) -> bool:
        came: bool = await own(fetcher, assignment, node, request)
        fetcher._fetch_max_wait_ms = waits.after(came, time.monotonic())
        return True

    fetcher._proc_fetch_request = MethodType(answered, fetcher)


class FetchWaits:
    """How long the log may wait for records before it answers a fetch, ms.

    A fetch that is on its way holds up what the next one would ask for: a partition whose task has
    room again. Where nothing came for a while there is no such partition.
    """

    def __init__(self, busy_ms: int, now: float) -> None:
        """busy_ms: While records come. now: seconds, monotonic."""
        self._busy_ms = busy_ms
        self._came = now

    def after(self, came: bool, now: float) -> int:
        """For the next fetch, by whether records came with this one."""
        if came:
            self._came = now
        quiet = now - self._came >= QUIET_S
        return max(self._busy_ms, QUIET_WAIT_MS) if quiet else self._busy_ms


def _is_new(batch: memoryview) -> bool:
    """Whether it is of magic 2, as aiokafka reads later ones too, and not of 0 or 1."""
    new = len(batch) > _MAGIC_AT and batch[_MAGIC_AT] >= MAGIC
    if len(batch) < (_HEADER if new else _OLD_HEADER):
        raise CorruptRecordException(f"a batch ends after {len(batch)} bytes, in its own head")
    return new


def _old(batch: memoryview) -> Any:
    """Of magic 0 or 1; its checksum is right."""
    old: Any = MemoryRecords(bytes(batch)).next_batch()
    if not old.validate_crc():
        raise _wrong_checksum(_offset(batch))
    return old


def _offset(batch: memoryview) -> int:
    return struct.unpack_from(">q", batch)[0]


def _wrong_checksum(offset: int) -> CorruptRecordException:
    return CorruptRecordException(f"the checksum of the batch at offset {offset} is wrong")


def _unsnapped(packed: memoryview, out: memoryview) -> int:
    """As snappy-java frames blocks (its magic, two versions, sizes), or one block without."""
    if bytes(packed[:16]) != _SNAPPY_FRAMED:
        return cramjam.snappy.decompress_raw_into(packed, out)
    at, written = 16, 0
    while at < len(packed):
        size = int.from_bytes(packed[at : at + 4], "big", signed=True)
        block = packed[at + 4 : at + 4 + size]
        written += cramjam.snappy.decompress_raw_into(block, out[written:])
        at += 4 + size
    return written


_into: dict[int, Callable[[memoryview, memoryview], int]] = {
    1: cramjam.gzip.decompress_into,
    2: _unsnapped,
    3: cramjam.lz4.decompress_into,
    4: cramjam.zstd.decompress_into,
}


class _Room(threading.local):
    """Memory of a thread for what it unpacks."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(1 << 20))


_room = _Room()


def _unpacked(batch: memoryview, codec: int) -> memoryview:
    """The batch with its records as they were, in the thread's memory."""
    packed = batch[_HEADER:]
    size = _content_size(packed) if codec == 4 else None
    room = max(size or 4 * len(packed), len(_room.memory) - _HEADER)
    while True:
        memory = _memory(_HEADER + min(room, MOST_UNPACKED))
        try:
            written = _into[codec](packed, memory[_HEADER:]) if packed else 0
            break
        except cramjam.DecompressionError as error:
            if room >= MOST_UNPACKED or not any(word in str(error) for word in _NO_ROOM):
                raise CorruptRecordException(
                    f"the batch at offset {_offset(batch)} does not unpack, or to more than "
                    f"{MOST_UNPACKED >> 20} MiB: {error}"
                ) from error
        room *= 4
    memory[:_HEADER] = batch[:_HEADER]
    memory[ATTRIBUTES_AT + 1] &= ~_CODEC & 0xFF
    struct.pack_into(">i", memory, LENGTH_AT, _HEADER + written - LENGTH_FROM)
    return memory[: _HEADER + written]


def _memory(size: int) -> memoryview:
    """At least so much; the last one's, unless that is too small."""
    if size <= len(_room.memory):
        return _room.memory
    memory = memoryview(bytearray(size))
    if size <= _KEPT:
        _room.memory = memory
    return memory


def _content_size(packed: memoryview) -> int | None:
    """What a zstd frame says of its content's bytes (RFC 8878, 3.1.1.1), if it does."""
    if len(packed) < 14 or bytes(packed[:4]) != _ZSTD_MAGIC:
        return None
    descriptor = packed[4]
    single = descriptor >> 5 & 1
    width = (single, 2, 4, 8)[descriptor >> 6]
    at = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3]
    if not width:
        return None
    return int.from_bytes(packed[at : at + width], "little") + (256 if width == 2 else 0)
