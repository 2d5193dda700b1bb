"""Documents of derived definitions, checked against the definitions that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from metric_registry.catalogue import CATALOGUE
from metric_registry.derived.models import DerivedDefinition
from metric_registry.derived.resolved import ResolvedDerived, semantics
from metric_registry.derived.resolving import resolve_derived
from metric_registry.derived.rules import Inputs, alone, problems
from metric_registry.fields import Problem, validate
from metric_registry.inherit import Inheritance, Written, text_at
from metric_registry.names import for_readers
from metric_registry.plan import ResolvedDefinition, canonical
from metric_registry.syntax.nodes import Data, place, to_data


@dataclass(frozen=True, slots=True)
class DerivedEntry:
    """A derived definition without errors, and where it stands."""

    model: DerivedDefinition
    resolved: ResolvedDerived
    written: Written

    @property
    def file(self) -> str:
        return self.written.file

    @property
    def line(self) -> int:
        return place(self.written.root, ("name",)).line


@dataclass(frozen=True, slots=True)
class Defined:
    """A definition that is no derived one: its resolved form (None: it has errors) and place."""

    name: str
    resolved: ResolvedDefinition | None
    where: str


Tell = Callable[[Written, Problem], None]


def check_derived(
    documents: Sequence[Written],
    defined: Sequence[Defined],
    inheritance: Inheritance,
    tell: Tell,
) -> list[DerivedEntry]:
    """Tells what is wrong with each, and gives those without errors, in their order."""
    known = {one.name: one.resolved for one in defined if one.resolved is not None}
    broken = {one.name for one in defined if one.resolved is None}
    names = {one.name for one in documents}
    entries: list[DerivedEntry] = []
    for one in documents:
        model = validate(_data(one, inheritance), DerivedDefinition)
        found = model if isinstance(model, list) else list(alone(model))
        bad = _told(one, found, tell) or not one.clean
        if isinstance(model, list):
            continue
        if any(name in broken for name, _ in model.derive.inputs):
            continue  # what is wrong with its input is told
        given = Inputs(model, known, names)
        bad |= _told(one, problems(given), tell)
        if not bad:
            entries.append(DerivedEntry(model, resolve_derived(given), one))
    refused = set[int]()
    for at, problem in _together(entries, defined):
        if _told(entries[at].written, [problem], tell):
            refused.add(at)
    return [entry for at, entry in enumerate(entries) if at not in refused]


def _data(one: Written, inheritance: Inheritance) -> Data:
    """Its fields, and the owner that defaults name."""
    data = to_data(one.root)
    assert isinstance(data, dict)
    owner = text_at(inheritance.taken(one, "")[0].root, "owner")
    return {"owner": owner, **data} if owner else {**data}


def _told(one: Written, found: Sequence[Problem] | Iterator[Problem], tell: Tell) -> bool:
    """Whether there are errors among problems, which are told."""
    errors = False
    for problem in found:
        tell(one, problem)
        errors |= CATALOGUE[problem.code].severity == "error"
    return errors


def _together(
    entries: Sequence[DerivedEntry], defined: Sequence[Defined]
) -> Iterator[tuple[int, Problem]]:
    """TM501, TM502, TM504, TM513: one name, one number."""
    names = {one.name: one.where for one in defined}
    alike = {for_readers(one.name): (one.name, one.where) for one in defined}
    sources: dict[str, str] = {}
    for one in defined:
        for source in one.resolved.sources if one.resolved is not None else ():
            sources.setdefault(source, one.name)
    numbers: dict[bytes, DerivedEntry] = {}
    for at, entry in enumerate(entries):
        name, where = entry.resolved.name, f"{entry.file}:{entry.line}"
        path, advice = ("name",), "rename one of the two, or remove it"
        if name in names:
            message = f"`{name}` is defined already, in {names[name]}"
            yield at, Problem(code="TM501", message=message, path=path, help=advice)
            continue
        names[name] = where
        if name in sources:
            message = f"`{name}` is named like a source of `{sources[name]}`"
            advice = "give it a name of its own"
            yield at, Problem(code="TM504", message=message, path=path, help=advice)
        other, there = alike.setdefault(for_readers(name), (name, where))
        if other != name:
            yield (
                at,
                Problem(
                    code="TM513",
                    message=f"`{name}` and `{other}` in {there} are one name to OpenTelemetry or "
                    "Prometheus",
                    path=path,
                    help="rename one of the two",
                ),
            )
        same = numbers.setdefault(canonical(semantics(replace(entry.resolved, name=""))), entry)
        if same is not entry:
            message = f"`{name}` is the same number as `{same.resolved.name}` in "
            message += f"{same.file}:{same.line}"
            advice = "keep one of the two, or say in what they differ"
            yield at, Problem(code="TM502", message=message, path=path, help=advice)


def by_name(entries: Sequence[DerivedEntry]) -> Mapping[str, DerivedEntry]:
    """Entries by their names."""
    return {entry.resolved.name: entry for entry in entries}
