"""How many groups a definition can have, as far as its conditions and maps tell.

A kept attribute has known values where a condition lists them, where a map makes them, and where it
is made of one that a condition lists. Attributes that are made of the same text are counted
together: a zone and the region of that zone are as many pairs as there are zones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from metric_registry.derive import Derivation

NOTHING_KNOWN: Mapping[str, int] = {}


def groups_at_most(
    keep: Iterable[str],
    where: Mapping[str, Iterable[str]],
    attributes: Iterable[Derivation],
    distinct: Mapping[str, int] = NOTHING_KNOWN,
) -> int | None:
    """The most groups that a tenant can have in a window; None where nothing bounds them.

    Args:
        distinct: Of attributes as the definition names them, how many different values their
            streams have, and none at all is one of them; as far as somebody has counted.
    """
    asked = tuple(sorted((name, tuple(values)) for name, values in where.items()))
    known = tuple(sorted(distinct.items()))
    return _at_most(frozenset(keep), asked, tuple(attributes), known)


@lru_cache(maxsize=256)
def _at_most(
    keep: frozenset[str],
    where: tuple[tuple[str, tuple[str, ...]], ...],
    attributes: tuple[Derivation, ...],
    counted: tuple[tuple[str, int], ...],
) -> int | None:
    """The same; many definitions look the same up in a table, whose keys are gone through once."""
    distinct = dict(counted)
    made = {one.name: one for one in attributes}
    kept = {name for name in keep if name != "tenant" and not _of_the_tenant(made.get(name))}
    listed = {name: frozenset(values) for name, values in where if name != "tenant"}
    if not kept.issubset({*made, *listed, *distinct}):
        return None
    known = _Known(made, listed)
    shared: dict[object, list[str]] = {}
    for name in sorted(kept | set(listed)):
        shared.setdefault(known.origin(name), []).append(name)
    bounds = [known.together(names, kept, distinct) for names in shared.values()]
    return None if None in bounds else prod(bound for bound in bounds if bound is not None)


def _of_the_tenant(one: Derivation | None) -> bool:
    """Whether an attribute is the same for all streams of a tenant."""
    return one is not None and one.sources == ("tenant",)


_Maps = Mapping[str, Mapping[str, str] | None]
"""What the texts of each attribute that is made become; None: they stay what they are."""


@dataclass(frozen=True, slots=True)
class _Known:
    made: Mapping[str, Derivation]
    listed: Mapping[str, frozenset[str]]

    def origin(self, name: str) -> object:
        """What an attribute's values follow from, and perhaps those of others with it."""
        one = self.made.get(name)
        if one is None:
            return name
        source = one.sources[0]
        if source in self.listed and source not in self.made:  # so each stream has it
            return source
        return one.sources, one.lower, one.capture, one.write

    def together(self, names: list[str], kept: set[str], distinct: Mapping[str, int]) -> int | None:
        """How many combinations of values those of one origin can have that are kept."""
        maps = {name: self.made[name].mapping for name in names if name in self.made}
        texts = self._texts(names, maps)
        wanted = [name for name in names if name in kept]
        single = [self._single(name, distinct, maps) for name in wanted]
        bounds = [] if None in single else [prod(bound for bound in single if bound is not None)]
        if texts is not None:
            found = ({name: self._value(name, text, maps) for name in names} for text in texts)
            fit = (each for each in found if self._fits(each))
            bounds.append(len({tuple(each[name] for name in wanted) for each in fit}))
        return min(bounds, default=None)

    def _texts(self, names: list[str], maps: _Maps) -> set[str | None] | None:
        """The texts that all of one origin are made of, among them None for what no map has an
        entry for; None: any.
        """
        origin = self.origin(names[0])
        if isinstance(origin, str):
            return {*self.listed[origin]} if origin in self.listed else None
        if None in maps.values():
            return None
        return {text for mapping in maps.values() for text in mapping or ()} | {None}

    def _value(self, name: str, text: str | None, maps: _Maps) -> str | None:
        one = self.made.get(name)
        if one is None:
            return text
        if self.origin(name) == one.sources[0]:
            return one.of({one.sources[0]: text}.get)
        mapping = maps[name] or {}
        return one.default if text is None else mapping.get(text, one.default)

    def _fits(self, values: Mapping[str, str | None]) -> bool:
        return all(values[name] in self.listed[name] for name in values if name in self.listed)

    def _single(self, name: str, distinct: Mapping[str, int], maps: _Maps) -> int | None:
        """By itself, where not all that follows from the same is known."""
        one, bounds = self.made.get(name), [distinct[name]] if name in distinct else []
        if name in self.listed:
            bounds.append(len(self.listed[name]))
        mapping = maps.get(name)
        if one is not None and mapping is not None:
            bounds.append(len({*mapping.values(), one.default}))
        return min(bounds, default=None)
