"""CPU time and memory of a process and all that it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil

SAMPLE_S = 0.2


class Watched:
    """A process in a session of its own. CPU seconds are user and system; memory is sampled."""

    def __init__(
        self, command: Sequence[str], folder: Path, log: Path, environment: dict[str, str]
    ) -> None:
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command, cwd=folder, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                start_new_session=True, env=os.environ | environment,
            )  # fmt: skip
        self._root = psutil.Process(self._process.pid)
        self._peak = 0
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    @property
    def ended(self) -> int | None:
        """The exit code, if it has one."""
        return self._process.poll()

    @property
    def peak_bytes(self) -> int:
        """The most resident memory that all of them had together."""
        return self._peak

    def cpu_s(self) -> float:
        """Of all processes, those that have ended and were waited for among them."""
        used = 0.0
        for each in self._all():
            with contextlib.suppress(psutil.NoSuchProcess):
                used += sum(each.cpu_times()[:4])  # user, system, and of waited for children
        return used

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to what is left of the session after ten seconds."""
        self._stop.set()
        self._sampler.join()
        everyone = self._all()
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        for each in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def _all(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self._root, *self._root.children(recursive=True)]
        return []

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            resident = 0
            for each in self._all():
                with contextlib.suppress(psutil.NoSuchProcess):
                    resident += each.memory_info().rss
            self._peak = max(self._peak, resident)
