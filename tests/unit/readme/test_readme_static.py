"""What the README says is so: its definition is valid, its commands parse, its links lead on.

Its Python runs against a real stack in tests/end_to_end/test_readme_runs.py.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from metric_registry.check import check
from tidemill.commands.catalogue import BY_NAME
from tidemill.main import make_app

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.M | re.S)
INLINE = re.findall(r"`((?:tidemill|make|faust|docker compose) [^`]+)`", README)


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def commands() -> list[str]:
    lines = [line for text in blocks("sh") for line in text.splitlines()]
    lines += [
        line[2:] for text in blocks("console") for line in text.splitlines() if line[0] == "$"
    ]
    return [line.split("#")[0].strip() for line in lines + INLINE]


def test_it_is_one_or_two_pages():
    assert len(README.splitlines()) < 180


def test_its_definition_is_valid_as_it_stands(tmp_path: Path):
    (definition,) = blocks("yaml")
    (tmp_path / "busy.yaml").write_text(definition)
    assert check([tmp_path]).text() == "1 definition in 1 file: nothing to complain about."
    name = yaml.safe_load(definition)["name"]
    assert f"tidemill query {name}" in README


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("tidemill ")])
def test_its_commands_are_what_the_program_takes(line: str):
    words = shlex.split(line)[1:]
    if words[0] == "--help":
        return
    assert words[0] in BY_NAME, line
    if not BY_NAME[words[0]].passed_on:
        make_app().parse_args(words)


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("make ")])
def test_its_make_targets_exist(line: str):
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{line.split()[1]}:", makefile, re.M), line


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_its_links_lead_somewhere(target: str):
    assert (ROOT / target).exists()


def test_its_python_compiles():
    for number, text in enumerate(blocks("python")):
        compile(text, f"README block {number}", "exec")


def test_both_set_up_commands_are_named():
    assert {"make up", "make test"} <= {" ".join(line.split()[:2]) for line in commands()}
