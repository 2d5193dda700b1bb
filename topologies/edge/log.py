"""The log over Kafka's protocol: an idempotent producer that is thrown away when in doubt (S).

aiokafka's idempotent producer never gives a batch up: it would deliver, after an outage, records
whose agents were told to send them again, and which may be too old by then to be recognised as
repeats. And a batch that the broker refuses leaves a gap in the sequence, so that later ones fail.
So any failure ends the producer, with what it holds, and another is started.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, cast

import aiokafka  # pyright: ignore[reportMissingTypeStubs]
import aiokafka.admin  # pyright: ignore[reportMissingTypeStubs]
import aiokafka.errors  # pyright: ignore[reportMissingTypeStubs]

from topologies.edge.epochs import EpochsReader
from topologies.edge.records import Outcome, Record
from topologies.epochs import TOPIC as EPOCHS
from topologies.epochs import Epochs

logger = logging.getLogger("tidemill.edge")

_aiokafka = cast(Any, aiokafka)
_admin = cast(Any, aiokafka.admin)
_errors = cast(Any, aiokafka.errors)

_BATCH = 1024 * 1024
_REQUEST = 16 * 1024 * 1024
_CONNECT_TIMEOUT = 10.0
_RETRY_FIRST, _RETRY_MOST = 0.2, 2.0
_DRAIN = 2.0
_TOPIC_ALREADY_EXISTS = 36


class KafkaLog:
    """Appends records; keeps itself connected from `start` to `stop`.

    `topics` maps each topic that is created where it does not exist to its partition count and
    settings. Where the topic of epochs is among them its newest record is kept in memory.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: dict[str, tuple[int, dict[str, str]]],
        *,
        replication: int = 1,
        request_timeout: float = 5.0,
        client_id: str = "tidemill-edge",
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._replication = replication
        self._request_timeout_ms = int(request_timeout * 1000)
        self._client_id = client_id
        self._producer: Any = None
        self._reader: EpochsReader | None = None
        self._partitions: dict[str, int] = {}
        self._broken = asyncio.Event()
        self._discards: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._away_since = time.monotonic()
        self.lost = 0  # times the log went away, or a producer was thrown away

    @property
    def up(self) -> bool:
        """True while there is a producer that has not failed."""
        return self._producer is not None

    async def start(self) -> None:
        """Begin to connect, in the background."""
        self._keeper = asyncio.create_task(self._keep_connected(), name="edge-log")

    async def stop(self) -> None:
        """Deliver what is under way, for at most two seconds, and disconnect."""
        if self._keeper is not None:
            await _end(self._keeper)
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._discard(producer)
        if self._discards:
            await asyncio.wait(self._discards, timeout=_DRAIN)

    def partitions(self, topic: str) -> int | None:
        """How many partitions the topic has; None while the log is away."""
        return self._partitions.get(topic) if self.up else None

    def epochs(self) -> Epochs | None:
        """The epochs of the live topic after its first; None while they can't be known."""
        return self._reader.epochs if self.up and self._reader is not None else None

    async def append(self, records: Sequence[Record], timeout: float) -> list[Outcome]:
        """Append all; one outcome each, after at most `timeout` seconds. Never raises."""
        producer, broken = self._producer, self._broken
        if producer is None:
            return [Outcome.UNKNOWN] * len(records)
        sends = [asyncio.ensure_future(_send(producer, record)) for record in records]
        gone = asyncio.ensure_future(broken.wait())
        waiting: set[asyncio.Future[Any]] = set(sends)
        deadline = time.monotonic() + timeout
        while waiting and not gone.done() and (left := deadline - time.monotonic()) > 0:
            done, _ = await asyncio.wait(
                waiting | {gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            waiting -= done
        for unfinished in (*waiting, gone):
            unfinished.cancel()
        outcomes = [send.result() if send not in waiting else Outcome.UNKNOWN for send in sends]
        if any(outcome is not Outcome.APPENDED for outcome in outcomes):
            broken.set()
        return outcomes

    async def _keep_connected(self) -> None:
        pause = _RETRY_FIRST
        while True:
            try:
                producer = await asyncio.wait_for(self._connect(), _CONNECT_TIMEOUT)
            except (OSError, TimeoutError, ValueError, _errors.KafkaError) as error:
                if pause == _RETRY_FIRST:
                    logger.warning(
                        "the log at %s can't be reached (%s): agents are told to retry; "
                        "start the broker, or check --bootstrap",
                        self._bootstrap,
                        error or type(error).__name__,
                    )
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _RETRY_MOST)
                continue
            pause = _RETRY_FIRST
            self._broken = asyncio.Event()
            self._producer = producer
            away = time.monotonic() - self._away_since
            logger.info("the log at %s is there, after %.1f s", self._bootstrap, away)
            try:
                await self._until_broken()
            finally:
                if self._broken.is_set():
                    self._lose(producer)

    async def _until_broken(self) -> None:
        """Read the epochs meanwhile, where they matter: without them nothing can be taken."""
        broken = asyncio.create_task(self._broken.wait())
        keep = broken if self._reader is None else self._reader.keep()
        reading = asyncio.ensure_future(keep)
        try:
            await asyncio.wait({reading, broken}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and (error := reading.exception()) is not None:
                logger.warning("the epochs can't be read from %s: %r", self._bootstrap, error)
                self._broken.set()
        finally:
            reading.cancel()
            broken.cancel()
            await asyncio.wait({reading, broken})
            await self._stop_reader()

    async def _stop_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await asyncio.wait({asyncio.ensure_future(reader.stop())}, timeout=_DRAIN)

    def _lose(self, producer: Any) -> None:
        self._producer = None
        self._away_since = time.monotonic()
        self.lost += 1
        logger.warning("the log at %s failed to take records: connecting again", self._bootstrap)
        task = asyncio.create_task(self._discard(producer))
        self._discards.add(task)
        task.add_done_callback(self._discards.discard)

    async def _connect(self) -> Any:
        await self._create_topics()
        producer = _aiokafka.AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",
            max_batch_size=_BATCH,
            max_request_size=_REQUEST,
            request_timeout_ms=self._request_timeout_ms,
        )
        try:
            await producer.start()
            for topic in self._topics:
                self._partitions[topic] = len(await producer.partitions_for(topic))
            if EPOCHS in self._topics:
                self._reader = EpochsReader(self._bootstrap, self._client_id)
                await self._reader.start()
        except BaseException:
            await self._discard(producer)
            await self._stop_reader()
            raise
        return producer

    async def _create_topics(self) -> None:
        admin = _admin.AIOKafkaAdminClient(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            request_timeout_ms=self._request_timeout_ms,
        )
        try:
            await admin.start()
            there = set(await admin.list_topics())
            missing = [
                _admin.NewTopic(name, count, self._replication, topic_configs=settings)
                for name, (count, settings) in self._topics.items()
                if name not in there
            ]
            if missing:
                response = await admin.create_topics(missing)
                for topic, code, *message in response.topic_errors:
                    if code not in (0, _TOPIC_ALREADY_EXISTS):
                        detail = message[0] if message and message[0] else _errors.for_code(code)
                        raise _errors.KafkaError(f"topic {topic} can't be created: {detail}")
        finally:
            await admin.close()

    async def _discard(self, producer: Any) -> None:
        """Stop a producer; what it could not deliver in time is dropped, never sent later."""
        stopping = asyncio.ensure_future(producer.stop())
        done, _ = await asyncio.wait({stopping}, timeout=_DRAIN)
        if not done:
            # The public `stop` flushes first, for ever if the broker is away.
            sender = producer._sender.sender_task
            if sender is not None:
                sender.cancel()
            await asyncio.wait({stopping}, timeout=_DRAIN)
        if stopping.done():
            if not stopping.cancelled() and (error := stopping.exception()) is not None:
                logger.debug("a producer ended with %r", error)
        else:
            stopping.cancel()
            await producer.client.close()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel until it ends, for a few seconds: a client that is connecting can lose one cancel."""
    for _ in range(6):
        task.cancel()
        await asyncio.wait({task}, timeout=0.5)
        if task.done():
            return


async def _send(producer: Any, record: Record) -> Outcome:
    try:
        future = await producer.send(
            record.topic,
            value=record.value,
            key=record.key,
            partition=record.partition,
            headers=list(record.headers),
        )
        await future
    except (_errors.MessageSizeTooLargeError, _errors.RecordListTooLargeError):
        return Outcome.REFUSED
    except Exception as error:  # whatever it was, the agent will send the record again
        logger.debug("a record was not appended: %r", error)
        return Outcome.UNKNOWN
    return Outcome.APPENDED
