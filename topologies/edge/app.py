"""The edge as a service: sockets, the log, the clock; what to do is decided elsewhere (S)."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from topologies.edge.answers import Answer, Encoding, failure
from topologies.edge.budget import Budget
from topologies.edge.clock import ClockWatch
from topologies.edge.config import EdgeConfig
from topologies.edge.counters import Counters
from topologies.edge.cut import warm_up
from topologies.edge.head import Admitted, Head, admit, too_large
from topologies.edge.log import KafkaLog
from topologies.edge.receive import (
    Accepted,
    answer_for,
    busy,
    kept_answer,
    log_away,
    receive,
)
from topologies.edge.records import Log, Outcome, Record
from topologies.edge.server import listen, make_server
from topologies.epochs import TOPIC as EPOCHS_TOPIC

logger = logging.getLogger("tidemill.edge")

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_REQUEST_OVERHEAD = 4096  # what a request holds beside its body
# Bodies up to these sizes take about a millisecond: not worth a thread.
_PLAIN_ON_THE_LOOP, _COMPRESSED_ON_THE_LOOP = 256 * 1024, 8 * 1024
_DRAIN_BYTES, _DRAIN_S = 1024 * 1024, 0.5
_LOOK_S = 1.0


class EdgeService:
    """One edge. `run` serves until `stop` is set, then answers what is under way and ends.

    `port` is the one it listens at, once `started` is set. `log` is Kafka at `config.bootstrap`
    where none is given.
    """

    def __init__(self, config: EdgeConfig, log: Log | None = None) -> None:
        self.config = config
        self.counters = Counters()
        self.budget = Budget(config.max_in_flight)
        self.clock = ClockWatch()
        self.started = asyncio.Event()
        self.port = config.port
        self._log = log or _kafka(config)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. Raises EdgeConfigError when the port can't be had."""
        listener = listen(self.config.host, self.config.port)
        await asyncio.to_thread(warm_up)
        self.port = listener.getsockname()[1]
        server = make_server(self, self.config)
        await self._log.start()
        watch = asyncio.create_task(self._watch_clock())
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        stopping = asyncio.create_task(stop.wait())
        self.started.set()
        logger.info("the edge takes OTLP/HTTP at http://%s:%d", self.config.host, self.port)
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            await serving
        finally:
            stopping.cancel()
            watch.cancel()
            listener.close()
            await self._log.stop()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One HTTP request (ASGI 3)."""
        try:
            answer = await self._answer(scope, receive)
        except _Disconnected:
            self.counters.refused["disconnected"] += 1
            return
        except Exception:
            logger.exception("a request failed within the edge; its agent is told to retry later")
            answer = failure(500, "internal", "the edge failed; see its log", Encoding.JSON)
        self.counters.requests[str(answer.status)] += 1
        if answer.reason:
            self.counters.refused[answer.reason] += 1
        headers = [(b"content-type", answer.content_type.encode())]
        headers += [(name.encode(), value.encode()) for name, value in answer.headers]
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: dict[str, Any], receive: Receive) -> Answer:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers[name.decode("latin-1")] = value.decode("latin-1")
        client = scope.get("client")
        head = Head(scope["method"], scope["path"], headers, client[0] if client else None)
        if head.method in ("GET", "HEAD") and head.path in ("/health", "/metrics"):
            return self._health() if head.path == "/health" else self._metrics()
        admitted = admit(head, self.config)
        body = _Body(receive)
        if isinstance(admitted, Answer):
            return admitted if "expect" in headers else await _answer_early(admitted, body)
        held = _Held(self.budget)
        try:
            return await self._ingest(admitted, body, held)
        finally:
            held.release()

    async def _ingest(self, request: Admitted, source: _Body, held: _Held) -> Answer:
        body = await self._read_body(request, source, held)
        if isinstance(body, Answer):
            return await _answer_early(body, source)
        partitions = self._log.partitions(self.config.raw_topic)
        epochs = self._log.epochs()
        if partitions is None or epochs is None:
            return log_away(request.encoding, self.config)
        self.counters.received_bytes += len(body)
        received_ns = self._now_ns()

        def decide() -> Any:
            return receive(
                request,
                body,
                self.config,
                received_ns=received_ns,
                partitions=partitions,
                epochs=epochs,
            )

        plain = request.coding == "identity" and request.encoding is Encoding.PROTOBUF
        small = len(body) <= (_PLAIN_ON_THE_LOOP if plain else _COMPRESSED_ON_THE_LOOP)
        decided = decide() if small else await asyncio.to_thread(decide)
        if isinstance(decided, Answer):
            return decided
        if not isinstance(decided, Accepted):
            outcomes = await self._append([decided.letter])
            self.counters.dead_letters += outcomes.count(Outcome.APPENDED)
            return kept_answer(request, decided, outcomes, self.config)
        self.counters.inflated_bytes += decided.inflated
        if not held.take(decided.inflated):
            return busy(request.encoding, self.config)
        outcomes = await self._append(decided.records)
        self._count(decided, outcomes)
        return answer_for(request, decided, outcomes, self.config)

    async def _append(self, records: Sequence[Record]) -> list[Outcome]:
        started = time.monotonic()
        outcomes = await self._log.append(records, self.config.append_timeout)
        self.counters.append_seconds += time.monotonic() - started
        self.counters.appends += 1
        return outcomes

    def _count(self, accepted: Accepted, outcomes: Sequence[Outcome]) -> None:
        for index, outcome in enumerate(outcomes):
            if outcome is not Outcome.APPENDED:
                continue
            if index < accepted.pieces:
                self.counters.pieces += 1
                self.counters.piece_bytes += len(accepted.records[index].value)
            else:
                self.counters.dead_letters += 1
        self.counters.rejected_points += sum(piece.points for piece in accepted.refused)

    async def _read_body(self, request: Admitted, source: _Body, held: _Held) -> bytes | Answer:
        if not held.take(_REQUEST_OVERHEAD):
            return busy(request.encoding, self.config)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.config.body_timeout):
                while not source.complete:
                    async with asyncio.timeout(self.config.body_idle_timeout):
                        chunk = await source.chunk()
                    size += len(chunk)
                    if size > self.config.max_body:
                        return too_large(request.encoding, self.config)
                    if not held.take(len(chunk)):
                        return busy(request.encoding, self.config)
                    chunks.append(chunk)
                return b"".join(chunks)
        except TimeoutError:
            return failure(408, "slow-body", "the body came too slowly", request.encoding)

    def _health(self) -> Answer:
        state = {"status": "ok" if self._log.up else "log-away", "bootstrap": self.config.bootstrap}
        body = json.dumps(state).encode()
        return Answer(200 if self._log.up else 503, "application/json", body)

    def _metrics(self) -> Answer:
        text = self.counters.prometheus(
            in_flight=self.budget.used,
            clock_jumps=self.clock.jumps,
            log_up=self._log.up,
            log_lost=self._log.lost,
        )
        return Answer(200, "text/plain; version=0.0.4; charset=utf-8", text.encode())

    async def _watch_clock(self) -> None:
        while True:
            self._now_ns()
            await asyncio.sleep(_LOOK_S)

    def _now_ns(self) -> int:
        wall = time.time_ns()
        jump = self.clock.look(wall, time.monotonic_ns())
        if jump:
            logger.warning(
                "the clock of this machine jumped by %+.1f s; points without a time and the check "
                "for points from the future go by it: look after the time service (NTP)",
                jump / 1e9,
            )
        return wall


def _kafka(config: EdgeConfig) -> KafkaLog:
    topics = {
        config.raw_topic: (config.partitions, dict[str, str]()),
        config.dead_letter_topic: (1, {"retention.ms": str(90 * 86_400_000)}),
        EPOCHS_TOPIC: (1, {"cleanup.policy": "compact"}),
    }
    return KafkaLog(
        config.bootstrap,
        topics,
        replication=config.replication,
        request_timeout=config.append_timeout,
    )


class _Disconnected(Exception):
    """The client went away before its request was complete."""


class _Held:
    """What one request has taken from the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._amount = 0

    def take(self, amount: int) -> bool:
        taken = self._budget.take(amount, held=self._amount)
        self._amount += amount if taken else 0
        return taken

    def release(self) -> None:
        self._budget.give_back(self._amount)
        self._amount = 0


class _Body:
    """A request's body, chunk by chunk."""

    def __init__(self, receive_event: Receive) -> None:
        self._receive_event = receive_event
        self.complete = False

    async def chunk(self) -> bytes:
        event = await self._receive_event()
        if event["type"] != "http.request":
            raise _Disconnected
        self.complete = not event.get("more_body", False)
        return event.get("body", b"")


async def _answer_early(answer: Answer, body: _Body) -> Answer:
    """An answer given before the body was read: a little more of it is, else the connection ends.

    A client that is still sending when its connection is closed may never see its answer.
    """
    read = 0
    try:
        async with asyncio.timeout(_DRAIN_S):
            while not body.complete and read <= _DRAIN_BYTES:
                read += len(await body.chunk())
    except TimeoutError:
        pass
    if body.complete:
        return answer
    headers = (*answer.headers, ("connection", "close"))
    return Answer(answer.status, answer.content_type, answer.body, answer.reason, headers)
