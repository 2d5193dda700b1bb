"""A disk in memory that behaves like a bad day: a power cut keeps only what was synced, plus any
part of the rest; space runs out; syncs fail. The tests of the log and of recovery run on it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Node:
    """One file: what the program sees, and how much of it is on the platter."""

    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    name_synced: bool = False


class MemoryDisk:
    """`capacity`: bytes that fit; None is without limit. `sync_error`: raised by every sync."""

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.sync_error: OSError | None = None
        self.syncs = 0
        self._files: dict[str, _Node] = {}
        self._folders: set[str] = set()

    # --- what happens to disks ------------------------------------------------------------------

    def cut_power(self, kept: Callable[[str, int], int] | None = None) -> None:
        """Lose what was not synced. Of the bytes appended to a file since its last sync, the first
        `kept(path, unsynced bytes)` survive (none without `kept`)."""
        for path in list(self._files):
            node = self._files[path]
            unsynced = len(node.data) - len(node.synced)
            survivors = kept(path, unsynced) if kept is not None and unsynced > 0 else 0
            if not node.name_synced and not survivors:
                del self._files[path]
                continue
            if unsynced > 0:
                node.data[len(node.synced) + survivors :] = b""
            else:
                node.data[:] = node.synced
            node.synced = bytes(node.data)
            node.name_synced = True

    @property
    def used(self) -> int:
        return sum(len(node.data) for node in self._files.values())

    def damage(self, path: str, position: int) -> None:
        """Flip the bits of one byte."""
        self._files[path].data[position] ^= 0xFF

    # --- the port -------------------------------------------------------------------------------

    def open(self, path: str) -> MemoryFile:
        return MemoryFile(self, self._files.setdefault(path, _Node()))

    def read(self, path: str) -> bytes | None:
        node = self._files.get(path)
        return None if node is None else bytes(node.data)

    def replace(self, path: str, data: bytes) -> None:
        self.take_space(len(data))
        if self.sync_error is not None:
            raise self.sync_error
        self._files[path] = _Node(bytearray(data), data, name_synced=True)

    def rename(self, path: str, new: str) -> None:
        if self.sync_error is not None:
            raise self.sync_error
        self._files[new] = self._files.pop(path)
        self._files[new].name_synced = True

    def names(self, folder: str) -> list[str]:
        prefix = f"{folder}/" if folder else ""
        paths = [*self._files, *self._folders]
        return sorted(
            {path[len(prefix) :].split("/")[0] for path in paths if path.startswith(prefix)}
        )

    def make_folder(self, folder: str) -> None:
        self._folders.add(folder)

    def remove(self, path: str) -> None:
        self._files.pop(path, None)

    def remove_folder(self, folder: str) -> None:
        self._folders.discard(folder)
        for path in [path for path in self._files if path.startswith(f"{folder}/")]:
            del self._files[path]

    def take_space(self, size: int) -> None:
        """OSError (no space left) if `size` more bytes do not fit."""
        if self.capacity is not None and self.used + size > self.capacity:
            raise OSError(errno.ENOSPC, "No space left on device")


class MemoryFile:
    """One handle of a file of `MemoryDisk`."""

    def __init__(self, disk: MemoryDisk, node: _Node) -> None:
        self._disk = disk
        self._node = node
        self.size = len(node.data)

    def append(self, data: bytes | bytearray | memoryview) -> None:
        self._disk.take_space(len(data))
        self._node.data += data
        self.size += len(data)

    def read(self, position: int, length: int) -> bytes:
        return bytes(self._node.data[position : position + length])

    def truncate(self, size: int) -> None:
        del self._node.data[size:]
        self.size = size

    def sync(self) -> None:
        if self._disk.sync_error is not None:
            raise self._disk.sync_error
        self._disk.syncs += 1
        self._node.synced = bytes(self._node.data)
        self._node.name_synced = True

    def close(self) -> None:
        pass
