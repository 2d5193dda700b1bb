"""The content of lookups: what each key becomes, by one column, known by a digest.

Many definitions ask for the same few columns, so a table is one object wherever it is used,
compared and hashed by its digest alone; a plan stores it once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

DIGEST = 32
"""Hex characters of a table's digest."""


class Table:
    """One column of a lookup. `entries`: key -> text; keys without a text are not there."""

    __slots__ = ("digest", "entries")

    def __init__(self, entries: Mapping[str, str]) -> None:
        self.entries: Mapping[str, str] = MappingProxyType(dict(entries))
        pairs = sorted(self.entries.items())
        text = json.dumps(pairs, separators=(",", ":"), ensure_ascii=False).encode()
        self.digest = hashlib.blake2b(text).hexdigest()[:DIGEST]

    @classmethod
    def named(cls, digest: str) -> Table:
        """One of which nothing but its digest is known, until the table itself is found."""
        found = cls({})
        found.digest = digest
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Table({self.digest}, {len(self.entries)} keys)"

    def __deepcopy__(self, memo: dict[int, Any]) -> Table:
        return self

    def __reduce__(self) -> tuple[type[Table], tuple[dict[str, str]]]:
        return Table, (dict(self.entries),)

    @property
    def size(self) -> int:
        """Bytes of its texts, as UTF-8."""
        return sum(len(key.encode()) + len(text.encode()) for key, text in self.entries.items())
