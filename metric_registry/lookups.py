"""Lookups: tables that stand in files beside the definitions, and what is wrong with them.

A table is pinned: its content is part of the version of the definitions that use it, and changes as
they do. A file is CSV (RFC 4180) in UTF-8: a header, and a row a key.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from metric_registry.tables import Table

MOST_KEYS = 20_000
"""Of a lookup."""
MOST_BYTES = 2 << 20
"""Of the columns that all definitions together use."""
_SHOWN = 5
"""Rows of a file that are told of with the same mistake."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Something that is wrong with a file, and its line (from 1)."""

    code: str
    message: str
    line: int
    help: str


@dataclass(slots=True)
class Lookup:
    """A table that was read. rows: key -> all cells of its row, in the header's order."""

    name: str
    key: str
    header: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]
    _tables: dict[str, Table] = field(default_factory=dict[str, Table])

    def table(self, column: str) -> Table | None:
        """What keys become by a column; None: there is no such column. Empty cells give nothing."""
        if column not in self.header:
            return None
        if column not in self._tables:
            at = self.header.index(column)
            found = {key: cells[at] for key, cells in self.rows.items() if cells[at]}
            self._tables[column] = Table(found)
        return self._tables[column]


Lookups = Mapping[str, Lookup | None]
"""By name; None: one that has mistakes."""
NO_LOOKUPS: Lookups = {}


def read_table(name: str, key: str, text: str) -> tuple[Lookup | None, list[RowProblem]]:
    """A lookup of a file's text, or what is wrong with it."""
    problems = _Problems()
    lines = list(_records(text, problems))
    if not lines:
        problems.add("TM518", "the file has no header", 1, "begin with a line of column names")
        return None, problems.told()
    (at, header), body = lines[0], lines[1:]
    _check_header(header, at, key, problems)
    if problems.any:
        return None, problems.told()
    where, rows = header.index(key), dict[str, tuple[str, ...]]()
    first: dict[str, int] = {}
    for line, cells in body:
        if len(cells) != len(header):
            problems.add(
                "TM519",
                f"the row has {_cells(len(cells))}, and the header {len(header)}",
                line,
                'give each column a cell, which may be empty; put `"` around a text with a comma',
            )
            continue
        text_of_key = cells[where]
        if not text_of_key or text_of_key != text_of_key.strip():
            what = "is empty" if not text_of_key.strip() else "has space around it"
            problems.add(
                "TM519", f"the key `{key}` {what}, so no stream has it", line, "write or remove it"
            )
            continue
        if text_of_key in first:
            problems.add(
                "TM520",
                f"the key `{text_of_key}` stands in line {first[text_of_key]} already",
                line,
                "keep one of the two rows: which of them counts nobody could tell",
            )
            continue
        first[text_of_key] = line
        rows[text_of_key] = tuple(cells)
    if len(rows) > MOST_KEYS:
        problems.add(
            "TM110",
            f"the table has {len(rows):,} keys",
            1,
            f"at most {MOST_KEYS:,} are allowed: keep the keys that streams have (`tidemill "
            "registry live-check` tells what falls to a default), or have the agents' collector "
            "add the attribute",
        )
    if problems.any:
        return None, problems.told()
    return Lookup(name, key, tuple(header), rows), []


def _records(text: str, problems: _Problems) -> Iterator[tuple[int, list[str]]]:
    """Records that are not blank, each with the line it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    begins = 1
    try:
        for cells in reader:
            if cells:
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        advice = 'write `"` within a quoted text twice, and close each quote'
        problems.add("TM519", f"the row is no CSV: {error}", begins, advice)


def _check_header(header: list[str], at: int, key: str, problems: _Problems) -> None:
    seen: set[str] = set()
    for name in header:
        if not name or name != name.strip():
            advice = "name each column, without space around the name"
            problems.add("TM518", f"a column is called `{name}`", at, advice)
        elif name in seen:
            problems.add("TM518", f"two columns are called `{name}`", at, "rename one of the two")
        seen.add(name)
    if key not in seen and not problems.any:
        other = next((each for each in ";\t|" if len(header) == 1 and each in header[0]), "")
        named = ", ".join(f"`{name}`" for name in header[:10])
        advice = "part columns by commas" if other else f"there are {named}"
        problems.add("TM518", f"no column is called `{key}`, the lookup's key", at, advice)


def _cells(number: int) -> str:
    return f"{number} cell{'' if number == 1 else 's'}"


class _Problems:
    """Of each kind the first few, and how many there are."""

    def __init__(self) -> None:
        self._found: dict[str, list[RowProblem]] = {}

    def add(self, code: str, message: str, line: int, advice: str) -> None:
        self._found.setdefault(code, []).append(RowProblem(code, message, line, advice))

    @property
    def any(self) -> bool:
        return bool(self._found)

    def told(self) -> list[RowProblem]:
        told: list[RowProblem] = []
        for found in self._found.values():
            told += found[:_SHOWN]
            if len(found) > _SHOWN:
                last, more = found[_SHOWN], len(found) - _SHOWN
                message = f"{last.message}; {more:,} rows from here on have such a mistake"
                told.append(RowProblem(last.code, message, last.line, last.help))
        return told
