"""Levels: every kind of window as one number, and where windows begin and end.

A level below 2**62 is a size in nanoseconds, of windows whose ends are multiples of it. Those from
there on are codes, of calendar windows (days, weeks or months of a time zone) and of hopping
windows (a size and a hop, which divides it). The code of a calendar level is made of its zone's
rules, so it means the same for ever, wherever it was learnt; whoever reads a code that came from
elsewhere learns its rules first. Windows are (start, end], of whichever kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from streams.event_time import windows
from streams.event_time.windows import EARLIEST, LATEST, SECOND, Times
from streams.event_time.zones import ZoneRules, ZoneRulesError

I64 = npt.NDArray[np.int64]
Unit = Literal["1d", "1w", "1mo"]

_CODES = 1 << 62
_HOPPING = 1 << 61
UNITS: tuple[Unit, ...] = ("1d", "1w", "1mo")
_LENGTHS = {"1d": 86_400, "1w": 7 * 86_400, "1mo": 30 * 86_400}
_BITS = 25
"""Of a size and a hop in seconds: up to 388 days."""


@dataclass(frozen=True, slots=True)
class _Calendar:
    """A calendar level: `ends` i64[n] are the ends of its windows in unix ns, ascending."""

    unit: Unit
    zone: str
    ends: I64
    shortest: int
    longest: int


_calendars: dict[int, _Calendar] = {}
"""What has been learnt, by code. A code is a digest of what it stands for, so nothing changes."""


def calendar(unit: Unit, rules: str) -> int:
    """The level of the days, weeks or months of a zone; from now on its code is known.

    rules: See `streams.event_time.zones`. Raises ZoneRulesError.
    """
    digest = hashlib.blake2b(rules.encode(), digest_size=6).digest()
    code = _CODES | UNITS.index(unit) << 48 | int.from_bytes(digest)
    if code not in _calendars:
        zone = ZoneRules.parse(rules)
        begins = {"1d": zone.days, "1w": zone.weeks, "1mo": zone.months}[unit]
        steps = np.diff(begins) * SECOND
        ends = begins * SECOND
        _calendars[code] = _Calendar(unit, zone.name, ends, int(steps.min()), int(steps.max()))
    return code


def hopping(size: int, hop: int) -> int:
    """The level of windows of `size` that end every `hop` (both ns, whole seconds)."""
    return _CODES | _HOPPING | size // SECOND << _BITS | hop // SECOND


def _known(level: int) -> _Calendar:
    found = _calendars.get(level)
    if found is None:
        raise ZoneRulesError(f"level {level} is of a time zone whose rules nobody has told")
    return found


def is_plain(level: int) -> bool:
    """Whether windows end on multiples of the level itself."""
    return level < _CODES


def is_hopping(level: int) -> bool:
    """Whether windows overlap."""
    return level >= _CODES | _HOPPING


def _size(level: int) -> int:
    return (level >> _BITS & (1 << _BITS) - 1) * SECOND


def step_of(level: int) -> int:
    """The size of the plain windows that those of a hopping level end with, and are made of."""
    return (level & (1 << _BITS) - 1) * SECOND


def shortest(level: int) -> int:
    """The length in ns of its shortest window."""
    if is_plain(level):
        return level
    return _size(level) if is_hopping(level) else _known(level).shortest


def longest(level: int) -> int:
    """The length in ns of its longest window."""
    if is_plain(level):
        return level
    return _size(level) if is_hopping(level) else _known(level).longest


def nominal(level: int) -> int:
    """Seconds, for people and for order: a day is 24 hours then, a month 30 days."""
    if is_plain(level) or is_hopping(level):
        return longest(level) // SECOND
    return _LENGTHS[_known(level).unit]


def zone_of(level: int) -> str:
    """The zone that its windows follow."""
    return "UTC" if is_plain(level) or is_hopping(level) else _known(level).zone


def name_of(level: int) -> str:
    """As a definition writes it: `10s`, `5m/1m`, `1mo`; the zone is not in it."""
    if is_hopping(level):
        return f"{_duration(_size(level))}/{_duration(step_of(level))}"
    return _duration(level) if is_plain(level) else _known(level).unit


def _duration(size: int) -> str:
    seconds = size // SECOND
    for unit, letter in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds % unit == 0:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"


def order(level: int) -> tuple[bool, int, int]:
    """Sorts levels so that each comes after those it can be made of."""
    return is_hopping(level), nominal(level), level


def nests(finer: int, coarser: int) -> bool:
    """Whether windows of one level are whole windows of the other, which does not overlap."""
    if is_hopping(finer) or finer == coarser:
        return False
    if is_plain(coarser):
        return is_plain(finer) and coarser % finer == 0
    if is_hopping(coarser):
        return is_plain(finer) and step_of(coarser) % finer == 0
    ends = _known(coarser).ends
    if is_plain(finer):
        return bool((ends % finer == 0).all())
    return bool(np.isin(ends, _known(finer).ends).all())


# --- where windows begin and end ---------------------------------------------------------------


def window_end(time: Times, level: int) -> Times:
    """The end of the window that holds the time; of a hopping level, of the first one that does."""
    if level < _CODES:
        return windows.window_end(time, level)
    if is_hopping(level):
        return window_end(time, step_of(level))
    return _end(time, level, 0)


def _end(time: Times, level: int, later: Times | int) -> Times:
    """The end of the calendar window that holds the time, or of one so many later."""
    ends = _known(level).ends
    at = np.clip(np.searchsorted(ends, time) + later, 0, len(ends) - 1)
    if isinstance(time, int):
        return int(ends[at])
    return ends[at]


def ends_of(time: int, level: int) -> Iterable[int]:
    """The ends of all windows that hold the time, ascending."""
    first = window_end(time, level)
    if not is_hopping(level):
        return (first,)
    return range(first, first + _size(level), step_of(level))


def window_start(end: Times, level: int) -> Times:
    """Where the window begins that ends there."""
    return end - _size(level) if is_hopping(level) else end_before(end, level)


def end_before(end: Times, level: int) -> Times:
    """The end of the window before."""
    return end_after(end, level, -1)


def end_after(end: Times, level: int, later: Times | int = 1) -> Times:
    """The end of the window so many later."""
    if level < _CODES:
        return end + later * level
    if is_hopping(level):
        return end + later * step_of(level)
    return _end(end, level, later)


def windows_between(first: I64, last: int, level: int) -> I64:
    """How many windows end after `first` (i64[n], ends) and by `last`."""
    if level < _CODES:
        return (last - first) // level
    if is_hopping(level):
        return (last - first) // step_of(level)
    ends = _known(level).ends
    return np.searchsorted(ends, last) - np.searchsorted(ends, first)


def last_complete(time: int, level: int) -> int:
    """The greatest window end that is not after the time; EARLIEST and LATEST stay."""
    if level < _CODES or time in (EARLIEST, LATEST):
        return windows.last_complete(time, level)
    if is_hopping(level):
        return last_complete(time, step_of(level))
    ends = _known(level).ends
    return int(ends[max(int(np.searchsorted(ends, time, side="right")) - 1, 0)])
