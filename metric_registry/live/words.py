"""How findings say numbers, times and names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from metric_registry.durations import SECOND, render
from metric_registry.live.facts import Share

_NEAR = 0.75
"""Of difflib's likeness: a letter or two, not another word."""


def nearest(wanted: Iterable[str], seen: Iterable[str]) -> str | None:
    """A name that was seen and is nearly one of those wanted."""
    known = list(seen)
    for name in wanted:
        if near := difflib.get_close_matches(name, known, n=1, cutoff=_NEAR):
            return near[0]
    return None


def listed(values: Mapping[str, int]) -> str:
    """Values, the commonest first."""
    shown = sorted(values, key=lambda value: (-values[value], value))
    return ", ".join(f"`{value}`" for value in shown[:8])


def many(number: int, noun: str) -> str:
    """`1 stream`, `2,000 streams`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def of(share: Share, noun: str) -> str:
    """`1 of 2 streams`."""
    return f"{share.count:,} of {many(share.of, noun)}"


def percent(part: int, of: int) -> str:
    """`99.9 %`."""
    return f"{100 * part / of:.3g} %"


def whole(time: int) -> str:
    """A time in whole seconds, rounded up."""
    return render(-(-time // SECOND) * SECOND) if time > 0 else "0s"


def time_of(time: int) -> str:
    """Unix ns, to the second below."""
    return datetime.fromtimestamp(time // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
