"""Tables in which definitions look attributes up, read by Python's own CSV and looked through."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Doc = dict[str, Any]


def whole(docs: Iterable[tuple[Path, Doc]]) -> dict[str, Doc]:
    """By name, of (folder, document): the key, and all rows by the names of columns."""
    found: dict[str, Doc] = {}
    for folder, doc in docs:
        if doc.get("kind") == "Lookup":
            with open(folder / doc["file"], newline="", encoding="utf-8-sig") as file:
                found[doc["name"]] = {"key": doc["key"], "rows": list(csv.DictReader(file))}
    return found


def pinned(doc: Doc, lookups: dict[str, Doc]) -> Doc:
    """A definition in which the rows stand that its attributes are looked up in."""
    source = doc.get("source") or {}
    made: Doc = {}
    for name, steps in (source.get("attributes") or {}).items():
        made[name] = steps
        if isinstance(steps, dict) and "lookup" in steps:
            column = {"column": steps.get("column", name)}
            made[name] = {**steps, "lookup": {**lookups[steps["lookup"]], **column}}
    return {**doc, "source": {**source, "attributes": made}} if made else doc


def find(lookup: Doc, text: str) -> str | None:
    """What the row of a text says; None: there is none, or nothing in its cell."""
    for row in lookup["rows"]:
        if row[lookup["key"]] == text:
            return row[lookup["column"]] or None
    return None
