"""A broker in a process of its own, on a free port, with data that outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class BrokerProcess:
    """Starts, kills and restarts one broker; the port stays the same."""

    def __init__(self, data: Path, *arguments: str, limit_blocks: int | None = None) -> None:
        self.data, self.arguments, self.limit_blocks = data, arguments, limit_blocks
        self.port = 0
        self.ready_line = ""
        self.errors = data.parent / f"{data.name}.err"
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "broker", "--data", str(self.data), "--metrics-port", "-1"]
        command += ["--port", str(self.port), *self.arguments]
        if self.limit_blocks is not None:
            command = ["sh", "-c", f'ulimit -f {self.limit_blocks}; exec "$@"', "sh", *command]
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()
        assert self.ready_line.startswith("broker ready on "), self.errors.read_text()
        self.port = int(self.ready_line.split()[3].rsplit(":", 1)[1])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """Ask it to stop; seconds that it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0, self.errors.read_text()
        return time.monotonic() - started

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()


Start = Callable[..., BrokerProcess]


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Start]:
    """`start_broker("--fsync", "none")` -> BrokerProcess, ended with the test."""
    started: list[BrokerProcess] = []

    def start(*arguments: str, limit_blocks: int | None = None) -> BrokerProcess:
        data = tmp_path / f"data-{len(started)}"
        started.append(BrokerProcess(data, *arguments, limit_blocks=limit_blocks))
        return started[-1]

    yield start
    for broker in started:
        broker.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """One broker for all tests of a file; topics of each test have names of their own."""
    process = BrokerProcess(tmp_path_factory.mktemp("broker") / f"data-{os.getpid()}")
    yield process
    process.close()
