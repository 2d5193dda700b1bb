"""What the registry says of names is what the store does with the views of those names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from metric_registry.names import LONGEST_ESCAPED, TABLES, escaped_length
from topologies.sink.schema import Schema, definition_view, migrations, preparation

ASK = """
import sys
from chdb import session

statements = sys.stdin.read().split(chr(0))
store = session.Session(sys.argv[1])
for statement in statements:
    try:
        store.query(statement)
        print("made")
    except Exception as error:
        print(str(error).replace(chr(10), " "))
print(*str(store.query("SELECT name FROM system.tables WHERE database = 'tidemill'")).split())
"""
"""In a process of its own: the engine has one session a process."""


def answers(folder: Path, names: list[str]) -> tuple[list[str], set[str]]:
    """What the store says to the view of each name, and its tables and views after that."""
    made = [statement for _, several in migrations(Schema()) for statement in several]
    views = [definition_view(Schema(), name) for name in names]
    statements = [*preparation(Schema()), *made, *filter(None, views)]
    ran = subprocess.run(
        [sys.executable, "-c", ASK, str(folder)],
        input="\0".join(statements),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = ran.stdout.strip().split("\n")
    assert set(lines[: -1 - len(names)]) == {"made"}, lines
    return lines[-1 - len(names) : -1], {name.strip('"') for name in lines[-1].split()}


def test_a_view_is_made_of_the_longest_name_and_of_none_that_is_longer(tmp_path: Path) -> None:
    dots = ("a." * 51) + "a"
    fit = ["r" * LONGEST_ESCAPED, dots]
    longer = ["r" * (LONGEST_ESCAPED + 1), dots + "a", dots[:-1] + "/"]
    assert [escaped_length(name) for name in fit] == [205, 205]
    assert [escaped_length(name) for name in longer] == [206, 206, 207]
    said, there = answers(tmp_path, [*fit, *longer])
    assert said[:2] == ["made", "made"]
    for refused in said[2:]:
        assert "max length of table name for database tidemill is 205" in refused
    assert there == {*TABLES, *fit}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_table_of_the_store_is_no_definitions_view(name: str) -> None:
    assert definition_view(Schema(), name) is None
