"""What a member tells the group when it joins, and what the group tells it: bytes and back.

Both travel as user data of Kafka's consumer protocol, so that workers of several versions may be in
one group. The rule of versions: fields may be added, none ever changes its meaning; a reader takes
the fields it knows. Data that does not read counts as nothing said: the assignment is as right, and
only less sticky.

    subscription   {"v": 1, "process": "...", "standbys": 1,
                    "tasks": {"topic": [[partition, how, offset, bytes], ...]}}
    assignment     {"v": 1, "standbys": {"topic": [partition, ...]}}

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
    """

    process: str
    standbys: int = 0
    held: Mapping[Task, Held] = field(default_factory=dict[Task, Held])

    def encode(self) -> bytes:
        """As user data of a subscription."""
        tasks: dict[str, list[list[int]]] = {}
        for (topic, partition), held in sorted(self.held.items()):
            row = [partition, int(held.how), held.offset, held.bytes]
            tasks.setdefault(topic, []).append(row)
        fields = {"process": self.process, "standbys": self.standbys, "tasks": tasks}
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
            return cls(str(fields["process"]), max(0, int(fields["standbys"])), held)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return cls(process=member)


def encode_standbys(standbys: Iterable[Task]) -> bytes:
    """As user data of an assignment."""
    by_topic: dict[str, list[int]] = {}
    for topic, partition in sorted(standbys):
        by_topic.setdefault(topic, []).append(partition)
    return json.dumps({"v": VERSION, "standbys": by_topic}, separators=(",", ":")).encode()


def decode_standbys(data: bytes) -> frozenset[Task]:
    """The tasks whose state is to be followed; none if it does not read."""
    try:
        by_topic: dict[str, list[int]] = json.loads(data)["standbys"]
        return frozenset((str(t), int(p)) for t, rows in by_topic.items() for p in rows)
    except (ValueError, KeyError, TypeError, AttributeError):
        return frozenset()
