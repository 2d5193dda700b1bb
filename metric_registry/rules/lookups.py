"""Attributes that are looked up in a table."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from metric_registry.fields import Problem
from metric_registry.rules.subject import Rule, Subject
from metric_registry.syntax.nodes import Path

_ATTRIBUTES: Path = ("source", "attributes")


def steps_of_a_lookup(subject: Subject) -> Iterator[Problem]:
    """TM229: a table takes the place of a map, and a column is one of a lookup."""
    for name, made in subject.definition.source.attributes.items():
        path = (*_ATTRIBUTES, name)
        if made.lookup is not None and made.map is not None:
            yield Problem(
                code="TM229",
                message="`map` and `lookup` both say what the text becomes",
                path=(*path, "map"),
                on_key=True,
                help="keep one of the two; what the map says can stand in the table",
            )
        if made.column is not None and made.lookup is None:
            yield Problem(
                code="TM229",
                message="`column` is one of a lookup, and none is named",
                path=(*path, "column"),
                on_key=True,
                help="add `lookup: NAME`, or leave `column` out",
            )


def tables_are_there(subject: Subject) -> Iterator[Problem]:
    """TM516, TM517: there is such a lookup, with such a column."""
    for name, made in subject.definition.source.attributes.items():
        path = (*_ATTRIBUTES, name)
        if made.lookup is None:
            continue
        if made.lookup not in subject.lookups:
            near, known = _offer(made.lookup, subject.lookups)
            yield Problem(
                code="TM516",
                message=f"there is no lookup named `{made.lookup}`",
                path=(*path, "lookup"),
                help=f"{near}{known}; other files are read by `include`",
            )
            continue
        lookup, column = subject.lookups[made.lookup], made.column or name
        if lookup is not None and column not in lookup.header:
            near, known = _offer(column, lookup.header)
            yield Problem(
                code="TM517",
                message=f"the lookup `{made.lookup}` has no column `{column}`",
                path=(*path, "lookup" if made.column is None else "column"),
                help=near + known + ("" if made.column else "; name one with `column`"),
            )


def _offer(name: str, known: Iterable[str]) -> tuple[str, str]:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    listed = ", ".join(f"`{each}`" for each in names[:10]) or "none"
    return f"did you mean `{near[0]}`? " if near else "", f"there are {listed}"


RULES: tuple[Rule, ...] = (steps_of_a_lookup, tables_are_there)
