"""All topologies of one worker process. No Faust here: `app.py` hosts it.

engine = Engine(config, topologies)
await engine.run()        # until stop(); raises what made it fail
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from streams.config import Topology, WorkerConfig
from streams.errors import Fatal
from streams.state.rocks import check_state_version
from streams.worker.kafka import OffsetLookup
from streams.worker.quiet import LogLimiter
from streams.worker.threads import threads
from streams.worker.topology_runner import TopologyRunner

log = logging.getLogger(__name__)

PROBE_SECONDS = 5.0


class Engine:
    """Runs topologies; one failure of one of them ends all: a restart is cheap and exact."""

    def __init__(self, config: WorkerConfig, topologies: Sequence[Topology]) -> None:
        names = [topology.name for topology in topologies]
        if len(set(names)) != len(names):
            raise ValueError(f"two topologies have the same name: {sorted(names)}")
        self.config = config
        self._topologies = tuple(topologies)
        self._runners: list[TopologyRunner] = []
        self._stop = asyncio.Event()
        self._failure: Exception | None = None
        self._failed = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop`, then commit, leave the groups and return.

        Raises what made a topology fail, after letting go without commits (bounded).
        """
        if self.config.state_dir is not None:
            check_state_version(self.config.state_dir)
        with LogLimiter("aiokafka"), threads(self.config.compute_threads) as beside:
            self._runners = [
                TopologyRunner(self.config, topology, beside, self._fail)
                for topology in self._topologies
            ]
            work = [asyncio.create_task(self._guard(runner)) for runner in self._runners]
            probe = asyncio.create_task(self._probe())
            try:
                await self._stopped_or_failed()
                if self._failure is None:
                    await self._stop_all(work)
            finally:
                await _end([probe, *work])
                if self._failure is not None:
                    await self._abandon_all()
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """Ask `run` to end in order."""
        self._stop.set()

    def stats(self) -> dict[str, Any]:
        """Figures of every task in this process, by topology."""
        return {runner.topology.name: runner.stats() for runner in self._runners}

    def standbys(self) -> dict[str, Any]:
        """Figures of every standby in this process, by topology."""
        return {runner.topology.name: runner.standbys() for runner in self._runners}

    def runner(self, topology: str) -> TopologyRunner | None:
        """A topology that runs here, by name."""
        return next((each for each in self._runners if each.topology.name == topology), None)

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
            log.error("the worker stops: %s", error, exc_info=error.__cause__)
            self._failed.set()

    async def _guard(self, runner: TopologyRunner) -> None:
        """A topology that ends by itself has failed."""
        try:
            await runner.run()
        except Exception as error:
            self._fail(error)
        else:
            if not self._stop.is_set():
                self._fail(Fatal(f"{runner.topology.name} ended by itself"))

    async def _stopped_or_failed(self) -> None:
        waits = [asyncio.create_task(e.wait()) for e in (self._stop, self._failed)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _stop_all(self, work: Sequence[asyncio.Task[None]]) -> None:
        for runner in self._runners:
            runner.stop()
        limit = self.config.drain_ms / 1000 + 4.0
        _, late = await asyncio.wait(work, timeout=limit)
        if late:
            log.warning("%d topologies did not drain within %.0f s", len(late), limit)
            await self._abandon_all()

    async def _abandon_all(self) -> None:
        going = asyncio.gather(
            *(runner.abandon() for runner in self._runners), return_exceptions=True
        )
        try:
            await asyncio.wait_for(going, 4.0)
        except TimeoutError:
            log.warning("clients did not close in time")

    async def _probe(self) -> None:
        """A log that went away raises nothing in the clients: notice, say so once, give up."""
        lookup = OffsetLookup(self.config)
        limit_ms = max(t.settings.give_up_after_ms for t in self._topologies)
        silent = 0.0
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(PROBE_SECONDS)
                started = loop.time()
                if await lookup.answers(PROBE_SECONDS):
                    if silent:
                        log.warning("the log at %s answers again", self.config.bootstrap_servers)
                    silent = 0.0
                    continue
                if not silent:
                    log.warning(
                        "the log at %s does not answer; trying on for %d s",
                        self.config.bootstrap_servers,
                        limit_ms // 1000,
                    )
                silent += PROBE_SECONDS + loop.time() - started
                if silent * 1000 >= limit_ms:
                    self._fail(
                        Fatal(
                            f"no log at {self.config.bootstrap_servers} for {silent:.0f} s",
                            "Start the broker, or point bootstrap_servers at it",
                        )
                    )
        finally:
            await lookup.stop()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel until they have ended, for seconds at most: `wait_for` of 3.11 can lose a cancel."""
    for _ in range(4):
        for task in tasks:
            task.cancel()
        if not (await asyncio.wait(tasks, timeout=2.0))[1]:
            break
    await asyncio.gather(*(task for task in tasks if task.done()), return_exceptions=True)
