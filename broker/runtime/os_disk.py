"""The disk port on a real file system."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


class OsDisk:
    """Files below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, path: str) -> OsFile:
        return OsFile(self._root / path)

    def read(self, path: str) -> bytes | None:
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None

    def replace(self, path: str, data: bytes) -> None:
        target = self._root / path
        fresh = target.with_name(target.name + ".new")
        try:
            with fresh.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(target)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
        _sync_folder(target.parent)

    def rename(self, path: str, new: str) -> None:
        target = self._root / new
        (self._root / path).replace(target)
        _sync_folder(target.parent)

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(self._root / folder))
        except FileNotFoundError:
            return []

    def make_folder(self, folder: str) -> None:
        path = self._root / folder
        if not path.is_dir():
            path.mkdir(parents=True)
            _sync_folder(path.parent)

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self._root / path).unlink()

    def remove_folder(self, folder: str) -> None:
        shutil.rmtree(self._root / folder, ignore_errors=True)


class OsFile:
    """A file that is written by position, so that a write that failed half way leaves no trace."""

    __slots__ = ("_descriptor", "_folder", "_name_synced", "size")

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        self._name_synced = path.exists()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self.size = os.fstat(self._descriptor).st_size

    def append(self, data: bytes | bytearray | memoryview) -> None:
        size = len(data)
        written = self._write(data, self.size)
        if written != size:
            self._finish(data, written)
        self.size += size

    def _write(self, data: bytes | bytearray | memoryview, position: int) -> int:
        return os.pwrite(self._descriptor, data, position)

    def _finish(self, data: bytes | bytearray | memoryview, written: int) -> None:
        with memoryview(data) as rest:
            try:
                while written < len(rest):
                    written += self._write(rest[written:], self.size + written)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self.size)
                raise

    def read(self, position: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, position)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)
        self.size = size

    def sync(self) -> None:
        os.fdatasync(self._descriptor)
        if not self._name_synced:
            _sync_folder(self._folder)
            self._name_synced = True

    def close(self) -> None:
        os.close(self._descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
