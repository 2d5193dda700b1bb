"""Topics as a topology declares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic.

    `partitions`: how many it is made with; None: it is another's, and has any number. `config`: in
    the log's words (`cleanup.policy`). `internal`: nobody but the topology is meant to read it.
    """

    name: str
    partitions: int | None
    config: Mapping[str, str] = field(default_factory=dict[str, str])
    internal: bool = False

    def describe(self) -> str:
        """For people."""
        number = "any number of" if self.partitions is None else self.partitions
        said = f"{number} partition{'' if self.partitions == 1 else 's'}"
        return f"{said}, internal" if self.internal else said
