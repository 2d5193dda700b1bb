"""Reading `telemetry.definitions`: what is in force, and what was before (S)."""

from __future__ import annotations

from aiokafka.errors import KafkaError  # pyright: ignore[reportMissingTypeStubs]

from tidemill.deployed_file import written
from tidemill.probe import Unreachable
from tidemill.settings import Settings
from tidemill.wiring import load_plan
from topologies.compacted import CompactedTopic
from topologies.decisions import TOPIC, Decisions
from topologies.deployment import Deployment

AWAY = (KafkaError, OSError, TimeoutError)
"""What the log's client raises while the log is away."""


class DefinitionsReader:
    """The topic, read to its end and then followed."""

    def __init__(self, settings: Settings, client_id: str) -> None:
        self._topic = CompactedTopic(settings.bootstrap, TOPIC, client_id)
        self.decisions = Decisions()

    async def start(self) -> None:
        """Connect, and read all there is. Raises `AWAY` or `UnreadableDecision`."""
        await self._topic.start()
        self._take(await self._topic.read())

    async def follow(self, wait_ms: int) -> bool:
        """Read what comes next; False: nothing did in time. Raises as `start`."""
        news = await self._topic.news(wait_ms)
        self._take(news)
        return bool(news)

    async def stop(self) -> None:
        """Disconnect."""
        await self._topic.stop()

    def _take(self, changes: list[tuple[bytes, bytes | None]]) -> None:
        for key, value in changes:
            self.decisions = self.decisions.taken(key, value)


async def decisions_of(settings: Settings) -> Decisions:
    """What the log says was decided about definitions.

    Raises:
        Unreachable: The log does not answer.
        UnreadableDecision: A later program wrote it.
    """
    reader = DefinitionsReader(settings, "tidemill-registry")
    try:
        await reader.start()
        return reader.decisions
    except AWAY as error:
        raise Unreachable(
            f"no log answers at {settings.bootstrap} ({type(error).__name__})"
        ) from error
    finally:
        await reader.stop()


def in_force(decisions: Decisions, settings: Settings) -> Deployment:
    """The newest decision; before any what an earlier program wrote, else what files say.

    Raises:
        DefinitionsError: Definitions have a mistake, or the file cannot be read.
        UnreadableDecision: A later program wrote the newest decision.
    """
    newest = decisions.newest
    if newest is not None:
        return newest.deployed
    return written(settings) or Deployment(load_plan(settings))
