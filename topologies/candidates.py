"""Candidates: what a definition would become, computed beside it and told to nobody but the store.

A candidate is a definition of its own, named as the one it is held against and `.candidate`, which
no definition of a file may be named. So both count every point, each by itself, and the one that
readers have goes on as if there was no other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace

from metric_registry.names import CANDIDATE, LONGEST_ESCAPED, escaped_length, is_candidate
from metric_registry.plan import ResolvedDefinition, version_of
from topologies.deployment import Deployment


class TooLong(ValueError):
    """The store cannot name a candidate; the message says whose."""


def base_of(name: str) -> str:
    """The name of the definition that a candidate is held against."""
    return name.removesuffix(CANDIDATE)


def candidate(definition: ResolvedDefinition) -> ResolvedDefinition:
    """The definition under its candidate's name, for the store alone. Raises `TooLong`."""
    name = definition.name + CANDIDATE
    if escaped_length(name) > LONGEST_ESCAPED:
        raise TooLong(
            f"{name} is {escaped_length(name)} bytes as the store writes it, and a view's name has "
            f"at most {LONGEST_ESCAPED}: shorten the definition's"
        )
    told = {one.name: getattr(definition, one.name) for one in fields(definition)}
    return replace(
        definition,
        name=name,
        version=version_of({**told, "name": name}),
        publish_final=False,
        publish_upsert=False,
    )


def definitions_of(deployed: Deployment) -> tuple[ResolvedDefinition, ...]:
    """The definitions in force without candidates, one a name."""
    return tuple(one for one in deployed.current if not is_candidate(one.name))


def pairs(deployed: Deployment) -> list[tuple[ResolvedDefinition, ResolvedDefinition]]:
    """(definition, its candidate) of all that are in force, in order of name."""
    named = {one.name: one for one in deployed.current}
    return [
        (named[base_of(name)], one)
        for name, one in sorted(named.items())
        if is_candidate(name) and base_of(name) in named
    ]


def beside(
    deployed: Deployment, wanted: Iterable[ResolvedDefinition]
) -> tuple[ResolvedDefinition, ...]:
    """What is in force, and a candidate of each of `wanted` whose version is another.

    Candidates that are in force already and are not wanted end. Raises `TooLong`.
    """
    running = {one.name: one for one in definitions_of(deployed)}
    other = [
        one for one in wanted if one.name in running and running[one.name].version != one.version
    ]
    return (*running.values(), *map(candidate, other))
