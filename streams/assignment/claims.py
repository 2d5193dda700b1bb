"""What a member tells the group when it joins, and what the group tells it: bytes and back.

Both travel as user data of Kafka's consumer protocol, so that workers of several versions may be in
one group. The rule of versions: fields may be added, none ever changes its meaning; a reader takes
the fields it knows. Data that does not read counts as nothing said: the assignment is as right, and
only less sticky.

    subscription   {"v": 1, "process": "...", "version": 2, "standbys": 1, "endpoint": "host:port",
                    "tasks": {"topic": [[partition, how, offset, bytes], ...]}}
    assignment     {"v": 1, "standbys": {"topic": [partition, ...]},
                    "where": {"host:port": {"topic": [partition, ...]}}}

`how`: 2 runs it, 1 follows its changelog, 0 has a copy on its disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

VERSION = 1

Task = tuple[str, int]
"""(topic, partition): a task of the topology whose group this is."""


class How(IntEnum):
    """How a process holds a task's state."""

    DORMANT = 0
    FOLLOWS = 1
    RUNS = 2


@dataclass(frozen=True, slots=True)
class Held:
    """A local copy of a task's state: its changelog is applied up to `offset`."""

    how: How
    offset: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What a member says of itself.

    Attributes:
        process: The identity of its state folder, or of the process if it has none.
        standbys: How many copies of a task's state it is told to have, beside the running one.
        held: The state it has.
        endpoint: Where its stores can be asked, host:port; empty: nowhere.
        version: Of the topology that it runs; 0: it does not say, and is of an older release.
    """

    process: str
    standbys: int = 0
    held: Mapping[Task, Held] = field(default_factory=dict[Task, Held])
    endpoint: str = ""
    version: int = 0

    def encode(self) -> bytes:
        """As user data of a subscription."""
        tasks: dict[str, list[list[int]]] = {}
        for (topic, partition), held in sorted(self.held.items()):
            row = [partition, int(held.how), held.offset, held.bytes]
            tasks.setdefault(topic, []).append(row)
        fields: dict[str, Any] = {"process": self.process, "standbys": self.standbys}
        fields |= {"version": self.version} if self.version else {}
        fields |= {"tasks": tasks} | ({"endpoint": self.endpoint} if self.endpoint else {})
        return json.dumps({"v": VERSION} | fields, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes, member: str) -> Claim:
        """What `member` said; if it does not read, a process of its own that has nothing."""
        try:
            fields: dict[str, Any] = json.loads(data)
            held = {
                (str(topic), int(row[0])): Held(How(row[1]), int(row[2]), int(row[3]))
                for topic, rows in fields["tasks"].items()
                for row in rows
            }
            endpoint = str(fields.get("endpoint", ""))
            standbys, version = max(0, int(fields["standbys"])), int(fields.get("version", 0))
            return cls(str(fields["process"]), standbys, held, endpoint, version)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return cls(process=member)


@dataclass(frozen=True, slots=True)
class Told:
    """What the group tells a member beside its partitions.

    Attributes:
        standbys: The tasks whose state it is to follow.
        where: The endpoint of each task of the topology that runs where stores can be asked.
    """

    standbys: frozenset[Task] = frozenset()
    where: Mapping[Task, str] = field(default_factory=dict[Task, str])

    def encode(self) -> bytes:
        """As user data of an assignment."""
        fields: dict[str, Any] = {"v": VERSION, "standbys": _by_topic(self.standbys)}
        endpoints: dict[str, list[Task]] = {}
        for task, endpoint in self.where.items():
            endpoints.setdefault(endpoint, []).append(task)
        where = {endpoint: _by_topic(endpoints[endpoint]) for endpoint in sorted(endpoints)}
        return json.dumps(fields | {"where": where}, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Told:
        """Nothing, as far as it does not read."""
        try:
            fields: dict[str, Any] = json.loads(data)
            standbys = frozenset(_tasks(fields["standbys"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()
        try:
            where = {
                task: str(endpoint)
                for endpoint, by_topic in fields.get("where", {}).items()
                for task in _tasks(by_topic)
            }
        except (ValueError, TypeError, AttributeError):
            where = {}
        return cls(standbys, where)


def _by_topic(tasks: Iterable[Task]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for topic, partition in sorted(tasks):
        found.setdefault(topic, []).append(partition)
    return found


def _tasks(by_topic: Mapping[str, list[int]]) -> Iterable[Task]:
    return [(str(topic), int(p)) for topic, rows in by_topic.items() for p in rows]
