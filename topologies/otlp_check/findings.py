"""What the checker reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from topologies.otlp_check.rules import RULES, Rule

Problem = tuple[str, str, str]
"""(code of the rule, what stands against it, what was found), before it is known where."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule, in one place.

    `expected` and `found` are the two values that cannot both be; `expected` says where it comes
    from if that was an earlier request. `time` is the point's, in Unix nanoseconds.
    """

    code: str
    where: str
    point: str
    resource: str
    scope: str
    metric: str
    attributes: str
    time: int | None
    expected: str
    found: str

    @property
    def rule(self) -> Rule:
        """The rule that is broken."""
        return RULES[self.code]

    def as_row(self) -> dict[str, Any]:
        """For programs: the fields, and what the rule says."""
        rule = self.rule
        told = {"severity": rule.severity, "section": rule.section, "advice": rule.advice}
        return {"code": self.code, **told, **asdict(self)}

    def __str__(self) -> str:
        place = f"{self.where} {self.point}".strip()
        stream = f"{self.metric}{self.attributes} of {self.resource} {self.scope}"
        return (
            f"{self.code} ({self.rule.severity}) at {place}: {stream}: "
            f"{self.found}, against {self.expected} [{self.rule.section}]"
        )
