"""docs/define-your-first-metric.md, block by block, in an empty folder, as somebody new would."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_ports
from tests.terminal import Shell, pattern

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "docs" / "define-your-first-metric.md"
BLOCKS = re.compile(r"(?:`([\w/.]+)`(?:, with a mistake)?:\n\n)?^```(\w+)\n(.*?)^```", re.M | re.S)
FLAGS = ("broker-port", "broker-metrics-port", "edge-port", "store-port", "worker-port")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.end()


def windows(shell: Shell) -> list[tuple[float, int]]:
    """The value and the points of each window of a route, the first one aside."""
    rows = shell.run("tidemill query shop.requests --where route=/cart -o jsonl").splitlines()
    found = [json.loads(row) for row in rows]
    return [(float(row["value"]), int(row["points"])) for row in found[1:]]


@pytest.mark.timeout(400)
def test_every_block_does_what_it_says(shell: Shell):
    edge, *others = free_ports(5)
    ports = dict(zip(FLAGS, [*others[:2], edge, *others[2:]], strict=True))
    flags = " ".join(f"--{name} {port}" for name, port in ports.items())
    text = GUIDE.read_text().replace("4318", str(edge))
    done: list[str] = []
    for file, language, block in BLOCKS.findall(text):
        if language != "console":
            assert file, f"no file is named for this block:\n{block}"
            (shell.folder / file).parent.mkdir(exist_ok=True)
            (shell.folder / file).write_text(block)
            done.append(file)
            continue
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
            found = shell.run(command.replace("tidemill up", f"tidemill up {flags}"))
            assert re.fullmatch(pattern(expected), found, re.S), (command, found)
            done.append(command)
    assert len(done) == 16, done
    until = time.monotonic() + 60
    while not windows(shell) and time.monotonic() < until:
        time.sleep(1)
    found = windows(shell)
    assert found
    assert all(value == 4 * points for value, points in found), "five of one pod, three of another"


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", GUIDE.read_text()):
        assert (GUIDE.parent / target).exists(), target
