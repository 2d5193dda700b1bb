"""What is on the log: topics, partitions, records."""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
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


async def topic_states(bootstrap: str, timeout: float = 10.0) -> list[TopicState]:
    """Every topic by name; `first` and `end` are sums over its partitions.

    Raises:
        Unreachable: No log answers there in time.
    """
    consumer: Any = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    try:
        async with asyncio.timeout(timeout):
            await consumer.start()
            names = sorted(await consumer.topics())
            parts = {name: consumer.partitions_for_topic(name) or set[int]() for name in names}
            every = [TopicPartition(name, part) for name in names for part in parts[name]]
            firsts: dict[Any, int] = await consumer.beginning_offsets(every)
            ends: dict[Any, int] = await consumer.end_offsets(every)
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unreachable(f"no log answers at {bootstrap} ({type(error).__name__})") from error
    finally:
        await consumer.stop()
    return [
        TopicState(
            name,
            len(parts[name]),
            sum(firsts[TopicPartition(name, part)] for part in parts[name]),
            sum(ends[TopicPartition(name, part)] for part in parts[name]),
        )
        for name in names
    ]
