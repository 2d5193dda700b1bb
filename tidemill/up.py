"""`tidemill up`: the whole stack on this machine, with a view of what flows."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from tidemill import probe
from tidemill.announcing import Superseded, introduce
from tidemill.launcher import Command, Launcher
from tidemill.probe import Unreachable
from tidemill.settings import Settings
from tidemill.topics import TopicsError, create_topics
from tidemill.view import View
from tidemill.wiring import DefinitionsError, load_plan
from topologies.decisions import UnreadableDecision

LEAST_FREE_BYTES = 500 << 20
DATA_VERSION = "1"
_TRIED_AGAIN = (TopicsError, Unreachable, DefinitionsError, UnreadableDecision, Superseded)


class UpError(RuntimeError):
    """The stack cannot start; the message says what to change."""


def check_before_start(settings: Settings) -> None:
    """Find what would make a process fail, and say it once and plainly.

    Raises:
        UpError: A port in use, a data directory of another version, or hardly any disk left.
    """
    version = settings.folder / "VERSION"
    if version.exists() and version.read_text().strip() != DATA_VERSION:
        raise UpError(
            f"{settings.folder} was written by data version {version.read_text().strip()}, this "
            f"program reads {DATA_VERSION}. Use the release that wrote it, or start afresh with "
            "another folder: tidemill up --data OTHER"
        )
    settings.folder.mkdir(parents=True, exist_ok=True)
    version.write_text(DATA_VERSION + "\n")
    free = shutil.disk_usage(settings.folder).free
    if free < LEAST_FREE_BYTES:
        raise UpError(
            f"only {free >> 20} MiB are free where {settings.folder} is; the log needs at least "
            f"{LEAST_FREE_BYTES >> 20}. Free some, or use another disk: tidemill up --data OTHER"
        )
    store_port = int(settings.store_url.rsplit(":", 1)[1])
    for name, port in (
        ("broker", settings.broker_port),
        ("broker metrics", settings.broker_metrics_port),
        ("edge", settings.edge_port),
        ("store", store_port),
        *(("worker", settings.worker_port + n) for n in range(settings.workers)),
    ):
        _check_port(name, port)


def _check_port(name: str, port: int) -> None:
    with socket.socket() as probe_socket:
        probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe_socket.bind(("127.0.0.1", port))
        except OSError as error:
            flag = name.replace(" ", "-")
            raise UpError(
                f"port {port} for the {name} is in use ({error.strerror}). Is another tidemill "
                f"running? End it, or choose another port: tidemill up --{flag}-port N"
            ) from None


def commands(settings: Settings, say: Callable[[str], None] = print) -> list[Command]:
    """Every process of the embedded stack; definitions are in force before points can come."""
    python = sys.executable
    data, file = settings.folder, str(settings.file)
    store_port = settings.store_url.rsplit(":", 1)[1]
    edge = f"http://127.0.0.1:{settings.edge_port}"

    def answers(url: str) -> Callable[[], Awaitable[bool]]:
        async def ready() -> bool:
            try:
                await probe.get(url)
            except probe.Unreachable:
                return False
            return True

        return ready

    introduced = False

    async def broker_ready() -> bool:
        nonlocal introduced
        if not await probe.listens("127.0.0.1", settings.broker_port):
            return False
        try:
            await create_topics(settings, 5.0)
            if not introduced:
                for sentence in await introduce(settings):
                    say(sentence)
                introduced = True
        except _TRIED_AGAIN as error:
            print(f"topics: {error}", file=sys.stderr)
            return False
        return True

    async def at_once() -> bool:
        return True

    found = [
        Command(
            "broker",
            (python, "-m", "broker", "--data", str(data / "broker"), "--port",
             str(settings.broker_port), "--metrics-port", str(settings.broker_metrics_port)),
            (), broker_ready,
        ),
        Command(
            "store",
            (python, "-m", "tidemill.embedded_store", "--data", str(data / "store"), "--port",
             store_port),
            (), answers(f"{settings.store_url}/ping"),
        ),
        Command(
            "edge",
            (python, "-m", "topologies.edge", "--bootstrap", settings.bootstrap, "--port",
             str(settings.edge_port), "--partitions", str(settings.raw_partitions)),
            ("broker",), answers(f"{edge}/health"),
        ),
    ]  # fmt: skip
    for number in range(settings.workers):
        port = settings.worker_port + number
        found.append(
            Command(
                f"worker-{number}",
                (python, "-m", "tidemill", "worker", "--settings", file, "--number", str(number)),
                ("broker",), answers(f"http://127.0.0.1:{port}/stats/tasks"),
            )
        )  # fmt: skip
    if settings.host_interval > 0:
        argv = (python, "-m", "topologies.host", "--endpoint", edge, "--interval",
                str(settings.host_interval))  # fmt: skip
        found.append(Command("host", argv, ("edge",), at_once))
    return found


async def run(settings: Settings, console: Console) -> int:
    """Start everything, show what flows, end everything on SIGINT or SIGTERM."""
    check_before_start(settings)
    settings.save()
    load_plan(settings)  # mistakes are told before all starts
    stop = asyncio.Event()
    launcher = Launcher(commands(settings, console.print), settings.folder / "logs", console.print)
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        if stop.is_set():
            launcher.kill_all()
        else:
            console.print("stopping (once more: at once)")
            stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    started = time.monotonic()
    _announce(settings, console)
    running = asyncio.create_task(launcher.run(stop))
    view = asyncio.create_task(View(settings, launcher, console, started).run(stop))
    view.add_done_callback(partial(_tell_failure, console))
    await running
    view.cancel()
    await asyncio.gather(view, return_exceptions=True)
    console.print(f"everything has ended; the data stays in {settings.data}")
    return 0


def _tell_failure(console: Console, view: asyncio.Task[None]) -> None:
    """At once: everything else goes on, and a person would wait for the next line."""
    if not view.cancelled() and (error := view.exception()) is not None:
        console.print(f"the view of what flows failed, all else goes on: {error!r}", markup=False)


def _announce(settings: Settings, console: Console) -> None:
    rows = (
        ("OTLP/HTTP", f"http://127.0.0.1:{settings.edge_port}/v1/metrics", "send metrics here"),
        ("Kafka", settings.bootstrap, "topic `metrics`: final rollups as OTLP"),
        ("ClickHouse", settings.store_url, "view `tidemill.rollups`: latest revisions"),
        (
            "worker",
            f"http://127.0.0.1:{settings.worker_port}/stats/tasks",
            "tasks, lag, watermarks",
        ),
        ("broker", f"http://127.0.0.1:{settings.broker_metrics_port}/metrics", "Prometheus text"),
        ("data, logs", str(Path(settings.data).resolve()), "everything is under here"),
    )
    for name, where, what in rows:
        console.print(f"  {name:<11} {where:<44} {what}", highlight=False)
