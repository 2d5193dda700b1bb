"""Aggregates by the names that definitions use, some of them with a parameter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from streams.aggregates.port import Aggregate
from streams.errors import Fatal

Make = Callable[[Any], Aggregate[Any]]
"""An aggregate of a parameter; ValueError, which says why, if the parameter cannot be."""

_known: dict[str, Aggregate[Any]] = {}
_families: dict[str, Make] = {}
_SPELLED = re.compile(r"([^(]+)(?:\((.*)\))?", re.DOTALL)


class DuplicateAggregate(ValueError):
    """An aggregate of this name is registered already."""


class UnknownAggregate(Fatal, KeyError):
    """No aggregate of this name is registered."""


def register(aggregate: Aggregate[Any]) -> None:
    """Make an aggregate known by its name.

    Raises:
        DuplicateAggregate: The name is taken.
    """
    _is_free(aggregate.name, type(aggregate).__qualname__)
    _known[aggregate.name] = aggregate


def register_family(name: str, make: Make) -> None:
    """Make aggregates known that differ in a parameter, which `make` is given: `{name: 0.95}`.

    States of one family need not be of one kind; their encodings are told apart by what they say.

    Raises:
        DuplicateAggregate: The name is taken.
    """
    taken = _families.get(name)
    if taken is not None:
        raise DuplicateAggregate(f"the aggregates {name!r} are registered already, by {taken!r}")
    _families[name] = make


def _is_free(name: str, whose: str) -> None:
    if name in _known:
        raise DuplicateAggregate(
            f"the aggregate {name!r} is registered already, by {type(_known[name]).__qualname__}; "
            f"give {whose} another name"
        )


def aggregate(name: str) -> Aggregate[Any]:
    """The aggregate of this name.

    Raises:
        UnknownAggregate: There is none; the message lists those there are.
    """
    if name not in _known:
        known = ", ".join(sorted(_known))
        raise UnknownAggregate(
            f"no aggregate is called {name!r}; there are {known}",
            "if it is one of yours, call `streams.aggregates.register` with it first",
        )
    return _known[name]


@cache
def made(spelling: str) -> Aggregate[Any]:
    """The aggregate of a name, or of a name and a parameter in JSON: `sum`, `quantile(0.95)`.

    Raises:
        UnknownAggregate: There is none of the name.
        ValueError: The parameter cannot be.
    """
    found = _SPELLED.fullmatch(spelling)
    name, parameter = found.groups() if found else (spelling, None)
    if parameter is None:
        return aggregate(name)
    if name not in _families:
        return aggregate(spelling)
    return _families[name](json.loads(parameter))


def names() -> list[str]:
    """The names of all registered aggregates, sorted."""
    return sorted(_known)


def families() -> list[str]:
    """The names of those that take a parameter, sorted."""
    return sorted(_families)
