"""Where windows begin and end: by the rule, one window at a time, with `zoneinfo`.

A size is a number of nanoseconds (windows end on its multiples), `1d@Europe/Berlin`, `1w@...` or
`1mo@...` (days, ISO weeks and months of a zone) or `5m/1m` (five minutes, every minute). A window
is (start, end].
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

Size = int | str

SECOND = 1_000_000_000
UNITS = {"ms": SECOND // 1000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
UNITS |= {"d": 86400 * SECOND, "w": 7 * 86400 * SECOND}
CALENDAR = {"1d": 86400 * SECOND, "1w": 7 * 86400 * SECOND, "1mo": 30 * 86400 * SECOND}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = 3600 * SECOND


@cache
def duration(text: str | int) -> int:
    """`10s`, `1m30s`, `500ms` to nanoseconds; a bare 0 is allowed."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", str(text))
    if "".join(number + unit for number, unit in parts) != str(text) and str(text) != "0":
        raise ValueError(f"{text!r} is not a duration such as 10s, 1m, 1h30m")
    return sum(round(float(number) * UNITS[unit]) for number, unit in parts)


def parse(text: str, zone: str) -> Size:
    """A size as a definition in this zone writes it; a day of UTC is 24 hours."""
    if text in ("1w", "1mo") or (text == "1d" and zone != "UTC"):
        return f"{text}@{zone}"
    return text if "/" in text else duration(text)


def text_of(size: Size) -> str:
    """As a definition writes it."""
    if isinstance(size, str):
        return size.split("@")[0]
    units = [("d", UNITS["d"]), ("h", HOUR), ("m", UNITS["m"]), ("s", SECOND)]
    return next(f"{size // unit}{letter}" for letter, unit in units if size % unit == 0)


def overlaps(size: Size) -> bool:
    """Whether a time lies in several windows."""
    return isinstance(size, str) and "@" not in size


def step_of(size: Size) -> int:
    """How long from one end to the next; of a calendar size, what a duration is divided by."""
    if isinstance(size, int):
        return size
    return duration(size.split("/")[1]) if overlaps(size) else CALENDAR[size.split("@")[0]]


def ends_of(time: int, size: Size) -> list[int]:
    """The ends of all windows (start, end] that hold the time."""
    if isinstance(size, int):
        return [-(-time // size) * size]
    if overlaps(size):
        length, hop = (duration(part) for part in size.split("/"))
        first = time // hop * hop
        candidates = range(first, first + length + hop, hop)
        return [end for end in candidates if end - length < time <= end]
    ends = _ends_near(time, size)
    return [ends[bisect_left(ends, time)]]


def start_of(end: int, size: Size) -> int:
    """Where the window that ends there begins."""
    if isinstance(size, int):
        return end - size
    if overlaps(size):
        return end - duration(size.split("/")[0])
    ends = _ends_near(end, size)
    return ends[bisect_left(ends, end) - 1]


def end_after(end: int, size: Size) -> int:
    """The end of the next window."""
    return ends_of(end + 1, size)[0]


def finest(sizes: tuple[Size, ...]) -> int:
    """What all windows are made of: the finest plain ones, else the largest that fit in all.

    Those are not longer than an hour where there are calendar windows.
    """
    plain = [size for size in sizes if isinstance(size, int)]
    if plain:
        return min(plain)
    zones = {size.split("@")[1] for size in sizes if isinstance(size, str) and "@" in size}
    whole = [math.gcd(HOUR, _whole(zone)) for zone in zones]
    return math.gcd(*whole, *(step_of(size) for size in sizes if overlaps(size)))


@cache
def _whole(zone: str) -> int:
    """Every day since 1970 begins on a multiple of this."""
    days = (date(2150, 1, 1) - date(1970, 1, 2)).days
    return math.gcd(*(begins(zone, date(1970, 1, 2) + timedelta(n)) for n in range(days)))


@cache
def _zone(name: str) -> ZoneInfo:
    """From the tzdata package: the machine's own files may be of another year."""
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, name)


def begins(zone: str, day: date) -> int:
    """Unix nanoseconds of a local day's first instant.

    That is midnight, the first one if there are two; if there is none, the first instant with that
    date or a later one.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=_zone(zone))
    there = midnight.astimezone(UTC)
    if there.astimezone(_zone(zone)).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return round((there - EPOCH).total_seconds()) * SECOND
    early, late = there - timedelta(hours=26), there + timedelta(hours=2)
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) / 2
        reached = middle.astimezone(_zone(zone)).date() >= day
        early, late = (early, middle) if reached else (middle, late)
    return math.floor((late - EPOCH).total_seconds()) * SECOND


@cache
def _ends_of_year(unit: str, zone: str, year: int) -> tuple[int, ...]:
    first = date(year, 1, 1)
    days = [first + timedelta(n) for n in range((date(year + 1, 1, 1) - first).days)]
    starts = {
        "1d": days,
        "1w": [day for day in days if day.isoweekday() == 1],
        "1mo": [day for day in days if day.day == 1],
    }[unit]
    return tuple(sorted({begins(zone, day) for day in starts}))


def _ends_near(time: int, size: str) -> list[int]:
    """The ends of all windows of the years around, ascending."""
    unit, zone = size.split("@")
    year = (EPOCH + timedelta(seconds=time // SECOND)).year
    years = [_ends_of_year(unit, zone, each) for each in range(year - 1, year + 2)]
    return sorted({end for each in years for end in each})
