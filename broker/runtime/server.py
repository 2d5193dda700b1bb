"""A broker from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
from collections.abc import Callable

from broker.config import BrokerConfig
from broker.handlers.table import APIS
from broker.runtime.connection import Connection
from broker.runtime.data_folder import DataFolder
from broker.runtime.http import serve_http
from broker.runtime.node import Node
from broker.runtime.registry import COORDINATORS

log = logging.getLogger("broker.server")


class PortInUseError(Exception):
    """A port that the broker should listen on is taken."""


async def run(
    config: BrokerConfig,
    *,
    stop: asyncio.Event,
    on_ready: Callable[[int, int | None], None] = lambda port, metrics_port: None,
) -> None:
    """Serve until `stop` is set. `on_ready(port, metrics_port)` is called once clients may come.

    Raises DataFolderError, PortInUseError, OSError.
    """
    loop = asyncio.get_running_loop()
    folder = DataFolder(config.data)
    node = Node(config, folder, APIS, COORDINATORS, loop)
    servers: list[asyncio.Server] = []
    keepers: list[asyncio.Task[None]] = []
    try:
        server = await _listen(
            loop.create_server(
                lambda: Connection(node), config.host, config.port, start_serving=False
            ),
            f"{config.host}:{config.port}",
        )
        servers.append(server)
        port = int(server.sockets[0].getsockname()[1])
        metrics_port = None
        if config.metrics_port is not None:
            http = await _listen(
                serve_http(node, config.host, config.metrics_port),
                f"{config.host}:{config.metrics_port} (metrics)",
            )
            servers.append(http)
            metrics_port = int(http.sockets[0].getsockname()[1])
        node.port = config.advertised_port or port
        node.start()
        gc.freeze()
        keepers = [
            asyncio.create_task(_every(config.retention_check_ms / 1000, node.retain_all)),
            asyncio.create_task(_every(config.cleaner_interval_ms / 1000, node.clean)),
        ]
        await server.start_serving()
        node.ready = True
        on_ready(port, metrics_port)
        await stop.wait()
    finally:
        node.ready = False
        for listening in servers:
            listening.close()
        for keeper in keepers:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        await node.stop()


async def _listen(server: asyncio.Future[asyncio.Server] | object, place: str) -> asyncio.Server:
    try:
        return await server  # type: ignore[misc]
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"{place} is in use. Stop what listens there, or choose another port."
            ) from None
        raise


async def _every(interval: float, work: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(interval)
        try:
            work()
        except Exception:
            log.exception("%s", work.__name__)
