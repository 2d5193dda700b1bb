"""What became of tests: for people, and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metric_registry.cases.comparing import Difference
from metric_registry.cases.reading import Case, Cases
from metric_registry.errors import count, to_json

FIRST_TEST = """\
apiVersion: tidemill/v1
kind: Test
metric: {metric}
name: what it shows
streams:
  one: {stream}
input:
  - send: {{one: {points}}}
expect:
  {size}: [{{end: {size}, value: 0}}]"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a test. `notes`: what the ledger says of its points."""

    case: Case
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.differences

    def text(self) -> str:
        """A failed test as it is printed: each row with its line, what was expected and found."""
        case = self.case
        lines = [f"{case.file}:{case.line()}: failed: {case.document.metric}: {case.document.name}"]
        for one in self.differences:
            where = f"{case.file}:{case.line(one.path)}"
            lines.append(f"  {where}: {_WORDS[one.kind]} {one.row}")
            widest = max((len(what) for what, _, _ in one.details), default=0)
            for what, expected, found in one.details:
                lines.append(f"    {what.ljust(widest)}  expected {expected}")
                lines.append(f"    {' ' * widest}  found    {found}")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        return {
            "metric": self.case.document.metric,
            "name": self.case.document.name,
            "file": self.case.file,
            "line": self.case.line(),
            "passed": self.passed,
            "differences": [
                {
                    "kind": one.kind,
                    "row": one.row,
                    "line": self.case.line(one.path),
                    "details": [
                        {"field": what, "expected": expected, "found": found}
                        for what, expected, found in one.details
                    ],
                }
                for one in self.differences
            ],
            "notes": list(self.notes),
        }


_WORDS = {"missing": "missing", "unexpected": "not expected", "differs": "differs"}


@dataclass(frozen=True, slots=True)
class Results:
    """What became of all tests. `untested`: definitions without one, by name."""

    read: Cases
    outcomes: Sequence[Outcome]
    untested: Sequence[str]
    definitions: int

    @property
    def failed(self) -> bool:
        return bool(self.read.errors) or any(not one.passed for one in self.outcomes)

    def text(self) -> str:
        """Findings, failed tests, and a line that sums up."""
        parts = [finding.render() for finding in self.read.findings]
        parts += [one.text() for one in self.outcomes if not one.passed]
        bad = sum(not one.passed for one in self.outcomes)
        total = f"{count(len(self.outcomes), 'test')} in {count(self.read.files, 'file')}: "
        total += f"{bad} failed, {len(self.outcomes) - bad} passed"
        if self.read.errors:
            total += f"; {count(len(self.read.errors), 'error')} in tests that were not run"
        covered = self.definitions - len(self.untested)
        total += f". {covered} of {count(self.definitions, 'definition')} "
        total += "has a test." if covered == 1 else "have tests."
        return "\n\n".join([*parts, total])

    def json(self) -> str:
        """For programs: the same, with the tests that passed."""
        return to_json(
            {
                "failed": sum(not one.passed for one in self.outcomes),
                "passed": sum(one.passed for one in self.outcomes),
                "findings": [finding.to_dict() for finding in self.read.findings],
                "tests": [one.to_dict() for one in self.outcomes],
                "untested": list(self.untested),
            }
        )
