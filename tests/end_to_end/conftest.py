"""The stack as a person starts it: `tidemill up` in a folder of its own, on free ports."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import clickhouse_connect
import psutil
import pytest

ROOT = Path(__file__).parents[2]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listened on a moment ago."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Up:
    """One deployment: its folder and ports; started and ended as often as one likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / ".tidemill"
        ports = free_ports(5)
        self.broker, self.metrics, self.edge, self.store, self.worker = ports
        self.process: subprocess.Popen[bytes] | None = None
        self._log = folder / "up.log"

    @property
    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "tidemill", "up"),
            *("--broker-port", str(self.broker), "--broker-metrics-port", str(self.metrics)),
            *("--edge-port", str(self.edge), "--store-port", str(self.store)),
            *("--worker-port", str(self.worker)),
        ]

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT
            )

    def said(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def wait(self, done: Callable[[], Any], what: str, seconds: float = 90) -> Any:
        """What `done` returns as soon as that is true."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.process is not None:
                assert self.process.poll() is None, f"tidemill up ended: {self.explanation()}"
            if found := done():
                return found
            time.sleep(0.2)
        raise AssertionError(f"no {what} within {seconds} s: {self.explanation()}")

    def explanation(self) -> str:
        logs = sorted((self.data / "logs").glob("*.log"))
        tails = [f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs]
        return "\n".join([self.said(), *tails])

    def rows(self, query: str) -> list[Any]:
        """The rows of a query; none while the store or its tables are not there yet."""
        try:
            client = clickhouse_connect.get_client(host="127.0.0.1", port=self.store)
        except clickhouse_connect.driver.exceptions.ClickHouseError:
            return []
        try:
            return list(client.query(query).result_rows)
        except clickhouse_connect.driver.exceptions.DatabaseError as error:
            if "UNKNOWN_" in str(error):
                return []
            raise
        finally:
            client.close()

    def tidemill(self, *words: str, code: int = 0) -> str:
        """Standard output of a command in the deployment's folder."""
        done = subprocess.run(
            [sys.executable, "-m", "tidemill", *words],
            cwd=self.folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.tidemill(*words, "-o", "json"))

    def processes(self) -> list[psutil.Process]:
        """Everything that `tidemill up` started, and itself."""
        assert self.process is not None
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def interrupt(self) -> float:
        """Ctrl-C; returns the seconds until every process has ended."""
        assert self.process is not None
        running = self.processes()
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        _, alive = psutil.wait_procs(running, timeout=30)
        took = time.monotonic() - began
        assert not alive, f"still there: {alive}"
        self.process.wait()
        self.process = None
        return took

    def end(self) -> None:
        """End what is left, however."""
        if self.process is not None and self.process.poll() is None:
            self.interrupt()


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A running stack, shared: tests ask it, and change nothing in it."""
    stack = Up(tmp_path_factory.mktemp("up"))
    stack.start()
    try:
        yield stack
    finally:
        stack.end()


@pytest.fixture
def own_up(tmp_path: Path) -> Iterator[Up]:
    """A stack for one test alone, not started yet."""
    stack = Up(tmp_path)
    try:
        yield stack
    finally:
        stack.end()
