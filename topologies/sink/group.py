"""The one typed door to aiokafka: a member of the sink's consumer group.

What it reads is unpacked on a thread, as a worker's tasks read (`streams.worker.pieces`): with
100,000 rows a second to store, unpacking takes a third of what an event loop can do.

Bounds ride as the metadata of the group's offset, not in a topic of their own: the commit is
durable when it is answered, is fenced by the group's generation (a member that was expelled cannot
overwrite its successor's bounds), and costs no producer, no topic and no reading at the start.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import aiokafka  # pyright: ignore[reportMissingTypeStubs]
from aiokafka.admin import AIOKafkaAdminClient  # pyright: ignore[reportMissingTypeStubs]
from aiokafka.errors import (  # pyright: ignore[reportMissingTypeStubs]
    KafkaError,
    MessageSizeTooLargeError,
)

from streams.errors import Retriable
from streams.worker.kafka import NEVER_MS
from streams.worker.pieces import PieceConsumer
from topologies.sink.events import Committed

_STOP_S = 2.0
_DEAD_LETTER_BYTES = 256 << 10


class LogUnreachable(Exception):
    """The log is away or busy, or this member was expelled: the same may work later."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a partition stands: what the group keeps, and what the log holds."""

    committed: Committed | None
    start: int
    end: int


class GroupMember:
    """Reads one topic, read_committed, with partitions shared out by the group.

    ``revoked`` and ``assigned`` are awaited within a rebalance: the first must end what is going
    on; the second must return at once, since no heartbeat is sent meanwhile. ``unpacking``: runs
    what takes long.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        group: str,
        client_id: str,
        session_timeout_ms: int,
        revoked: Callable[[set[int]], Awaitable[None]],
        assigned: Callable[[set[int]], None],
        unpacking: Executor,
    ) -> None:
        self._topic = topic
        self._group = group
        self._servers = servers
        self._client_id = client_id
        self._session_timeout_ms = session_timeout_ms
        self._listener = _Listener(revoked, assigned)
        self._unpacking = unpacking
        self._pieces: PieceConsumer | None = None
        self._consumer: Any = None
        self._admin: Any = None
        self._producer: Any = None

    async def start(self) -> None:
        """Join the group. Raises LogUnreachable."""
        self._consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            client_id=self._client_id,
            group_id=self._group,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=self._session_timeout_ms,
            heartbeat_interval_ms=self._session_timeout_ms // 4,
            rebalance_timeout_ms=60_000,
            max_poll_interval_ms=NEVER_MS,  # while the store is away nothing is read
            metadata_max_age_ms=5_000,
            max_partition_fetch_bytes=8 << 20,
        )
        self._admin = AIOKafkaAdminClient(
            bootstrap_servers=self._servers, client_id=self._client_id
        )
        try:
            await self._admin.start()
            self._consumer.subscribe([self._topic], listener=self._listener)
            await self._consumer.start()
            self._pieces = PieceConsumer(self._consumer, self._unpacking)
        except KafkaError as error:
            await self.stop()
            raise LogUnreachable(f"the log at {self._servers} did not answer: {error}") from error

    async def stop(self) -> None:
        """Leave the group; bounded."""
        for part, close in (
            (self._consumer, "stop"),
            (self._admin, "close"),
            (self._producer, "stop"),
        ):
            if part is not None:
                with contextlib.suppress(KafkaError, TimeoutError, OSError):
                    await asyncio.wait_for(getattr(part, close)(), _STOP_S)
        self._pieces = self._consumer = self._admin = self._producer = None

    async def place(self, partition: int) -> Place:
        """Where a partition stands. Raises LogUnreachable."""
        where = self._partition(partition)
        try:
            kept = await self._admin.list_consumer_group_offsets(self._group, partitions=[where])
            start = await self._consumer.beginning_offsets([where])
            end = await self._consumer.end_offsets([where])
        except (KafkaError, OSError) as error:
            raise LogUnreachable(f"offsets of {where} were not told: {error}") from error
        found = kept.get(where)
        committed = None
        if found is not None and found.offset >= 0:
            committed = Committed.read(int(found.offset), str(found.metadata))
        return Place(committed, int(start[where]), int(end[where]))

    def seek(self, partition: int, offset: int) -> None:
        if self._pieces is not None:
            self._pieces.fetch_from((self._topic, partition), offset)

    def holds(self, partition: int) -> bool:
        """Whether the group still gives this member the partition."""
        return self._partition(partition) in self._consumer.assignment()

    async def read(
        self, partitions: Iterable[int], wait_ms: int
    ) -> dict[int, list[tuple[int, bytes]]]:
        """Offsets and values that came for these partitions; nothing when none did in time.

        `wake_up` ends the wait. Raises LogUnreachable.
        """
        if self._pieces is None:
            return {}
        wanted = [(self._topic, p) for p in partitions if self.holds(p)]
        try:
            found = await self._pieces.poll(wanted, wait_ms / 1000)
        except Retriable as error:
            raise LogUnreachable(f"reading failed: {error}") from error
        return {
            partition: [(r.offset, r.value or b"") for r in piece.records]
            for (_, partition), piece in found.items()
            if piece.records
        }

    def wake_up(self) -> None:
        """End the wait of a `read`."""
        if self._pieces is not None:
            self._pieces.wake_up()

    async def commit(self, partition: int, committed: Committed) -> None:
        """Keep this, durably and fenced. Raises LogUnreachable."""
        kept = aiokafka.OffsetAndMetadata(committed.offset, committed.metadata())
        try:
            await self._consumer.commit({self._partition(partition): kept})
        except KafkaError as error:
            raise LogUnreachable(f"the group did not keep the offset: {error!r}") from error

    async def dead_letter(self, topic: str, source: str, raw: bytes, reason: str) -> None:
        """Keep a record that cannot be stored; of one too large for the topic, its beginning.

        Raises:
            LogUnreachable: It was not kept.
        """
        try:
            if self._producer is None:
                producer = aiokafka.AIOKafkaProducer(
                    bootstrap_servers=self._servers,
                    client_id=self._client_id,
                    acks="all",
                    enable_idempotence=True,
                    compression_type="zstd",
                    max_request_size=64 << 20,
                )
                await producer.start()
                self._producer = producer
            headers = [("reason", reason.encode()), ("code", b"rollups-malformed")]
            key = source.encode()
            try:
                await self._producer.send_and_wait(topic, raw, key=key, headers=headers)
            except MessageSizeTooLargeError:
                headers.append(("truncated", str(len(raw)).encode()))
                await self._producer.send_and_wait(
                    topic, raw[:_DEAD_LETTER_BYTES], key=key, headers=headers
                )
        except KafkaError as error:
            raise LogUnreachable(f"the dead letter was not kept: {error}") from error

    def _partition(self, number: int) -> Any:
        return aiokafka.TopicPartition(self._topic, number)


class _Listener(aiokafka.ConsumerRebalanceListener):
    """Passes rebalances on. aiokafka swallows what a listener raises, so nothing here may."""

    def __init__(
        self,
        revoked: Callable[[set[int]], Awaitable[None]],
        assigned: Callable[[set[int]], None],
    ) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, revoked: Any
    ) -> None:
        await self._revoked({int(where.partition) for where in revoked})

    async def on_partitions_assigned(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, assigned: Any
    ) -> None:
        self._assigned({int(where.partition) for where in assigned})
