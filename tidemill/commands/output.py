"""Printing data: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, cast

from cyclopts import Parameter

Form = Literal["table", "json", "jsonl"]
Output = Annotated[Form, Parameter(name=["--output", "-o"])]
Row = Mapping[str, Any]


def emit(rows: Sequence[Row], columns: Sequence[str], form: Form) -> None:
    """Print rows on standard output.

    Args:
        columns: What a table shows, in order; JSON has every field.
    """
    if form == "jsonl":
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    elif form == "json":
        print(json.dumps(list(rows), indent=2, ensure_ascii=False))
    elif rows:
        print(table(rows, columns))


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Rows as aligned text: numbers to the right, a line of names above."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    numeric = [all(isinstance(row.get(column), int | float) for row in rows) for column in columns]
    widths = [max(len(name), *(len(line[at]) for line in cells)) for at, name in enumerate(columns)]
    lines = [list(columns), *cells]
    return "\n".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"
    if isinstance(value, Mapping):
        given = cast("Mapping[str, Any]", value)
        return ", ".join(f"{name}={text}" for name, text in sorted(given.items()))
    return str(value)


def note(text: str) -> None:
    """A line for the person, beside the data: on standard error."""
    print(text, file=sys.stderr)
