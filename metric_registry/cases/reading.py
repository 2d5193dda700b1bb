"""From files of tests to tests without mistakes, and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metric_registry.cases.models import CaseDocument
from metric_registry.cases.rules import Tested, problems, unknown_metric
from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.documents import Reading, Sources
from metric_registry.errors import Finding
from metric_registry.fields import Problem, validate
from metric_registry.inherit import Written
from metric_registry.load import SourceFile
from metric_registry.plan import ResolvedDefinition
from metric_registry.rules import Settings
from metric_registry.syntax.nodes import Path, place, to_data


@dataclass(frozen=True, slots=True)
class Case:
    """A test without mistakes, and where it stands."""

    document: CaseDocument
    definition: Tested
    written: Written
    inputs: tuple[ResolvedDefinition, ...]
    """What counts its points: the definition, or those that it is derived from."""

    @property
    def file(self) -> str:
        return self.written.file

    def line(self, path: Path = ()) -> int:
        """Where something of it stands: its name, unless a path says more."""
        return place(self.written.root, path or ("name",)).line


@dataclass(frozen=True, slots=True)
class Cases:
    """What files of tests hold. Findings are in order of file and position."""

    cases: tuple[Case, ...]
    findings: tuple[Finding, ...]
    files: int

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")


def read_cases(
    files: Sequence[SourceFile],
    definitions: Mapping[str, Tested],
    settings: Settings,
) -> Cases:
    """The tests of these files, which are of definitions and derived ones by name. Never raises
    for what it finds.

    A test with an error is not among the cases; the others are.
    """
    sources = Sources()
    findings: list[Finding] = []
    cases: list[Case] = []
    names: dict[tuple[str, str], str] = {}
    for file in files:
        reading = Reading(file, settings, sources)
        findings += reading.findings
        for written in reading.written:
            found = _case(written, definitions, names)
            wrong = [found] if isinstance(found, Problem) else found
            if isinstance(wrong, Case):
                cases.append(wrong)
                wrong = list(problems(wrong.document, wrong.definition, wrong.inputs))
            told = [
                sources.finding(one, file.path, place(written.root, one.path, on_key=one.on_key))
                for one in wrong
            ]
            findings += told
            if isinstance(found, Case) and any(one.severity == "error" for one in told):
                cases.pop()
    ordered = tuple(sorted(findings, key=lambda finding: finding.order))
    return Cases(tuple(cases), ordered, len(files))


def _case(
    written: Written,
    definitions: Mapping[str, Tested],
    names: dict[tuple[str, str], str],
) -> Case | Problem | list[Problem]:
    if written.kind in ("Metric", "Defaults", "Lookup", "Derived"):
        return Problem(
            code="TM105",
            message=f"this file holds tests, by its name, and no `{written.kind}`",
            path=("kind",),
            help="move the document into a file whose name does not end in `.test.yaml`",
        )
    document = validate(to_data(written.root), CaseDocument)
    if isinstance(document, list) or not written.clean:
        return document if isinstance(document, list) else []
    key = (document.metric, document.name)
    first = names.setdefault(key, written.where)
    if first != written.where:
        return Problem(
            code="TM610",
            message=f"a test of `{document.metric}` has this name already, in {first}",
            path=("name",),
            help="say what this one shows",
        )
    if document.metric not in definitions:
        return unknown_metric(document.metric, definitions)
    definition = definitions[document.metric]
    inputs = [definition]
    if isinstance(definition, ResolvedDerived):
        inputs = [definitions[one.name] for one in definition.inputs]
    counted = tuple(one for one in inputs if isinstance(one, ResolvedDefinition))
    return Case(document, definition, written, counted)
