"""One task on a log in memory: does what the task orders, as a worker would."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import get_args

from streams.config import Topology
from streams.errors import StreamsError
from streams.queries.questions import QueryError, Question, Reply
from streams.state.changelog import ChangelogRecord
from streams.task import events as ev
from streams.task.events import Effect, Event, TaskId
from streams.task.host import TaskHost
from streams.task.phase import Phase
from streams.task.processor import InputRecord, OutputRecord
from streams.task.task import Task
from streams.testing.disk import SimulatedDisk
from streams.testing.log import MemoryLog, ProducerSession

ASKS = ev.InitProducer, ev.FindBounds, ev.ReadChangelog, ev.ReadRange
"""Effects that ask the log something, and may be asked again."""

POINTS = (
    *(
        f"{when} {effect.__name__}"
        for effect in (*get_args(ev.ComputeEffect), *get_args(ev.LogEffect))
        for when in ("before", "after")
    ),
    "ask the log",
    "the log answers",
    "begin",
    "send output",
    "send state",
    "end transaction",
    "transaction ended",
)
"""Where `faults` is called, and with what: every point of the protocol at which a process may die.

Each stands right before what it names, `after` and `the log answers` right behind.
`transaction ended` is behind the commit and before its answer is known.
"""


class Crash(Exception):
    """The simulated process dies here."""


class TaskDriver:
    """One task on an in-memory log. `seed` also draws how what is read is cut into pieces."""

    task_type: type[Task] = Task
    host_type: type[TaskHost] = TaskHost

    def __init__(
        self,
        log: MemoryLog,
        topology: Topology,
        topic: str,
        partition: int = 0,
        *,
        app: str = "app",
        disk: SimulatedDisk | None = None,
        seed: int | None = None,
        faults: Callable[[str], None] | None = None,
    ) -> None:
        self.log = log
        self.disk = disk or SimulatedDisk()
        self.now_ms = 0
        self.wall_clock_ms = 1_700_000_000_000
        self.id = TaskId(topology.name, topic, partition)
        self.transactional_id = f"{app}-{self.id}"
        self.changelog = f"{app}-{topology.name}-changelog"
        self.alive = False
        self.pending: list[Effect] = []
        self._topology = topology
        self._rng = random.Random(seed or 0)
        self._cut = seed is not None
        self.faults = faults or no_faults
        self._starts = 0
        self._replies: dict[int, Reply | QueryError] = {}
        self._asked_before = 0
        log.create(self.changelog, log.partitions(topic))
        self.changelog_partition = partition % log.partitions(self.changelog)
        log.create(topology.settings.dead_letter_topic, 1)
        self.start()

    # ------------------------------------------------------------ what a test does

    def start(self) -> None:
        """A new process takes the task over."""
        self._starts += 1
        self.task = self.task_type(self.id, self._topology.settings)
        self.host = self.host_type(
            self.id, self._topology.factory, self.disk.open, lambda: self.wall_clock_ms
        )
        self.session: ProducerSession | None = None
        self.pending = []
        self.fetch = (0, 0)
        self._asked = False
        self.alive = True
        self.step(ev.Assigned())

    def crash(self, *, lose_disk: bool = False) -> None:
        """The process is gone, with everything in memory and what the disk had not flushed."""
        self.alive = False
        self.pending = []
        if lose_disk:
            self.disk.lose()
        else:
            self.disk.crash(self._rng)

    def run(self) -> None:
        """Go on until there is nothing left to do at this moment."""
        while self.turn():
            pass

    def advance(self, ms: int) -> None:
        """Let time pass, and do what falls due."""
        self.now_ms += ms
        self.wall_clock_ms += ms
        due = self.task.due_ms()
        if due is not None and due <= self.now_ms:
            self.step(ev.Tick())
        self.run()

    def settle(self) -> None:
        """Process and commit everything that is in the log.

        Raises `AssertionError` when the task does not come to rest within 1,000 advances.
        """
        self.run()
        for _ in range(1_000):
            if self.task.ended:
                return
            committed = self.task.committed
            done = 0 if committed is None else committed.offset
            _, end = self.log.bounds(self.id.topic, self.id.partition)
            left, _ = self.log.fetch(self.id.topic, self.id.partition, done, 1)
            if self.task.phase is Phase.RUNNING and not left and self.fetch[1] >= end:
                return
            self.advance(max(100, self._topology.settings.commit_interval_ms))
        raise AssertionError(f"{self.id} does not settle: {self.task.stats()}")

    def close(self) -> None:
        """Commit and close in order."""
        self.step(ev.Close())
        self.run()

    def ask(self, question: Question) -> Reply:
        """Ask the task's stores; it does what it does before it answers. Raises `QueryError`."""
        self._asked_before += 1
        number = self._asked_before
        self.step(ev.Asked(number, question))
        while number not in self._replies:
            assert self.turn(), "the task has nothing to do, and does not answer"
        reply = self._replies.pop(number)
        if isinstance(reply, QueryError):
            raise reply
        return reply

    # ------------------------------------------------------------ one step at a time

    def turn(self) -> bool:
        """Do one pending effect, or fetch; False when there is neither. May raise `Crash`."""
        ready = [effect for effect in self.pending if not self._blocked(effect)]
        if ready and not (self._cut and self._rng.random() < 0.2 and self.fetch_some()):
            effect = self._rng.choice(ready) if self._cut else ready[0]
            self.pending.remove(effect)
            self.faults(f"before {type(effect).__name__}")
            try:
                event = self.perform(effect)
                if isinstance(effect, ASKS):
                    self.faults("the log answers")
            except StreamsError as error:
                event = ev.Failed(ev.lane_of(effect), error)
            self.faults(f"after {type(effect).__name__}")
            self.step(event)
            return True
        return bool(ready) or self.fetch_some()

    def fetch_some(self) -> bool:
        """Ask for more input if the task wants some and there is some, or hand over what was asked
        for: that comes whether the task still wants it or not, as from a worker's consumer.
        """
        if self._asked:
            self._asked = False
            self.hand_over(*self._read_on())
            return True
        if not self.task.wants_records():
            return False
        _, next_offset, end = found = self._read_on()
        if next_offset == self.fetch[1] and end == self.task.stats()["end"]:
            return False
        self._asked = self._cut
        if not self._asked:
            self.hand_over(*found)
        return True

    def hand_over(self, records: Sequence[InputRecord], next_offset: int, end: int) -> None:
        """Give the task what was read, and stand behind it."""
        number, at = self.fetch
        self.fetch = (number, next_offset)
        self.step(ev.Fetched(number, at, records, next_offset, end))

    def _read_on(self) -> tuple[Sequence[InputRecord], int, int]:
        topic, partition = self.id.topic, self.id.partition
        limit = self._rng.randint(1, 8) if self._cut else 1 << 30
        records, next_offset = self.log.fetch(topic, partition, self.fetch[1], limit)
        return records, next_offset, self.log.bounds(topic, partition)[1]

    def step(self, event: Event) -> None:
        """Give the task one event and note what it orders."""
        for effect in self.task.step(event, self.now_ms):
            match effect:
                case ev.SeekInput(number, offset):
                    self.fetch = (number, offset)
                case ev.TaskClosed() | ev.TaskFenced() | ev.StopWorker():
                    self.alive = False
                case ev.Refuse(asked, error):
                    self._replies.update((each.number, error) for each in asked)
                case _:
                    self.pending.append(effect)

    def _blocked(self, effect: Effect) -> bool:
        """Whether it waits for somebody else's open transaction."""
        if not isinstance(effect, ev.ReadChangelog):
            return False
        return self.log.bounds(self.changelog, self.changelog_partition)[1] <= effect.start

    def perform(self, effect: Effect) -> Event:
        """What the shell of a worker does, against the in-memory log."""
        if isinstance(effect, ASKS):
            self.faults("ask the log")
        match effect:
            case ev.InitProducer():
                self.session = self.log.init_producer(self.transactional_id)
                return ev.ProducerReady(f"{self._starts}-{self.session.epoch}")
            case ev.FindBounds():
                changelog = self.log.bounds(
                    self.changelog, self.changelog_partition, committed=False
                )
                return ev.BoundsFound(
                    *changelog, *self.log.bounds(self.id.topic, self.id.partition)
                )
            case ev.ReadChangelog(start, end):
                return self.read_changelog(start, end)
            case ev.ReadRange(start, end):
                limit = self._rng.randint(1, 8) if self._cut else 1 << 30
                return ev.RangeRead(
                    *self.log.fetch(self.id.topic, self.id.partition, start, limit, end=end)
                )
            case ev.Commit(outputs, changelog):
                return self.commit(outputs, changelog)
            case ev.CloseTask():
                self.host.close()
                return ev.Closed()
            case ev.Answer():
                event = self.host.perform(effect)
                assert isinstance(event, ev.Answered)
                self._replies.update(event.replies)
                return event
            case ev.SeekInput() | ev.TaskClosed() | ev.TaskFenced() | ev.Refuse() | ev.StopWorker():
                raise AssertionError(f"{effect} is not to be performed")
            case _:
                return self.host.perform(effect)

    def read_changelog(self, start: int, end: int) -> Event:
        """Some committed records of the changelog."""
        limit = self._rng.choice((1, 2, 100)) if self._cut else 1 << 30
        records, next_offset = self.log.fetch(
            self.changelog, self.changelog_partition, start, limit, end=end
        )
        found = [ChangelogRecord(r.key or b"", r.value, r.offset) for r in records]
        return ev.ChangelogRead(found, next_offset)

    def commit(
        self, outputs: Sequence[OutputRecord], changelog: Sequence[ChangelogRecord]
    ) -> Event:
        """One transaction."""
        session = self.session
        assert session is not None
        self.faults("begin")
        self.log.begin(session)
        last = 0
        for output in outputs:
            self.faults("send output")
            self.log.send(session, output)
        for record in changelog:
            self.faults("send state")
            target = OutputRecord(
                self.changelog, self.changelog_partition, record.key, record.value
            )
            _, last = self.log.send(session, target)
        self.faults("end transaction")
        self.log.commit(session)
        self.faults("transaction ended")
        return ev.Committed(last + 1)


def no_faults(_point: str) -> None:
    """Nothing goes wrong."""
