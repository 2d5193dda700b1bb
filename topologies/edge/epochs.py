"""What the log says of epochs, read at the start and again every two seconds (S).

An edge that did not learn of a change in time would send points where nobody counts them. So one
that has not read the list for a minute knows no epochs, and takes nothing; changes are announced
minutes before anything depends on them.
"""

from __future__ import annotations

import asyncio
import time

from topologies.compacted import CompactedTopic
from topologies.epochs import ONE_EPOCH, TOPIC, Epochs

POLL_S = 2.0
FRESH_S = 60.0


class EpochsReader:
    """The newest record of `telemetry.epochs`."""

    def __init__(self, bootstrap: str, client_id: str) -> None:
        self._topic = CompactedTopic(bootstrap, TOPIC, client_id)
        self._found = ONE_EPOCH
        self._read_at = -FRESH_S

    @property
    def epochs(self) -> Epochs | None:
        """What was read last; None if that is a minute ago."""
        return self._found if time.monotonic() - self._read_at < FRESH_S else None

    async def start(self) -> None:
        """Connect and read. Raises what the client raises, TimeoutError or ValueError."""
        await self._topic.start()
        await self._read()

    async def keep(self) -> None:
        """Read again and again, until cancelled; raises as `start`."""
        while True:
            await asyncio.sleep(POLL_S)
            await self._read()

    async def stop(self) -> None:
        """Disconnect."""
        await self._topic.stop()

    async def _read(self) -> None:
        """Up to what was committed when it was asked for."""
        asked = time.monotonic()
        for _, value in await self._topic.read():
            self._found = Epochs.from_json(value or b"")
        self._read_at = asked
