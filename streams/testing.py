"""Run a topology's tasks without a broker: an in-memory transactional log and a driver.

    log = MemoryLog({"orders": 1, "totals": 1})
    driver = TaskDriver(log, Topology("totals", make_processor, topics=("orders",)), "orders", 0)
    log.append("orders", 0, b"...")
    driver.settle()                          # process and commit everything
    driver.crash(); driver.start()           # die, come back, restore and replay
    log.read("totals", 0)                    # what a read_committed consumer sees

The driver runs the real task core and the real host; only the log and the disk are simulated. Time
moves when the test says so (`advance`). `faults` is called at named points and may raise: `Crash`
(the process dies there) or any `StreamsError` (that call fails).
"""

from __future__ import annotations

import random
import zlib
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from streams.config import Topology
from streams.errors import Fenced, StreamsError
from streams.state.changelog import ChangelogRecord
from streams.state.position import Checkpoint
from streams.state.store import MemoryStore
from streams.task import events as ev
from streams.task.events import Effect, Event, TaskId
from streams.task.host import TaskHost
from streams.task.phase import Phase
from streams.task.processor import InputRecord, OutputRecord
from streams.task.task import Task


class Crash(Exception):
    """The simulated process dies here."""


@dataclass(slots=True)
class _Transaction:
    partitions: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    state: str = "open"


@dataclass(frozen=True, slots=True)
class _Entry:
    offset: int
    record: InputRecord | None  # None: a commit or abort marker
    transaction: _Transaction | None


@dataclass(slots=True)
class _Partition:
    entries: list[_Entry] = field(default_factory=list[_Entry])
    in_transactions: deque[_Entry] = field(default_factory=deque[_Entry])
    start: int = 0
    end: int = 0

    def append(self, record: InputRecord | None, transaction: _Transaction | None) -> int:
        entry = _Entry(self.end, record, transaction)
        self.entries.append(entry)
        if transaction is not None and transaction.state == "open":
            self.in_transactions.append(entry)
        self.end += 1
        return self.end - 1

    def stable(self) -> int:
        waiting = self.in_transactions
        while waiting and (first := waiting[0]).transaction is not None:
            if first.transaction.state == "open":
                return first.offset
            waiting.popleft()
        return self.end


@dataclass(frozen=True, slots=True)
class ProducerSession:
    """What `init_producer` hands out; an older epoch is fenced."""

    transactional_id: str
    epoch: int


class MemoryLog:
    """Topics, transactions with fencing, markers that take offsets, last stable offset."""

    def __init__(self, topics: Mapping[str, int] | None = None) -> None:
        self._topics: dict[str, list[_Partition]] = {}
        self._epochs: dict[str, int] = {}
        self._open: dict[str, _Transaction] = {}
        for topic, partitions in (topics or {}).items():
            self.create(topic, partitions)

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic; no effect when it is there."""
        self._topics.setdefault(topic, [_Partition() for _ in range(partitions)])

    def partitions(self, topic: str) -> int:
        return len(self._topics[topic])

    def append(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: tuple[tuple[str, bytes], ...] = (),
        timestamp_ms: int = 0,
    ) -> int:
        """Write one record outside any transaction; returns its offset."""
        target = self._topics[topic][partition]
        record = InputRecord(target.end, timestamp_ms, key, value, headers)
        return target.append(record, None)

    def init_producer(self, transactional_id: str) -> ProducerSession:
        """Register: older sessions are fenced, their open transaction is aborted."""
        self._end(transactional_id, "aborted")
        epoch = self._epochs[transactional_id] = self._epochs.get(transactional_id, -1) + 1
        return ProducerSession(transactional_id, epoch)

    def begin(self, session: ProducerSession) -> None:
        self._check(session)
        self._open[session.transactional_id] = _Transaction()

    def send(self, session: ProducerSession, record: OutputRecord) -> tuple[int, int]:
        """Write one record of the open transaction; returns (partition, offset)."""
        self._check(session)
        transaction = self._open[session.transactional_id]
        partitions = self._topics[record.topic]
        number = record.partition
        if number is None:
            number = zlib.crc32(record.key or b"") % len(partitions)
        target = partitions[number]
        transaction.partitions.add((record.topic, number))
        entry = InputRecord(target.end, 0, record.key, record.value, record.headers)
        return number, target.append(entry, transaction)

    def commit(self, session: ProducerSession) -> None:
        self._check(session)
        self._end(session.transactional_id, "committed")

    def abort(self, session: ProducerSession) -> None:
        self._check(session)
        self._end(session.transactional_id, "aborted")

    def time_out(self, transactional_id: str) -> None:
        """What the coordinator does to a transaction that stays open: abort, and fence."""
        if transactional_id in self._open:
            self._end(transactional_id, "aborted")
            self._epochs[transactional_id] += 1

    def bounds(self, topic: str, partition: int, *, committed: bool = True) -> tuple[int, int]:
        """Offsets [start, end): to the last stable offset, or to the high watermark."""
        target = self._topics[topic][partition]
        return target.start, target.stable() if committed else target.end

    def fetch(
        self, topic: str, partition: int, offset: int, limit: int, *, end: int | None = None
    ) -> tuple[list[InputRecord], int]:
        """Up to `limit` committed records from `offset` on, and where to go on."""
        target = self._topics[topic][partition]
        stop = min(target.stable(), target.end if end is None else end)
        entries = target.entries
        at = bisect_left(entries, max(offset, target.start), key=lambda entry: entry.offset)
        records: list[InputRecord] = []
        next_offset = max(offset, target.start)
        while at < len(entries) and entries[at].offset < stop and len(records) < limit:
            entry = entries[at]
            aborted = entry.transaction is not None and entry.transaction.state == "aborted"
            if entry.record is not None and not aborted:
                records.append(entry.record)
            next_offset = entry.offset + 1
            at += 1
        if at == len(entries) or entries[at].offset >= stop:
            next_offset = max(next_offset, stop)  # past markers, and what compaction removed
        return records, next_offset

    def read(self, topic: str, partition: int = 0) -> list[InputRecord]:
        """Everything that a read_committed consumer sees."""
        return self.fetch(topic, partition, 0, 1 << 62)[0]

    def trim(self, topic: str, partition: int, start: int) -> None:
        """Retention: forget records before `start`."""
        target = self._topics[topic][partition]
        target.start = max(target.start, start)
        target.entries = [entry for entry in target.entries if entry.offset >= start]

    def compact(self, topic: str, partition: int) -> None:
        """Keep the last committed record of each key; offsets stay."""
        target = self._topics[topic][partition]
        stable = target.stable()
        last: dict[bytes | None, int] = {}
        for entry in target.entries:
            committed = entry.transaction is None or entry.transaction.state == "committed"
            if entry.record is not None and committed and entry.offset < stable:
                last[entry.record.key] = entry.offset
        keep = set(last.values())
        target.entries = [e for e in target.entries if e.offset in keep or e.offset >= stable]

    def remake(self, topic: str) -> None:
        """Somebody deletes the topic and makes it anew."""
        self._topics[topic] = [_Partition() for _ in self._topics[topic]]

    def _check(self, session: ProducerSession) -> None:
        if self._epochs[session.transactional_id] != session.epoch:
            raise Fenced(f"{session.transactional_id} has a newer owner")

    def _end(self, transactional_id: str, state: str) -> None:
        transaction = self._open.pop(transactional_id, None)
        if transaction is None:
            return
        transaction.state = state
        for topic, number in sorted(transaction.partitions):
            self._topics[topic][number].append(None, transaction)


class SimulatedDisk:
    """A `StateStore` home that outlives a crash, minus what was not flushed.

    Like RocksDB without a write-ahead log: what survives is a prefix of the single changes.
    """

    def __init__(self) -> None:
        self.done: list[tuple[bytes, bytes | None] | Checkpoint] = []
        self._flushed = 0

    def open(self) -> _DiskStore:
        """The store as it is on the disk."""
        return _DiskStore(self)

    def crash(self, rng: random.Random) -> None:
        """Lose some of what was not flushed."""
        del self.done[rng.randint(self._flushed, len(self.done)) :]

    def lose(self) -> None:
        """Lose everything."""
        self.done.clear()
        self._flushed = 0

    def flush(self) -> None:
        self._flushed = len(self.done)

    def record(self, changes: Mapping[bytes, bytes | None], checkpoint: Checkpoint) -> None:
        self.done.extend(changes.items())
        self.done.append(checkpoint)

    def replay(self) -> Iterator[tuple[Mapping[bytes, bytes | None], Checkpoint | None]]:
        """Everything on the disk, to be written into a store in this order."""
        changes: dict[bytes, bytes | None] = {}
        for item in self.done:
            if isinstance(item, Checkpoint):
                yield changes, item
                changes = {}
            else:
                changes[item[0]] = item[1]
        if changes:
            yield changes, None


class _DiskStore(MemoryStore):
    def __init__(self, disk: SimulatedDisk) -> None:
        super().__init__()
        self._disk = disk
        for changes, checkpoint in disk.replay():
            self._apply(changes)
            self._checkpoint = checkpoint or self._checkpoint

    def write(self, changes: Mapping[bytes, bytes | None], checkpoint: Checkpoint) -> None:
        super().write(changes, checkpoint)
        self._disk.record(changes, checkpoint)

    def wipe(self) -> None:
        super().wipe()
        self._disk.lose()

    def close(self) -> None:
        self._disk.flush()


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
        self.faults = faults or _no_faults
        self._starts = 0
        log.create(self.changelog, log.partitions(topic))
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
                case _:
                    self.pending.append(effect)

    def _blocked(self, effect: Effect) -> bool:
        """Whether it waits for somebody else's open transaction."""
        if not isinstance(effect, ev.ReadChangelog):
            return False
        return self.log.bounds(self.changelog, self.id.partition)[1] <= effect.start

    def perform(self, effect: Effect) -> Event:
        """What the shell of a worker does, against the in-memory log."""
        if isinstance(effect, ev.InitProducer | ev.FindBounds | ev.ReadChangelog | ev.ReadRange):
            self.faults("ask the log")
        match effect:
            case ev.InitProducer():
                self.session = self.log.init_producer(self.transactional_id)
                return ev.ProducerReady(f"{self._starts}-{self.session.epoch}")
            case ev.FindBounds():
                changelog = self.log.bounds(self.changelog, self.id.partition, committed=False)
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
            case ev.SeekInput() | ev.TaskClosed() | ev.TaskFenced() | ev.StopWorker():
                raise AssertionError(f"{effect} is not to be performed")
            case _:
                return self.host.perform(effect)

    def read_changelog(self, start: int, end: int) -> Event:
        """Some committed records of the changelog."""
        limit = self._rng.choice((1, 2, 100)) if self._cut else 1 << 30
        records, next_offset = self.log.fetch(
            self.changelog, self.id.partition, start, limit, end=end
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
            target = OutputRecord(self.changelog, self.id.partition, record.key, record.value)
            _, last = self.log.send(session, target)
        self.faults("end transaction")
        self.log.commit(session)
        self.faults("transaction ended")
        return ev.Committed(last + 1)


def _no_faults(_point: str) -> None:
    """Nothing goes wrong."""
