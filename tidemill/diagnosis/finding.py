"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor. `advice` says what to do; empty where all is well."""

    name: str
    level: Level
    text: str
    advice: str = ""


def ok(name: str, text: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", text)


def warn(name: str, text: str, advice: str) -> Finding:
    """It works, and could be better."""
    return Finding(name, "warn", text, advice)


def fail(name: str, text: str, advice: str) -> Finding:
    """Something will not work."""
    return Finding(name, "fail", text, advice)
