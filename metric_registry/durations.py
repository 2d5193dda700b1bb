"""Durations as definitions write them: a whole number and a unit, such as `10s`, `5m` or `400d`."""

from __future__ import annotations

import re

SECOND = 1_000_000_000
UNITS_NS = {
    "ms": SECOND // 1000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": 86_400 * SECOND,
    "w": 7 * 86_400 * SECOND,
    "y": 365 * 86_400 * SECOND,
}
LONGEST_NS = 100 * UNITS_NS["y"]
PATTERN = r"^[0-9]{1,13}(ms|s|m|h|d|w|y)$"

_WRITTEN = re.compile(r"([0-9]+) ?([A-Za-z]+)")
_PART = re.compile(r"([0-9]{1,9})(ms|[smhdwy])")
_SEVERAL = re.compile(r"([0-9]{1,9}(ms|[smhdwy])){2,5}")
_SPELLINGS = {
    **dict.fromkeys(("sec", "secs", "second", "seconds", "S"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours", "H"), "h"),
    **dict.fromkeys(("day", "days", "D"), "d"),
    **dict.fromkeys(("week", "weeks", "W"), "w"),
    **dict.fromkeys(("year", "years", "yr", "Y"), "y"),
    **dict.fromkeys(("milliseconds", "millis", "msec"), "ms"),
}
_CALENDAR = {"mo", "mon", "month", "months", "M", "q", "quarter", "quarters"}


class DurationError(ValueError):
    """What is wrong with a duration; `better` is how to write what was probably meant."""

    def __init__(self, message: str, better: str = "", *, calendar: bool = False) -> None:
        super().__init__(message)
        self.better = better
        self.calendar = calendar
        """Whether it names a calendar span, which has no fixed length."""


def parse(text: str) -> int:
    """Nanoseconds of a duration. Raises DurationError."""
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise DurationError(f"`{text}` is not a duration", _added_up(text))
    number, unit = match.groups()
    if unit in _CALENDAR:
        raise DurationError(f"`{text}` is a calendar span without a fixed length", calendar=True)
    exact = unit if unit in UNITS_NS else _SPELLINGS.get(unit)
    if exact != unit or " " in text:
        better = f"{number}{exact}" if exact else ""
        raise DurationError(f"`{text}` is not a duration", better)
    nanoseconds = int(number[:20]) * UNITS_NS[unit]
    if len(number) > 13 or nanoseconds > LONGEST_NS:
        raise DurationError(f"`{text}` is longer than 100 years", "100y")
    return nanoseconds


def _added_up(text: str) -> str:
    """`1h30m` in one unit, `90m`; empty for what is no such list."""
    if not _SEVERAL.fullmatch(text):
        return ""
    return render(sum(int(n) * UNITS_NS[unit] for n, unit in _PART.findall(text)))


def render(nanoseconds: int) -> str:
    """The shortest way to write a duration in the units up to days: 90_000_000_000 is `90s`."""
    if nanoseconds == 0:
        return "0s"
    for unit in ("d", "h", "m", "s"):
        if nanoseconds % UNITS_NS[unit] == 0:
            return f"{nanoseconds // UNITS_NS[unit]}{unit}"
    return f"{nanoseconds // UNITS_NS['ms']}ms"


def render_seconds(seconds: int) -> str:
    """As `render`, of seconds."""
    return render(seconds * SECOND)
