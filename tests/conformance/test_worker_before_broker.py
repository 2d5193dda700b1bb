"""A worker that starts before its broker waits for it, says so, and then runs."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
SECONDS = 120.0


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[bytes]]]:
    made: list[subprocess.Popen[bytes]] = []
    yield made
    for process in made:
        process.kill()
        process.wait(10)


def start(module: str, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def wait_for(process: subprocess.Popen[bytes], text: bytes) -> None:
    """Read what a process says until it has said this."""
    assert process.stdout is not None
    said = b""
    until = time.monotonic() + SECONDS
    while text not in said:
        assert time.monotonic() < until, said.decode()
        assert process.poll() is None, said.decode()
        if select.select([process.stdout], [], [], 0.5)[0]:
            said += os.read(process.stdout.fileno(), 65536)


def test_it_waits_and_then_runs(tmp_path: Path, running: list[subprocess.Popen[bytes]]) -> None:
    port, web = free_ports(2)
    address = f"127.0.0.1:{port}"
    module = "tests.conformance.worker_asked"
    worker = start(module, address, str(tmp_path / "state"), str(web))
    running.append(worker)
    wait_for(worker, f"waiting for the log at {address}".encode())

    log = ("--data", str(tmp_path / "log"), "--port", str(port), "--metrics-port", "-1")
    running.append(start("broker", *log))
    wait_for(running[-1], b"broker ready on")
    wait_for(worker, b"the log is there, the worker starts")
    until = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{web}/stats/tasks") as answer:
                assert answer.status == 200
                return
        except OSError:
            assert worker.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
