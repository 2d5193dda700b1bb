"""What goes in and comes out while faults come: a producer and a reader in threads of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, KafkaTimeoutError

START_NS = 1_700_000_000 * 10**9
STEP_NS = 25_000_000
JITTER_NS = 10**9
"""Orders come up to a second out of order."""
SHOPS = 23


def create(address: str, topics: dict[str, int]) -> None:
    """Make topics with so many partitions."""

    async def work() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        await admin.create_topics([NewTopic(name, n, 1) for name, n in topics.items()])
        await admin.close()

    asyncio.run(work())


def order(number: int, rng: random.Random) -> bytes:
    """An order; its time goes with its number, not with the clock."""
    shop = f"shop-{rng.randrange(SHOPS)}"
    at = START_NS + number * STEP_NS - rng.randrange(JITTER_NS)
    return json.dumps(
        {"id": number, "shop": shop, "amount": rng.randint(1, 999), "at": at}
    ).encode()


class Traffic:
    """Sends orders at a rate until stopped, and watches `seen` (read committed)."""

    def __init__(self, address: str, partitions: int, seed: int, rate: float) -> None:
        self.address = address
        self.partitions = partitions
        self.sent = 0
        self.acknowledged: dict[int, tuple[int, int]] = {}
        """id -> (partition, offset)"""
        self.newest_seen = [-1] * partitions
        """The newest id of each input partition that came out."""
        self.seen = 0
        self._home: dict[int, int] = {}
        self._rng = random.Random(f"orders/{seed}")
        self._rate = rate
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), daemon=True)
            for work in (self._send, self._watch)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop_sending(self) -> None:
        """Returns when everything that was sent is acknowledged."""
        self._stop.set()
        self._threads[0].join(120)
        self.check()
        assert not self._threads[0].is_alive(), "the broker does not acknowledge"

    def check(self) -> None:
        """Raises what ended one of the threads."""
        if self._failed:
            raise self._failed[0]

    def went_on(self, after: int) -> bool:
        """Whether of every input partition an order newer than this id came out."""
        self.check()
        return min(self.newest_seen) > after

    def _guard(self, work: Callable[[], Any]) -> None:
        try:
            asyncio.run(work())
        except BaseException as error:
            self._failed.append(error)

    async def _send(self) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.address, enable_idempotence=True, request_timeout_ms=5_000
        )
        await producer.start()
        waiting: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        while not self._stop.is_set():
            while self.sent < (time.monotonic() - began) * self._rate:
                number, self.sent = self.sent, self.sent + 1
                at = self._home[number] = self._rng.randrange(self.partitions)
                future = await _sent(producer, order(number, self._rng), at)
                task = asyncio.create_task(self._note(number, future))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
            await asyncio.sleep(0.02)
        await asyncio.gather(*waiting)
        await producer.stop()

    async def _note(self, number: int, future: Any) -> None:
        found = await future
        self.acknowledged[number] = (found.partition, found.offset)

    async def _watch(self) -> None:
        offsets: dict[TopicPartition, int] = {}
        while True:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self.address,
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
            )
            with contextlib.suppress(KafkaError, OSError):
                try:
                    await self._follow(consumer, offsets)
                finally:
                    await consumer.stop()
            await asyncio.sleep(0.2)

    async def _follow(
        self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]
    ) -> NoReturn:
        await consumer.start()
        consumer.assign([TopicPartition("seen", 0), TopicPartition("seen", 1)])
        for at, offset in offsets.items():
            consumer.seek(at, offset)
        while True:
            for at, messages in (await consumer.getmany(timeout_ms=100)).items():
                for message in messages:
                    number = json.loads(message.value)["id"]
                    home = self._home[number]
                    self.newest_seen[home] = max(self.newest_seen[home], number)
                    self.seen += 1
                offsets[at] = messages[-1].offset + 1


async def _sent(producer: AIOKafkaProducer, value: bytes, partition: int) -> Any:
    """Put into the producer's queue, which may be full while the broker is away."""
    while True:
        with contextlib.suppress(KafkaTimeoutError):
            return await producer.send("orders", value, partition=partition)


def send_all(address: str, values: list[tuple[int, bytes]]) -> None:
    """(partition, value), each acknowledged."""

    async def work() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True)
        await producer.start()
        for partition, value in values:
            await producer.send_and_wait("orders", value, partition=partition)
        await producer.stop()

    asyncio.run(work())


def read(address: str, topic: str, partitions: int) -> list[list[Any]]:
    """Everything committed in a topic, by partition."""

    async def work() -> list[list[Any]]:
        all_of = [TopicPartition(topic, p) for p in range(partitions)]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=address,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        consumer.assign(all_of)
        ends = await consumer.end_offsets(all_of)
        found: dict[TopicPartition, list[Any]] = {at: [] for at in all_of}
        while any([await consumer.position(at) < end for at, end in ends.items()]):
            for at, messages in (await consumer.getmany(timeout_ms=200)).items():
                found[at] += messages
        await consumer.stop()
        return [found[at] for at in all_of]

    return asyncio.run(work())


def open_transactions(address: str, topics: dict[str, int]) -> dict[str, tuple[int, int]]:
    """`topic/partition` -> (last stable offset, high watermark), where the two differ."""

    async def work() -> dict[str, tuple[int, int]]:
        all_of = [TopicPartition(name, p) for name, n in topics.items() for p in range(n)]
        ends: list[dict[TopicPartition, int]] = []
        for isolation in ("read_committed", "read_uncommitted"):
            consumer = AIOKafkaConsumer(
                bootstrap_servers=address, isolation_level=isolation, enable_auto_commit=False
            )
            await consumer.start()
            ends.append(await consumer.end_offsets(all_of))
            await consumer.stop()
        stable, full = ends
        return {
            f"{at.topic}/{at.partition}": (stable[at], full[at])
            for at in all_of
            if stable[at] < full[at]
        }

    return asyncio.run(work())
