"""A terminal for tests that do what a page says, as somebody new would, in an empty folder."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path


class Shell:
    """A terminal in a folder; what ends in & goes on behind it, in a group of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.behind: list[subprocess.Popen[bytes]] = []
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.about = os.environ | {"PATH": path, "COLUMNS": "80"}

    def run(self, command: str) -> str:
        if command.endswith("&"):
            words, _, log = command.removesuffix("&").replace("2>&1", "").partition(" > ")
            with (self.folder / log.strip()).open("wb") as said:
                self.behind.append(
                    subprocess.Popen(
                        shlex.split(words), cwd=self.folder, env=self.about, stdout=said,
                        stderr=said, start_new_session=True,
                    )
                )  # fmt: skip
            return ""
        with subprocess.Popen(
            ["sh", "-c", command], cwd=self.folder, env=self.about, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                said, errors = process.communicate(timeout=240)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # what it started, too
                raise AssertionError(f"{command} does not end: {self.logs()}") from None
        assert process.returncode == 0, (command, said, errors, self.logs())
        return said

    def logs(self) -> list[str]:
        """What runs behind has said."""
        files = [*self.folder.glob("*.log"), *self.folder.glob(".tidemill/logs/*.log")]
        return [f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in files]

    def end(self) -> None:
        """End what runs behind, as Ctrl-C does; a minute later, by force."""
        for process in self.behind:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(10)


def pattern(expected: str) -> str:
    """Of what a page shows, in which an ellipsis is any text."""
    return ".*".join(map(re.escape, expected.strip().split("…"))) + r"\s*"
