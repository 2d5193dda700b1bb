"""When days begin in a time zone: from rules that travel as text, never from the machine.

The text is `name|offset [offset@time ...]|footer`: the offset from UTC in seconds that held in
1970, each later one with the unix second from which it held, and the rule that goes on from there,
as POSIX writes it (RFC 9636, "TZif footer"; POSIX.1-2024, "TZ").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

DAY = 86_400
FIRST, LAST = date(1969, 12, 1), date(2262, 4, 1)
"""Days that are known: all that a time in unix nanoseconds can lie in."""
_EPOCH = date(1970, 1, 1)
_NAME = r"(?:<[A-Za-z0-9+-]+>|[A-Za-z]+)"
_TIME = r"[+-]?\d{1,3}(?::\d{2}){0,2}"
_DATE = rf"M\d{{1,2}}\.\d\.\d(?:/{_TIME})?"
_FOOTER = re.compile(rf"{_NAME}({_TIME})(?:{_NAME}({_TIME})?,({_DATE}),({_DATE}))?")


class ZoneRulesError(ValueError):
    """Text that says nothing about a zone."""


@dataclass(frozen=True)
class ZoneRules:
    """One zone.

    Attributes:
        name: As the tz database has it, such as Europe/Berlin.
        offsets: From UTC in seconds, i64[n]; times: unix seconds, i64[n]: when each began to
            hold, the first one before all times that count.
    """

    name: str
    offsets: I64
    times: I64

    @classmethod
    def parse(cls, text: str) -> ZoneRules:
        """The zone of a text. Raises ZoneRulesError."""
        try:
            name, table, footer = text.split("|")
            first, *rest = table.split()
            steps = [(-(1 << 62), int(first))]
            for each in rest:
                offset, _, time = each.partition("@")
                steps.append((int(time), int(offset)))
            steps += _onward(footer, steps[-1][0])
        except ValueError as error:
            raise ZoneRulesError(f"not the rules of a time zone: {text[:80]!r}: {error}") from error
        found = [steps[0]]
        found += [step for step in steps[1:] if step[0] > found[0][0]]
        times, offsets = np.array(found, np.int64).T.copy()
        return cls(name, offsets, times)

    def days_begin(self, days: I64) -> I64:
        """Unix seconds i64[n] at which local days (days since 1970-01-01) begin.

        That is the first instant of the day: where midnight comes twice the first one, where it is
        left out the instant that follows. A day that is left out has no length.
        """
        midnight = days * DAY
        ends = np.append(self.times[1:], 1 << 62) + self.offsets
        at = np.searchsorted(np.maximum.accumulate(ends), midnight, side="right")
        return np.maximum(midnight - self.offsets[at], self.times[at])

    @cached_property
    def days(self) -> I64:
        """When each day begins, unix seconds, ascending."""
        return self._begin(np.arange((FIRST - _EPOCH).days, (LAST - _EPOCH).days + 1))

    @cached_property
    def weeks(self) -> I64:
        """When each ISO week begins: on a Monday (1969-12-01 was one)."""
        return self._begin(np.arange((FIRST - _EPOCH).days, (LAST - _EPOCH).days + 1, 7))

    @cached_property
    def months(self) -> I64:
        """When each month begins."""
        months = np.arange(FIRST.isoformat()[:7], LAST.isoformat()[:7], dtype="datetime64[M]")
        return self._begin(months.astype("datetime64[D]").astype(np.int64))

    def _begin(self, days: npt.NDArray[np.int64]) -> I64:
        return np.unique(self.days_begin(days.astype(np.int64)))


def _onward(footer: str, after: int) -> list[tuple[int, int]]:
    """(time, offset) of every change by the footer's rule that comes later than `after`."""
    if not footer:
        return []
    found = _FOOTER.fullmatch(footer)
    if found is None:
        raise ValueError(f"the rule {footer!r}")
    standard, summer, begins, ends = found.groups()
    usual = -_seconds(standard)  # POSIX counts westwards
    if begins is None:
        return []
    other = usual + 3600 if summer is None else -_seconds(summer)
    steps: list[tuple[int, int]] = []
    for year in range(FIRST.year, LAST.year + 1):
        steps.append((_moment(begins, year) - usual, other))
        steps.append((_moment(ends, year) - other, usual))
    return sorted(step for step in steps if step[0] > after)


def _moment(rule: str, year: int) -> int:
    """Local seconds of the year's change, `M3.5.0/2`: month, week (5: the last), weekday, time."""
    day, _, time = rule.partition("/")
    seconds = _seconds(time) if time else 2 * 3600
    return (_day(day, year) - _EPOCH).days * DAY + seconds


def _day(rule: str, year: int) -> date:
    month, week, weekday = (int(part) for part in rule[1:].split("."))
    first = date(year, month, 1)
    found = first + timedelta((weekday - first.isoweekday()) % 7 + 7 * (week - 1))
    return found if found.month == month else found - timedelta(7)


def _seconds(text: str) -> int:
    """`-3:30` in seconds."""
    sign = -1 if text.startswith("-") else 1
    parts = [int(part) for part in text.lstrip("+-").split(":")]
    return sign * sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
