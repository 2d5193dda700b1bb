"""Aggregates are found by name, a name means one of them, and a user adds one in a file."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from streams.aggregates import DuplicateAggregate, UnknownAggregate, aggregate, names, register
from streams.aggregates.sum import Sum

README = Path(__file__).resolve().parents[3] / "streams" / "aggregates" / "README.md"


def test_a_name_that_is_taken_is_refused_and_says_by_whom():
    with pytest.raises(DuplicateAggregate, match="'sum' is registered already, by Sum"):
        register(Sum())


def test_a_name_that_nobody_has_is_refused_with_those_there_are():
    with pytest.raises(UnknownAggregate, match=r"no aggregate is called 'median'; there are all, "):
        aggregate("median")


def test_every_name_is_its_aggregates_own():
    assert [aggregate(name).name for name in names()] == names()


def test_the_example_of_the_readme_runs(tmp_path: Path):
    """In a process of its own: what it registers is nobody else's."""
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "example.py").write_text(block)
    command = [sys.executable, str(tmp_path / "example.py")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert found.returncode == 0, found.stderr


def test_the_readme_names_every_aggregate():
    rows = [line for line in README.read_text().splitlines() if line.startswith("| `")]
    described = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert set(names()) <= described
