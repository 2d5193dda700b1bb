"""Who runs each task of a topology, and who keeps a copy of its state: the group leader's decision.

While workers are replaced by those of a newer version, what these have taken over does not go back
(`_State.may_run`). Apart from that every topic is spread evenly by itself, and all tasks are; then
as few tasks as possible move; a task that must move goes to who has most of its state; partitions
of the same number go together (they share a partition of the changelog); then state and traffic
are evened out.
Copies go to other processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streams.assignment.claims import Claim, Held, How, Task
from streams.assignment.placing import FORBIDDEN, I64, place

ACCEPTABLE_LAG = 10_000
"""Changelog records that a copy may be behind and count as caught up, as in Kafka Streams."""

_MOVES = 1 << 10
"""A task that goes where it is not now. Below: how far its state is behind there, and its place."""
_APART = 1
_BEHIND = 2
_WHOLE = 1_000_000
"""What all tasks together weigh by their state, and by their records."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the group: its id there, what it subscribes to, what it says of itself."""

    name: str
    topics: frozenset[str]
    claim: Claim


@dataclass(frozen=True, slots=True)
class Share:
    """What a member gets: the tasks it runs, and those whose state it follows."""

    running: tuple[Task, ...]
    standbys: tuple[Task, ...]


def assign(
    members: Sequence[Member],
    partitions: Mapping[str, int],
    records: Mapping[Task, int] | None = None,
) -> dict[str, Share]:
    """Member name -> its share. `partitions`: of each topic; the order of members is no matter.

    `records`: that the log has of each task's partition, as far as it is known; they show what
    traffic it has, and before the first start what there is to catch up with.

    A task runs on exactly one of the members that subscribe to its topic, and on none only if there
    is none. Where members differ in version, see `_State.may_run`. The number of copies is the
    largest that any member asks for, as far as there are processes for them.
    """
    ordered = sorted(members, key=lambda member: (member.claim.process, member.name))
    state = _State(ordered, records or {})
    running: dict[Task, int] = {}
    for topic in sorted(partitions):
        running.update(_spread(state, topic, partitions[topic], running))
    copies = _copies(state, running)
    return {
        member.name: Share(
            tuple(sorted(task for task, at in running.items() if at == number)),
            tuple(sorted(task for task, where in copies.items() if number in where)),
        )
        for number, member in enumerate(ordered)
    }


class _State:
    """What members say of each task's state, and what follows for placing it."""

    def __init__(self, members: Sequence[Member], records: Mapping[Task, int]) -> None:
        self.members = members
        self._records = records
        self._all_records = sum(records.values())
        self._newest: dict[Task, int] = {}
        self._bytes: dict[Task, int] = {}
        self._runs: dict[Task, tuple[int, int]] = {}
        for number, member in enumerate(members):
            for task, held in member.claim.held.items():
                self._newest[task] = max(held.offset, self._newest.get(task, 0))
                self._bytes[task] = max(held.bytes, self._bytes.get(task, 0))
                if held.how is How.RUNS and held.offset > self._runs.get(task, (-1, 0))[0]:
                    self._runs[task] = (held.offset, number)
        self._all_bytes = sum(self._bytes.values())

    def weights(self, tasks: Sequence[Task]) -> I64:
        """Of each task: its share of all state, and its share of all records."""
        return np.array([self._weight(task) for task in tasks], np.int64)

    def _weight(self, task: Task) -> int:
        state = _WHOLE * self._bytes.get(task, 0) // max(1, self._all_bytes)
        return state + _WHOLE * self._records.get(task, 0) // max(1, self._all_records)

    def may_run(self, task: Task, member: Member) -> bool:
        """Whether a member reads the state of a task, as far as anybody can tell.

        What a member runs has its version, and is not for older ones. What nobody runs may have
        been run by the newest: it goes to them, while there are any that subscribe to its topic.
        """
        if task[0] not in member.topics:
            return False
        runs = self._runs.get(task)
        if runs is not None:
            return member.claim.version >= self.members[runs[1]].claim.version
        versions = [each.claim.version for each in self.members if task[0] in each.topics]
        return member.claim.version == max(versions)

    def running_costs(self, tasks: Sequence[Task]) -> I64:
        """Task x member: 0 where it runs now, else that it moves and what is to be restored."""
        costs = np.empty((len(tasks), len(self.members)), np.int64)
        for row, task in enumerate(tasks):
            for number, member in enumerate(self.members):
                if not self.may_run(task, member):
                    costs[row, number] = FORBIDDEN
                elif self._runs.get(task, (0, -1))[1] == number:
                    costs[row, number] = 0
                else:
                    costs[row, number] = _MOVES + self._behind(task, member)
        return costs

    def standby_costs(self, tasks: Sequence[Task], running: Mapping[Task, int]) -> I64:
        """Task x member: 0 where it is followed now; forbidden on the process that runs it.

        Of several members of one process only the first follows.
        """
        costs = np.full((len(tasks), len(self.members)), FORBIDDEN, np.int64)
        for row, task in enumerate(tasks):
            taken = {self.members[running[task]].claim.process}
            for number, member in enumerate(self.members):
                if task[0] not in member.topics or member.claim.process in taken:
                    continue
                taken.add(member.claim.process)
                held = member.claim.held.get(task)
                follows = held is not None and held.how is How.FOLLOWS
                costs[row, number] = 0 if follows else _MOVES + self._behind(task, member)
        return costs

    def _behind(self, task: Task, member: Member) -> int:
        """In steps, each twice as far as the one before; 0: caught up."""
        held: Held | None = member.claim.held.get(task)
        newest = self._newest.get(task, 0)
        behind = newest - (0 if held is None else held.offset)
        if held is None:
            behind = max(behind, ACCEPTABLE_LAG)  # nothing at all is never caught up
        return _BEHIND * (behind // ACCEPTABLE_LAG).bit_length()


def _spread(state: _State, topic: str, count: int, running: Mapping[Task, int]) -> dict[Task, int]:
    """The tasks of one topic -> member."""
    if not any(topic in member.topics for member in state.members):
        return {}
    tasks = [(topic, number) for number in range(count)]
    costs = state.running_costs(tasks)
    together = np.zeros((count, len(state.members)), np.int64)
    for (_, number), member in running.items():
        if number < count:
            together[number, member] = _APART
    costs = np.where(costs < FORBIDDEN, costs + _APART - together, costs)
    weights = state.weights(tasks)
    at = place(costs, weights, *_carried(state, running.items()))
    return dict(zip(tasks, at.tolist(), strict=True))


def _copies(state: _State, running: Mapping[Task, int]) -> dict[Task, set[int]]:
    """Task -> the members that follow it."""
    wanted = max((member.claim.standbys for member in state.members), default=0)
    copies: dict[Task, set[int]] = {task: set() for task in running}
    tasks = sorted(running)
    if not wanted or not tasks:
        return copies
    costs = state.standby_costs(tasks, running)
    possible = np.minimum((costs < FORBIDDEN).sum(1), wanted)
    kinds = np.repeat(np.arange(len(tasks)), possible)
    weights = state.weights(tasks)[kinds]
    at = place(costs[kinds], weights, *_carried(state, running.items()), kinds)
    for kind, member in zip(kinds.tolist(), at.tolist(), strict=True):
        copies[tasks[kind]].add(member)
    return copies


def _carried(state: _State, placed: Iterable[tuple[Task, int]]) -> tuple[I64, I64]:
    """Of each member: its tasks and copies, and what they weigh."""
    loads = np.zeros(len(state.members), np.int64)
    carried = np.zeros(len(state.members), np.int64)
    for task, member in placed:
        loads[member] += 1
        carried[member] += state.weights([task])[0]
    return loads, carried
