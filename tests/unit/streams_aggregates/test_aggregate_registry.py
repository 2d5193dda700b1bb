"""Aggregates are found by name, a name means one of them, and a user adds one in a file."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streams.aggregates import (
    DuplicateAggregate,
    NotAnAggregate,
    Points,
    UnknownAggregate,
    UnreadableState,
    aggregate,
    made,
    register,
    register_family,
    shipped,
)
from streams.aggregates.needed import require
from streams.aggregates.registry import own, put_back
from streams.aggregates.sum import Sum
from streams.errors import Fatal

README = Path(__file__).resolve().parents[3] / "streams" / "aggregates" / "README.md"


@pytest.fixture(autouse=True)
def nothing_stays():
    """What a test adds is of no concern to others."""
    before = own()
    yield
    put_back(before)


def test_a_name_that_is_taken_is_refused_and_says_by_whom():
    with pytest.raises(DuplicateAggregate, match="'sum' comes with the program; give Sum another"):
        register(Sum())
    with pytest.raises(DuplicateAggregate, match="'quantile' comes with the program; give Rows"):
        register_family("quantile", Rows)
    register(Rows("rows_once"))
    with pytest.raises(DuplicateAggregate, match="'rows_once' is registered already, by Rows; "):
        register(Others("rows_once"))
    register(Rows("rows_once"))  # the same again: a module that is imported by two names


def test_a_name_that_nobody_has_is_refused_with_those_there_are():
    with pytest.raises(UnknownAggregate, match=r"no aggregate is called 'median'; there are all, "):
        aggregate("median")


def test_every_name_is_its_aggregates_own():
    assert [aggregate(name).name for name in shipped()] == shipped()


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
    assert set(shipped()) <= described


class Rows:
    """A state of nothing; it finishes as its version."""

    def __init__(self, name: object, version: object = 1) -> None:
        self.name, self.version = name, version

    def empty(self, n):
        return np.zeros(n)

    def add(self, state, rows, points):
        raise ZeroDivisionError("points by zero")

    def merge(self, state, rows, other, theirs):
        pass

    def finish(self, state):
        return state + self.version

    def encode(self, state):
        return b""

    def decode(self, data):
        raise UnreadableState("another's")


class Others(Rows):
    """Of another name in the same file."""


def test_versions_of_ones_own_stand_beside_each_other_and_new_definitions_mean_the_newest():
    for version in (2, 7, 3):
        register(Rows("rows_of_three", version))
    assert aggregate("rows_of_three").version == made("rows_of_three").version == 7
    assert made("rows_of_three@2").finish(np.zeros(1)).tolist() == [2.0]
    assert own()["rows_of_three"].newest == 7
    with pytest.raises(UnknownAggregate, match="not there in version 4, only in 2, 3, 7"):
        made("rows_of_three@4")
    register(Rows("rows_of_three", 8))
    assert made("rows_of_three").version == 8


def test_a_family_makes_those_of_its_name_and_version_alone():
    register_family("rows_by", lambda given: Rows(*given), version=2)
    assert made('rows_by@2(["rows_by",2])').version == 2
    for other in ('["rows_for",2]', '["rows_by",3]'):
        with pytest.raises(NotAnAggregate, match="states could not be told apart"):
            made(f"rows_by@2({other})")
    with pytest.raises(UnknownAggregate, match="'rows_by' takes a parameter"):
        made("rows_by@2")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Rows, r"Rows is a class: register an object of it, Rows\(\)"),
        (object(), "object is no aggregate, it has no empty, no add, .*, no name, no version"),
        (Rows("Latency (ms)"), r"Rows is named 'Latency \(ms\)'; a name has small letters"),
        (Rows("a" * 64), "63 at most"),
        (Rows("rows_none", 0), "Rows has version 0; it is a number from 1 to 65535"),
        (Rows("rows_none", True), "Rows has version True"),
        (Rows("rows_none", "2"), "Rows has version '2'"),
    ],
)
def test_what_is_no_aggregate_is_refused_with_what_it_lacks(given, said):
    with pytest.raises(NotAnAggregate, match=said):
        register(given)
    assert "rows_none" not in own()


def test_what_fails_in_ones_own_stops_the_worker_and_names_the_aggregate():
    register(Rows("rows_that_fail"))
    guarded = made("rows_that_fail@1")
    with pytest.raises(
        Fatal, match="'rows_that_fail@1' failed in `add`: ZeroDivisionError: points"
    ):
        guarded.add(guarded.empty(1), np.zeros(1, np.int64), Points.of_doubles([1.0]))
    with pytest.raises(UnreadableState, match="another's"):
        guarded.decode(b"")
    assert guarded.merge(guarded.empty(1), None, None, None) is None
    rows = Rows("rows_of_texts")
    rows.finish = lambda state: ["a"] * len(state)
    register(rows)
    with pytest.raises(Fatal, match="'rows_of_texts@1' finished as list, not as a double a row"):
        made("rows_of_texts@1").finish(np.zeros(1))


def test_a_process_that_lacks_an_aggregate_says_who_needs_it_and_what_to_do():
    with pytest.raises(Fatal) as raised:
        require([("shop.apdex", "sum"), ("shop.apdex", "nobodys@1(0.5)")])
    assert "shop.apdex needs 'nobodys@1(0.5)': no aggregate is called 'nobodys'" in str(
        raised.value
    )
    assert "lacks the file" in str(raised.value)
