"""ClickHouse's HTTP interface over the engine: the ASGI application and the loop that serves it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hmac
import socket
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import uvicorn
from starlette.types import Receive, Scope, Send

from tidemill.embedded_store import errors
from tidemill.embedded_store.answer import Answer, Cut, fail, respond
from tidemill.embedded_store.config import StoreConfig
from tidemill.embedded_store.engine import Engine, Handle
from tidemill.embedded_store.errors import StartError, StoreError
from tidemill.embedded_store.request import Request, credentials, read_request
from tidemill.embedded_store.sessions import Sessions
from tidemill.embedded_store.work import Work

T = TypeVar("T")
_DRAIN_S = 2
_KEEP_ALIVE_S = 30


class Store:
    """The ASGI application: answers ClickHouse's clients from an engine."""

    def __init__(self, config: StoreConfig, engine: Engine) -> None:
        self._config = config
        self._engine = engine
        self._sessions = Sessions(engine.handle)
        self._pool = ThreadPoolExecutor(config.threads, thread_name_prefix="store")
        self._slots = asyncio.Semaphore(config.threads)
        self._waiting = 0
        self._buffered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        healthy = path in ("/ping", "/replicas_status") or (
            path == "/" and scope["method"] == "GET" and b"query=" not in scope["query_string"]
        )
        if healthy:
            await respond(send, 200, [], b"Ok.\n")
        elif path in ("/", "/query"):
            await self._statement(scope, receive, send)
        else:
            text = f"There is no handle {path}. SQL goes to /, health checks to /ping.\n"
            await respond(send, 404, [], text.encode())

    def close(self) -> None:
        """End every query and session; returns without waiting for threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._sessions.close()

    async def _statement(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        query_id = str(uuid.uuid4())
        held = bytearray()
        try:
            self._refuse(scope, headers)
            await self._read_body(headers, receive, held)
            request = read_request(
                scope["method"], scope["query_string"], headers, bytes(held), query_id
            )
            query_id = request.query_id
            await self._run(request, receive, send)
        except StoreError as error:
            await fail(send, error, self._engine, query_id)
        finally:
            self._buffered -= len(held)

    def _refuse(self, scope: Scope, headers: dict[str, str]) -> None:
        """Raise for a caller that may not ask at all."""
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise StoreError(
                errors.AUTHENTICATION_FAILED, "a page of another site asked for this: refused"
            )
        user, password = credentials(scope["query_string"], headers)
        config = self._config
        if user != config.user or not hmac.compare_digest(
            password.encode(), config.password.encode()
        ):
            raise StoreError(
                errors.AUTHENTICATION_FAILED,
                f"{user}: Authentication failed: password is incorrect, "
                "or there is no user with such name.",
            )

    async def _read_body(self, headers: dict[str, str], receive: Receive, held: bytearray) -> None:
        """Collect the body in ``held``, or read it to its end and raise StoreError.

        A client that is still sending would not see an answer given before the end.
        """
        config = self._config
        refusal: StoreError | None = None
        if "expect" in headers and int(headers.get("content-length", 0)) > config.max_body_bytes:
            raise _too_large(config)
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise StoreError(errors.QUERY_WAS_CANCELLED, "the client went away")
            data: bytes = message.get("body", b"")
            if refusal is None and len(held) + len(data) > config.max_body_bytes:
                refusal = _too_large(config)
            elif refusal is None and self._buffered + len(data) > config.buffered_bytes:
                refusal = StoreError(
                    errors.TOO_MANY_SIMULTANEOUS_QUERIES,
                    f"requests in work hold {self._buffered} bytes already: try again later",
                )
            if refusal is not None:
                self._buffered -= len(held)
                held.clear()
            else:
                held += data
                self._buffered += len(data)
            if not message.get("more_body", False):
                break
        if refusal is not None:
            raise refusal

    async def _run(self, request: Request, receive: Receive, send: Send) -> None:
        if self._slots.locked() and self._waiting >= self._config.queue:
            raise StoreError(
                errors.TOO_MANY_SIMULTANEOUS_QUERIES,
                f"{self._config.threads} queries are running and {self._waiting} wait: "
                "try again later",
            )
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await self._run_on(request, await self._borrow(request), gone, send)
        finally:
            gone.cancel()
            self._slots.release()

    async def _run_on(
        self, request: Request, handle: Handle, gone: asyncio.Task[None], send: Send
    ) -> None:
        """Run on a handle, and be done with it before the client sees the answer's end.

        A client whose next request is already on its way must not find its session busy.
        """
        work = Work(request, handle, self._config)
        try:
            answer = Answer(send, self._engine, request, work)
            parts = [await self._stopping(work.start, request, gone)]
            while work.unfinished and request.wait_end and self._holds(parts):
                parts.append(await self._stopping(work.more, request, gone))
            if work.unfinished:
                await self._stream(answer, work, request, parts, gone)
        except (Cut, StoreError):
            await self._give_back(request, handle, work)
            raise
        except BaseException:
            await self._give_back(request, handle, work, usable=False)
            raise
        await self._give_back(request, handle, work)
        if answer.begun:
            await answer.end()
        else:
            await answer.whole(b"".join(parts))

    async def _stream(
        self,
        answer: Answer,
        work: Work,
        request: Request,
        parts: list[bytes],
        gone: asyncio.Task[None],
    ) -> None:
        """Send everything but the end; an error is told in the answer, which is then cut."""
        await answer.begin()
        for part in parts:
            await answer.piece(part)
        try:
            while work.unfinished and not gone.done():
                await answer.piece(await self._stopping(work.more, request, gone))
        except StoreError as error:
            await answer.broken(error)

    def _holds(self, parts: list[bytes]) -> bool:
        return sum(map(len, parts)) <= self._config.answer_bytes

    async def _give_back(
        self, request: Request, handle: Handle, work: Work, *, usable: bool = True
    ) -> None:
        usable = await asyncio.shield(self._thread(work.end)) and usable
        if request.session_id:
            self._sessions.give_back(request, usable)
        else:
            await asyncio.shield(self._thread(handle.close))

    async def _borrow(self, request: Request) -> Handle:
        if request.session_id:
            return self._sessions.borrow(request)
        return await self._thread(self._engine.handle)

    async def _thread(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, act)

    async def _stopping(
        self, act: Callable[[], T], request: Request, gone: asyncio.Task[None]
    ) -> T:
        """Run in a thread; where the client asked for it, stop the query when it goes away."""
        doing = asyncio.ensure_future(self._thread(act))
        if request.cancel:
            await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                await asyncio.to_thread(self._engine.kill, request.query_id)
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            await asyncio.wait({doing})  # the handle is in use until then
            raise


def _too_large(config: StoreConfig) -> StoreError:
    return StoreError(
        errors.QUERY_IS_TOO_LARGE,
        f"the body is larger than {config.max_body_bytes} bytes: send it in smaller requests",
    )


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Server(uvicorn.Server):
    """Leaves signals to its caller, and tells when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def _listen(config: StoreConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise StartError(
                f"{config.host}:{config.port} is in use: stop the program that listens there, "
                "or give another port with --port"
            ) from error
        raise StartError(f"cannot listen on {config.host}:{config.port}: {error}") from error
    return listener


async def run(
    config: StoreConfig, *, stop: asyncio.Event, ready: Callable[[str, int], None] | None = None
) -> None:
    """Serve until ``stop`` is set; then end running queries and return within seconds.

    Args:
        ready: Called once with the address when requests are answered.

    Raises:
        StartError: Port in use, folder in use or of another version; says what to do.
    """
    listener = _listen(config)
    try:
        engine = await asyncio.to_thread(Engine, config)
    except StartError:
        listener.close()
        raise
    host, port = listener.getsockname()[:2]
    store = Store(config, engine)
    server = _Server(
        uvicorn.Config(
            store,
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_DRAIN_S,
        ),
        lambda: ready(host, port) if ready is not None else None,
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await asyncio.to_thread(engine.kill_all)
    await serving
    store.close()
    await asyncio.to_thread(engine.close)
