"""The home of task state on disk: one RocksDB a task.

The write-ahead log is off: state is behind the changelog anyway, so what a kill takes from the
memtable is read from there again. One column family, so that what survives is a prefix of what was
written. A large write is cut in parts, for rocksdict holds the interpreter's lock for a whole
batch; and what is in memory is flushed, without the lock, before a batch would have to wait for
that. The checkpoint is in the last part. Should only some parts survive, the older checkpoint makes
the restore read the same blocks from the changelog once more, which is harmless: blocks are whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from rocksdict import DBCompressionType, Options, Rdict, WriteBatch, WriteOptions

from streams.errors import Fatal
from streams.state.held import LocalCopy, note_copy
from streams.state.position import Checkpoint, UnknownVersion
from streams.state.store import CorruptStore

STATE_VERSION = "1\n"
_META = b"\x00checkpoint"
_BLOCK = b"\x01"
_PART_BYTES = 256 << 10
_FLUSH_BYTES = 16 << 20  # after a write
_BUFFER_BYTES = 32 << 20
_FULL_BYTES = 24 << 20  # within one: a batch that does not fit the buffer waits with the lock
_FLUSH_WRITES = 64


def check_state_version(state_dir: Path) -> None:
    """Make the folder of all tasks' state, or refuse one that another version wrote.

    Raises `Fatal`.
    """
    version = state_dir / "VERSION"
    if version.exists():
        if (found := version.read_text()) != STATE_VERSION:
            raise Fatal(
                f"the state in {state_dir} has layout version {found.strip() or '?'}, "
                f"this program writes {STATE_VERSION.strip()}",
                "Move the folder away: state is rebuilt from the changelogs",
            )
        return
    state_dir.mkdir(parents=True, exist_ok=True)
    if any(state_dir.iterdir()):
        raise Fatal(
            f"{state_dir} is not empty and has no VERSION file",
            "Choose another folder, or move this one away",
        )
    version.write_text(STATE_VERSION)


class RocksStore:
    """A `StateStore` in a folder of its own. Damage found when opening: the folder is remade."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unflushed_bytes = 0
        self._unflushed_writes = 0
        self._changelog_offset = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _open(path)
        except CorruptStore:
            shutil.rmtree(path, ignore_errors=True)
            self._db = _open(path)

    def checkpoint(self) -> Checkpoint | None:
        try:
            data = self._db.get(_META)
        except Exception as error:
            raise CorruptStore(str(error)) from error
        if data is None:
            return None
        try:
            return Checkpoint.decode(data)
        except UnknownVersion:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptStore(f"checkpoint does not read: {error}") from error

    def blocks(self) -> Iterator[tuple[bytes, bytes]]:
        # Not items(): it ends silently where a file is damaged.
        rows = self._db.iter()
        rows.seek(_BLOCK)
        while rows.valid():
            yield rows.key()[1:], rows.value()
            rows.next()
        try:
            rows.status()
        except Exception as error:
            raise CorruptStore(str(error)) from error

    def write(self, changes: Mapping[bytes, bytes | None], checkpoint: Checkpoint) -> None:
        batch, size = WriteBatch(raw_mode=True), 0
        for key, value in changes.items():
            if size >= _PART_BYTES:
                self._apply(batch, size)
                batch, size = WriteBatch(raw_mode=True), 0
            if value is None:
                batch.delete(_BLOCK + key)
            else:
                batch.put(_BLOCK + key, value)
            size += len(key) + len(value or b"") + 16
        batch.put(_META, checkpoint.encode())
        self._apply(batch, size)
        self._changelog_offset = checkpoint.changelog_offset
        self._unflushed_writes += 1
        if self._unflushed_bytes > _FLUSH_BYTES or self._unflushed_writes >= _FLUSH_WRITES:
            self._flush()

    def wipe(self) -> None:
        self._close_db()
        shutil.rmtree(self._path, ignore_errors=True)
        self._db = _open(self._path)

    def close(self) -> None:
        self._flush()
        self._close_db()

    def _apply(self, batch: WriteBatch, size: int) -> None:
        try:
            if self._unflushed_bytes + size > _FULL_BYTES:
                self._db.flush()
                self._unflushed_bytes = 0
            self._db.write(batch, _no_wal())
        except Exception as error:
            raise _translated(error, self._path) from error
        self._unflushed_bytes += size

    def _flush(self) -> None:
        if not self._unflushed_writes:
            return
        try:
            self._db.flush()
            size = self._db.property_int_value("rocksdb.estimate-live-data-size")
        except Exception as error:
            raise _translated(error, self._path) from error
        note_copy(self._path, LocalCopy(self._changelog_offset, size or 0))
        self._unflushed_bytes = self._unflushed_writes = 0

    def _close_db(self) -> None:
        self._db.close()


def _no_wal() -> WriteOptions:
    options = WriteOptions()
    setattr(options, "disable_wal", True)  # noqa: B010  its stub calls the property a method
    return options


def _open(path: Path) -> Rdict:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_keep_log_file_num(2)
    options.set_compression_type(DBCompressionType.lz4())  # read a third faster than its default
    try:
        return Rdict(str(path), options)
    except Exception as error:
        raise _translated(error, path) from error


def _translated(error: Exception, path: Path) -> Exception:
    """rocksdict raises bare `Exception`; its text says which."""
    if type(error) is not Exception:
        return error
    text = str(error)
    if "LOCK" in text or "lock hold" in text:
        return Fatal(
            f"the state in {path} is in use by another process",
            "Two workers need two state folders; stop the other one first",
        )
    if "No space left" in text:
        return Fatal(f"no space left for the state in {path}", "Free some, then start again")
    return CorruptStore(text)
