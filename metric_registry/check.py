"""Checks definitions as a linter does: everything that is wrong at once, with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metric_registry import load
from metric_registry.errors import Finding, count, to_json
from metric_registry.fields import Problem, validate
from metric_registry.load import SourceFile
from metric_registry.models import MetricDefinition
from metric_registry.plan import ResolvedDefinition
from metric_registry.resolve import resolve
from metric_registry.rules import RULES, RULES_ACROSS, Settings, Subject
from metric_registry.rules.across import Placed
from metric_registry.syntax import Document, parse
from metric_registry.syntax.nodes import Mapping, Node, place, to_data

DEFAULTS = Settings()


@dataclass(frozen=True, slots=True)
class Entry:
    """A definition without errors, and where it stands."""

    model: MetricDefinition
    resolved: ResolvedDefinition
    file: str
    line: int
    root: Node


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. Findings are in order of file and position."""

    findings: tuple[Finding, ...]
    entries: tuple[Entry, ...]
    """Definitions without errors, in order of file and position."""
    files: int

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

    def text(self) -> str:
        """For people: findings as a linter prints them, and a line that sums up."""
        good = f"{count(len(self.entries), 'definition')} in {count(self.files, 'file')}"
        if not self.findings:
            return f"{good}: nothing to complain about."
        errors, warnings = len(self.errors), len(self.warnings)
        total = f"{count(errors, 'error')}, {count(warnings, 'warning')}; {good} without errors."
        return "\n\n".join([*(finding.render() for finding in self.findings), total])

    def to_dict(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "findings": [finding.to_dict() for finding in self.findings],
            "definitions": [
                {**asdict(entry.resolved), "file": entry.file, "line": entry.line}
                for entry in self.entries
            ],
        }

    def json(self) -> str:
        """For programs: the same as `text`, and the resolved definitions."""
        return to_json(self.to_dict())


def check(paths: Iterable[str | Path], settings: Settings = DEFAULTS) -> Report:
    """Reads and checks files and directories of definitions. Never raises for what it finds."""
    return check_files(load.read(paths, settings.largest_file), settings)


def check_files(files: Sequence[SourceFile], settings: Settings = DEFAULTS) -> Report:
    """Checks files that were read already; no I/O."""
    findings: list[Finding] = []
    entries: list[Entry] = []
    for file in files:
        checked = _File(file, settings)
        checked.run()
        findings += checked.findings
        entries += checked.entries
    texts = {file.path: file.data for file in files}
    split: dict[str, list[str]] = {}
    placed = [Placed(entry.resolved, entry.file, entry.line) for entry in entries]
    refused: set[int] = set()
    for rule in RULES_ACROSS:
        for index, problem in rule(placed, settings):
            entry = entries[index]
            if entry.file not in split:
                split[entry.file] = _lines(texts[entry.file])
            finding = _finding(problem, entry.root, entry.file, split[entry.file])
            findings.append(finding)
            if finding.severity == "error":
                refused.add(index)
    findings.sort(key=lambda finding: finding.order)
    kept = tuple(entry for index, entry in enumerate(entries) if index not in refused)
    return Report(tuple(findings), kept, len(files))


class _File:
    """The check of one file."""

    def __init__(self, file: SourceFile, settings: Settings) -> None:
        self._file = file
        self._settings = settings
        self._lines: list[str] = []
        self.findings: list[Finding] = []
        self.entries: list[Entry] = []

    def run(self) -> None:
        text = self._text()
        if text is None:
            return
        self._lines = _lines(self._file.data)
        documents = parse(text)
        if not documents:
            self._add("TM003", f"`{self._file.path}` defines nothing", help="remove the file")
        for document in documents:
            self._document(document)

    def _text(self) -> str | None:
        file, largest = self._file, self._settings.largest_file
        if file.failure:
            advice = "give the path of a file or a directory of definitions"
            self._add(file.code, file.failure, help=advice)
            return None
        if len(file.data) > largest:
            message = f"`{file.path}` has more than {largest:,} bytes"
            self._add("TM010", message, help="split it; a directory is read whole")
            return None
        try:
            return file.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = file.data[: error.start].decode("utf-8-sig", "replace")
            self._lines = _lines(file.data)
            self._add(
                "TM002",
                f"the byte 0x{file.data[error.start]:02x} is not UTF-8",
                line=before.count("\n") + 1,
                column=len(before) - (before.rfind("\n") + 1) + 1,
                help="save the file as UTF-8",
            )
            return None

    def _document(self, document: Document) -> None:
        for problem in document.problems:
            self._add(
                problem.code,
                problem.message,
                line=problem.line,
                column=problem.column,
                length=problem.length,
                help=problem.help,
            )
        root = document.root
        if root is None:
            return
        if not isinstance(root, Mapping):
            message = "a definition is a mapping of fields, and this is "
            message += "a list" if hasattr(root, "items") else "a single value"
            advice = "begin with `apiVersion: tidemill/v1`; several documents are parted by `---`"
            self._add("TM008", message, line=root.line, column=root.column, help=advice)
            return
        problems, definition = _definition_problems(root, self._settings)
        found = [_finding(problem, root, self._file.path, self._lines) for problem in problems]
        self.findings += found
        clean = not document.problems and not any(one.severity == "error" for one in found)
        if definition is not None and clean:
            line = place(root, ("name",)).line
            resolved = resolve(definition, self._settings.own_aggregates)
            self.entries.append(Entry(definition, resolved, self._file.path, line, root))

    def _add(
        self,
        code: str,
        message: str,
        *,
        line: int = 1,
        column: int = 1,
        length: int = 1,
        help: str = "",  # noqa: A002  (a finding's own word)
    ) -> None:
        self.findings.append(
            Finding(
                code=code,
                message=message,
                file=self._file.path,
                line=line,
                column=column,
                length=length,
                help=help,
                source=_line(self._lines, line),
            )
        )


def _definition_problems(
    root: Mapping, settings: Settings
) -> tuple[list[Problem], MetricDefinition | None]:
    validated = validate(to_data(root))
    if isinstance(validated, list):
        return validated, None
    subject = Subject(validated, root, settings)
    return list(_rule_problems(subject)), validated


def _rule_problems(subject: Subject) -> Iterator[Problem]:
    for rule in RULES:
        yield from rule(subject)


def _finding(problem: Problem, root: Node, file: str, lines: list[str]) -> Finding:
    node = place(root, problem.path, on_key=problem.on_key)
    return Finding(
        code=problem.code,
        message=problem.message,
        file=file,
        line=node.line,
        column=node.column,
        length=node.length,
        help=problem.help,
        replacement=problem.replacement,
        source=_line(lines, node.line),
    )


def _lines(data: bytes) -> list[str]:
    text = data.decode("utf-8-sig", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _line(lines: list[str], number: int) -> str:
    return lines[number - 1] if 0 < number <= len(lines) else ""
