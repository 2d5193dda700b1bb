"""Aggregates by the names that definitions use, some of them with a parameter.

Those that come with the program are registered when the package is imported, and then it `closes`.
Whoever registers one later adds one of their own; of a name of their own there may be several
versions, of which the newest is what new definitions mean, and the others read the states of older
ones.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

from streams.aggregates.guarded import Guarded
from streams.aggregates.port import Aggregate
from streams.errors import Fatal

Make = Callable[[Any], Aggregate[Any]]
"""An aggregate of a parameter; ValueError, which says why, if the parameter cannot be."""
Unit = str | Callable[[str], str] | None
"""The unit of what an aggregate makes: a unit, or what it is given that of the values (in UCUM);
None: the values' own."""

_SPELLED = re.compile(r"([^(@]+)(?:@([0-9]+))?(?:\((.*)\))?", re.DOTALL)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_METHODS = ("empty", "add", "merge", "finish", "encode", "decode")
_LARGEST_VERSION = 0xFFFF


class DuplicateAggregate(ValueError):
    """An aggregate of this name is registered already."""


class NotAnAggregate(TypeError):
    """Something that lacks what `port.Aggregate` asks for."""


class UnknownAggregate(Fatal, KeyError):
    """No aggregate of this name, or none in this version, is registered."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What is known by one name.

    Attributes:
        single: By version, if it goes without a parameter.
        families: By version, if it takes one.
        unit: See `Unit`; of the newest version.
        example: A parameter that it takes.
    """

    single: dict[int, Aggregate[Any]] = field(default_factory=dict[int, Aggregate[Any]])
    families: dict[int, Make] = field(default_factory=dict[int, Make])
    unit: Unit = None
    example: Any = None

    @property
    def newest(self) -> int:
        """The version that new definitions mean."""
        return max([*self.single, *self.families])


_known: dict[str, Registered] = {}
_shipped: dict[str, Registered] = {}


def register(aggregate: Aggregate[Any], *, unit: Unit = None) -> None:
    """Make an aggregate known by its name.

    Raises:
        NotAnAggregate: It lacks something; the message says what.
        DuplicateAggregate: The name is taken, or this version of it.
    """
    _implements(aggregate)
    before = _free(aggregate.name, aggregate.version, aggregate, "single")
    single = {**before.single, aggregate.version: aggregate}
    _know(aggregate.name, Registered(single, before.families, unit, before.example))


def register_family(
    name: str, make: Make, *, version: int = 1, unit: Unit = None, example: Any = None
) -> None:
    """Make aggregates known that differ in a parameter, which `make` is given: `{name: 0.95}`.

    States of one family need not be of one kind; their encodings are told apart by what they say.

    Args:
        version: That of all that it makes.
        example: A parameter that it takes, shown to those who forget theirs.

    Raises:
        NotAnAggregate: It cannot be called, or its name or version is none.
        DuplicateAggregate: The name is taken, or this version of it.
    """
    if not callable(make):
        raise NotAnAggregate(f"a family is made by a function of its parameter, not by {make!r}")
    _is_a_name(name, repr(make))
    _is_a_version(version, name)
    before = _free(name, version, make, "families")
    families = {**before.families, version: make}
    _know(name, Registered(before.single, families, unit, example))


def _know(name: str, found: Registered) -> None:
    _known[name] = found
    made.cache_clear()


def _free(name: str, version: int, given: object, kind: str) -> Registered:
    """What the name has so far; a version of it is taken once, but by the same file's again."""
    if name in _shipped:
        raise DuplicateAggregate(
            f"the aggregate {name!r} comes with the program; give {_written(given)} another name"
        )
    before = _known.get(name, Registered())
    taken: Mapping[int, object] = before.single if kind == "single" else before.families
    if version in taken and _place(taken[version]) != _place(given):
        raise DuplicateAggregate(
            f"the aggregate {name!r} is registered already, by {_written(taken[version])}; "
            f"give {_written(given)} another name, or another version"
        )
    return before


def _written(given: object) -> str:
    """The class of an aggregate, or what makes a family, by its name."""
    named = given if hasattr(given, "__qualname__") else type(given)
    return str(getattr(named, "__qualname__", named))


def _place(given: object) -> tuple[str, str]:
    """The file and the name of where it was written: a module may be imported by two names."""
    module = sys.modules.get(given.__module__)
    return str(getattr(module, "__file__", given.__module__)), _written(given)


def _implements(given: object) -> None:
    whose = given.__qualname__ if isinstance(given, type) else type(given).__qualname__
    if isinstance(given, type):
        raise NotAnAggregate(f"{whose} is a class: register an object of it, {whose}()")
    missing = [one for one in _METHODS if not callable(getattr(given, one, None))]
    missing += [one for one in ("name", "version") if not hasattr(given, one)]
    if missing:
        raise NotAnAggregate(f"{whose} is no aggregate, it has no {', no '.join(missing)}")
    aggregate = cast("Aggregate[Any]", given)
    _is_a_name(aggregate.name, whose)
    _is_a_version(aggregate.version, whose)


def _is_a_name(name: object, whose: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise NotAnAggregate(
            f"{whose} is named {name!r}; a name has small letters, digits and _, 63 at most"
        )


def _is_a_version(version: object, whose: str) -> None:
    whole = isinstance(version, int) and not isinstance(version, bool)
    if not whole or not 1 <= cast("int", version) <= _LARGEST_VERSION:
        raise NotAnAggregate(
            f"{whose} has version {version!r}; it is a number from 1 to {_LARGEST_VERSION}"
        )


def close() -> None:
    """What is registered by now comes with the program; what follows is somebody's own."""
    _shipped.update(_known)


def own() -> Mapping[str, Registered]:
    """What has been added to the aggregates that come with the program, by name."""
    return {name: found for name, found in _known.items() if name not in _shipped}


def put_back(before: Mapping[str, Registered]) -> None:
    """What has been added is again what `own` said `before`."""
    _known.clear()
    _known.update(_shipped, **before)
    made.cache_clear()


def aggregate(name: str) -> Aggregate[Any]:
    """The aggregate of this name, in its newest version.

    Raises:
        UnknownAggregate: There is none; the message lists those there are.
    """
    found = _known.get(name)
    if found is None or not found.single:
        raise _unknown(name)
    return found.single[max(found.single)]


@cache
def made(spelling: str) -> Aggregate[Any]:
    """As `plain`; of those that do not come with the program a failure is a `FailedAggregate`."""
    found = plain(spelling)
    return found if found.name in _shipped else Guarded(found, spelling)


def plain(spelling: str) -> Aggregate[Any]:
    """The aggregate of a name, with its version and its parameter in JSON where it has them.

    `sum`, `quantile(0.95)`, `apdex@1(0.5)`; without a version it is the newest.

    Raises:
        UnknownAggregate: There is none of the name, or not in this version.
        NotAnAggregate: What was made is none, or of another version.
        ValueError: The parameter cannot be.
    """
    read = _SPELLED.fullmatch(spelling)
    name, version, parameter = read.groups() if read else (spelling, None, None)
    found = _known.get(name)
    if found is None:
        raise _unknown(name)
    choices: Mapping[int, object] = found.single if parameter is None else found.families
    wanted = int(version) if version else max(choices, default=0)
    if wanted not in choices:
        raise _other_version(name, wanted, choices, parameter)
    if parameter is None:
        return found.single[wanted]
    one = found.families[wanted](json.loads(parameter))
    _implements(one)
    if name not in _shipped and (one.name, one.version) != (name, wanted):
        raise NotAnAggregate(
            f"the family {name!r} in version {wanted} made one that is named {one.name!r} and has "
            f"version {one.version}; its states could not be told apart"
        )
    return one


def _unknown(name: str) -> UnknownAggregate:
    return UnknownAggregate(
        f"no aggregate is called {name!r}; there are {', '.join(sorted(_known))}",
        "If it is one of yours, this process lacks the file that calls "
        "`streams.aggregates.register` with it: name it in `aggregates` of the settings",
    )


def _other_version(
    name: str, wanted: int, choices: Mapping[int, object], parameter: str | None
) -> UnknownAggregate:
    if not choices:
        how = "takes a parameter" if parameter is None else "takes no parameter"
        return UnknownAggregate(f"the aggregate {name!r} {how}")
    there = ", ".join(map(str, sorted(choices)))
    return UnknownAggregate(
        f"the aggregate {name!r} is not there in version {wanted}, only in {there}",
        "Register that version too, as the other processes of the deployment do, until no window "
        "of it can be corrected any more",
    )


def names() -> list[str]:
    """The names of all registered aggregates that go without a parameter, sorted."""
    return sorted(name for name, found in _known.items() if found.single)


def families() -> list[str]:
    """The names of those that take a parameter, sorted."""
    return sorted(name for name, found in _known.items() if found.families)


def shipped() -> list[str]:
    """The names among `names` that come with the program, sorted."""
    return sorted(name for name, found in _shipped.items() if found.single)
