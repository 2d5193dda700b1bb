"""Granularities: window sizes as a plan has them.

A plain one is its number of seconds. Others are text: `1d`, `1w` and `1mo` are days, ISO weeks and
months of the definition's zone (a day of UTC is plain: 86400), and `5m/1m` is five minutes, every
minute.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from metric_registry.durations import SECOND, parse, render_seconds

Granularity = int | str

HOUR, DAY = 3_600, 86_400
CALENDAR = {"1d": DAY, "1w": 7 * DAY, "1mo": 30 * DAY}
"""Seconds that one counts as where a length is needed; a real one may be longer or shorter."""


def size_of(granularity: Granularity) -> int:
    """Seconds of a window."""
    if isinstance(granularity, int):
        return granularity
    if granularity in CALENDAR:
        return CALENDAR[granularity]
    return parse(granularity.partition("/")[0]) // SECOND


def step_of(granularity: Granularity) -> int:
    """Seconds from one window's end to the next one's."""
    if is_hopping(granularity):
        return parse(str(granularity).partition("/")[2]) // SECOND
    return size_of(granularity)


def is_hopping(granularity: Granularity) -> bool:
    """Whether windows overlap."""
    return isinstance(granularity, str) and "/" in granularity


def is_calendar(granularity: Granularity) -> bool:
    """Whether a zone says where windows end."""
    return granularity in CALENDAR


def text_of(granularity: Granularity) -> str:
    """As a definition writes it."""
    return granularity if isinstance(granularity, str) else render_seconds(granularity)


def order(granularity: Granularity) -> tuple[int, int]:
    """Sorts: finer ones first, and of one size those that do not overlap."""
    return size_of(granularity), -step_of(granularity)


def pane_of(granularities: Iterable[Granularity], whole: int) -> int:
    """Seconds of the windows that all are made of: the finest plain ones, else what fits all.

    whole: Every day of the zone begins on a multiple of so many seconds.
    """
    every = list(granularities)
    plain = [one for one in every if isinstance(one, int)]
    if plain:
        return min(plain)
    hops = [step_of(one) for one in every if is_hopping(one)]
    days = math.gcd(HOUR, whole) if any(map(is_calendar, every)) else 0
    return math.gcd(days, *hops)
