"""One small compacted topic, read whole and followed (S)."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import aiokafka  # pyright: ignore[reportMissingTypeStubs]

_aiokafka = cast(Any, aiokafka)

ANSWER_S = 10.0
Change = tuple[bytes, bytes | None]
"""Key and value of a record; None: the key is deleted."""


class CompactedTopic:
    """The committed records of a topic of one partition, in order, each once."""

    def __init__(self, bootstrap: str, topic: str, client_id: str) -> None:
        self._consumer: Any = _aiokafka.AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            client_id=client_id,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=16 << 20,
        )
        self._partition = _aiokafka.TopicPartition(topic, 0)

    async def start(self) -> None:
        """Connect. Raises what the client raises, or TimeoutError."""
        async with asyncio.timeout(ANSWER_S):
            await self._consumer.start()
            self._consumer.assign([self._partition])

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def read(self) -> list[Change]:
        """What came up to what was committed when it was asked for. Raises as `start`."""
        async with asyncio.timeout(ANSWER_S):
            found: list[Change] = []
            ends = await self._consumer.end_offsets([self._partition])
            while await self._consumer.position(self._partition) < ends[self._partition]:
                found += await self.news(200)
            return found

    async def news(self, wait_ms: int) -> list[Change]:
        """What comes next; nothing if nothing does in time. Raises what the client raises."""
        batches = await self._consumer.getmany(timeout_ms=wait_ms)
        return [
            (record.key or b"", record.value) for records in batches.values() for record in records
        ]
