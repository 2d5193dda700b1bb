"""Times as tests write them: so long after the test's start, or of the calendar."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, WithJsonSchema

from metric_registry.durations import SECOND, UNITS_NS
from metric_registry.values import failure

_AFTER = re.compile(r"-?([0-9]{1,13}(ms|s|m|h|d))+")
_PART = re.compile(r"([0-9]+)(ms|[smhd])")
_STAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ADVICE = "write how long after the test's start it is, `90s` or `1m30s`, or `2026-01-01T00:01:30Z`"
_LONGEST = 40 * UNITS_NS["y"]
"""After a test's start: windows further away than this are of no use, and times stay in 64 bits."""
_LATEST = 2**62
"""2116. What is `_LONGEST` after it is still a time of 64 bits."""


class Moment(NamedTuple):
    """Nanoseconds after a test's start, or since 1970 if it is of the calendar."""

    ns: int
    text: str
    """As it is written: two texts of one time are two keys, and no point is lost."""
    is_stamp: bool = False

    def after(self, start: int) -> int:
        """Unix ns, in a test that starts at `start`."""
        return self.ns if self.is_stamp else start + self.ns


def render(ns: int) -> str:
    """A time after the start as a person writes it: 90_000_000_000 is `1m30s`."""
    left, parts = abs(ns), ""
    for unit in ("d", "h", "m", "s", "ms"):
        number, left = divmod(left, UNITS_NS[unit])
        parts += f"{number}{unit}" if number else ""
    return ("-" if ns < 0 else "") + (parts or "0s")


def stamp(text: str) -> int | None:
    """Unix ns of an RFC 3339 time with at most six digits of a second; None: it is none."""
    if _STAMP.fullmatch(text) is None:
        return None
    try:
        since = datetime.fromisoformat(text.upper()) - _EPOCH
    except ValueError:
        return None
    return since // timedelta(microseconds=1) * 1000


def _moment(value: object) -> Moment:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    found = stamp(text)
    if found is not None and 0 <= found <= _LATEST:
        return Moment(found, text, is_stamp=True)
    if _AFTER.fullmatch(text):
        ns = sum(int(number) * UNITS_NS[unit] for number, unit in _PART.findall(text))
        if ns <= _LONGEST:
            return Moment(-ns if text[0] == "-" else ns, text)
        raise failure("TM604", f"`{text}` is more than 40 years after the test's start", _ADVICE)
    if re.fullmatch(r"-?[0-9]{1,10}", text):
        raise failure("TM604", f"`{text}` has no unit", f"write `{text}s` if seconds are meant")
    if _STAMP.fullmatch(f"{text}Z"):
        advice = f"write `{text}Z` if that is UTC"
        raise failure("TM604", f"`{text}` does not say its offset from UTC", advice)
    raise failure("TM604", f"`{text[:80]}` is not a time", _ADVICE)


def _start(value: object) -> int:
    found = stamp(value) if isinstance(value, str) else None
    if found is None or not 0 <= found <= _LATEST:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        advice = "write it like `2026-01-01T00:00:00Z`"
        raise failure("TM604", f"`{text[:80]}` is no time of the calendar", advice)
    return found


START = int((datetime(2026, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds()) * SECOND
"""When a test starts that does not say it: a midnight of UTC, at which a month begins."""
Time = Annotated[
    Moment,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "examples": ["0s", "1m30s", "2026-01-01T00:01:30Z"]}),
]
Start = Annotated[
    int,
    BeforeValidator(_start),
    WithJsonSchema({"type": "string", "format": "date-time", "default": "2026-01-01T00:00:00Z"}),
]
"""Unix ns."""
