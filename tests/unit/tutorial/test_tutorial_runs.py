"""docs/your-first-topology.md, block by block, in an empty folder, as somebody new would do it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_ports

ROOT = Path(__file__).resolve().parents[3]
TUTORIAL = ROOT / "docs" / "your-first-topology.md"
BLOCKS = re.compile(r"(?:`(\w+\.py)`:\n\n)?^```(\w+)\n(.*?)^```", re.M | re.S)


class Shell:
    """A terminal in a folder; what ends in & goes on behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.behind: list[subprocess.Popen[bytes]] = []
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.about = os.environ | {"PATH": path, "COLUMNS": "80"}

    def run(self, command: str) -> str:
        if command.endswith("&"):
            words = shlex.split(command.split(">")[0])
            log = (self.folder / f"{len(self.behind)}.log").open("wb")
            self.behind.append(
                subprocess.Popen(words, cwd=self.folder, env=self.about, stdout=log, stderr=log)
            )
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
        return [log.read_text()[-3000:] for log in sorted(self.folder.glob("*.log"))]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    for process in made.behind:
        process.kill()
        process.wait(10)


def pattern(expected: str) -> str:
    return ".*".join(map(re.escape, expected.strip().split("…"))) + r"\s*"


@pytest.mark.timeout(600)
def test_every_block_does_what_it_says(shell: Shell):
    ports = dict(zip(("9092", "6066"), map(str, free_ports(2)), strict=True))
    text = re.sub("9092|6066", lambda found: ports[found[0]], TUTORIAL.read_text())
    done: list[str] = []
    for file, language, block in BLOCKS.findall(text):
        if language == "python":
            assert file, f"no file is named for this block:\n{block}"
            (shell.folder / file).write_text(block)
            done.append(file)
            continue
        assert language == "console"
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
            found = shell.run(command)
            assert re.fullmatch(pattern(expected), found, re.S), (command, found)
            done.append(command)
    assert len(done) == 13, done


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", TUTORIAL.read_text()):
        assert (TUTORIAL.parent / target).exists(), target
