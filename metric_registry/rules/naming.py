"""Names that the store could not give a view, or that are taken."""

from __future__ import annotations

from collections.abc import Iterator

from metric_registry.fields import Problem
from metric_registry.names import CANDIDATE, LONGEST_ESCAPED, TABLES, escaped_length, is_candidate
from metric_registry.rules.subject import Rule, Subject


def no_table_of_the_store(subject: Subject) -> Iterator[Problem]:
    """TM114: a view of that name would take the place of a table."""
    name = subject.definition.name
    if name in TABLES:
        yield Problem(
            code="TM114",
            message=f"`{name}` is a table of the store, so the definition would have no view",
            path=("name",),
            help=f"write what is counted, such as `requests.{name}`; the store has "
            + ", ".join(f"`{table}`" for table in sorted(TABLES)),
        )


def short_enough_for_a_view(subject: Subject) -> Iterator[Problem]:
    """TM115: the store refuses a view whose name is too long, and the sink would stop there."""
    yield from too_long(subject.definition.name)


def too_long(name: str) -> Iterator[Problem]:
    """TM115, of whatever has a view."""
    length = escaped_length(name)
    if length > LONGEST_ESCAPED:
        yield Problem(
            code="TM115",
            message=f"the name is {length} bytes as the store writes it, and that of a view has "
            f"at most {LONGEST_ESCAPED}",
            path=("name",),
            help="shorten it; a letter, a digit and `_` take one byte, `.`, `-` and `/` three",
        )


def no_candidate(subject: Subject) -> Iterator[Problem]:
    """TM119: `registry apply --candidate` names what it computes for a time so."""
    name = subject.definition.name
    if is_candidate(name):
        yield Problem(
            code="TM119",
            message=f"names that end in `{CANDIDATE}` are those of candidates, which run beside "
            "a definition for a time",
            path=("name",),
            help=f"name it `{name.removesuffix(CANDIDATE)}`, and run it beside the one in force "
            "with `tidemill registry apply --candidate`",
        )


RULES: tuple[Rule, ...] = (no_table_of_the_store, short_enough_for_a_view, no_candidate)
