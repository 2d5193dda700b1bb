"""The port of a task's local state, and its home in memory.

Local state is a cache of the changelog: it is written only after the transaction that carries the
same blocks has committed, so it may be behind the log and never ahead of it. Losing it costs time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from streams.state.position import Checkpoint


class CorruptStore(Exception):
    """The local copy cannot be read. Wipe it and restore from the changelog."""


class StateStore(Protocol):
    """Blocks of bytes and one checkpoint. Every method may raise `CorruptStore`."""

    def checkpoint(self) -> Checkpoint | None:
        """What the blocks amount to; None when the store is empty."""
        ...

    def blocks(self) -> Iterator[tuple[bytes, bytes]]:
        """Every block, in key order."""
        ...

    def write(self, changes: Mapping[bytes, bytes | None], checkpoint: Checkpoint) -> None:
        """Apply changes (None deletes). The checkpoint is never visible before all of them are."""
        ...

    def wipe(self) -> None:
        """Forget everything."""
        ...

    def close(self) -> None:
        """Let go of files; what was written stays."""
        ...


class MemoryStore:
    """The home without a disk: gone with the process."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, bytes] = {}
        self._checkpoint: Checkpoint | None = None

    def checkpoint(self) -> Checkpoint | None:
        return self._checkpoint

    def blocks(self) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(self._blocks):
            yield key, self._blocks[key]

    def write(self, changes: Mapping[bytes, bytes | None], checkpoint: Checkpoint) -> None:
        self._apply(changes)
        self._checkpoint = checkpoint

    def _apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self._blocks.pop(key, None)
            else:
                self._blocks[key] = value

    def wipe(self) -> None:
        self._blocks.clear()
        self._checkpoint = None

    def close(self) -> None:
        """Nothing to let go of."""
