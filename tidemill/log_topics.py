"""What is on the log: topics, partitions, records."""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tidemill.probe import Unreachable


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic. `records` counts offsets, so markers of transactions are among them."""

    topic: str
    partitions: int
    first: int
    end: int

    @property
    def records(self) -> int:
        return self.end - self.first


@asynccontextmanager
async def log_clients(bootstrap: str, timeout: float) -> AsyncGenerator[tuple[Any, Any]]:
    """An admin client and a consumer, for so many seconds.

    Raises:
        Unreachable: No log answers there in time.
    """
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer: Any = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    try:
        async with asyncio.timeout(timeout):
            await admin.start()
            await consumer.start()
            yield admin, consumer
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unreachable(f"no log answers at {bootstrap} ({type(error).__name__})") from error
    finally:
        await asyncio.gather(admin.close(), consumer.stop(), return_exceptions=True)


async def topic_states(bootstrap: str, timeout: float = 10.0) -> list[TopicState]:
    """Every topic by name; `first` and `end` are sums over its partitions.

    Raises:
        Unreachable: No log answers there in time.
    """
    async with log_clients(bootstrap, timeout) as (admin, consumer):
        described: list[dict[str, Any]] = await admin.describe_topics()
        parts: dict[str, list[int]] = {
            topic["topic"]: [part["partition"] for part in topic["partitions"]]
            for topic in described
        }
        every = [TopicPartition(name, part) for name, found in parts.items() for part in found]
        firsts: dict[Any, int] = await consumer.beginning_offsets(every)
        ends: dict[Any, int] = await consumer.end_offsets(every)
    return [
        TopicState(
            name,
            len(parts[name]),
            sum(firsts[TopicPartition(name, part)] for part in parts[name]),
            sum(ends[TopicPartition(name, part)] for part in parts[name]),
        )
        for name in sorted(parts)
    ]
