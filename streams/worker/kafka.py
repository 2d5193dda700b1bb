"""What is asked of aiokafka (0.14) without a group, with types, and with its traps closed.

Everything is read read_committed. What aiokafka does that is dealt with here:

- a failed produce does not fail the transaction: every future is awaited before the commit;
- an idempotent batch never expires: the wait for the futures has a deadline of its own;
- `commit_transaction` has none either, and cancelling it does not stop it: past the deadline the
  outcome is unknown, which is `Fatal`;
- `stop()` of a producer may hang, and closing its client raise what its task for metadata ended
  with: both are bounded, and the sockets are closed after it;
- `getmany()` without partitions means all of them; without a broker it returns nothing, silently.

The member of a consumer group is in `group_consumer.py`.
"""

# aiokafka ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportIncompatibleMethodOverride=false
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    KafkaError,
    ProducerFenced,
    TopicAlreadyExistsError,
    for_code,
)

from streams.config import WorkerConfig
from streams.errors import Fatal, Fenced, MustRestore, Retriable
from streams.state.changelog import ChangelogRecord
from streams.task.outputs import parts_of
from streams.task.processor import OutputRecord
from streams.worker.batches import ReadyBatch
from streams.worker.encoding import Encoding
from streams.worker.row_batches import goes_by_key

log = logging.getLogger(__name__)

Partition = tuple[str, int]
"""(topic, partition)"""

_STOP_SECONDS = 3.0
NEVER_MS = 2**31 - 1
_METADATA_MS = 30_000
"""Between two looks at the partitions and their leaders; an error makes a client look at once. Only
members of groups have to notice new partitions, and a worker has a dozen clients beside them."""


async def bounded(work: Awaitable[Any], seconds: float = _STOP_SECONDS) -> bool:
    """Wait for a shutdown step that may hang or fail; whether it ended in time.

    However it fails, what it was a step of goes on: it lets go of something of no more use. A
    client that lost its connection says so by errors of the event loop's own, too (uvloop's
    RuntimeError of a closed handle).
    """
    try:
        await asyncio.wait_for(work, seconds)
    except (TimeoutError, KafkaError, OSError):
        return False
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        return False
    except Exception as error:
        log.warning("a client that is let go of did not close well: %r", error)
        return False
    return True


def common(config: WorkerConfig, metadata_ms: int = _METADATA_MS) -> dict[str, Any]:
    return {
        "bootstrap_servers": config.bootstrap_servers,
        "client_id": config.client_id,
        "request_timeout_ms": config.request_timeout_ms,
        "metadata_max_age_ms": metadata_ms,
    }


def reader(config: WorkerConfig, isolation: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **common(config),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level=isolation,
        max_partition_fetch_bytes=config.partition_fetch_bytes,
        fetch_max_bytes=config.fetch_bytes,
        fetch_max_wait_ms=config.fetch_max_wait_ms,
        max_poll_interval_ms=NEVER_MS,
    )


class OffsetLookup:
    """Where partitions begin and end. Two clients, because the end depends on the isolation."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._committed: AIOKafkaConsumer | None = None
        self._all: AIOKafkaConsumer | None = None
        self._starting = asyncio.Lock()

    async def stable_bounds(self, partition: Partition) -> tuple[int, int]:
        """Offsets [log start, last stable offset). Raises `Retriable`."""
        committed, _ = await self._clients()
        return await _bounds(committed, partition)

    async def full_bounds(self, partition: Partition) -> tuple[int, int]:
        """Offsets [log start, high watermark). Raises `Retriable`."""
        _, everything = await self._clients()
        return await _bounds(everything, partition)

    async def records(self, topics: Sequence[str], pattern: str | None) -> dict[Partition, int]:
        """Offsets that each partition has, of these topics or of those that match whole.

        Raises `Retriable`.
        """
        committed, _ = await self._clients()
        try:
            cluster = await committed._client.fetch_all_metadata()
            every = [
                TopicPartition(topic, number)
                for topic in cluster.topics()
                if (topic in topics if pattern is None else re.fullmatch(pattern, topic))
                for number in cluster.partitions_for_topic(topic) or ()
            ]
            first = await committed.beginning_offsets(every)
            last = await committed.end_offsets(every)
        except (KafkaError, OSError) as error:
            raise Retriable(f"no bounds of the input: {error!r}") from error
        return {(at.topic, at.partition): last[at] - first[at] for at in every}

    async def partition_count(self, topic: str) -> int:
        """Partitions of a topic; 0 when there is none. Raises `Retriable`."""
        committed, _ = await self._clients()
        try:
            cluster = await committed._client.fetch_all_metadata()
        except KafkaError as error:
            raise Retriable(f"the log does not answer: {error!r}") from error
        return len(cluster.partitions_for_topic(topic) or ())

    async def answers(self, seconds: float) -> bool:
        """Whether the log answers at all."""
        try:
            committed, _ = await asyncio.wait_for(self._clients(), seconds)
            await asyncio.wait_for(committed.topics(), seconds)
        except (Retriable, KafkaError, OSError, TimeoutError):
            return False
        return True

    async def stop(self) -> None:
        for client in (self._committed, self._all):
            if client is not None:
                await bounded(client.stop())
        self._committed = self._all = None

    async def _clients(self) -> tuple[AIOKafkaConsumer, AIOKafkaConsumer]:
        async with self._starting:
            if self._committed is None:
                self._committed = await started(reader(self._config, "read_committed"))
            if self._all is None:
                self._all = await started(reader(self._config, "read_uncommitted"))
            return self._committed, self._all


async def started(consumer: AIOKafkaConsumer) -> AIOKafkaConsumer:
    try:
        await consumer.start()
    except (KafkaError, OSError) as error:
        await bounded(consumer.stop())
        raise Retriable(f"the log does not answer: {error!r}") from error
    except BaseException:
        await bounded(consumer.stop())
        raise
    return consumer


async def _bounds(consumer: AIOKafkaConsumer, partition: Partition) -> tuple[int, int]:
    at = TopicPartition(*partition)
    consumer._client.add_topic(partition[0])  # asked about an unknown one it sleeps first
    try:
        first = await consumer.beginning_offsets([at])
        last = await consumer.end_offsets([at])
    except (KafkaError, OSError) as error:
        raise Retriable(f"no bounds of {partition[0]}/{partition[1]}: {error!r}") from error
    return first[at], last[at]


class TransactionalProducer:
    """One task's producer. After any failure it is thrown away; `start` makes another.

    At least once, another one writes outputs outside transactions; it is idempotent, too.
    """

    def __init__(self, config: WorkerConfig, transactional_id: str, codec: Executor) -> None:
        """codec: Where records are encoded and compressed, beside the event loop."""
        self._config = config
        self._id = transactional_id
        self._codec = codec
        self._producer: AIOKafkaProducer | None = None
        self._plain: AIOKafkaProducer | None = None  # of outputs, at least once

    async def start(self) -> None:
        """Fence the previous owner and end its transaction. Raises `Retriable`."""
        await self.stop()
        config = self._config
        self._producer = await self._started(
            transactional_id=self._id, transaction_timeout_ms=config.transaction_timeout_ms
        )
        if config.guarantee == "at_least_once":
            self._plain = await self._started(enable_idempotence=True)

    async def _started(self, **kind: Any) -> AIOKafkaProducer:
        config = self._config
        producer = AIOKafkaProducer(
            **common(config),
            **kind,
            compression_type="zstd",
            max_batch_size=config.batch_bytes,
            max_request_size=config.max_request_bytes,
        )
        try:
            await asyncio.wait_for(producer.start(), config.request_timeout_ms / 1000)
        except (KafkaError, OSError, TimeoutError) as error:
            await _discard(producer)
            raise Retriable(f"{self._id} cannot register: {error!r}") from error
        except BaseException:
            await _discard(producer)
            raise
        return producer

    async def commit(
        self,
        outputs: Sequence[OutputRecord],
        changelog: Sequence[ChangelogRecord],
        to: Partition,
    ) -> int:
        """One transaction; returns the offset behind its last changelog record.

        At least once, the outputs are written before it; 0 where no changelog follows them.

        Raises `MustRestore` (surely not committed), `Fenced`, `Fatal` (outcome unknown).
        """
        producer = self._producer
        if producer is None:
            raise MustRestore(f"{self._id} has no producer")
        limit = self._config.request_timeout_ms / 1000
        try:
            if self._plain is not None:
                writing = self._send_all(self._plain, outputs, (), to)
                await asyncio.wait_for(writing, limit)
                outputs = ()
                if not changelog:
                    return 0
            await producer.begin_transaction()
            sending = self._send_all(producer, outputs, changelog, to)
            last = await asyncio.wait_for(sending, limit)
        except ProducerFenced as error:
            raise Fenced(f"{self._id} has a newer owner, or its transaction timed out") from error
        except Exception as error:  # AssertionError and ValueError among them
            await self._abort()
            raise MustRestore(f"{self._id} could not write: {error!r}") from error
        try:
            await asyncio.wait_for(
                producer.commit_transaction(), self._config.commit_timeout_ms / 1000
            )
        except ProducerFenced as error:
            raise Fenced(f"{self._id} was fenced while it committed") from error
        except Exception as error:  # TimeoutError and uvloop's RuntimeError among them
            raise Fatal(
                f"the outcome of a commit of {self._id} is unknown: {error!r}",
                "The worker stops; the next start reads from the log what became of it",
            ) from error
        return last + 1

    async def stop(self) -> None:
        """Let go; bounded."""
        producer, self._producer = self._producer, None
        plain, self._plain = self._plain, None
        for each in (producer, plain):
            if each is not None:
                await _discard(each)

    async def _abort(self) -> None:
        if self._producer is not None:
            await bounded(_abort_quietly(self._producer))
        await self.stop()

    async def _send_all(
        self,
        producer: AIOKafkaProducer,
        outputs: Sequence[OutputRecord],
        changelog: Sequence[ChangelogRecord],
        to: Partition,
    ) -> int:
        """The offset of the changelog's last record; 0 without one."""
        counts = {out.topic: 0 for out in parts_of(outputs) if goes_by_key(out)}
        for topic in counts:
            counts[topic] = len(await producer.partitions_for(topic))
        plain = self._plain is producer
        encoding = Encoding(self._config, self._codec, transactional=not plain)
        pieces = encoding.pieces(changelog)
        try:
            async with asyncio.TaskGroup() as sending:  # a batch waits for its partition's last one
                last = sending.create_task(_send_in_order(producer, to, pieces))
                for at, ready in (await encoding.batches(outputs, counts)).items():
                    sending.create_task(_send_in_order(producer, at, _alone(ready)))
        except ExceptionGroup as several:
            errors = several.exceptions
            fenced = (error for error in errors if isinstance(error, ProducerFenced))
            raise next(fenced, errors[0]) from None
        return last.result()


async def _alone(batches: Sequence[ReadyBatch]) -> AsyncGenerator[Sequence[ReadyBatch]]:
    yield batches


async def _send_in_order(
    producer: AIOKafkaProducer, at: Partition, pieces: AsyncGenerator[Sequence[ReadyBatch]]
) -> int:
    """The offset of the last record; 0 without one."""
    sent: list[asyncio.Future[Any]] = []
    count = 0
    async with aclosing(pieces):
        async for batches in pieces:
            for batch in batches:
                future = await producer.send_batch(batch, at[0], partition=at[1])
                future.add_done_callback(_retrieve)  # a failure elsewhere leaves it unawaited
                sent.append(future)
                count = batch.record_count()
    written = await asyncio.gather(*sent)
    return written[-1].offset + count - 1 if written else 0


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


async def _abort_quietly(producer: AIOKafkaProducer) -> None:
    try:
        await producer.abort_transaction()
    except (KafkaError, AssertionError):
        return  # the next owner's registration ends it


async def _discard(producer: AIOKafkaProducer) -> None:
    if not await bounded(producer.stop()):
        await bounded(producer._sender.close(), 1.0)
        await bounded(producer.client.close(), 1.0)


async def create_topic(
    config: WorkerConfig, topic: str, partitions: int, settings: Mapping[str, str]
) -> None:
    """Make a topic unless it is there. Raises `Retriable`, `Fatal`."""
    admin = AIOKafkaAdminClient(
        bootstrap_servers=config.bootstrap_servers, client_id=config.client_id
    )
    try:
        await admin.start()
        response = await admin.create_topics(
            [
                NewTopic(
                    topic, partitions, config.changelog_replication, topic_configs=dict(settings)
                )
            ]
        )
    except (KafkaError, OSError) as error:
        raise Retriable(f"cannot create {topic}: {error!r}") from error
    finally:
        await bounded(admin.close())
    for name, code, *_ in response.topic_errors:
        error_type = for_code(code)
        if code == 0 or error_type is TopicAlreadyExistsError:
            continue
        if getattr(error_type, "retriable", False):
            raise Retriable(f"cannot create {name}: {error_type.__name__}")
        raise Fatal(f"the log refuses to create {name}: {error_type.__name__}")
