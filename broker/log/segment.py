"""One segment: a file of batches, and a sparse index of offsets and times over it."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from crc32c import crc32c

from broker.log.disk import Disk, File
from broker.records.batch import HEADER_SIZE, BatchHeader, crc_is_good, read_header

INDEX_INTERVAL = 4096
"""Bytes of batches between two index entries, at least."""
SCAN_BYTES = 1 << 20
_INDEX_HEAD = struct.Struct(">IqqqqI")  # crc, base, next offset, size, max time, entries


def log_name(base_offset: int) -> str:
    return f"{base_offset:020d}.log"


def index_name(base_offset: int) -> str:
    return f"{base_offset:020d}.index"


class SparseIndex:
    """Entries (offset, position, time): a batch with that base offset begins at that position, and
    `time` is the greatest timestamp of all batches before it. All three never decrease."""

    __slots__ = ("offsets", "positions", "times")

    def __init__(self) -> None:
        self.offsets = array("q")
        self.positions = array("q")
        self.times = array("q")

    def add(self, offset: int, position: int, time: int) -> None:
        self.offsets.append(offset)
        self.positions.append(position)
        self.times.append(time)

    def position_before(self, offset: int) -> int:
        """A batch boundary at or before the batch that holds `offset`."""
        at = bisect_right(self.offsets, offset) - 1
        return self.positions[at] if at >= 0 else 0

    def position_before_time(self, time: int) -> int:
        """A batch boundary before which no batch has a timestamp of `time` or later."""
        at = bisect_left(self.times, time) - 1
        return self.positions[at] if at >= 0 else 0

    def offset_after(self, position: int) -> int | None:
        """Base offset of some batch at or behind `position`, None if none is indexed."""
        at = bisect_left(self.positions, position)
        return self.offsets[at] if at < len(self.offsets) else None


class Segment:
    """A segment, open for reading; the last one of a log also for appending."""

    def __init__(
        self,
        disk: Disk,
        folder: str,
        base_offset: int,
        opened_ms: int,
        file: File | None = None,
    ) -> None:
        """`file`: what it is written to, if that is to have the segment's name only later."""
        self._disk = disk
        self._folder = folder
        self.base_offset = base_offset
        self.next_offset = base_offset
        self.max_timestamp = -1
        self.opened_ms = opened_ms
        self.file: File = file or disk.open(f"{folder}/{log_name(base_offset)}")
        self.size = 0
        self.vouched = 0
        """Bytes that the index file vouched for when the segment was opened."""
        self.index = SparseIndex()
        self._unindexed = INDEX_INTERVAL

    def note(self, base_offset: int, next_offset: int, max_timestamp: int, size: int) -> None:
        """Take note of a batch that is now in the file, behind those noted before."""
        if self._unindexed >= INDEX_INTERVAL:
            self.index.add(base_offset, self.size, self.max_timestamp)
            self._unindexed = 0
        self._unindexed += size
        self.size += size
        self.next_offset = next_offset
        if max_timestamp > self.max_timestamp:
            self.max_timestamp = max_timestamp

    def take(self, header: BatchHeader) -> None:
        """`note` of a batch with this header. An empty one tells no record's time."""
        time = header.max_timestamp if header.record_count else -1
        self.note(header.base_offset, header.next_offset, time, header.size)

    def scan(self, position: int, end: int, *, verify: bool) -> Iterator[tuple[int, BatchHeader]]:
        """(position, header) of each whole batch from `position` to `end`; stops at the first that
        is not whole, or (with `verify`) whose checksum is wrong."""
        window, at, base = b"", 0, position
        while base + at + HEADER_SIZE <= end:
            if at + HEADER_SIZE > len(window):
                base, at = base + at, 0
                window = self.file.read(base, min(SCAN_BYTES, end - base))
                if len(window) < HEADER_SIZE:
                    return
            header = read_header(window, at)
            if header.magic != 2 or header.size < HEADER_SIZE or base + at + header.size > end:
                return
            if verify:
                if at + header.size > len(window):
                    base, at = base + at, 0
                    window = self.file.read(base, max(header.size, min(SCAN_BYTES, end - base)))
                    if len(window) < header.size:
                        return
                if not crc_is_good(window, at, header):
                    return
            yield base + at, header
            at += header.size

    def locate(self, offset: int) -> tuple[int, BatchHeader] | None:
        """Position and header of the batch that holds `offset`, or the first one behind it."""
        for position, header in self.scan(
            self.index.position_before(offset), self.size, verify=False
        ):
            if header.next_offset > offset:
                return position, header
        return None

    @property
    def index_path(self) -> str:
        return f"{self._folder}/{index_name(self.base_offset)}"

    def encode_index(self) -> bytes:
        """The index file's bytes. It is written once the segment's first `size` bytes are synced,
        and vouches for them: only what is behind them needs a check at start."""
        index = self.index
        body = struct.pack(
            ">qqqqI",
            self.base_offset,
            self.next_offset,
            self.size,
            self.max_timestamp,
            len(index.offsets),
        )
        body += index.offsets.tobytes() + index.positions.tobytes() + index.times.tobytes()
        return crc32c(body).to_bytes(4, "big") + body

    def load_index(self) -> None:
        """Take over what the index file vouches for; nothing if it is missing or does not fit."""
        data = self._disk.read(self.index_path)
        if data is None or len(data) < _INDEX_HEAD.size:
            return
        crc, base, next_offset, size, max_timestamp, entries = _INDEX_HEAD.unpack_from(data)
        if crc != crc32c(data[4:]) or base != self.base_offset or size > self.file.size:
            return
        columns = memoryview(data)[_INDEX_HEAD.size :]
        if len(columns) != entries * 24:
            return
        third = entries * 8
        index = SparseIndex()
        index.offsets.frombytes(columns[:third])
        index.positions.frombytes(columns[third : 2 * third])
        index.times.frombytes(columns[2 * third :])
        self.index, self.size, self.next_offset = index, size, next_offset
        self.vouched = size
        self.max_timestamp = max_timestamp
        self._unindexed = size - (index.positions[-1] if entries else -INDEX_INTERVAL)

    def remove(self) -> None:
        """Delete the segment's files; the index first, as it must not vouch for another file."""
        self.file.close()
        self._disk.remove(self.index_path)
        self._disk.remove(f"{self._folder}/{log_name(self.base_offset)}")
