"""The port to the disk. Two homes: the real one (`broker.runtime.os_disk`) and one in memory that
tears writes, loses what was not synced and runs out of space (`broker.log.memory_disk`).

Paths are strings relative to the data folder, with `/` between parts.
"""

from __future__ import annotations

from typing import Protocol


class File(Protocol):
    """A file that grows at its end. Other threads may `sync` it, and read what is not changed."""

    size: int
    """Bytes in it, as far as the program is concerned (not: on the platter)."""

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at the end. OSError: nothing was added, `size` is as before."""
        ...

    def read(self, position: int, length: int) -> bytes:
        """Up to `length` bytes from `position`."""
        ...

    def truncate(self, size: int) -> None:
        """Drop what is behind `size`."""
        ...

    def sync(self) -> None:
        """Make what was appended, and the file's own name, survive a power cut. OSError: it may
        not, and trying again proves nothing (the kernel forgets a failed page)."""
        ...

    def close(self) -> None: ...


class Disk(Protocol):
    def open(self, path: str) -> File:
        """The file at `path`, made empty if there is none."""
        ...

    def read(self, path: str) -> bytes | None:
        """The content of a small file, None if there is none."""
        ...

    def replace(self, path: str, data: bytes) -> None:
        """Put `data` at `path`, durably: after a crash it is there whole, or the old content is."""
        ...

    def rename(self, path: str, new: str) -> None:
        """Give a file that was synced another name in its folder, durably, also where a file had
        that name; open files stay open. What was removed in the folder before stays removed."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names in a folder, sorted; empty if there is no such folder."""
        ...

    def make_folder(self, folder: str) -> None:
        """Make a folder whose name survives a power cut; nothing if it exists."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file; nothing if it is gone."""
        ...

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with the files in it."""
        ...
