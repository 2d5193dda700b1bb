"""Attributes that a definition makes of those that streams have."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from metric_registry.derive import PLACE
from metric_registry.fields import Problem
from metric_registry.patterns import compiled
from metric_registry.resolve import derivations
from metric_registry.rules.subject import Rule, Subject
from metric_registry.syntax.nodes import Path, Sequence, get

_ATTRIBUTES: Path = ("source", "attributes")


def names_of_their_own(subject: Subject) -> Iterator[Problem]:
    """TM220: no attribute takes the place of the tenant, or of one that the resource has."""
    for name in subject.definition.source.attributes:
        if name == "tenant" or name.startswith("resource."):
            yield Problem(
                code="TM220",
                message=f"`{name}` cannot be made of another attribute",
                path=(*_ATTRIBUTES, name),
                on_key=True,
                help="give it another name: the tenant, and what the resource has, stay what "
                "they are",
            )


def steps_fit(subject: Subject) -> Iterator[Problem]:
    """TM221: what is written of a match is there."""
    for name, made in subject.definition.source.attributes.items():
        path = (*_ATTRIBUTES, name)
        if made.write is None:
            continue
        if made.capture is None:
            yield Problem(
                code="TM221",
                message="`write` is of a match, and there is no `capture`",
                path=(*path, "write"),
                on_key=True,
                help="add `capture: PATTERN`, or leave `write` out",
            )
            continue
        groups = compiled(made.capture).groups
        for place in PLACE.findall(made.write):
            if int(place) > groups:
                yield Problem(
                    code="TM221",
                    message=f"`{{{place}}}` is a group that the pattern does not have: it has "
                    f"{groups}",
                    path=(*path, "write"),
                    help="put what is wanted between `(` and `)` in `capture`; `{0}` is all of it",
                )
                break


def used(subject: Subject) -> Iterator[Problem]:
    """TM222: an attribute that nothing asks for. Defaults may give it to all."""
    definition = subject.definition
    asked = {*definition.source.where, *definition.space.keep}
    for name in definition.source.attributes:
        path = (*_ATTRIBUTES, name)
        if name not in asked and subject.merged.says(path):
            yield Problem(
                code="TM222",
                message=f"neither `where` nor `keep` asks for `{name}`",
                path=path,
                on_key=True,
                help=f"add `{name}` to `keep`, or remove it",
            )


def values_that_can_be(subject: Subject) -> Iterator[Problem]:
    """TM223: a condition on what a map, or a column of a table, never gives."""
    definition = subject.definition
    for made in derivations(definition, subject.lookups):
        name, mapping = made.name, made.mapping
        if mapping is None or name not in definition.source.where:
            continue
        what, values = "map" if made.table is None else "table", set(mapping.values())
        given: list[str] = sorted(values if made.default is None else {*values, made.default})
        path: Path = ("source", "where", name)
        several = isinstance(get(subject.root, path), Sequence)
        for index, value in enumerate(definition.source.where.get(name, ())):
            if value not in given:
                near = difflib.get_close_matches(value, given, n=1)
                listed = ", ".join(f"`{one}`" for one in given[:_SHOWN])
                listed += ", ..." if len(given) > _SHOWN else ""
                yield Problem(
                    code="TM223",
                    message=f"`{name}` is never `{value}`: its {what} does not give that",
                    path=(*path, index) if several else path,
                    help=(f"did you mean `{near[0]}`? " if near else "") + f"it gives {listed}",
                    replacement=near[0] if near and near[0].isidentifier() else None,
                )


_SHOWN = 10
"""Values that are listed, at most."""

RULES: tuple[Rule, ...] = (names_of_their_own, steps_fit, used, values_that_can_be)
