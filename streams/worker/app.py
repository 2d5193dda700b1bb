"""Faust hosts the engine: its command line, its web server, its agents, its life cycle.

    app = App(config, topologies)          # module.py
    $ faust -A module worker               # or run_worker(config, topologies): the same worker

What Faust 0.15 does that is dealt with here:

- services stop in the reverse order of their start: the engine is placed last, so that it commits
  and leaves its groups while everything else still runs;
- a task of a service that returns or is cancelled leaves a worker that only looks alive: the
  engine's end without a stop is a crash, with a non-zero exit;
- futures of a service are cancelled right after `on_stop`: `on_stop` waits for the drain itself;
- without agents Faust's own consumer cannot start: `enable_kafka` is then off;
- agents read uncommitted records: ours read committed ones.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportUnknownParameterType=false

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import faust
import uvloop
from faust.app.base import BootStrategy
from faust.transport.drivers import aiokafka as driver
from faust.web import Request, View
from mode import Service

from streams.config import Topology, WorkerConfig
from streams.queries.shapes import StoreShape
from streams.worker.engine import Engine
from streams.worker.process import prepare
from streams.worker.queries import Queries
from streams.worker.query_pages import pages
from streams.worker.quiet import pass_over_fenced


class EngineService(Service):
    """The engine as a service of Faust's tree."""

    def __init__(
        self, config: WorkerConfig, topologies: Sequence[Topology], queries: Queries, **kw: Any
    ) -> None:
        super().__init__(**kw)
        self._config = config
        self._topologies = topologies
        self._queries = queries
        self._engine: Engine | None = None
        self._running: asyncio.Task[None] | None = None

    def stats(self) -> dict[str, Any]:
        """Figures of every task."""
        return {} if self._engine is None else self._engine.stats()

    def standbys(self) -> dict[str, Any]:
        """Figures of every standby."""
        return {} if self._engine is None else self._engine.standbys()

    async def on_start(self) -> None:
        """Returns at once: restoring takes place in the engine's own task."""
        prepare()
        asyncio.get_running_loop().set_exception_handler(pass_over_fenced)
        self._engine = Engine(self._config, self._topologies)
        self._queries.serve(self._engine)
        self._running = asyncio.create_task(self._run(self._engine))

    async def on_stop(self) -> None:
        """Drain; bounded by the engine."""
        if self._engine is not None and self._running is not None:
            await self._engine.stop()
            await asyncio.wait([self._running])
        await self._queries.close()

    async def _run(self, engine: Engine) -> None:
        try:
            await engine.run()
        except Exception as error:
            await self.crash(error)
        else:
            if not self.should_stop:
                await self.crash(RuntimeError("the engine ended by itself"))


class _CommittedConsumerThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer


class _CommittedConsumer(driver.Consumer):
    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _CommittedConsumerThread(self, loop=self.loop, beacon=self.beacon)


class _CommittedTransport(driver.Transport):
    Consumer = _CommittedConsumer


class _Boot(BootStrategy):
    """Faust's services, then the engine."""

    def server(self) -> Iterable[Any]:
        app: Any = self.app
        self.enable_kafka = bool(app.agents)
        return chain(super().server(), [app.engine])


class App(faust.App):
    """A Faust app that hosts topologies. Agents of users may be added as in any Faust app."""

    BootStrategy = _Boot

    def __init__(
        self,
        config: WorkerConfig,
        topologies: Sequence[Topology],
        stores: Mapping[str, StoreShape] | None = None,
        **kw: Any,
    ) -> None:
        uvloop.install()
        self.queries = Queries(config.endpoint, stores or {})
        self.engine = EngineService(config, topologies, self.queries)
        settings: dict[str, Any] = {
            "broker": f"kafka://{config.bootstrap_servers}",
            "web_host": config.web_host,
            "web_bind": config.web_host,
            "web_port": config.web_port,
            "datadir": config.state_dir.parent / "faust" if config.state_dir else None,
            "topic_disable_leader": True,
        }
        # Faust's group speaks another assignment protocol than ours: its id must differ.
        super().__init__(f"{config.app}-agents", **(settings | kw))
        self.page("/stats/tasks")(_tasks_view(self.engine))
        self.page("/stats/standbys")(_standbys_view(self.engine))
        for path, page in pages(self.queries).items() if config.answers else ():
            self.page(path)(page)

    def _new_transport(self) -> Any:
        return _CommittedTransport(self.conf.broker_consumer, self)


def _tasks_view(engine: EngineService) -> type[View]:
    class Tasks(View):
        """State, position, lag and the processor's figures of every task here, as JSON."""

        async def get(self, request: Request, **kwargs: Any) -> Any:
            return self.json(engine.stats())

    return Tasks


def _standbys_view(engine: EngineService) -> type[View]:
    class AllStandbys(View):
        """State, offset and lag of every standby here, as JSON."""

        async def get(self, request: Request, **kwargs: Any) -> Any:
            return self.json(engine.standbys())

    return AllStandbys


def run_worker(
    config: WorkerConfig,
    topologies: Sequence[Topology],
    stores: Mapping[str, StoreShape] | None = None,
    *,
    loglevel: str = "INFO",
) -> None:
    """Run a worker until SIGTERM or SIGINT; ends the process with Faust's exit code.

    `stores`: those that can be asked, of `streams.topology.stores.stores_of`.
    """
    app = App(config, topologies, stores)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = faust.Worker(
        app, loglevel=loglevel, quiet=True, redirect_stdouts=False, loop=loop, daemon=True
    )
    with contextlib.suppress(KeyboardInterrupt):
        worker.execute_from_commandline()
