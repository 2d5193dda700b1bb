"""The real processes of `tidemill up` in a folder of their own, on free ports.

async with running(settings(folder, workers=1, idle_after_ms=5_000), print) as stack:
    ...  # everything serves; a process that dies is started again by the real supervisor
...  # every process has ended
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tests.ports import free_ports
from tidemill.launcher import Launcher
from tidemill.settings import Settings
from tidemill.supervisor import Phase
from tidemill.up import check_before_start, commands

NEEDED = 4  # ports beside the workers': broker, its metrics, edge, store


class StackError(RuntimeError):
    """The processes do not come up; the message ends with their logs."""


def settings(folder: Path, *, workers: int, idle_after_ms: int) -> Settings:
    """Settings of a stack without the host source, written to `folder`."""
    broker, metrics, edge, store, worker, *_ = free_ports(NEEDED + workers)
    return Settings(
        data=str(folder),
        bootstrap=f"127.0.0.1:{broker}",
        broker_port=broker,
        broker_metrics_port=metrics,
        edge_port=edge,
        store_url=f"http://127.0.0.1:{store}",
        worker_port=worker,
        workers=workers,
        host_interval=0,
        idle_after_ms=idle_after_ms,
    )


class Stack:
    """Running processes, by the names that the supervisor gives them."""

    def __init__(self, chosen: Settings, launcher: Launcher) -> None:
        self.settings = chosen
        self.loader: asyncio.subprocess.Process | None = None
        self._launcher = launcher

    @property
    def names(self) -> list[str]:
        """All processes."""
        return list(self._launcher.supervisor.processes)

    @property
    def ready(self) -> bool:
        """Whether all serve."""
        return self._launcher.all_ready

    @property
    def away(self) -> list[str]:
        """The processes that do not serve just now."""
        processes = self._launcher.supervisor.processes.items()
        return [name for name, process in processes if process.phase is not Phase.READY]

    @property
    def restarts(self) -> int:
        """How often some process had to be started again."""
        return sum(p.restarts for p in self._launcher.supervisor.processes.values())

    def pid(self, name: str) -> int:
        """The id of a process, 0 while it does not run."""
        return self._launcher.supervisor.processes[name].pid

    def kill(self, name: str) -> bool:
        """End a process at once (kill -9); False when it does not run."""
        pid = self.pid(name)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    async def until_up(self, name: str, *, serving: bool) -> None:
        """Wait until a process runs, or until it serves too."""
        while not self.pid(name) or (serving and name in self.away):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)

    async def until_ready(self, timeout: float) -> None:
        """Wait until every process serves.

        Raises:
            StackError: Not within `timeout` seconds.
        """
        until = time.monotonic() + timeout
        while not self.ready:
            if time.monotonic() > until:
                raise StackError(f"not everything serves after {timeout:g} s\n{self.logs()}")
            await asyncio.sleep(0.1)

    def logs(self) -> str:
        """What the processes that do not serve wrote last."""
        return "\n".join(
            f"--- {name} ({process.phase.value})\n{self._launcher.tail(name, 20)}"
            for name, process in self._launcher.supervisor.processes.items()
            if process.phase is not Phase.READY
        )


@contextlib.asynccontextmanager
async def running(chosen: Settings, tell: Callable[[str], None]) -> AsyncIterator[Stack]:
    """The whole stack, for as long as the block lasts; it serves when the block begins."""
    check_before_start(chosen)
    chosen.save()
    launcher = Launcher(commands(chosen), chosen.folder / "logs", tell)
    stop = asyncio.Event()
    supervising = asyncio.create_task(launcher.run(stop))
    stack = Stack(chosen, launcher)
    try:
        await stack.until_ready(120)
        yield stack
    finally:
        stop.set()
        await supervising


async def start_load(stack: Stack, folder: Path, name: str) -> asyncio.subprocess.Process:
    """Start to load CSV files as the history `name`."""
    words = [str(folder), "--name", name, "--bootstrap", stack.settings.bootstrap]
    with (stack.settings.folder / "logs" / "load.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "topologies.load", *words, stdout=log, stderr=log
        )
