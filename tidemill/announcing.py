"""Tells the log's partitions which definitions are in force from when on.

A partition's task goes over to other definitions at a record of its input, so what counts under
which is a matter of the log. All partitions are told in one transaction, some time before the
definitions begin to count; what of the log comes later, comes behind it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiokafka import AIOKafkaProducer  # pyright: ignore[reportMissingTypeStubs]
from aiokafka.errors import KafkaError  # pyright: ignore[reportMissingTypeStubs]

from tidemill.probe import Unreachable
from tidemill.settings import Settings
from tidemill.wiring import changes_of, decide, write_down
from topologies.deployment import Deployment
from topologies.epochs import LIVE, Epochs

HEADER = ("control", b"plan")
_TIMEOUT_S = 15.0


async def introduce(settings: Settings, epochs: Epochs) -> list[str]:
    """Put the definitions as they are written in force; a sentence for each that changes.

    Nothing is written down before every partition knows: whoever fails half way, or ends, decides
    anew, for a later time.

    Raises:
        DefinitionsError: Some definition has a mistake.
        Unreachable: The log does not answer in time.
    """
    decided = decide(settings, time.time_ns(), epochs)
    if decided.before not in (None, decided.after):
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await _announce(settings, decided.after, epochs)
        except (KafkaError, OSError, TimeoutError) as error:
            raise Unreachable(
                f"the log at {settings.bootstrap} was not told of changed definitions "
                f"({type(error).__name__})"
            ) from error
    write_down(settings, decided.after)
    return changes_of(decided, epochs)


async def _announce(settings: Settings, deployed: Deployment, epochs: Epochs) -> None:
    producer: Any = AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap,
        transactional_id=f"{settings.app}-definitions",
        transaction_timeout_ms=30_000,
    )
    try:
        await producer.start()  # another that is under way is fenced
        told = deployed.to_json()
        topics = {LIVE: settings.raw_partitions}
        topics |= {epoch.topic: epoch.partitions for epoch in epochs.later}
        async with producer.transaction():
            sent = [
                await producer.send(topic, told, partition=number, headers=[HEADER])
                for topic, partitions in topics.items()
                for number in range(partitions)
            ]
            for each in sent:
                await each
    finally:
        await producer.stop()
