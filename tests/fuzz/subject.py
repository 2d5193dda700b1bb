"""What a decoder's subject is: good messages to damage, and a check of any bytes whatever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of some messages: how many the decoder took, and where it differs from its reference."""

    accepted: int
    differences: list[str]


class Subject(Protocol):
    """A decoder beside a reference that shares no code with it."""

    def corpus(self) -> list[bytes]:
        """Good messages, from real data where there is some."""
        ...

    def check(self, messages: Sequence[bytes]) -> Outcome:
        """Decode them. Anything that it raises is a crash."""
        ...


def shown(message: bytes, ours: object, theirs: object) -> str:
    """A difference, for people."""
    return f"{message.hex()}\n    ours: {str(ours)[:400]}\n    reference: {str(theirs)[:400]}"
