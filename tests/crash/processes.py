"""The real processes: a broker, and workers with a state folder and a web port of their own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
ORDERS = Path(__file__).with_name("orders.py")


def wait_until(what: str, done: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Poll until `done()` is true; its value. Raises `AssertionError` when it takes longer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := done():
            return result
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


class Process:
    """A command that is started, killed, stopped and started again; its log goes on."""

    def __init__(self, name: str, folder: Path, command: list[str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.command = list(command)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, stdout=log, stderr=log, env=environment
            )

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """With SIGSTOP, until SIGCONT; returns when it stands still."""
        self.signal(signal.SIGSTOP)
        wait_until(f"{self.name} stands still", lambda: self.stands_still)

    @property
    def stands_still(self) -> bool:
        assert self.process is not None
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def kill(self) -> None:
        """With -9, also while it is stopped."""
        if self.process is not None and self.alive:
            self.process.kill()
            self.process.wait(20)

    def end(self, seconds: float = 15.0) -> None:
        """With SIGTERM, in order: one that still starts, and does not look at it yet, would die."""
        self.signal(signal.SIGTERM)
        assert self.process is not None
        code = self.process.wait(seconds)
        assert code == 0, f"{self.name} ended with {code}, not in order: see {self.log}"


class Broker(Process):
    """A broker that keeps its port over restarts."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "broker", "--data", str(folder / "broker")]
        super().__init__(
            "broker", folder, [*command, "--port", str(self.port), "--metrics-port", "-1"]
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        super().start()
        wait_until("the broker listens", self._listens)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


class Worker(Process):
    """A worker of `orders.py`."""

    def __init__(self, name: str, folder: Path, broker: Broker, *given: str) -> None:
        self.port = free_port()
        self.state = folder / f"state-{name}"
        command = [sys.executable, str(ORDERS), "--bootstrap", broker.address]
        command += ["--state", str(self.state), "--web-port", str(self.port), *given]
        super().__init__(name, folder, command)

    def running(self) -> set[str]:
        """`topology topic/partition` of every task that runs here."""
        return {name for name, task in self.tasks().items() if task["state"] == "running"}

    def tasks(self) -> dict[str, Any]:
        """The figures of every task here; empty when nobody answers."""
        if not self.alive:
            return {}
        url = f"http://127.0.0.1:{self.port}/stats/tasks"
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(url, timeout=1) as r:
            found = json.load(r)
            return {f"{top} {at}": task for top, each in found.items() for at, task in each.items()}
        return {}

    def stores(self) -> list[Path]:
        """The folders of its tasks' RocksDB."""
        return sorted(path.parent for path in self.state.rglob("CURRENT"))

    def forget(self) -> None:
        """Its disk is gone."""
        shutil.rmtree(self.state, ignore_errors=True)
