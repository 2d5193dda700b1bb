"""A lookup's table, pinned anew: the file that a source's rows become, and what changes by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metric_registry.lookups import MOST_KEYS, Lookup
from metric_registry.table_sources import NotATable, SourceTable, cell, plain, shown

Rows = Mapping[str, tuple[str, ...]]
"""Key -> all cells of its row, in the header's order."""
_EXAMPLES = 3


def pinned(lookup: Lookup, source: SourceTable) -> dict[str, tuple[str, ...]]:
    """The rows of the table that a source's rows make, by key in order of code points.

    They have the columns that the file's header has, in its order; what else the source has is left
    out. Null, and what a row lacks, is an empty cell.

    Raises:
        NotATable: They cannot stand in such a table.
    """
    others = [name for name in lookup.header if name != lookup.key]
    lacking = [name for name in others if source.columns is not None and name not in source.columns]
    if lacking:
        has = ", ".join(f"`{name}`" for name in sorted(source.columns or ())[:10])
        raise NotATable(
            f"the source has no column `{lacking[0]}`, which the table has; it has {has}: have it "
            "say this column, too, or take it out of the file's header"
        )
    if len(source.rows) > MOST_KEYS:
        raise NotATable(
            f"the source has {len(source.rows):,} keys, and at most {MOST_KEYS:,} are allowed: "
            "keep those that streams have"
        )
    return {key: _row(lookup, key, source.rows[key]) for key in sorted(source.rows)}


def table_text(header: Sequence[str], rows: Rows) -> str:
    """The file of a table (RFC 4180, with line feeds): the same bytes for the same rows."""
    lines = [header, *(rows[key] for key in sorted(rows))]
    return "".join(",".join(map(_quoted, cells)) + "\n" for cells in lines)


@dataclass(frozen=True, slots=True)
class TableChange:
    """What differs between two tables of one header. key: its column. Keys are in order."""

    key: str
    header: tuple[str, ...]
    before: Rows
    after: Rows

    @property
    def added(self) -> list[str]:
        return sorted(self.after.keys() - self.before.keys())

    @property
    def removed(self) -> list[str]:
        return sorted(self.before.keys() - self.after.keys())

    @property
    def changed(self) -> list[str]:
        both = self.before.keys() & self.after.keys()
        return sorted(key for key in both if self.before[key] != self.after[key])

    def __bool__(self) -> bool:
        return self.before != self.after

    def text(self) -> str:
        """`1 key added (c8: acme, gold), 1 key changed (c1: tier gold -> silver)`."""
        parts = [
            _part("added", self.added, self._added),
            _part("changed", self.changed, self._changed),
            _part("removed", self.removed, plain),
        ]
        return ", ".join(part for part in parts if part) or "no key differs"

    def to_dict(self) -> dict[str, Any]:
        """For programs: keys, with all their cells."""

        def rows(keys: Iterable[str], of: Rows) -> dict[str, dict[str, str]]:
            return {key: dict(zip(self.header, of[key], strict=True)) for key in keys}

        return {
            "keys": {"before": len(self.before), "after": len(self.after)},
            "added": rows(self.added, self.after),
            "changed": {
                "before": rows(self.changed, self.before),
                "after": rows(self.changed, self.after),
            },
            "removed": rows(self.removed, self.before),
        }

    def _added(self, key: str) -> str:
        row = zip(self.header, self.after[key], strict=True)
        cells = ", ".join(_plain(text) for name, text in row if name != self.key)
        return f"{plain(key)}: {cells}" if cells else plain(key)

    def _changed(self, key: str) -> str:
        columns = zip(self.header, self.before[key], self.after[key], strict=True)
        other = [
            f"{name} {_plain(was)} -> {_plain(now)}" for name, was, now in columns if was != now
        ]
        return f"{plain(key)}: {', '.join(other)}"


def _plain(text: str) -> str:
    return plain(text) if text else "nothing"


def _part(what: str, keys: Sequence[str], example: Callable[[str], str]) -> str:
    if not keys:
        return ""
    more = "; ..." if len(keys) > _EXAMPLES else ""
    told = "; ".join(example(key) for key in keys[:_EXAMPLES])
    return f"{len(keys):,} key{'' if len(keys) == 1 else 's'} {what} ({told}{more})"


def _row(lookup: Lookup, key: str, row: Mapping[str, object]) -> tuple[str, ...]:
    if not key or key != key.strip():
        what = "is empty" if not key.strip() else "has space around it"
        raise NotATable(f"the key {key!r} {what}, so no stream has it: leave it out at the source")
    cells: list[str] = []
    for name in lookup.header:
        try:
            cells.append(cell(key if name == lookup.key else row.get(name)))
        except ValueError as error:
            raise NotATable(f"the key {shown(key)}: `{name}` {error}") from None
    return tuple(cells)


def _quoted(text: str) -> str:
    """A cell of a file, in quotes where it needs them."""
    if any(each in text for each in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text
