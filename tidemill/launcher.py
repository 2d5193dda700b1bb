"""The shell around the supervisor: it starts, watches and ends the processes of `tidemill up`."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tidemill.supervisor import (
    BecameReady,
    Effect,
    Event,
    Exited,
    Kill,
    Phase,
    Spawn,
    Started,
    StopAll,
    Supervisor,
    Tell,
    Terminate,
    Tick,
)

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Command:
    """One process: how it is started, what it needs, and how one sees that it serves."""

    name: str
    argv: tuple[str, ...]
    after: tuple[str, ...]
    ready: Callable[[], Awaitable[bool]]


def now_ms() -> int:
    """Monotonic milliseconds."""
    return time.monotonic_ns() // 1_000_000


def _die_with_parent() -> None:
    """In the child: end when the supervisor dies, however it dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Launcher:
    """Runs commands until told to stop.

    Args:
        commands: What to run.
        logs: Folder for one log file a process.
        tell: Gets the lines meant for a person.
    """

    def __init__(self, commands: list[Command], logs: Path, tell: Callable[[str], None]) -> None:
        self.supervisor = Supervisor()
        self._commands = {command.name: command for command in commands}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._logs = logs
        self._tell = tell
        self._probing: dict[str, asyncio.Task[None]] = {}
        for command in commands:
            self.supervisor.add(command.name, command.after)

    @property
    def all_ready(self) -> bool:
        """Whether every process serves."""
        return all(p.phase is Phase.READY for p in self.supervisor.processes.values())

    def tail(self, name: str, lines: int = 12) -> str:
        """The end of a process's log."""
        path = self._logs / f"{name}.log"
        if not path.exists():
            return ""
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, and then until all have ended."""
        self._logs.mkdir(parents=True, exist_ok=True)
        told = False
        while not self.supervisor.ended:
            if stop.is_set() and not told:
                told = True
                self._step(StopAll())
            for name, process in list(self._running.items()):
                code = process.poll()
                if code is not None:
                    del self._running[name]
                    self._step(Exited(name, code))
            self._step(Tick())
            await asyncio.sleep(0.05)
        for task in self._probing.values():
            task.cancel()

    def kill_all(self) -> None:
        """A second interrupt: end everything now."""
        self._step(StopAll())

    def _step(self, event: Event) -> None:
        for effect in self.supervisor.step(event, now_ms()):
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Spawn(name):
                self._spawn(self._commands[name])
            case Terminate(name):
                self._signal(name, signal.SIGTERM)
            case Kill(name):
                self._signal(name, signal.SIGKILL)
            case Tell(text):
                self._tell(text)

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self._running.get(name)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    def _spawn(self, command: Command) -> None:
        with (self._logs / f"{command.name}.log").open("ab") as log:
            process = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONFAULTHANDLER": "1"},  # the log says where it crashed
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self._running[command.name] = process
        self._step(Started(command.name, process.pid))
        before = self._probing.pop(command.name, None)
        if before is not None:
            before.cancel()
        self._probing[command.name] = asyncio.create_task(self._watch(command, process))

    async def _watch(self, command: Command, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            if await command.ready():
                self._step(BecameReady(command.name))
                return
            await asyncio.sleep(0.1)
