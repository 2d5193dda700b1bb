"""What a look at live data found: for people, and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from metric_registry.check import Entry
from metric_registry.documents import Sources
from metric_registry.errors import Finding, count, to_json
from metric_registry.live.facts import Facts, Looked
from metric_registry.live.rules import problems
from metric_registry.live.words import many, time_of


@dataclass(frozen=True, slots=True)
class Checked:
    """A definition and what was seen of it."""

    entry: Entry
    facts: Facts


@dataclass(frozen=True, slots=True)
class LiveReport:
    """Findings in order of file and position, and how much they were made of."""

    looked: Looked
    of: tuple[Checked, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        return sum(finding.severity == "warning" for finding in self.findings)

    def text(self) -> str:
        """For people: as `registry check` prints findings, and what was looked at."""
        total = f"{count(len(self.of), 'definition')} held against {_amount(self.looked)}"
        told = len(self.findings) - self.errors - self.warnings
        said = "nothing contradicts them."
        if self.findings:
            counted = f"{count(self.errors, 'error')}, {count(self.warnings, 'warning')}"
            said = f"{counted}, {told} for information."
        return "\n\n".join([*(each.render() for each in self.findings), f"{total}: {said}"])

    def to_dict(self) -> dict[str, Any]:
        looked = asdict(self.looked)
        looked["summaries"] = sorted(self.looked.summaries)
        del looked["metrics"]
        return {
            "looked_at": {**looked, "metrics": len(self.looked.metrics)},
            "errors": self.errors,
            "warnings": self.warnings,
            "findings": [finding.to_dict() for finding in self.findings],
            "definitions": [
                {
                    "name": one.entry.resolved.name,
                    "version": one.entry.resolved.version,
                    "streams": one.facts.counted,
                    "points": one.facts.late.points,
                }
                for one in self.of
            ],
        }

    def json(self) -> str:
        """For programs: the same, and streams and points of each definition."""
        return to_json(self.to_dict())


def report(looked: Looked, of: Sequence[Checked], sources: Sources) -> LiveReport:
    """Everything that contradicts the definitions, where they say it."""
    findings: list[Finding] = []
    for one in of:
        for problem in problems(one.entry.model, one.entry.resolved, one.facts, looked):
            path = one.entry.written_at(problem.path)
            node, way = one.entry.merged.locate(path, on_key=problem.on_key)
            file, text = one.entry.file, ""
            if way is not None:
                file, text = way.file, f"`{one.entry.resolved.name}` takes it by {way.text}"
            findings.append(sources.finding(problem, file, node, text))
    return LiveReport(looked, tuple(of), tuple(sorted(findings, key=lambda each: each.order)))


def _amount(looked: Looked) -> str:
    parts = f"{looked.points:,} points of {many(looked.streams, 'stream')}"
    parts += f" in {many(looked.requests, 'request')}"
    if looked.points:
        parts += f", from {time_of(looked.first)} to {time_of(looked.last)}"
    if looked.repeats:
        parts += f"; {many(looked.repeats, 'repeat')} left out"
    if looked.malformed:
        parts += f"; {many(looked.malformed, 'record')} that nobody can read"
    return parts
