"""Time zones: the tz database of the `tzdata` package, as text that a plan carries.

Never the machine's own zone files: a number must not depend on where it is computed. A plan holds
the rules themselves, so what is computed under it stays as it is when the package is updated.
"""

from __future__ import annotations

import difflib
import math
import struct
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from io import BytesIO
from zoneinfo import ZoneInfo

import tzdata

UTC = "UTC"
VERSION: str = tzdata.IANA_VERSION
"""The release of the tz database, such as 2025b."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone of the database.

    Attributes:
        name: Such as Europe/Berlin.
        rules: `name|offset [offset@time ...]|footer`, offsets from UTC and unix times in seconds.
        whole: Every day begins on a multiple of this many seconds (of UTC).
    """

    name: str
    rules: str
    whole: int


@cache
def names() -> frozenset[str]:
    """Every name of the database."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text().split())


def nearest(name: str) -> str:
    """The name that was probably meant; empty if there is none like it."""
    by_lower = {known.lower(): known for known in sorted(names(), reverse=True)}
    last = {known.rpartition("/")[2].lower(): known for known in sorted(names(), reverse=True)}
    wanted = name.lower().replace(" ", "_")
    for known in (by_lower, last):
        found = difflib.get_close_matches(wanted, known, 1, 0.75)
        if found:
            return known[found[0]]
    return ""


@cache
def find(name: str) -> Zone:
    """The zone of this name. Raises KeyError if the database has none."""
    if name not in names():
        raise KeyError(name)
    data = resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    steps, footer = _read(data)
    table = " ".join([str(steps[0][1]), *(f"{offset}@{time}" for time, offset in steps[1:])])
    return Zone(name, f"{name}|{table}|{footer}", _whole(data, steps))


def _read(data: bytes) -> tuple[list[tuple[int, int]], str]:
    """(time, offset) from the one that held in 1970 on, and the footer, of a TZif file (RFC 9636).

    Changes that change no offset are left out, but for the last one: the footer's rule goes on
    from there.
    """
    at = 44 + _body(data, 0, 4)
    counts = struct.unpack_from(">6l", data, at + 20)
    times, types = counts[3], counts[4]
    body = at + 44
    when = struct.unpack_from(f">{times}q", data, body)
    which = data[body + 8 * times : body + 9 * times]
    infos = body + 9 * times
    offsets = [
        struct.unpack(">l", data[infos + 6 * i : infos + 6 * i + 4])[0] for i in range(types)
    ]
    footer = data[body + _body(data, at, 8) :].strip(b"\n").decode()
    steps = [(0, offsets[0])]
    for time, kind in zip(when, which, strict=True):
        if time <= 0:
            steps[0] = (0, offsets[kind])
        elif offsets[kind] != steps[-1][1] or time == when[-1]:
            steps.append((time, offsets[kind]))
    return steps, footer


def _body(data: bytes, at: int, width: int) -> int:
    """Bytes of the block whose header stands at `at`, without the header."""
    utc, standard, leaps, times, types, characters = struct.unpack_from(">6l", data, at + 20)
    return times * (width + 1) + 6 * types + characters + leaps * (width + 4) + standard + utc


def _whole(data: bytes, steps: list[tuple[int, int]]) -> int:
    """The greatest size on multiples of which every day begins.

    Days begin at midnight or, where that is left out, at the change, which comes at midnight then.
    """
    zone = ZoneInfo.from_file(BytesIO(data))
    by_footer = {zone.utcoffset(datetime(2200, month, 1)) for month in range(1, 13)}
    onward = [int(offset.total_seconds()) for offset in by_footer if offset is not None]
    return math.gcd(86_400, *(offset for _, offset in steps), *onward)
