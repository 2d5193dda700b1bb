"""Records for the log, and what became of them: the seam between core and shell (C)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from topologies.epochs import Epochs

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One record to append. `partition` is explicit: the key's hash decided it."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: Headers


class Outcome(enum.Enum):
    """What the log said of a record."""

    APPENDED = "appended"
    UNKNOWN = "unknown"  # refused for now, or no answer: it may or may not be on the log
    REFUSED = "refused"  # never will be


class Log(Protocol):
    """Where records go. `lost` counts how often it went away."""

    lost: int

    @property
    def up(self) -> bool:
        """True while records can be appended."""
        ...

    async def start(self) -> None:
        """Begin to connect, in the background."""
        ...

    async def stop(self) -> None:
        """Deliver what is under way, within seconds, and disconnect."""
        ...

    def partitions(self, topic: str) -> int | None:
        """How many partitions the topic has; None while the log is away."""
        ...

    def epochs(self) -> Epochs | None:
        """The epochs of the live topic after its first; None while they can't be known."""
        ...

    async def append(self, records: Sequence[Record], timeout: float) -> list[Outcome]:
        """Append all; one outcome each, after at most `timeout` seconds. Never raises."""
        ...
