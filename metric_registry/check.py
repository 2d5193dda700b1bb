"""Checks definitions as a linter does: everything that is wrong at once, with its place."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from metric_registry import reading_lookups, unused
from metric_registry.derived.checking import Defined, DerivedEntry, check_derived
from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.documents import Reading, Sources
from metric_registry.environments import Environments, Validated, unknown
from metric_registry.errors import Finding, count, to_json
from metric_registry.fields import KINDS, Problem, validate
from metric_registry.hierarchy import Rung, levels
from metric_registry.inherit import FOLDER_FILES, Inheritance, Written, names_at
from metric_registry.layers import Merged
from metric_registry.load import Reader, SourceFile
from metric_registry.lookups import Lookups
from metric_registry.models import Defaults, MetricDefinition
from metric_registry.plan import ResolvedDefinition, described
from metric_registry.reading_lookups import LookupReader, Read
from metric_registry.resolve import resolve
from metric_registry.rules import (
    RULES,
    RULES_ACROSS,
    RULES_AS_WRITTEN,
    RULES_OF_NAMES,
    Settings,
    Subject,
)
from metric_registry.rules.across import Placed
from metric_registry.syntax.nodes import Path as NodePath
from metric_registry.syntax.nodes import place, to_data
from metric_registry.values import is_table

DEFAULTS = Settings()
_UNSURE = frozenset(("TM505", "TM507", "TM508"))
"""With one of these nobody knows what definitions take, and what is of no use."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A definition without errors, or a level of one, and where it stands."""

    model: MetricDefinition
    resolved: ResolvedDefinition
    file: str
    line: int
    merged: Merged
    rung: Rung | None = None
    """Which level it is, if the definition has a hierarchy."""

    @property
    def finest(self) -> bool:
        """Whether it is the definition itself, and no coarser level of it."""
        return self.rung is None or self.rung.index == 0

    def written_at(self, path: NodePath) -> NodePath:
        """Where that is written which stands at a path of the model."""
        return path if self.rung is None else self.rung.written_at(path)


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. Findings are in order of file and position."""

    findings: tuple[Finding, ...]
    entries: tuple[Entry, ...]
    """Definitions without errors, in order of file and position."""
    files: int
    derived_entries: tuple[DerivedEntry, ...] = ()
    """Derived definitions without errors, in order of file and position."""
    lookups: tuple[Read, ...] = ()
    """Lookups, also those with errors."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    @property
    def definitions(self) -> tuple[ResolvedDefinition, ...]:
        """What `compile_plan` takes; complete only if there are no errors."""
        return tuple(entry.resolved for entry in self.entries)

    @property
    def derived(self) -> tuple[ResolvedDerived, ...]:
        """What is derived from them, which `compile_plan` takes as well."""
        return tuple(entry.resolved for entry in self.derived_entries)

    def text(self) -> str:
        """For people: findings as a linter prints them, and a line that sums up."""
        good = len(self.entries) + len(self.derived_entries)
        good = f"{count(good, 'definition')} in {count(self.files, 'file')}"
        if not self.findings:
            return f"{good}: nothing to complain about."
        errors, warnings = len(self.errors), len(self.warnings)
        total = f"{count(errors, 'error')}, {count(warnings, 'warning')}; {good} without errors."
        return "\n\n".join([*(finding.render() for finding in self.findings), total])

    def to_dict(self) -> dict[str, Any]:
        derived = [
            {**asdict(entry.resolved), "file": entry.file, "line": entry.line}
            for entry in self.derived_entries
        ]
        return {
            "files": self.files,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "findings": [finding.to_dict() for finding in self.findings],
            "definitions": [
                {**described(entry.resolved), "file": entry.file, "line": entry.line}
                for entry in self.entries
            ],
            **({"derived": derived} if derived else {}),
        }

    def json(self) -> str:
        """For programs: the same as `text`, and the resolved definitions."""
        return to_json(self.to_dict())


Include = Callable[[str], Sequence[SourceFile]]
"""Gives the files that are new behind a path."""


def check(paths: Iterable[str | Path], settings: Settings = DEFAULTS) -> Report:
    """Reads and checks files and directories of definitions. Never raises for what it finds."""
    reader = Reader(settings.largest_file)
    return check_files(reader.read(paths), settings, reader.include)


def check_files(
    files: Sequence[SourceFile], settings: Settings = DEFAULTS, include: Include | None = None
) -> Report:
    """Checks files that were read already; no I/O but what `include` does."""
    checked = _Check(files, settings, include)
    for one in checked.documents:
        checked.document(one)
    checked.together()
    findings = tuple(sorted(checked.findings(), key=lambda finding: finding.order))
    kept = tuple(entry for i, entry in enumerate(checked.entries) if i not in checked.refused)
    derived, lookups = tuple(checked.derived), tuple(checked.lookups)
    return Report(findings, kept, checked.files, derived, lookups)


def _as_written(problem: Problem, rung: Rung | None) -> Problem:
    """A problem of a level, where the definition says it."""
    return problem if rung is None else replace(problem, path=rung.written_at(problem.path))


class _Check:
    """One check of many files."""

    def __init__(
        self, files: Sequence[SourceFile], settings: Settings, include: Include | None
    ) -> None:
        self._settings = settings
        self._sources = Sources()
        self._found: dict[tuple[Any, ...], list[tuple[str, Finding]]] = {}
        self._unread: set[int] = set()
        self.documents: list[Written] = []
        self.entries: list[Entry] = []
        self._environments = Environments()
        self._includes: list[unused.Included] = []
        self._used_lookups: set[str] = set()
        self.refused: set[int] = set()
        self.files = 0
        given = [file for file in files if is_table(file.path) and not file.failure]
        tables = {os.path.normpath(file.path): file for file in given}
        self._read([file for file in files if file not in given], include)
        self._every = [one for one in self.documents if one.kind != "Lookup"]
        self._read_lookups(tables, include)
        metrics = [one for one in self._every if one.kind not in ("Defaults", "Derived")]
        self._derived = [one for one in self._every if one.kind == "Derived"]
        self.derived: list[DerivedEntry] = []
        self._defaults = [self._checked(o) for o in self.documents if o.kind == "Defaults"]
        self._inheritance = Inheritance(self._defaults, metrics)
        self.documents = metrics

    def _read(self, files: Sequence[SourceFile], include: Include | None) -> None:
        """All documents, also those of files that they include."""
        have = {os.path.normpath(file.path) for file in files}
        waiting = list(files)
        while waiting:
            self.files += len(waiting)
            included: list[SourceFile] = []
            for file in waiting:
                reading = Reading(file, self._settings, self._sources)
                for finding in reading.findings:
                    self._add(finding)
                self.documents += reading.written
                for one in reading.written:
                    for name, path in names_at(one.root, "include"):
                        target = os.path.normpath(os.path.join(os.path.dirname(file.path), name))
                        self._includes.append(unused.Included(one, path, target))
                        if name and target not in have:
                            have.add(target)
                            included += self._included(one, path, target, include)
            waiting = sorted(included, key=lambda file: file.path)
        self.documents.sort(key=lambda one: (one.file, one.root.line))

    def _read_lookups(self, tables: dict[str, SourceFile], include: Include | None) -> None:
        reader = LookupReader(tables, include, self._sources, self._settings.largest_file)
        documents = [one for one in self.documents if one.kind == "Lookup"]
        self.lookups = reader.read(documents, self._tell)
        for finding in reader.findings:
            self._add(finding)
        again = list(reading_lookups.repeated(self.lookups))
        for one, problem in again:
            self._tell(one, problem)
        twice = {one.name for one, _ in again}
        self._lookups: Lookups = {
            one.name: None if one.name in twice else one.lookup for one in self.lookups
        }
        for one in self._every:
            if one.name and one.kind not in KINDS:  # which may be a lookup, misspelled
                self._lookups.setdefault(one.name, None)

    def _included(
        self, one: Written, path: NodePath, target: str, include: Include | None
    ) -> list[SourceFile]:
        missing = SourceFile(target, failure=f"cannot read `{target}`: it is not among the files")
        found = [missing] if include is None else list(include(target))
        for file in found:
            if file.failure:
                advice = "the path of a file, relative to the one that includes it"
                self._tell(one, Problem(code="TM001", message=file.failure, path=path, help=advice))
                self._unread.add(id(one))
        return [file for file in found if not file.failure]

    def _checked(self, one: Written) -> Written:
        """Defaults, and whether their own fields are without errors."""
        validated = validate(to_data(one.root), Defaults)
        for problem in validated if isinstance(validated, list) else ():
            self._tell(one, problem)
        bad = isinstance(validated, list) or id(one) in self._unread
        return replace(one, clean=one.clean and not bad)

    def document(self, one: Written) -> None:
        """Checks a definition: its fields, and what they mean in each environment."""
        chosen = self._settings.environment
        merged, clean = self._inheritance.taken(one, "")
        unread = id(one) in self._unread  # what is not there may be in what was not read
        before = [] if unread else list(self._inheritance.problems(one))
        for problem in before:
            self._tell(one, problem)
        bad = not (clean and one.clean) or bool(before) or unread
        used = set(reading_lookups.names_used(merged.root))
        self._used_lookups |= used
        bad |= any(name in self._lookups and self._lookups[name] is None for name in used)
        if os.path.basename(one.file) in FOLDER_FILES:
            message = f"`{os.path.basename(one.file)}` holds defaults, and this is none"
            advice = "move the definition into a file of its own"
            self._tell(one, Problem(code="TM512", message=message, path=("kind",), help=advice))
            bad = True
        validated = validate(to_data(merged.root), MetricDefinition)
        if isinstance(validated, list):
            partly = [each for each in validated if each.code not in ("TM102", "TM201")]
            self._report(one, partly if before or unread else validated, merged, "")
            for name in self._inheritance.environments_of(one):
                self._compare(one, name, validated, validated)
            return
        plain = validated
        for name in sorted(self._inheritance.environments_of(one)):
            other = self._inheritance.taken(one, name)[0]
            found = validate(to_data(other.root), MetricDefinition)
            self._compare(one, name, plain, found)
            if name == chosen:
                merged, validated = other, found
            elif clean:
                bad |= self._meaning(one, found, other, name)
        bad |= self._meaning(one, validated, merged, "")
        if not bad and not isinstance(validated, list):
            line = place(one.root, ("name",)).line
            for rung, level in levels(validated):
                resolved = resolve(level, self._settings.own_aggregates, self._lookups)
                self.entries.append(Entry(level, resolved, one.file, line, merged, rung))

    def _compare(self, one: Written, name: str, plain: Validated, found: Validated) -> None:
        """Notes what an environment changes of a definition."""

        def up_to(last: Written) -> Validated:
            merged = self._inheritance.taken(one, name, last)[0]
            return validate(to_data(merged.root), MetricDefinition)

        speakers = self._inheritance.speakers(one, name)
        self._environments.see(speakers, name, plain, found, up_to)

    def _meaning(
        self,
        one: Written,
        validated: MetricDefinition | list[Problem],
        merged: Merged,
        environment: str,
    ) -> bool:
        """Whether there are errors in what a definition means, which are told."""
        if isinstance(validated, list):
            return self._report(one, validated, merged, environment)
        written = Subject(validated, merged, self._settings, self._lookups)
        problems = [problem for rule in RULES_AS_WRITTEN for problem in rule(written)]
        for rung, level in levels(validated):
            subject = Subject(level, merged, self._settings, self._lookups)
            for rule in RULES if rung is None or rung.index == 0 else RULES_OF_NAMES:
                problems += [_as_written(problem, rung) for problem in rule(subject)]
        return self._report(one, problems, merged, environment)

    def _report(
        self, one: Written, problems: Iterable[Problem], merged: Merged, environment: str
    ) -> bool:
        errors = False
        for problem in problems:
            node, way = merged.locate(problem.path, on_key=problem.on_key)
            file, text = (one.file, "") if way is None else (way.file, way.text)
            if environment and not text:
                text = f"the environment `{environment}`"
            finding = self._sources.finding(problem, file, node, text)
            errors |= finding.severity == "error"
            self._add(finding, one.name if way is not None else "")
        return errors

    def together(self) -> None:
        """What only all documents together tell."""
        inheritance = self._inheritance
        for one, problem in inheritance.wrong():
            self._tell(one, problem)
        if self.documents:
            told = {finding.code for found in self._found.values() for _, finding in found}
            for one, problem in self._unused() if told.isdisjoint(_UNSURE) else ():
                self._tell(one, problem)
        self._environment()
        resolved = [entry.resolved for entry in self.entries]
        for one, problem in reading_lookups.too_large(self.lookups, resolved):
            self._tell(one, problem)
        placed = [Placed(one.resolved, one.file, one.line, one.rung) for one in self.entries]
        for rule in RULES_ACROSS:
            for index, problem in rule(placed, self._settings):
                entry = self.entries[index]
                path = entry.written_at(problem.path)
                node, way = entry.merged.locate(path, on_key=problem.on_key)
                file, text = (entry.file, "") if way is None else (way.file, way.text)
                finding = self._sources.finding(problem, file, node, text)
                self._add(finding, entry.resolved.name if way is not None else "")
                if finding.severity == "error":  # of one level: there are all, or none
                    same = (i for i, o in enumerate(self.entries) if o.merged is entry.merged)
                    self.refused.update(same)
        self._derive()

    def _derive(self) -> None:
        """Derived definitions, which are about all others, also about levels of one."""
        defined = [
            Defined(one.resolved.name, one.resolved, f"{one.file}:{one.line}")
            for one in self.entries
        ]
        good = {id(entry.merged.own) for entry in self.entries}
        broken = (one for one in self.documents if id(one.root) not in good)
        defined += [Defined(one.name, None, one.where) for one in broken]
        self.derived = check_derived(self._derived, defined, self._inheritance, self._tell)

    def _unused(self) -> Iterator[tuple[Written, Problem]]:
        for one in [*self.documents, *self._derived]:
            self._inheritance.note(one)
        yield from self._inheritance.unused()
        yield from self._environments.unused()
        yield from reading_lookups.unused(self.lookups, self._used_lookups)
        taken = self._inheritance.files_taken
        yield from unused.includes(self._includes, self._every, taken)

    def _environment(self) -> None:
        """TM510: the environment that was chosen is one of those that are there."""
        known = self._inheritance.environments
        for one in self.documents:
            known |= set(one.environments)
        problem = unknown(self._settings.environment, known)
        if problem is not None and self.documents:
            self._tell(self.documents[0], problem)

    def _tell(self, one: Written, problem: Problem) -> None:
        node = place(one.root, problem.path, on_key=problem.on_key)
        self._add(self._sources.finding(problem, one.file, node))

    def _add(self, finding: Finding, whose: str = "") -> None:
        """Adds a finding; `whose`: the definition that takes over what it is about."""
        key = (finding.file, finding.line, finding.column, finding.code, finding.message)
        self._found.setdefault(key, []).append((whose, finding))

    def findings(self) -> list[Finding]:
        """Each once, though many definitions may take over what it is about."""
        every: list[Finding] = []
        for found in self._found.values():
            finding = min(found, key=lambda pair: (bool(pair[1].way), pair[0], pair[1].way))[1]
            takers = sorted({(name, each.way) for name, each in found if name})
            if takers and finding.way:
                (name, way), others = takers[0], len({name for name, _ in takers}) - 1
                text = f"`{name}` takes it by {way}"
                if others:
                    text += f", and so {'does' if others == 1 else 'do'} "
                    text += f"{count(others, 'other definition')}"
                finding = replace(finding, way=text)
            elif finding.way:
                finding = replace(finding, way=f"it is so in {finding.way}")
            every.append(finding)
        return every
