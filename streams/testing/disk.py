"""The local state of a task on a disk that forgets what was not flushed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from streams.state.position import Checkpoint
from streams.state.store import MemoryStore


class SimulatedDisk:
    """A `StateStore` home that outlives a crash, minus what was not flushed.

    Like RocksDB without a write-ahead log: what survives is a prefix of the single changes.
    """

    def __init__(self) -> None:
        self.done: list[tuple[bytes, bytes | None] | Checkpoint] = []
        self._flushed = 0

    def open(self) -> _DiskStore:
        """The store as it is on the disk."""
        return _DiskStore(self)

    def crash(self, rng: random.Random) -> None:
        """Lose some of what was not flushed."""
        del self.done[rng.randint(self._flushed, len(self.done)) :]

    def lose(self) -> None:
        """Lose everything."""
        self.done.clear()
        self._flushed = 0

    def flush(self) -> None:
        self._flushed = len(self.done)

    def record(self, changes: Mapping[bytes, bytes | None], checkpoint: Checkpoint) -> None:
        self.done.extend(changes.items())
        self.done.append(checkpoint)

    def replay(self) -> Iterator[tuple[Mapping[bytes, bytes | None], Checkpoint | None]]:
        """Everything on the disk, to be written into a store in this order."""
        changes: dict[bytes, bytes | None] = {}
        for item in self.done:
            if isinstance(item, Checkpoint):
                yield changes, item
                changes = {}
            else:
                changes[item[0]] = item[1]
        if changes:
            yield changes, None


class _DiskStore(MemoryStore):
    def __init__(self, disk: SimulatedDisk) -> None:
        super().__init__()
        self._disk = disk
        for changes, checkpoint in disk.replay():
            self._apply(changes)
            self._checkpoint = checkpoint or self._checkpoint

    def write(self, changes: Mapping[bytes, bytes | None], checkpoint: Checkpoint) -> None:
        super().write(changes, checkpoint)
        self._disk.record(changes, checkpoint)

    def wipe(self) -> None:
        super().wipe()
        self._disk.lose()

    def close(self) -> None:
        self._disk.flush()
