"""One request's work on the engine, in the order ClickHouse's handler does it.

Blocking: each method runs in a thread of the executor. ``start`` does everything up to the first
block of the answer, so that an early error still has its own HTTP status; ``more`` goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from tidemill.embedded_store import errors
from tidemill.embedded_store.compression import unpack
from tidemill.embedded_store.config import StoreConfig
from tidemill.embedded_store.engine import Handle, Rows, Stream, identifier, literal
from tidemill.embedded_store.errors import StoreError
from tidemill.embedded_store.request import Request
from tidemill.embedded_store.statement import HEAD_BYTES, Statement, read_statement

_WRITES = {"INSERT", "CREATE", "ALTER", "OPTIMIZE", "UPDATE", "ATTACH"}
_TEXT_BYTES = 16 << 20
"""A statement without data may not be longer."""


@dataclass(slots=True)
class Summary:
    """Counts for ``X-ClickHouse-Summary``."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    result_rows: int = 0

    def add(self, rows: Rows) -> None:
        self.result_rows += rows.rows_read()
        self.read_rows += rows.storage_rows_read()
        self.read_bytes += rows.storage_bytes_read()
        self.written_rows += rows.rows_written()


class Work:
    """Runs one request on one handle."""

    def __init__(self, request: Request, handle: Handle, config: StoreConfig) -> None:
        self._request = request
        self._handle = handle
        self._config = config
        self._stream: Stream | None = None
        self._undo: list[str] = []
        self.statement = Statement("")
        self.summary = Summary()

    @property
    def format(self) -> str:
        """The format of the answer."""
        return self.statement.format or self._request.default_format or "TabSeparated"

    def start(self) -> bytes:
        """Run up to the answer's first block, or to the end. Raises StoreError."""
        request = self._request
        text, rest = self._text()
        self.statement = read_statement(text)
        self._allow(text)
        if self.statement.verb in _WRITES:
            self._leave_reserve()
        self._prepare()
        at = self.statement.data_at
        if at is not None and not (self.statement.format == "Values" and request.parameters):
            self._insert(text, chain((text[at:],), rest))
            return b""
        sql = _decoded(self._whole(text, rest))
        if not self.statement.streamed:
            return self._all(self._handle.query(sql, self.format, request.parameters))
        self._stream = self._handle.stream(sql, self.format, request.parameters)
        return self.more()

    def more(self) -> bytes:
        """The next block of the answer, or nothing after the last. Raises StoreError."""
        while self._stream is not None:
            rows = self._stream.fetch()
            if rows is None:
                self._stream = None
                break
            block = self._all(rows)
            if block:
                return block
        return b""

    @property
    def unfinished(self) -> bool:
        """Whether ``more`` may have more."""
        return self._stream is not None

    def end(self) -> bool:
        """Leave the handle as it was found; False when that failed and it must be closed."""
        if self._stream is not None:
            self._stream.cancel()
        try:
            for sql in self._undo:
                self._handle.query(sql)
        except StoreError:
            return False
        return True

    def _insert(self, text: bytes, data: Iterator[bytes]) -> None:
        found = self.statement
        self.summary.written_rows = self._handle.insert(
            _decoded(text[: found.source_at]),
            _decoded(text[found.source_at : found.head_end]),
            found.format or "",
            data,
            self._request.parameters,
        )

    def _all(self, rows: Rows) -> bytes:
        self.summary.add(rows)
        return rows.bytes() or b""

    def _text(self) -> tuple[bytes, Iterator[bytes]]:
        """At least the statement's head, and what follows it."""
        request = self._request
        pieces = unpack(request.coding, request.body, self._config.max_unpacked_bytes)
        if not request.query:
            text = b""
        elif request.body:
            text = request.query + b"\n"
        else:
            return request.query, iter(())
        while len(text) < HEAD_BYTES:
            piece = next(pieces, None)
            if piece is None:
                break
            text += piece
        return text, pieces

    def _whole(self, text: bytes, rest: Iterator[bytes]) -> bytes:
        for piece in rest:
            text += piece
            if len(text) > _TEXT_BYTES:
                raise StoreError(
                    errors.QUERY_IS_TOO_LARGE, f"the statement is longer than {_TEXT_BYTES} bytes"
                )
        return text

    def _allow(self, text: bytes) -> None:
        if not self.statement.verb:
            raise StoreError(errors.SYNTAX_ERROR, "Empty query")
        if self.statement.files:
            raise StoreError(
                errors.NOT_IMPLEMENTED,
                "INTO OUTFILE and FROM INFILE are for clients: the store touches no files",
            )
        if self.statement.data_at is None and self._handle.statements(_decoded(text)) > 1:
            raise StoreError(errors.SYNTAX_ERROR, "Multi-statements are not allowed")
        if self._request.read_only and (
            self.statement.verb == "INSERT" or not self._handle.reads_only(_decoded(text))
        ):
            raise StoreError(
                errors.READONLY,
                "Cannot execute query in readonly mode. For queries over HTTP, method GET implies "
                "readonly. You should use method POST for modifying queries",
            )

    def _leave_reserve(self) -> None:
        """Raise while the disk is too full to be sure that everything is written."""
        config = self._config
        free = shutil.disk_usage(config.data).free
        needed = config.reserve_bytes + len(self._request.body)
        if free < needed:
            raise StoreError(
                errors.NOT_ENOUGH_SPACE,
                f"{free} bytes are free under {config.data}, and {needed} must be for a write: "
                "make room (DROP TABLE works), then send it again",
            )

    def _prepare(self) -> None:
        """Database and settings of this request; a session forgets them afterwards."""
        request = self._request
        settings = dict(request.settings)
        settings.setdefault("log_comment", request.query_id)
        if request.session_id:
            self._undo = self._remember(settings)
        if request.database:
            self._handle.query(f"USE {identifier(request.database)}")
        self._handle.set(settings)

    def _remember(self, settings: dict[str, str]) -> list[str]:
        undo: list[str] = []
        if self._request.database:
            now = (self._handle.query("SELECT currentDatabase()", "RowBinary").bytes() or b"")[1:]
            undo.append(f"USE {identifier(now.decode())}")
        if settings:
            names = ", ".join(literal(name) for name in settings)
            rows = self._handle.query(
                "SELECT name, changed, hex(value) FROM system.settings WHERE name IN ("
                + names
                + ")"
            )
            for line in (rows.bytes() or b"").decode().splitlines():
                name, changed, value = line.split("\t")
                before = literal(bytes.fromhex(value).decode()) if changed == "1" else "DEFAULT"
                undo.append(f"SET {name} = {before}")
        return undo


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise StoreError(errors.SYNTAX_ERROR, f"the statement is not UTF-8: {error}") from error
