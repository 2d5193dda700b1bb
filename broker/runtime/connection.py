"""One client's connection: bytes to requests, answers in the order of requests, bounds on memory.

Everything that one read event brought is handled before anything is written, and its answers leave
in one write: system calls are most of the cost.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from broker.handlers.port import Api, Fields
from broker.protocol.errors import ErrorCode, MalformedRequestError
from broker.protocol.headers import API_VERSIONS, Header, read_header, skip_tags
from broker.protocol.messages import decode_request, encode_response, is_flexible

if TYPE_CHECKING:
    from broker.runtime.node import Node

log = logging.getLogger("broker.connection")
_LENGTH = struct.Struct(">i")
_PLAIN = struct.Struct(">ii")
_FLEXIBLE = struct.Struct(">iib")
WRITE_HIGH_WATER = 1 << 20
_SMALLEST_FRAME = 10


class Slot:
    """One request and its place in the order of answers (`broker.handlers.port.Request`)."""

    __slots__ = (
        "_api",
        "_connection",
        "_correlation_id",
        "_flexible",
        "_started",
        "body",
        "client_id",
        "id",
        "reply",
        "version",
    )

    def __init__(
        self, connection: Connection, api: Api, request_id: int, header: Header, flexible: bool
    ) -> None:
        _, self.version, self._correlation_id, self.client_id, _ = header
        self._connection = connection
        self._api = api
        self._flexible = flexible
        self._started = connection.event_time
        self.id = request_id
        self.body: Any = None
        self.reply: Sequence[bytes | memoryview] | None = None

    @property
    def client_host(self) -> str:
        return self._connection.client_host

    def answer(self, fields: Fields) -> None:
        if self.reply is None:
            self.answer_raw([encode_response(self._api.key, self.version, fields)])

    def answer_raw(self, pieces: Sequence[bytes | memoryview]) -> None:
        if self.reply is not None:
            return
        if len(pieces) == 1:
            whole = self._head(len(pieces[0])) + pieces[0]
            size = len(whole)
            self.reply = (whole,)
        else:
            size = sum(map(len, pieces))
            head = self._head(size)
            size += len(head)
            self.reply = (head, *pieces)
        self._connection.ready(self, self._api.key, self._started, size)

    def _head(self, size: int) -> bytes:
        if self._flexible:
            return _FLEXIBLE.pack(size + 5, self._correlation_id, 0)
        return _PLAIN.pack(size + 4, self._correlation_id)

    def answer_nothing(self) -> None:
        if self.reply is None:
            self.reply = ()
            self._connection.ready(self, self._api.key, self._started, 0)


class Connection(asyncio.BufferedProtocol):
    """The protocol object of one socket. All of it runs on the event loop's thread."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.client_host = ""
        self.event_time = 0.0
        """When the read event began that is being handled (perf_counter)."""
        self._transport: asyncio.Transport | None = None
        self._queue: deque[Slot] = deque()
        self._out: list[bytes | memoryview] = []
        self._unsent_bytes = 0  # of replies that are made, in order or not
        self._reading_event = False
        self._flush_scheduled = False
        self._rest = b""  # the first bytes of a frame whose length is not known yet
        self._frame: bytearray | None = None  # a frame that is being collected
        self._frame_size = 0
        self._frame_filled = 0
        self._backlog = b""  # what was read but must wait, because the connection is at its bounds
        self._write_paused = False
        self._read_paused = False

    # --- the socket -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = stream = cast(asyncio.Transport, transport)
        stream.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        peer = stream.get_extra_info("peername")
        self.client_host = str(peer[0]) if peer else ""
        self.node.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for slot in self._queue:
            slot.reply = ()
            self.node.forget_request(slot.id)
        self._queue.clear()
        self._out.clear()
        if self._frame is not None:
            self.node.buffers.give_back(self._frame)
            self._frame = None
        self.node.disconnected(self)

    def pause_writing(self) -> None:
        self._write_paused = True
        self._apply_bounds()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._continue()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._frame is not None:
            return memoryview(self._frame)[self._frame_filled : self._frame_size]
        shared = self.node.buffers.shared
        rest = self._rest
        if rest:
            shared[: len(rest)] = rest
            return shared[len(rest) :]
        return shared

    def buffer_updated(self, nbytes: int) -> None:
        self.node.metrics.bytes_in += nbytes
        self.event_time = perf_counter()
        self._reading_event = True
        if self._frame is not None:
            self._frame_filled += nbytes
            if self._frame_filled == self._frame_size:
                self._handle_collected()
        else:
            end = len(self._rest) + nbytes
            self._rest = b""
            self._parse(self.node.buffers.shared[:end])
        self._reading_event = False
        self._flush()

    def eof_received(self) -> bool:
        return False

    # --- bytes to requests ----------------------------------------------------------------------

    def _parse(self, data: memoryview) -> None:
        at, end = 0, len(data)
        while end - at >= 4:
            if self._is_full():
                self._backlog = bytes(data[at:])
                self._apply_bounds()
                return
            (size,) = _LENGTH.unpack_from(data, at)
            if not _SMALLEST_FRAME <= size <= self.node.config.max_request_bytes:
                self._malformed(f"a request of {size} bytes")
                return
            if end - at - 4 < size:
                self._collect(data[at + 4 :], size)
                return
            self._handle(data[at + 4 : at + 4 + size])
            if self._transport is None:
                return
            at += 4 + size
        self._rest = bytes(data[at:])

    def _collect(self, begun: memoryview, size: int) -> None:
        self._frame = self.node.buffers.take(size)
        self._frame_size = size
        self._frame_filled = len(begun)
        self._frame[: len(begun)] = begun

    def _handle_collected(self) -> None:
        frame = self._frame
        assert frame is not None
        self._frame = None
        with memoryview(frame) as view, view[: self._frame_size] as body:
            self._handle(body)
        self.node.buffers.give_back(frame)

    def _handle(self, frame: memoryview) -> None:
        try:
            header = read_header(frame)
            api = self.node.api_by_key.get(header.api_key)
            if api is None:
                raise MalformedRequestError(f"unknown request kind {header.api_key}")
            if not api.min_version <= header.version <= api.max_version:
                self._wrong_version(api, header)
                return
            flexible = not api.raw and is_flexible(api.key, header.version)
            at = skip_tags(frame, header.size) if flexible else header.size
            slot = Slot(
                self,
                api,
                self.node.next_request_id(),
                header,
                flexible and api.key != API_VERSIONS,
            )
            body = frame[at:]
            slot.body = body if api.raw else decode_request(api.key, header.version, bytes(body))
            self._queue.append(slot)
            self.node.run(api, slot)
            if api.raw:
                slot.body = None
        except MalformedRequestError as problem:
            self._malformed(str(problem))

    def _wrong_version(self, api: Api, header: Header) -> None:
        """ApiVersions of an unknown version is answered in version 0 (KIP-511); other kinds end
        the connection, as a client that asked ApiVersions never sends them."""
        if api.key != API_VERSIONS:
            self._malformed(f"{api.name} version {header.version} is not supported")
            return
        slot = Slot(self, api, self.node.next_request_id(), header._replace(version=0), False)
        self._queue.append(slot)
        fields = api.handle(self.node, slot)
        slot.answer({**(fields or {}), "error_code": ErrorCode.unsupported_version})

    def _malformed(self, why: str) -> None:
        self.node.metrics.malformed += 1
        log.warning("closing the connection of %s: %s", self.client_host, why)
        self.close()

    # --- answers to bytes -----------------------------------------------------------------------

    def ready(self, slot: Slot, key: int, started: float, size: int) -> None:
        """A slot has its reply of `size` bytes: move every reply at the head of the queue to what
        is written next."""
        metrics = self.node.metrics.requests[key]
        metrics.count += 1
        metrics.seconds += perf_counter() - started
        self._unsent_bytes += size
        queue, out = self._queue, self._out
        if not queue or queue[0] is not slot:
            return
        while queue and (reply := queue[0].reply) is not None:
            out.extend(reply)
            queue.popleft()
        if not self._reading_event and not self._flush_scheduled:
            self._flush_scheduled = True
            self.node.call_soon(self._flush_later)

    def _flush_later(self) -> None:
        self._flush_scheduled = False
        self._flush()
        self._continue()

    def _flush(self) -> None:
        out = self._out
        if not out or self._transport is None:
            return
        sent = sum(map(len, out))
        self.node.metrics.bytes_out += sent
        self._out = []
        self._unsent_bytes -= sent
        if len(out) == 1:
            self._transport.write(out[0])
        else:
            self._transport.writelines(out)

    # --- bounds ---------------------------------------------------------------------------------

    def _is_full(self) -> bool:
        config = self.node.config
        return (
            self._write_paused
            or len(self._queue) >= config.max_pipelined_requests
            or self._unsent_bytes >= config.max_pipelined_bytes
        )

    def _apply_bounds(self) -> None:
        if not self._read_paused and self._transport is not None:
            self._read_paused = True
            self._transport.pause_reading()

    def _continue(self) -> None:
        """Go on with what had to wait, once the connection is within its bounds again."""
        if not self._read_paused or self._is_full() or self._transport is None:
            return
        backlog, self._backlog = self._backlog, b""
        if backlog:
            self._reading_event = True
            self._parse(memoryview(bytearray(backlog)))
            self._reading_event = False
            self._flush()
        transport = self._connected()
        if transport is not None and not self._backlog and not self._write_paused:
            self._read_paused = False
            transport.resume_reading()

    def _connected(self) -> asyncio.Transport | None:
        return self._transport

    def close(self) -> None:
        """Send what is ready, then close."""
        if self._transport is not None:
            self._flush()
            self._transport.close()
