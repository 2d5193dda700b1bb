"""Levels that a definition has, before it is taken apart into them."""

from __future__ import annotations

from collections.abc import Iterator

from metric_registry.fields import Problem
from metric_registry.hierarchy import ALL, HIERARCHY
from metric_registry.rules.subject import Rule, Subject


def entries_have_their_place(subject: Subject) -> Iterator[Problem]:
    """TM226: `all` is the coarsest level, and the tenant is none."""
    stated = subject.definition.space.hierarchy or []
    for at, level in enumerate(stated):
        if level.by == ALL and at < len(stated) - 1:
            yield Problem(
                code="TM226",
                message="`all` keeps no attribute of the hierarchy, and others come after it",
                path=(*HIERARCHY, at, "by"),
                help="put it at the end: levels stand from the finest to the coarsest",
            )
        elif level.by == "tenant":
            yield Problem(
                code="TM226",
                message="`tenant` is no level: every group keeps it",
                path=(*HIERARCHY, at, "by"),
                help="remove it",
            )


def several_levels(subject: Subject) -> Iterator[Problem]:
    """TM227: with one level there is nothing above it."""
    stated = subject.definition.space.hierarchy or []
    if len(stated) == 1:
        by = stated[0].by
        advice = f"name the next coarser attribute, or `all`: `[{by}, all]`; or move it to `keep`"
        if by == ALL:
            advice = "name the attributes before it, from the finest, or remove the hierarchy"
        yield Problem(
            code="TM227",
            message=f"a hierarchy of `{by}` alone has one level",
            path=(*HIERARCHY, 0, "by"),
            help=advice,
        )


def finest_has_the_name(subject: Subject) -> Iterator[Problem]:
    """TM228: the finest level is called as the definition is."""
    stated = subject.definition.space.hierarchy or []
    if stated and stated[0].name is not None:
        yield Problem(
            code="TM228",
            message=f"the finest level has the definition's name, `{subject.definition.name}`",
            path=(*HIERARCHY, 0, "name"),
            on_key=True,
            help="remove `name` here; to call the metric otherwise, change the definition's name",
        )


RULES: tuple[Rule, ...] = (entries_have_their_place, several_levels, finest_has_the_name)
