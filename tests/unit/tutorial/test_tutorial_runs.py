"""docs/your-first-topology.md, block by block, in an empty folder, as somebody new would do it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_ports
from tests.terminal import Shell, pattern

ROOT = Path(__file__).resolve().parents[3]
TUTORIAL = ROOT / "docs" / "your-first-topology.md"
BLOCKS = re.compile(r"(?:`(\w+\.py)`:\n\n)?^```(\w+)\n(.*?)^```", re.M | re.S)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.end()


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
