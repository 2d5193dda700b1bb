"""A store process for tests: started, killed, started again on the same folder and port."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

_START_S = 60.0


class StoreProcess:
    """``python -m tidemill.embedded_store`` over one folder.

    with StoreProcess(folder) as store:
        clickhouse_connect.get_client(host="127.0.0.1", port=store.port)
    """

    def __init__(self, data: Path, *arguments: str, command: Sequence[str] = ()) -> None:
        """Attributes after ``start``: ``port`` (kept for later starts), ``process``.

        Args:
            command: What to run instead of ``python -m tidemill.embedded_store``.
        """
        self.data = data
        self.port = 0
        self._arguments = arguments
        self._command = command or (sys.executable, "-m", "tidemill.embedded_store")
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> StoreProcess:
        """Start and wait until it answers.

        Raises:
            RuntimeError: It ended instead; with what it said.
        """
        process = subprocess.Popen(
            [
                *self._command,
                *("--data", str(self.data), "--port", str(self.port), *self._arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.process = process
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], _START_S)
        line = process.stdout.readline() if ready else ""
        if not line.startswith("store ready on "):
            process.kill()
            _, said = process.communicate()
            raise RuntimeError(f"the store did not start: {line}{said}")
        self.port = int(line.rsplit(":", 1)[1])
        return self

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> float:
        """SIGTERM; returns the seconds it took."""
        began = time.monotonic()
        self._end(signal.SIGTERM)
        return time.monotonic() - began

    def _end(self, number: int) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                os.kill(self.process.pid, number)
            self.process.communicate(timeout=30)
            self.process = None

    def __enter__(self) -> StoreProcess:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
