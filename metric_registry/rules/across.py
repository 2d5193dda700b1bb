"""Definitions together: names, sources, numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from metric_registry.derive import NamePattern
from metric_registry.fields import Problem
from metric_registry.hierarchy import Rung
from metric_registry.names import for_readers
from metric_registry.plan import SEMANTIC_FIELDS, ResolvedDefinition, canonical, described
from metric_registry.rules.subject import Settings


@dataclass(frozen=True, slots=True)
class Placed:
    """A definition and where it is defined."""

    definition: ResolvedDefinition
    file: str
    line: int
    rung: Rung | None = None
    """Which level of the definition it is."""

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"

    def another_name(self, otherwise: str) -> str:
        """How it gets another name, if its own was made of the definition's."""
        if self.rung is None or not self.rung.index or self.rung.named:
            return otherwise
        by = self.rung.by[self.rung.index]
        return f"the name is made for a level; write `{{by: {by}, name: ...}}` for another one"


RuleAcross = Callable[[Sequence[Placed], Settings], Iterator[tuple[int, Problem]]]
"""Gives problems with the index of the definition that each is about."""


def one_name_one_definition(
    placed: Sequence[Placed], settings: Settings
) -> Iterator[tuple[int, Problem]]:
    """TM501."""
    first: dict[str, Placed] = {}
    for index, one in enumerate(placed):
        name = one.definition.name
        before = first.setdefault(name, one)
        if before is not one:
            yield (
                index,
                Problem(
                    code="TM501",
                    message=f"`{name}` is defined already, in {before.where}",
                    path=("name",),
                    help=one.another_name("rename one of the two, or remove it"),
                ),
            )


def one_number_one_name(
    placed: Sequence[Placed], settings: Settings
) -> Iterator[tuple[int, Problem]]:
    """TM502: the same semantics under another name."""
    first: dict[bytes, Placed] = {}
    for index, one in enumerate(placed):
        before = first.setdefault(_number(one.definition), one)
        if before.definition.name != one.definition.name:
            yield (
                index,
                Problem(
                    code="TM502",
                    message=f"`{one.definition.name}` is the same number as "
                    f"`{before.definition.name}` in {before.where}",
                    path=("name",),
                    help="keep one of the two, or say in what they differ",
                ),
            )


def _number(definition: ResolvedDefinition) -> bytes:
    """What a definition computes, whatever it is called."""
    resolved = described(definition)
    fields = {*SEMANTIC_FIELDS, "zone_rules"} - {"name"}
    return canonical({name: resolved[name] for name in fields})


def few_enough(placed: Sequence[Placed], settings: Settings) -> Iterator[tuple[int, Problem]]:
    """TM503: an index of a definition fits into a message."""
    if len(placed) > settings.most_definitions:
        message = f"{len(placed):,} definitions, and a plan holds {settings.most_definitions:,}"
        advice = "run several installations"
        yield settings.most_definitions, Problem(code="TM503", message=message, help=advice)


def rollups_have_names_of_their_own(
    placed: Sequence[Placed], settings: Settings
) -> Iterator[tuple[int, Problem]]:
    """TM504: no rollup is named as something that is read."""
    readers: dict[str, Placed] = {}
    for one in placed:
        for metric in one.definition.sources:
            readers.setdefault(metric, one)
    patterns = [(NamePattern.of(m), one) for one in placed for m in one.definition.patterns]
    for index, one in enumerate(placed):
        name = one.definition.name
        by_pattern = (who for pattern, who in patterns if pattern.matches(name))
        reader = readers.get(name) or next(by_pattern, None)
        if reader is not None:
            whose = "its own source" if reader is one else f"a source of `{reader.definition.name}`"
            yield (
                index,
                Problem(
                    code="TM504",
                    message=f"the rollup `{one.definition.name}` is named like {whose}",
                    path=("name",),
                    help=one.another_name("give the rollup a name of its own"),
                ),
            )


def names_that_readers_tell_apart(
    placed: Sequence[Placed], settings: Settings
) -> Iterator[tuple[int, Problem]]:
    """TM513: one metric to those who read the final topic by their own rules for names."""
    first: dict[str, Placed] = {}
    for index, one in enumerate(placed):
        name = one.definition.name
        if not one.definition.publish_final:
            continue
        before = first.setdefault(for_readers(name), one)
        if before.definition.name != name:
            in_case = before.definition.name.lower() == name.lower()
            who = "OpenTelemetry" if in_case else "Prometheus"
            yield (
                index,
                Problem(
                    code="TM513",
                    message=f"`{name}` and `{before.definition.name}` in {before.where} are one "
                    f"name to {who}",
                    path=("name",),
                    help=one.another_name(
                        "rename one of the two, or leave one off the final topic with "
                        "`publish: {final: false}`"
                    ),
                ),
            )


RULES: tuple[RuleAcross, ...] = (
    one_name_one_definition,
    one_number_one_name,
    few_enough,
    rollups_have_names_of_their_own,
    names_that_readers_tell_apart,
)
