"""Aggregates by the names that definitions use."""

from __future__ import annotations

from typing import Any

from streams.aggregates.port import Aggregate

_known: dict[str, Aggregate[Any]] = {}


class DuplicateAggregate(ValueError):
    """An aggregate of this name is registered already."""


class UnknownAggregate(KeyError):
    """No aggregate of this name is registered."""

    def __str__(self) -> str:
        return str(self.args[0])


def register(aggregate: Aggregate[Any]) -> None:
    """Make an aggregate known by its name.

    Raises:
        DuplicateAggregate: The name is taken.
    """
    name = aggregate.name
    if name in _known:
        raise DuplicateAggregate(
            f"the aggregate {name!r} is registered already, by {type(_known[name]).__qualname__}; "
            f"give {type(aggregate).__qualname__} another name"
        )
    _known[name] = aggregate


def aggregate(name: str) -> Aggregate[Any]:
    """The aggregate of this name.

    Raises:
        UnknownAggregate: There is none; the message lists those there are.
    """
    if name not in _known:
        known = ", ".join(sorted(_known))
        raise UnknownAggregate(f"no aggregate is called {name!r}; there are {known}")
    return _known[name]


def names() -> list[str]:
    """The names of all registered aggregates, sorted."""
    return sorted(_known)
