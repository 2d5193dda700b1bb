"""Creating a deployment's topics on whatever log it uses."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.admin import (  # pyright: ignore[reportMissingTypeStubs]
    AIOKafkaAdminClient,
    NewTopic,
)
from aiokafka.errors import (  # pyright: ignore[reportMissingTypeStubs]
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)

from streams.topology.topics import Topic
from tidemill.settings import Settings, topics


class TopicsError(RuntimeError):
    """A topic could not be created, or exists with fewer partitions than the settings say."""


async def create_topics(settings: Settings, timeout: float = 30.0) -> list[str]:
    """Create the topics that are missing; returns their names. Waits for the log to answer.

    Raises:
        TopicsError: The log refuses, does not answer in time, or has a topic of another shape.
    """
    try:
        async with asyncio.timeout(timeout):
            while True:
                try:
                    return await _create(settings)
                except (KafkaError, OSError):
                    await asyncio.sleep(0.1)
    except TimeoutError:
        raise TopicsError(
            f"the log at {settings.bootstrap} did not answer within {timeout:g} s: is it running?"
        ) from None


async def _create(settings: Settings) -> list[str]:
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await admin.start()
    try:
        wanted = topics(settings)
        described: list[dict[str, Any]] = await admin.describe_topics()
        existing = {topic["topic"]: len(topic["partitions"]) for topic in described}
        for spec in wanted:
            found = existing.get(spec.name, spec.partitions)
            if found != spec.partitions:
                raise TopicsError(
                    f"topic {spec.name} has {found} partitions and the settings say "
                    f"{spec.partitions}: start with the settings it was made with, or use another "
                    "data directory"
                )
        missing = [spec for spec in wanted if spec.name not in existing]
        if missing:
            answer = await admin.create_topics([_new(spec, settings) for spec in missing])
            for name, code, *rest in answer.topic_errors:
                if code and for_code(code) is not TopicAlreadyExistsError:
                    raise TopicsError(f"topic {name}: {for_code(code).__name__} {rest or ''}")
        return [spec.name for spec in missing]
    finally:
        await admin.close()


def _new(spec: Topic, settings: Settings) -> NewTopic:
    return NewTopic(
        spec.name,
        num_partitions=spec.partitions,
        replication_factor=settings.replication,
        topic_configs=dict(spec.config),
    )
