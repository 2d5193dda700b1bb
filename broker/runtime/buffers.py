"""Receive buffers. One is shared by all connections, since what is read is parsed at once; frames
that do not fit get one of a pool, by size class (fresh memory costs half the CPU at 1 MiB)."""

from __future__ import annotations

SHARED_BYTES = 256 << 10
_SMALLEST = 4 << 10
_KEPT_BYTES = 32 << 20


class BufferPool:
    """Buffers of sizes that are powers of two; up to 32 MiB of free ones are kept."""

    def __init__(self) -> None:
        self.shared = memoryview(bytearray(SHARED_BYTES))
        self._free: dict[int, list[bytearray]] = {}
        self._kept = 0

    def take(self, size: int) -> bytearray:
        """A buffer of at least `size` bytes, with anything in it."""
        rounded = max(_SMALLEST, 1 << (size - 1).bit_length())
        free = self._free.get(rounded)
        if free:
            self._kept -= rounded
            return free.pop()
        return bytearray(rounded)

    def give_back(self, buffer: bytearray) -> None:
        """Return a buffer that nothing refers to any more."""
        size = len(buffer)
        if self._kept + size <= _KEPT_BYTES:
            self._free.setdefault(size, []).append(buffer)
            self._kept += size
