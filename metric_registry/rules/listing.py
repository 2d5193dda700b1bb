"""What is said twice, and what is not said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from metric_registry.fields import Problem
from metric_registry.granularities import text_of
from metric_registry.rules.subject import Rule, Subject
from metric_registry.syntax.nodes import Mapping, Path, Scalar, Sequence, get
from metric_registry.values import granularity

OVERFLOW = "otel.metric.overflow"
"""Marks the group into which those merge that are too many (OpenTelemetry, Metrics SDK)."""
RESERVED = "tidemill."


def owner_and_description(subject: Subject) -> Iterator[Problem]:
    """TM111, TM112: who answers for the number, and what it means."""
    definition = subject.definition
    for code, name, given in (
        ("TM111", "owner", definition.owner),
        ("TM112", "description", definition.description),
    ):
        if given is None or not given.strip():
            yield Problem(
                code=code,
                message=f"`{definition.name}` has no {name}",
                path=(name,) if _stands(subject, name) else ("name",),
                help=f"add `{name}: ...`",
            )


def _stands(subject: Subject, name: str) -> bool:
    return isinstance(subject.root, Mapping) and name in subject.root.entries


def repeated_entries(subject: Subject) -> Iterator[Problem]:
    """TM109: an entry of a list that stood in it before."""
    definition = subject.definition
    yield from _repeated(("time", "granularities"), map(text_of, definition.time.granularities))
    yield from _repeated(("space", "keep"), definition.space.keep)
    sources = definition.source.any_of or []
    yield from _repeated(("source", "any_of"), (one.metric or one.match or "" for one in sources))
    for name, made in definition.source.attributes.items():
        yield from _repeated(("source", "attributes", name, "from"), made.sources)
    for attribute, values in definition.source.where.items():
        yield from _repeated(("source", "where", attribute), values)
    yield from _repeated(("extends",), definition.extends)
    yield from _repeated(("include",), definition.include)


def _repeated(path: Path, entries: Iterable[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        if entry in seen:
            message = f"`{entry}` is listed twice"
            yield Problem(
                code="TM109", message=message, path=(*path, index), help="remove one of the two"
            )
        seen.add(entry)


def repeated_retention(subject: Subject) -> Iterator[Problem]:
    """TM109: two spellings of one granularity in `publish.keep`, such as 60s and 1m."""
    node = get(subject.root, ("publish", "keep"))
    stated = subject.definition.publish.keep
    if isinstance(node, Mapping) and len(node.entries) > len(stated):
        sizes = [granularity(written) for written in node.entries]
        again = next(index for index, size in enumerate(sizes) if size in sizes[:index])
        yield Problem(
            code="TM109",
            message="two entries are for the same window size",
            path=("publish", "keep", list(node.entries)[again]),
            on_key=True,
            help="remove one of the two",
        )


def ambiguous_values(subject: Subject) -> Iterator[Problem]:
    """TM207: numbers in `where` that YAML reads as another text than was written."""
    node = get(subject.root, ("source", "where"))
    if not isinstance(node, Mapping):
        return
    for attribute, (_, value) in node.entries.items():
        items = value.items if isinstance(value, Sequence) else (value,)
        compared = subject.definition.source.where[attribute]
        for index, (item, text) in enumerate(zip(items, compared, strict=True)):
            if isinstance(item, Scalar) and item.text != text:
                path: Path = ("source", "where", attribute)
                yield Problem(
                    code="TM207",
                    message=f"`{item.text}` would be compared as `{text}`",
                    path=(*path, index) if isinstance(value, Sequence) else path,
                    help=f'write `"{item.text}"` for the text, or `{text}` for the number',
                    replacement=f'"{item.text}"',
                )


def reserved_attributes(subject: Subject) -> Iterator[Problem]:
    """TM113: a group's label that rows and points of tidemill carry with a meaning of their own."""
    for index, attribute in enumerate(subject.definition.space.keep):
        if attribute == OVERFLOW or attribute.startswith(RESERVED):
            yield Problem(
                code="TM113",
                message=f"`{attribute}` is a name that tidemill gives a meaning to itself",
                path=("space", "keep", index),
                help="remove it, or rename the attribute at the agent",
            )


RULES: tuple[Rule, ...] = (
    reserved_attributes,
    owner_and_description,
    repeated_entries,
    repeated_retention,
    ambiguous_values,
)
