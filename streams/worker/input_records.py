"""How many records the log has of each partition that a topology reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from streams.config import Topology
from streams.errors import Retriable
from streams.worker.kafka import OffsetLookup, Partition

log = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
WITHIN_SECONDS = 5.0


class InputRecords:
    """What was found last, for the member that leads the group: who does not know it spreads tasks
    by their number alone."""

    def __init__(self, lookup: OffsetLookup, topology: Topology) -> None:
        self._lookup = lookup
        self._topology = topology
        self._found: Mapping[Partition, int] = {}

    def __call__(self) -> Mapping[Partition, int]:
        return self._found

    async def look(self) -> None:
        """Once, for seconds at most."""
        looking = self._lookup.records(self._topology.topics, self._topology.pattern)
        try:
            self._found = await asyncio.wait_for(looking, WITHIN_SECONDS)
        except (Retriable, TimeoutError) as error:
            log.debug("records of the input of %s: %r", self._topology.name, error)

    async def keep_looking(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.look()
