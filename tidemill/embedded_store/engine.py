"""The one typed door to chdb: open the data, hand out handles, run statements on them.

chdb runs the whole engine inside this process and locks its folder. A handle is a session of the
engine: settings, database and temporary tables are its own, so each request gets a fresh one
(1.4 ms). Never fork a process that has opened it: the child hangs.
"""

from __future__ import annotations

import fcntl
import re
import tempfile
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, cast
from xml.sax.saxutils import escape

import chdb  # pyright: ignore[reportMissingTypeStubs]

from tidemill.embedded_store import errors
from tidemill.embedded_store.config import StoreConfig
from tidemill.embedded_store.errors import StartError, StoreError

VERSION = "1\n"
_OPEN_FILES = "/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd"


class Rows(Protocol):
    """A part of an answer, or all of it."""

    def bytes(self) -> bytes | None: ...
    def rows_read(self) -> int: ...
    def rows_written(self) -> int: ...
    def storage_rows_read(self) -> int: ...
    def storage_bytes_read(self) -> int: ...


class _Stream(Protocol):
    def fetch(self) -> Rows | None: ...
    def cancel(self) -> None: ...


class _Connection(Protocol):
    _conn: Any

    def query(self, query: str, format: str, params: Mapping[str, str] | None) -> Rows: ...  # noqa: A002
    def send_query(self, query: str, format: str, params: Mapping[str, str] | None) -> _Stream: ...  # noqa: A002
    def close(self) -> None: ...


def _connect(address: str) -> _Connection:
    return cast("_Connection", chdb.connect(address))  # pyright: ignore[reportUnknownMemberType]


def literal(text: str) -> str:
    """A string in SQL's quotes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def identifier(text: str) -> str:
    """A name in SQL's back quotes."""
    escaped = text.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


class Stream:
    """A SELECT's answer, block by block; ``StoreError`` where it breaks."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream

    def fetch(self) -> Rows | None:
        """The next block, or None after the last."""
        try:
            return self._stream.fetch()
        except Exception as error:
            raise errors.engine_error(str(error)) from error

    def cancel(self) -> None:
        self._stream.cancel()


class Handle:
    """A session of the engine. One statement at a time; close it."""

    def __init__(self, connection: _Connection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def query(
        self, sql: str, form: str = "TabSeparated", parameters: Mapping[str, str] | None = None
    ) -> Rows:
        """Run any statement; the whole answer at once. Raises StoreError."""
        try:
            return self._connection.query(sql, form, params=parameters)
        except Exception as error:
            raise errors.engine_error(str(error)) from error

    def stream(self, sql: str, form: str, parameters: Mapping[str, str]) -> Stream:
        """Run a SELECT; its first error may come with the first ``fetch``."""
        try:
            return Stream(self._connection.send_query(sql, form, params=parameters))
        except Exception as error:
            raise errors.engine_error(str(error)) from error

    def insert(
        self,
        into: str,
        settings: str,
        form: str,
        pieces: Iterable[bytes],
        parameters: Mapping[str, str] | None = None,
    ) -> int:
        """Insert data given in pieces; raises StoreError where not all of it was committed.

        The pieces go through a file without a name: chdb's own way for data in pieces
        (`send_insert`) says that all is well where the commit fails or is cancelled, and the rows
        are gone.

        Args:
            into: `INSERT INTO ...` up to where its source may be named.
            settings: The SETTINGS clause, or nothing.
            form: Of the data.

        Returns:
            Rows written; also those that a deduplication token dropped.
        """
        with tempfile.TemporaryFile(dir=self._folder) as file:
            file.writelines(pieces)
            file.flush()
            name = f"{_OPEN_FILES}/{file.fileno()}"
            sql = f"{into}\nFROM INFILE '{name}' {settings}\nFORMAT {form}"
            try:
                return self.query(sql, parameters=parameters).rows_written()
            except StoreError as error:
                raise errors.engine_error(_without_file(error.message, name)) from None

    def set(self, settings: Mapping[str, str]) -> None:
        """Settings of this handle, in their order. Raises StoreError for an unknown one."""
        if settings:
            listed = ", ".join(f"{name} = {literal(value)}" for name, value in settings.items())
            self.query(f"SET {listed}")

    def reads_only(self, sql: str) -> bool:
        """Whether the engine's parser takes this for one statement that changes nothing."""
        found = self._connection._conn.classify_query(sql)  # pyright: ignore[reportPrivateUsage]
        return str(found["query_class"]).endswith("READ_ONLY")

    def statements(self, sql: str) -> int:
        """How many statements the text holds."""
        found = self._connection._conn.classify_query(sql)  # pyright: ignore[reportPrivateUsage]
        return int(found["statement_count"])


def _without_file(message: str, name: str) -> str:
    """A failure as it is told of data that came with the statement."""
    plain = message.replace(f": (in file/uri {name})", "")
    return re.sub(r"^(Code: \d+\. DB::Exception: )\1+", r"\1", plain)


class Engine:
    """The engine over one folder, open until ``close``."""

    def __init__(self, config: StoreConfig) -> None:
        """Open the folder.

        Raises:
            StartError: Another version's folder, not a store's folder, or held by another process.
        """
        self._path = _prepare(config.data)
        self._lock = _lock(config.data)
        _forget_empty_default(self._path)
        settings = config.data / "engine.xml"
        try:
            self._keeper = Handle(
                _connect(f"{self._path}?config-file={_write(settings, config)}"), self._path
            )
        except Exception as error:
            self._lock.close()
            raise StartError(f"the engine did not open {config.data}: {error}") from error
        self._guard = threading.Lock()
        self._own_default_database()
        self.version = self._text("SELECT version()")
        self.timezone = self._text("SELECT timezone()")
        self.display_name = self._text("SELECT displayName()")

    def handle(self) -> Handle:
        """A fresh session of the engine."""
        return Handle(_connect(str(self._path)), self._path)

    def kill(self, comment: str) -> None:
        """Stop the queries with this ``log_comment``; returns at once."""
        with self._guard:
            self._keeper.query(
                f"KILL QUERY WHERE Settings['log_comment'] = {literal(comment)} ASYNC"
            )

    def kill_all(self) -> None:
        """Stop every query; returns at once."""
        with self._guard:
            self._keeper.query("KILL QUERY WHERE query NOT ILIKE 'KILL QUERY%' ASYNC")

    def close(self) -> None:
        self._keeper.close()
        self._lock.close()

    def _text(self, sql: str) -> str:
        return (self._keeper.query(sql).bytes() or b"").decode().strip()

    def _own_default_database(self) -> None:
        """Put a plain database in the place of the one over this machine's files.

        chdb starts with ``default`` laid over the file system, where any name could be a file.
        Detaching leaves its tables alone; dropping would not.
        """
        self._keeper.query("DETACH DATABASE default")
        if _default_database(self._path).exists():
            self._keeper.query("ATTACH DATABASE default")
        else:
            self._keeper.query("CREATE DATABASE default ENGINE = Atomic")


def _default_database(engine: Path) -> Path:
    return engine / "metadata" / "default.sql"


def _prepare(data: Path) -> Path:
    """The engine's folder inside the store's, whose VERSION was checked or written."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        mark = data / "VERSION"
        if not mark.exists():
            if any(data.iterdir()):
                raise StartError(
                    f"{data} is not empty and has no VERSION file, so it is not a store's folder: "
                    "give an empty or a new folder with --data"
                )
            mark.write_text(VERSION)
        found = mark.read_text()
        if found != VERSION:
            raise StartError(
                f"{data} was written by version {found.strip()!r} of the store's layout, this is "
                f"version {VERSION.strip()!r}: use the program that wrote it, or another folder"
            )
        engine = data / "engine"
        engine.mkdir(exist_ok=True)
    except OSError as error:
        raise StartError(f"the store's folder {data} cannot be used: {error}") from error
    return engine.resolve()


def _lock(data: Path) -> IO[str]:
    """The folder for this process alone, until the file is closed or the process ends."""
    file = (data / "VERSION").open()
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise StartError(
            f"another process holds the store's folder {data}: "
            "stop it, or give another folder with --data"
        ) from error
    return file


def _forget_empty_default(engine: Path) -> None:
    """A ``default`` that never held a table cannot be attached again: it is made anew."""
    described = _default_database(engine)
    if described.exists() and not described.with_suffix("").is_symlink():
        described.unlink()


_CONFIG = """<clickhouse>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <users_config>{users}</users_config>
  <background_pool_size>4</background_pool_size>
  <storage_configuration><disks><default>
    <keep_free_space_bytes>{reserve}</keep_free_space_bytes>
  </default></disks></storage_configuration>
  <logger><level>none</level></logger>
</clickhouse>
"""

# A server reads no files of its machine for its users; neither does this one.
_USERS = """<clickhouse>
  <profiles><default><async_insert>0</async_insert></default></profiles>
  <quotas><default/></quotas>
  <users><default>
    <password></password><networks><ip>::/0</ip></networks>
    <profile>default</profile><quota>default</quota>
    <grants>
      <query>GRANT ALL ON *.*</query>
      <query>REVOKE FILE, SQLITE ON *.*</query>
    </grants>
  </default></users>
</clickhouse>
"""


def _write(path: Path, config: StoreConfig) -> Path:
    users = path.with_name("users.xml").resolve()
    users.write_text(_USERS)
    path.write_text(
        _CONFIG.format(
            memory=config.memory_bytes,
            reserve=config.reserve_bytes // 2,
            users=escape(str(users)),
        )
    )
    return path.resolve()
