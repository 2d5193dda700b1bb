"""What is in force, as a worker knows it: read before its tasks start, and followed (S)."""

# Faust and mode ship no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from faust.web import Request, View
from mode import Service

from metric_registry.compile import compile_plan
from streams.aggregates.needed import require
from streams.errors import Fatal
from tidemill.definitions_topic import AWAY, DefinitionsReader, in_force
from tidemill.own_aggregates import all_own
from tidemill.settings import Settings
from tidemill.wiring import DefinitionsError
from topologies.decisions import UnreadableDecision
from topologies.deployment import Deployment, InForce

log = logging.getLogger(__name__)

_WAIT_MS = 5_000
_RETRY_S = 0.5
GIVE_UP_S = 120.0


class Following(Service):
    """Keeps `known` what the log says is in force, and tells `changed` of it.

    Tasks go over by records of their input, whatever this knows; it is for what is outside of
    tasks, and for tasks that begin.
    """

    def __init__(
        self,
        settings: Settings,
        number: int,
        changed: Callable[[Deployment], None],
        **kw: Any,
    ) -> None:
        super().__init__(**kw)
        self.known = InForce(Deployment(compile_plan([])))
        self._settings = settings
        self._client = f"{settings.app}-worker-{number}-definitions"
        self._changed = changed
        self._reader: DefinitionsReader | None = None
        self._running: asyncio.Task[None] | None = None
        self._away = ""

    def stats(self) -> dict[str, Any]:
        """What is known to be in force; the aggregates of users' own that this process has."""
        deployed = self.known.now
        return {
            "decided": deployed.decided,
            "definitions": {one.name: one.version for one in deployed.current},
            "derived": {one.name: one.version for one in deployed.plan.derived},
            "aggregates": sorted({spelling.partition("(")[0] for spelling, _ in all_own()}),
            "away": self._away,
        }

    async def on_start(self) -> None:
        """Returns when it is known what is in force, or when asked to stop.

        Raises:
            Fatal: The log stays away, or what it says cannot be read or computed here.
        """
        bootstrap = self._settings.bootstrap
        try:
            async with asyncio.timeout(GIVE_UP_S):
                self._reader = await self._read()
            if self._reader is not None:
                self._take(self._reader)
        except TimeoutError as error:
            message = f"no log at {bootstrap} says what is in force, for {GIVE_UP_S:.0f} s"
            advice = "Start the broker, or point bootstrap at it; `tidemill init` makes the topics"
            raise Fatal(message, advice) from error
        except (UnreadableDecision, DefinitionsError) as error:
            raise Fatal(str(error)) from error
        self._running = asyncio.create_task(self._run())

    async def on_stop(self) -> None:
        """Disconnect."""
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
        if self._reader is not None:
            await self._reader.stop()

    async def _run(self) -> None:
        while not self.should_stop:
            try:
                await self._follow()
            except Exception as error:
                await self.crash(error)
                return

    async def _follow(self) -> None:
        """Until the log is away; then read anew."""
        reader = self._reader
        try:
            if reader is None:
                reader = self._reader = await self._read()
                if reader is None:
                    return
                self._take(reader)
            while not self.should_stop:
                if await reader.follow(_WAIT_MS):
                    self._take(reader)
        except AWAY as error:
            self._away = f"definitions are not followed: {error!r}"
            log.warning("%s; trying again", self._away)
            self._reader = None
            if reader is not None:
                await reader.stop()
            await asyncio.sleep(_RETRY_S)

    async def _read(self) -> DefinitionsReader | None:
        """A reader at the end of the topic; tries until there is one, or until asked to stop.

        Raises:
            UnreadableDecision: A later program wrote what is there.
        """
        while not self.should_stop:
            reader = DefinitionsReader(self._settings, self._client)
            try:
                await reader.start()
            except AWAY as error:
                self._away = f"definitions in force are not known: {error!r}"
                await reader.stop()
                await asyncio.sleep(_RETRY_S)
            except BaseException:
                await reader.stop()
                raise
            else:
                self._away = ""
                return reader
        return None

    def _take(self, reader: DefinitionsReader) -> None:
        deployed = in_force(reader.decisions, self._settings)
        require((d.name, d.over_points) for d in deployed.plan.definitions if d.over_points)
        if deployed != self.known.now:
            self.known.now = deployed
            self._changed(deployed)


def page(following: Following) -> type[View]:
    """What this worker knows of definitions, as JSON."""

    class Definitions(View):
        """What is in force, as this worker knows it."""

        async def get(self, request: Request, **kwargs: Any) -> Any:
            return self.json(following.stats())

    return Definitions
