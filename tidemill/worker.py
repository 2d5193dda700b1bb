"""One worker process: the topologies and the sink in one Faust app.

    faust -A tidemill.worker worker             # settings file and number from the environment
    tidemill worker --settings FILE --number N  # the same worker

The environment is read only when Faust asks for `app`: TIDEMILL_SETTINGS names the settings file,
TIDEMILL_WORKER is the worker's number (0), TIDEMILL_STORE_PASSWORD the store's password.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import faust
from faust.web import Request, View
from mode import Service

from streams.config import WorkerConfig
from streams.topology.stores import stores_of
from streams.worker.app import App
from tidemill.following import Following
from tidemill.following import page as definitions_page
from tidemill.metric_queries import MetricQueries, pages
from tidemill.product import product
from tidemill.settings import ENVIRONMENT, Settings, load
from tidemill.store_address import PASSWORD, store_address
from tidemill.wiring import allowed, retention_days, selects
from topologies.deployment import Deployment
from topologies.sink.app import SinkConfig, SinkService
from topologies.sink.histograms import KINDS
from topologies.sink.store import Kept

NUMBER = "TIDEMILL_WORKER"
_SINK_DRAIN_S = 6.0


class Sink(Service):
    """The sink as a service of Faust's tree; its failure is the worker's."""

    def __init__(self, config: SinkConfig, **kw: Any) -> None:
        super().__init__(**kw)
        self._config = config
        self._kept = Kept(config.schema.retention_days)
        self._stop = asyncio.Event()
        self._service: SinkService | None = None
        self._running: asyncio.Task[None] | None = None

    def follow(self, deployed: Deployment) -> None:
        """These definitions are in force from here on."""
        views = {one.name: KINDS.get(one.instrument, "") for one in deployed.current}
        derived = selects(deployed, self._config.schema)
        self._kept = Kept(retention_days(deployed.plan), views, derived)
        if self._service is not None:
            self._service.keep(self._kept)

    def stats(self) -> dict[str, Any]:
        """What was stored, and why nothing is if nothing is."""
        if self._service is None:
            return {"away": "the sink has not started"}
        status = self._service.status
        return {
            "partitions": sorted(status.partitions),
            "rows": status.rows,
            "batches": status.batches,
            "dead_letters": status.dead_letters,
            "away": status.away,
        }

    async def on_start(self) -> None:
        self._service = SinkService(self._config)
        self._service.keep(self._kept)
        self._running = asyncio.create_task(self._run(self._service))

    async def on_stop(self) -> None:
        """Drain; bounded by the sink."""
        self._stop.set()
        if self._running is not None:
            await asyncio.wait([self._running], timeout=_SINK_DRAIN_S)

    async def _run(self, service: SinkService) -> None:
        try:
            await service.run(self._stop)
        except Exception as error:
            await self.crash(error)
        else:
            if not self._stop.is_set():
                await self.crash(RuntimeError("the sink ended by itself"))


class _Boot(App.BootStrategy):
    """What is in force, then the topologies as ever, then the sink: stopped first, so that nothing
    is left half stored."""

    def server(self) -> Iterable[Any]:
        app: Any = self.app
        return chain([app.definitions], App.BootStrategy.server(self), [app.sink])


class WorkerApp(App):
    """The Faust app of one worker."""

    BootStrategy = _Boot

    def __init__(self, settings: Settings, number: int, password: str = "") -> None:
        allowed(settings.aggregates, settings.environment)  # this process knows them from here on
        self.sink = Sink(sink_config(settings, number, password))
        self.definitions = Following(settings, number, self.sink.follow)
        known = self.definitions.known
        (settings.folder / f"worker-{number}").mkdir(parents=True, exist_ok=True)
        plan = product(settings, known)
        config = worker_config(settings, number)
        super().__init__(config, plan.topologies(), stores_of(plan))
        self.page("/stats/sink")(_sink_view(self.sink))
        self.page("/stats/definitions")(definitions_page(self.definitions))
        asked = pages(MetricQueries(self.queries, known)) if config.answers else {}
        for path, page in asked.items():
            self.page(path)(page)


def worker_config(settings: Settings, number: int) -> WorkerConfig:
    """How worker `number` of a deployment behaves."""
    return WorkerConfig(
        app=settings.app,
        bootstrap_servers=settings.bootstrap,
        state_dir=settings.folder / f"worker-{number}" / "state",
        client_id=f"{settings.app}-worker-{number}",
        web_port=settings.worker_port + number,
        changelog_replication=settings.replication,
        standby_replicas=settings.standby_replicas,
    )


def sink_config(settings: Settings, number: int, password: str) -> SinkConfig:
    """How the sink of worker `number` behaves.

    Raises:
        SettingsError: `store_url` is no address of a ClickHouse HTTP interface.
    """
    return SinkConfig(
        bootstrap_servers=settings.bootstrap,
        store=store_address(settings.store_url, password),
        group=f"{settings.app}-sink",
        client_id=f"{settings.app}-sink-{number}",
    )


def run(settings: Settings, number: int) -> None:
    """Run the worker until SIGTERM or SIGINT; ends the process with Faust's exit code.

    Raises:
        DefinitionsError: A file of aggregates cannot be used.
        SettingsError: `store_url` is no address.
    """
    app = WorkerApp(settings, number, os.environ.get(PASSWORD, ""))
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = faust.Worker(
        app, loglevel="INFO", quiet=True, redirect_stdouts=False, loop=loop, daemon=True
    )
    with contextlib.suppress(KeyboardInterrupt):
        worker.execute_from_commandline()


def _sink_view(sink: Sink) -> type[View]:
    class SinkPage(View):
        """What the sink of this worker did, as JSON."""

        async def get(self, request: Request, **kwargs: Any) -> Any:
            return self.json(sink.stats())

    return SinkPage


def __getattr__(name: str) -> Any:
    """`app`, made when Faust's command line asks for it."""
    if name != "app":
        raise AttributeError(name)
    file = os.environ.get(ENVIRONMENT)
    made = WorkerApp(
        load(None if file is None else Path(file)),
        int(os.environ.get(NUMBER, "0")),
        os.environ.get(PASSWORD, ""),
    )
    globals()["app"] = made
    return made
