"""What stores a topology has: their columns, and which tasks hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from streams.operators.keys import pack
from streams.operators.running import Running
from streams.operators.windowed import Windowed
from streams.operators.windows import TimeWindows
from streams.schema import Schema
from streams.task.events import TaskId
from streams.values import values_of

Kind = Literal["windows", "totals", "table", "bytes"]

Partitions = Callable[[str], int]
"""Topic -> how many partitions it has."""


@dataclass(frozen=True, slots=True)
class Tasks:
    """All tasks of a sub-topology. `partitions` None: as many as the topic has."""

    topology: str
    topic: str
    partitions: int | None

    def all(self, partitions: Partitions) -> list[TaskId]:
        """One a partition."""
        count = partitions(self.topic) if self.partitions is None else self.partitions
        return [TaskId(self.topology, self.topic, p) for p in range(count)]


@dataclass(frozen=True, slots=True)
class StoreShape:
    """A store.

    Attributes:
        name: Of the operator that keeps it.
        keys: Its key columns.
        values: Its other columns.
        owners: The tasks that hold it.
        route: The key columns whose hash says which of them has a key; None: any may.
        everywhere: Each of them holds all of it.
        sources: Tasks that keep parts of open windows until these close there.
        of: The aggregation, if it is one.
    """

    name: str
    kind: Kind
    keys: Schema
    values: Schema
    owners: tuple[Tasks, ...]
    route: tuple[str, ...] | None = None
    everywhere: bool = False
    sources: tuple[Tasks, ...] = ()
    of: Windowed | Running | None = field(default=None, repr=False)

    @property
    def windows(self) -> TimeWindows | None:
        """Its windows, if it has any."""
        return self.of.windows if isinstance(self.of, Windowed) else None

    def holders(self, key: Mapping[str, Any] | None, partitions: Partitions) -> list[TaskId]:
        """The tasks that may have a key; None: rows of any key."""
        found = [task for tasks in self.owners for task in tasks.all(partitions)]
        if self.everywhere:
            return found[:1]
        if key is None or not self.route or len(found) < 2:
            return found
        columns = [values_of(self.keys[name], [key[name]]) for name in self.route]
        return [found[int(pack(columns, 1).hashes()[0]) % len(found)]]

    def feeders(self, partitions: Partitions) -> list[TaskId]:
        """The tasks of `sources`."""
        return [task for tasks in self.sources for task in tasks.all(partitions)]

    def told(self) -> dict[str, Any]:
        """As JSON, for people."""
        found: dict[str, Any] = {
            "store": self.name,
            "kind": self.kind,
            "keys": {name: str(kind) for name, kind in self.keys.items()},
            "values": {name: str(kind) for name, kind in self.values.items()},
            "topics": [tasks.topic for tasks in self.owners],
        }
        if self.windows is not None:
            found["windows"] = {
                "size": self.windows.size,
                "advance": self.windows.advance,
                "grace": self.windows.grace_ns,
                "kept_for": self.windows.horizon_ns or 0,
            }
        return found


def named(shapes: Iterable[StoreShape]) -> dict[str, StoreShape]:
    """By name."""
    return {shape.name: shape for shape in shapes}
