"""What the log says of epochs, read at the start and again every two seconds (S).

An edge that did not learn of a change in time would send points where nobody counts them. So one
that has not read the list for a minute knows no epochs, and takes nothing; changes are announced
minutes before anything depends on them.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import aiokafka  # pyright: ignore[reportMissingTypeStubs]

from topologies.epochs import ONE_EPOCH, TOPIC, Epochs

_aiokafka = cast(Any, aiokafka)

POLL_S = 2.0
FRESH_S = 60.0
_ANSWER_S = 10.0


class EpochsReader:
    """The newest record of `telemetry.epochs`."""

    def __init__(self, bootstrap: str, client_id: str) -> None:
        self._consumer: Any = _aiokafka.AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            client_id=client_id,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        self._partition = _aiokafka.TopicPartition(TOPIC, 0)
        self._found = ONE_EPOCH
        self._read_at = -FRESH_S

    @property
    def epochs(self) -> Epochs | None:
        """What was read last; None if that is a minute ago."""
        return self._found if time.monotonic() - self._read_at < FRESH_S else None

    async def start(self) -> None:
        """Connect and read. Raises what the client raises, TimeoutError or ValueError."""
        async with asyncio.timeout(_ANSWER_S):
            await self._consumer.start()
            self._consumer.assign([self._partition])
            await self._read()

    async def keep(self) -> None:
        """Read again and again, until cancelled; raises as `start`."""
        while True:
            await asyncio.sleep(POLL_S)
            async with asyncio.timeout(_ANSWER_S):
                await self._read()

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def _read(self) -> None:
        """Up to what was committed when it was asked for."""
        asked = time.monotonic()
        ends = await self._consumer.end_offsets([self._partition])
        while await self._consumer.position(self._partition) < ends[self._partition]:
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    self._found = Epochs.from_json(record.value)
        self._read_at = asked
