"""The HTTP answer to one statement: headers, coding, pieces, and errors early and late."""

from __future__ import annotations

import secrets
import string

import msgspec
from starlette.types import Send

from tidemill.embedded_store.compression import packer
from tidemill.embedded_store.engine import Engine
from tidemill.embedded_store.errors import StoreError, exception_block
from tidemill.embedded_store.request import Request
from tidemill.embedded_store.work import Work

Headers = list[tuple[bytes, bytes]]

_TYPES = (
    ("JSONEACHROW", "application/x-ndjson; charset=UTF-8"),
    ("JSONCOMPACTEACHROW", "application/x-ndjson; charset=UTF-8"),
    ("JSON", "application/json; charset=UTF-8"),
    ("CSV", "text/csv; charset=UTF-8"),
    ("TSV", "text/tab-separated-values; charset=UTF-8"),
    ("TABSEPARATED", "text/tab-separated-values; charset=UTF-8"),
    ("NATIVE", "application/octet-stream"),
    ("ROWBINARY", "application/octet-stream"),
    ("ARROW", "application/octet-stream"),
    ("PARQUET", "application/octet-stream"),
)


class Cut(Exception):
    """Ends a broken answer without its last chunk, so that no client takes it for whole."""


async def respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """A whole answer at once."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def fail(send: Send, error: StoreError, engine: Engine, query_id: str) -> None:
    """An answer that is an error alone."""
    headers: Headers = [
        (b"content-type", b"text/plain; charset=UTF-8"),
        (b"x-clickhouse-exception-code", str(error.code).encode()),
        (b"x-clickhouse-query-id", query_id.encode("latin-1", "replace")),
    ]
    if error.status == 413:
        headers.append((b"connection", b"close"))
    await respond(send, error.status, headers, (error.text(engine.version) + "\n").encode())


class Answer:
    """Sends one answer: whole where it is known whole, else chunk by chunk."""

    def __init__(self, send: Send, engine: Engine, request: Request, work: Work) -> None:
        self._send = send
        self._engine = engine
        self._request = request
        self._work = work
        self._tag = "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
        self._packer = packer(request.accepted)
        self.begun = False

    async def whole(self, body: bytes) -> None:
        """Everything there is."""
        headers = self._headers()
        if self._packer is not None:
            coding, packing = self._packer
            headers.append((b"content-encoding", coding.encode()))
            body = packing.compress(body) + packing.flush()
        await respond(self._send, 200, headers, body)

    async def begin(self) -> None:
        """Headers of an answer that is sent in pieces."""
        self.begun = True
        headers = self._headers()
        if self._packer is not None:
            headers.append((b"content-encoding", self._packer[0].encode()))
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def piece(self, data: bytes) -> None:
        packed = data if self._packer is None else self._packer[1].compress(data)
        if packed:
            await self._body(packed, more=True)

    async def end(self) -> None:
        await self._body(b"" if self._packer is None else self._packer[1].flush(), more=False)

    async def broken(self, error: StoreError) -> None:
        """Tell of an error in mid-answer, then raise Cut."""
        await self.piece(exception_block(error, self._tag, self._engine.version))
        if self._packer is not None:
            await self._body(self._packer[1].flush(), more=True)
        raise Cut

    async def _body(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    def _headers(self) -> Headers:
        summary = self._work.summary
        counts = {
            "read_rows": str(summary.read_rows),
            "read_bytes": str(summary.read_bytes),
            "written_rows": str(summary.written_rows),
            "result_rows": str(summary.result_rows),
        }
        headers = {
            "x-clickhouse-query-id": self._request.query_id,
            "x-clickhouse-server-display-name": self._engine.display_name,
            "x-clickhouse-timezone": self._engine.timezone,
            "x-clickhouse-summary": msgspec.json.encode(counts).decode(),
            "x-clickhouse-exception-tag": self._tag,
        }
        form = self._work.format
        if self._work.statement.answers:
            headers["x-clickhouse-format"] = form
            upper = form.upper()
            headers["content-type"] = next(
                (kind for prefix, kind in _TYPES if upper.startswith(prefix)),
                "text/plain; charset=UTF-8",
            )
        return [(k.encode(), v.encode("latin-1", "replace")) for k, v in headers.items()]
