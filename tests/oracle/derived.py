"""Attributes that a definition makes of those that points have, with Python's own expressions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from oracle import lookups

LONGEST = 1_024
"""Characters of a text that is looked into by a pattern."""


def reads(wanted: str, metric: str) -> bool:
    """Whether a metric is the one, or one of those, that a source names: `*` is any text."""
    parts = [re.escape(part) for part in wanted.split("*")]
    return re.fullmatch("(?s:.*)".join(parts), metric) is not None


def value(made: Any, lookup: Callable[[str], str | None]) -> str | None:
    """What a definition's `attributes` entry makes of a point."""
    steps = made if isinstance(made, dict) else {"from": made}
    names = [steps["from"]] if isinstance(steps["from"], str) else steps["from"]
    texts = [text for text in map(lookup, names) if text is not None]
    found = texts[0] if texts else None
    if found is not None and steps.get("lower"):
        found = found.lower()
    if found is not None and "capture" in steps:
        found = _captured(steps, found)
    if found is not None and "map" in steps:
        found = steps["map"].get(found)
    if found is not None and "lookup" in steps:
        found = lookups.find(steps["lookup"], found)
    return steps.get("default") if found is None else found


def _captured(steps: dict[str, Any], text: str) -> str | None:
    match = re.search(steps["capture"], text, re.ASCII) if len(text) <= LONGEST else None
    if match is None:
        return None
    write = steps.get("write") or ("{1}" if match.re.groups else "{0}")
    for number in range(match.re.groups + 1):
        write = write.replace(f"{{{number}}}", f"\0{number}\0")
    for number in range(match.re.groups + 1):
        write = write.replace(f"\0{number}\0", match.group(number) or "")
    return write
