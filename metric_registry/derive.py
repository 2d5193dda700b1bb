"""Attributes that a definition makes of those that streams have: renamed, or computed from one.

The steps are the same for all and in this order: the first of the names that the stream has, lower
case, the part that a pattern captures, the entry of a map or of a lookup's table; where that gives
nothing, the default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from metric_registry.patterns import compiled
from metric_registry.tables import Table

KNOWN_VALUES = 1 << 16
"""Results of so many distinct values are kept, over all attributes."""
PLACE = re.compile(r"\{([0-9])\}")
"""In what is written of a match: `{1}` is its first group, `{0}` all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """One attribute, resolved. It asks for what streams have, never for a derived attribute."""

    name: str
    sources: tuple[str, ...]
    """Names, the first of which that a stream has is taken."""
    lower: bool = False
    capture: str = ""
    """A pattern, see `patterns`; empty: the text as it is."""
    write: str = ""
    """What is written of a match."""
    mapped: tuple[tuple[str, str], ...] | None = None
    """Sorted (text, what it becomes); what is not there gives nothing. None: no map."""
    default: str | None = None
    table: Table | None = None
    """Of a lookup, in the place of a map."""
    column: str = field(default="", compare=False)
    """What people call the table, `clusters.customer`: part of no version."""

    @property
    def mapping(self) -> Mapping[str, str] | None:
        """What texts become; what is not there gives nothing. None: all stay what they are."""
        if self.table is not None:
            return self.table.entries
        return None if self.mapped is None else dict(self.mapped)

    @property
    def is_name(self) -> bool:
        """Whether it is nothing but another name for one attribute."""
        plain = not self.lower and not self.capture and self.mapped is None
        return plain and self.table is None and self.default is None and len(self.sources) == 1

    def of(self, lookup: Callable[[str], str | None]) -> str | None:
        """The attribute of a stream whose attributes `lookup` gives; None: it has none."""
        for name in self.sources:
            text = lookup(name)
            if text is not None:
                return _made(self, text)
        return self.default


@lru_cache(maxsize=KNOWN_VALUES)
def _made(derivation: Derivation, text: str) -> str | None:
    found: str | None = text.lower() if derivation.lower else text
    if derivation.capture:
        groups = compiled(derivation.capture).search(found)
        found = None if groups is None else _written(derivation.write, groups)
    if derivation.mapped is not None and found is not None:
        found = dict(derivation.mapped).get(found)
    if derivation.table is not None and found is not None:
        found = derivation.table.entries.get(found)
    return derivation.default if found is None else found


def _written(template: str, groups: tuple[str | None, ...]) -> str:
    return PLACE.sub(lambda place: groups[int(place.group(1))] or "", template)


def lookup_of(
    attributes: tuple[Derivation, ...], lookup: Callable[[str], str | None]
) -> Callable[[str], str | None]:
    """A lookup that gives derived attributes before those that the stream has."""
    if not attributes:
        return lookup
    named = {each.name: each for each in attributes}

    def derived(name: str) -> str | None:
        found = named.get(name)
        return lookup(name) if found is None else found.of(lookup)

    return derived


@dataclass(frozen=True, slots=True)
class NamePattern:
    """Names that a source's `match` means: `*` is any text. Looking is linear in the name."""

    parts: tuple[str, ...]

    @classmethod
    def of(cls, match: str) -> NamePattern:
        return cls(tuple(match.split("*")))

    def matches(self, name: str) -> bool:
        first, *between = self.parts
        if not between:
            return name == first
        last = between.pop()
        at, end = len(first), len(name) - len(last)
        if at > end or not (name.startswith(first) and name.endswith(last)):
            return False
        for part in between:  # the first place of each leaves most for those behind it
            found = name.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True
