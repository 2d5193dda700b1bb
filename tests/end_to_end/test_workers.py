"""`faust -A tidemill.worker worker` is the worker; workers share, and a killed one's work moves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from typing import Any

Up = Any  # of conftest.py


def tasks(port: int) -> list[str]:
    """Tasks that run in the worker at this port."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/tasks", timeout=5) as answer:
            found = json.load(answer)
    except OSError:
        return []
    return [
        at for work in found.values() for at, task in work.items() if task["state"] == "running"
    ]


def by_faust(up: Up, number: int) -> subprocess.Popen[bytes]:
    """A further worker of the deployment, started by Faust's own command line."""
    about = {"TIDEMILL_SETTINGS": str(up.data / "settings.json"), "TIDEMILL_WORKER": str(number)}
    with (up.folder / "faust.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "faust", "-A", "tidemill.worker", "worker", "-l", "info"],
            cwd=up.folder, env=os.environ | about, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip


def test_a_worker_by_faust_shares_the_work_and_when_it_is_killed_its_work_moves(own_up: Up):
    up = own_up
    up.start()
    up.wait(lambda: len(tasks(up.worker)) >= 9, "worker with all tasks")
    everything = set(tasks(up.worker))
    other = by_faust(up, 1)
    try:
        theirs = up.wait(lambda: tasks(up.worker + 1), "tasks of the worker by Faust")
        up.wait(lambda: {*tasks(up.worker), *tasks(up.worker + 1)} == everything, "every task")
        assert set(theirs) < everything
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    moved = max(up.counted("host.cpu.utilization"), default=0)
    up.wait(lambda: set(tasks(up.worker)) == everything, "return of all tasks")
    up.counts_all_once(after=moved + 10)
    assert max(Counter(entry[:4] for entry in up.published()).values()) == 1
