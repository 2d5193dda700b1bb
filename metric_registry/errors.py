"""Findings: what is wrong with definitions, where, and how to put it right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from metric_registry.catalogue import CATALOGUE, Severity

_WIDTH = 160
"""Characters of a long line that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong. Lines and columns count from 1, columns in characters."""

    code: str
    message: str
    file: str
    line: int = 1
    column: int = 1
    length: int = 1
    """How many characters of the line it is about."""
    help: str = ""
    replacement: str | None = None
    """Text that, put in place of those characters, puts it right; None if that takes a person."""
    source: str = ""
    """The line it stands on."""
    way: str = ""
    """How what stands there came to a definition that does not say it itself, or in which
    environment it is wrong; empty: the definition says it, and in all."""

    @property
    def severity(self) -> Severity:
        return CATALOGUE[self.code].severity

    @property
    def order(self) -> tuple[str, int, int, str, str]:
        """Findings are reported by file, then position."""
        return (self.file, self.line, self.column, self.code, self.message)

    def render(self) -> str:
        """As a linter prints it: the place, the line with a caret under it, and the way out."""
        head = f"{self.file}:{self.line}:{self.column}: {self.severity} {self.code}: {self.message}"
        return "\n".join([head, *self._excerpt(), *self._advice()])

    def _excerpt(self) -> Iterator[str]:
        if self.source.strip():
            number = str(self.line)
            carets = "^" * max(1, min(self.length, len(self.source) - self.column + 1))
            start = max(0, self.column - _WIDTH // 2) if len(self.source) > _WIDTH else 0
            shown = self.source[start : start + _WIDTH].replace("\t", " ").rstrip()
            before = " " * (self.column - 1 - start)
            yield f"  {number} | {shown}"
            yield f"  {' ' * len(number)} | {before}{carets[:_WIDTH]}"

    def _advice(self) -> Iterator[str]:
        if self.way:
            yield f"  note: {self.way}"
        if self.help:
            yield f"  help: {self.help}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "severity": self.severity,
            "title": CATALOGUE[self.code].title,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "length": self.length,
            "help": self.help,
            "replacement": self.replacement,
            "way": self.way,
        }


def to_json(value: dict[str, Any]) -> str:
    """JSON for programs to read, with a stable order of keys."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def count(number: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
