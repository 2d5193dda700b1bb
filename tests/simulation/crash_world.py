"""One task's histories: a small processor, a plain run to compare with, and every fault.

`Simulation(seed).run()` lives one history: records arrive, time passes, the process dies at any
point, disks are lost or damaged, a zombie goes on beside the new owner, transactions time out,
answers and requests are lost or late, the partition moves and comes back. At the end the committed
outputs, the dead letters and the state must be what a plain loop over the final log gives. What a
history met is counted in `met`, by the names in `crash_coverage.py`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from streams.config import TaskSettings, Topology
from streams.errors import Fatal, Fenced, MustRestore, Retriable
from streams.queries.questions import Question
from streams.state.position import Checkpoint
from streams.task import events as ev
from streams.task.phase import ENDED, Phase
from streams.task.processor import InputRange, InputRecord, OutputRecord
from streams.testing import Crash, MemoryLog, SimulatedDisk, TaskDriver

WINDOW = 10
IN_A_COMMIT = {
    *("before Commit", "begin", "send output", "send state", "end transaction"),
    *("transaction ended", "after Commit", "before StoreSnapshot", "after StoreSnapshot"),
}


Emit = Callable[[bytes, bytes], OutputRecord]


def _to_out(key: bytes, value: bytes) -> OutputRecord:
    return OutputRecord("out", 0, key, value)


class Windows:
    """Sums by window of a time that mostly rises.

    The open window is not in the snapshot (it is refilled by replay), sealed ones are; a late
    record reads past input again; an idle mark in the input seals.
    """

    def __init__(self, topic: str = "in", partition: int = 0, emit: Emit | None = None) -> None:
        self.home = topic, partition
        self.emit = emit or _to_out
        self.position = 0
        self.open = -1
        self.open_from = 0
        self.values: list[int] = []
        self.sealed: dict[int, int] = {}
        self.changed: set[int] = set()
        self.out: list[OutputRecord] = []
        self.late: tuple[int, InputRange] | None = None
        self.late_sum = 0
        self.waiting = False

    def restore(self, blocks: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in blocks:
            if key == b"head":
                self.position, self.open, self.open_from = map(int, value.split())
            else:
                self.sealed[int(key)] = int(value)

    def replay_from(self) -> int | None:
        return self.open_from if self.position else None

    def process(self, records: Sequence[InputRecord]) -> int:
        for count, record in enumerate(records, 1):
            if record.value == b"idle":
                if record.offset >= self.position:
                    self._seal(self.open + 1, record.offset + 1)
                continue
            time, number = map(int, (record.value or b"").split())
            window = time // WINDOW
            if record.offset < self.position:  # refill of the open window
                if window == self.open:
                    self.values.append(number)
            elif window < self.open:
                start = max(0, record.offset - 12)
                self.late = (window, InputRange(start, record.offset + 1))
                self.late_sum = 0
                return count
            else:
                if window > self.open:
                    self._seal(window, record.offset)
                self.values.append(number)
        return len(records)

    def _seal(self, window: int, offset: int) -> None:
        if self.open >= 0:
            total = sum(self.values)
            self.sealed[self.open % 7] = self.sealed.get(self.open % 7, 0) + total
            if self.open % 11 == 3:
                del self.sealed[self.open % 7]
            self.changed.add(self.open % 7)
            self.out.append(self.emit(b"%d" % self.open, b"%d" % total))
            self.waiting = True
        self.values, self.open, self.open_from = [], window, offset

    def needs(self) -> InputRange | None:
        return None if self.late is None else self.late[1]

    def supply(self, records: Sequence[InputRecord], done: bool) -> None:
        assert self.late is not None
        window, _ = self.late
        for record in records:
            parts = (record.value or b"").split()
            if len(parts) == 2 and int(parts[0]) // WINDOW == window:
                self.late_sum += int(parts[1])
        if done:
            self.sealed[window % 7] = self.late_sum
            self.changed.add(window % 7)
            self.out.append(self.emit(b"late %d" % window, b"%d" % self.late_sum))
            self.late, self.waiting = None, True

    def outputs(self) -> list[OutputRecord]:
        out, self.out = self.out, []
        self.waiting = False
        return out

    def urgent(self) -> bool:
        return self.waiting

    def before_commit(self, position: int) -> list[OutputRecord]:
        return [OutputRecord("progress", 0, b"p", b"%d" % position)]

    def idle(self, now_ms: int) -> list[OutputRecord]:
        return [OutputRecord(*self.home, b"", b"idle")] if self.values else []

    def snapshot(self, position: int) -> dict[bytes, bytes | None]:
        blocks: dict[bytes, bytes | None] = {}
        for slot in self.changed:
            total = self.sealed.get(slot)
            blocks[b"%d" % slot] = None if total is None else b"%d" % total
        self.changed.clear()
        blocks[b"head"] = b"%d %d %d" % (position, self.open, self.open_from)
        return blocks

    def stats(self) -> dict[str, Any]:
        return {"open": self.open}


def plain_run(
    records: Sequence[InputRecord], partition: int = 0, emit: Emit | None = None
) -> tuple[list[OutputRecord], list[bytes], dict[bytes, Any]]:
    """(outputs, dead-letter keys, state) by one loop over the whole log."""
    processor = Windows("in", partition, emit)
    dead: list[bytes] = []
    for record in records:
        try:
            processor.process([record])
        except ValueError:
            dead.append(b"in/%d/%d" % (partition, record.offset))
            continue
        if (wanted := processor.needs()) is not None:
            past = [r for r in records if wanted.start <= r.offset < wanted.end]
            processor.supply(past, True)
    if not records:
        return [], [], {}
    position = records[-1].offset + 1
    blocks = {k: v for k, v in processor.snapshot(position).items() if v is not None}
    return processor.outputs(), dead, blocks


class Simulation:
    """One seed's history."""

    def __init__(
        self,
        seed: int,
        driver_type: type[TaskDriver] = TaskDriver,
        *,
        damages: bool = True,
        met: Counter[str] | None = None,
    ) -> None:
        self.rng = random.Random(seed)
        self.met = Counter[str]() if met is None else met
        self.driver_type = driver_type
        self.damages = damages
        rng = self.rng
        self.log = MemoryLog({"in": 1, "out": 1, "progress": 1})
        self.topology = Topology(
            "windows", lambda _t, _p: Windows(), ("in",), settings=some_settings(rng)
        )
        self.rate = rng.choice((0.0, 0.02, 0.05, 0.15))
        self.disks = [SimulatedDisk(), SimulatedDisk()]
        self.time = 0
        self.home = 0
        self.zombies: list[TaskDriver] = []
        self.late: list[Callable[[], Any]] = []
        self.calm = False
        self.moving = False
        self.hanging = False
        self.asked = 0
        self.dying: TaskDriver | None = None
        self.owner = self._new_owner()

    def _new_owner(self) -> TaskDriver:
        self.home = self.rng.randrange(2)
        disk = self.disks[self.home]
        if any(z.disk is disk for z in self.zombies):  # a disk has one process
            self.home = 1 - self.home
            disk = self.disks[self.home]
        driver = self.driver_type(
            self.log, self.topology, "in", disk=disk, seed=self.rng.getrandbits(32)
        )
        driver.faults = partial(self._fault, driver)
        return driver

    def _fault(self, driver: TaskDriver, point: str) -> None:
        if self.calm:
            return
        self.met["transaction committed among faults"] += point == "transaction ended"
        if self.rng.random() >= self.rate * weight(point):
            return
        if self.moving and driver is self.owner:
            self.met["fault in the middle of a rebalance"] += 1
        self.dying = driver
        fault(self, driver, point)

    def run(self) -> None:
        for _ in range(self.rng.randint(10, 45)):
            self._act()
        self.calm = True
        self._late_requests_arrive()
        self.log.time_out("neighbour")
        for zombie in list(self.zombies):
            self._drive(zombie)
        for _ in range(5):
            self.owner.settle()
            settled = self.owner.task.phase is Phase.RUNNING
            self.owner.close()
            if settled and self.owner.task.phase is Phase.CLOSED:
                break
            self._rejoin()
        self.check()

    def _act(self) -> None:
        rng, action = self.rng, self.rng.random()
        if action < 0.45:
            for _ in range(rng.randint(1, 6)):
                self._produce()
        elif action < 0.60:
            self._guard(lambda: self.owner.advance(rng.choice((1, 100, 600, 3_000))))
        elif action < 0.66:
            self._become_zombie()
        elif action < 0.72:
            self._rebalance()
        elif action < 0.76:
            self._neighbour_writes()
        elif action < 0.80:
            self.log.time_out("neighbour")
        elif action < 0.84:
            self.log.compact(self.owner.changelog, 0)
        elif action < 0.92:
            self._late_requests_arrive()
        for zombie in list(self.zombies):
            if rng.random() < 0.5:
                self._drive(zombie, turns=rng.randint(1, 4))
        if rng.random() < 0.4:
            self._ask()
        self._guard(lambda: self._some_turns(rng.choice((1, 3, 10, 100))))

    def _ask(self) -> None:
        """Somebody asks a store; that this one has none does not keep the task from its turn."""
        self.asked += 1
        self.owner.step(ev.Asked(self.asked, Question("a store")))

    def _late_requests_arrive(self) -> None:
        for request in self.late:
            request()
        self.late.clear()

    def _some_turns(self, turns: int) -> None:
        for _ in range(turns):
            if not self.owner.alive or not self.owner.turn():
                break

    def _guard(self, do: Any) -> None:
        try:
            do()
        except Crash:
            if self.dying in self.zombies:
                self._bury(self.dying)
            else:
                self._die()
        self.moving = False
        if not self.owner.alive:
            self._rejoin()

    def _die(self) -> None:
        kill(self.owner, self.rng, self.met, damages=self.damages)

    def _rejoin(self) -> None:
        """The process starts again, or another takes over."""
        if self.rng.random() < 0.5:
            self._late_requests_arrive()
        note_end(self.owner, self.met)
        self.owner.host.close()
        self.owner = self._new_owner()

    def _drive(self, driver: TaskDriver, turns: int = 10_000) -> None:
        try:
            for _ in range(turns):
                if not driver.alive or not driver.turn():
                    break
        except Crash:
            self._bury(driver)
        if not driver.alive and driver in self.zombies:
            if driver.task.phase is Phase.FENCED:
                self.met["zombie was fenced"] += 1
            self.zombies.remove(driver)

    def _bury(self, zombie: TaskDriver) -> None:
        zombie.crash()
        self.zombies.remove(zombie)
        self.met["zombie died"] += 1

    def hang(self, driver: TaskDriver) -> None:
        if driver is not self.owner or self.zombies or self.hanging:
            return
        self.hanging = True
        self._become_zombie()
        self._guard(lambda: self._some_turns(self.rng.choice((1, 5, 30, 100))))
        self.hanging = False

    def _become_zombie(self) -> None:
        """The owner hangs; the group gives its partition to another, then it wakes up."""
        if len(self.zombies) < 1 and self.owner.alive:
            self.zombies.append(self.owner)
            self.owner = self._new_owner()

    def _rebalance(self) -> None:
        def move() -> None:
            self.moving = True
            self.owner.step(ev.Suspend())
            self.owner.run()
            if self.owner.alive and not self.calm and self.rng.random() < 0.6:
                self.met["partition came back"] += 1
                self.owner.step(ev.Resume())
            elif self.owner.alive:
                self.met["partition moved away"] += 1
                self.owner.close()

        self._guard(move)

    def _neighbour_writes(self) -> None:
        """Another task's transaction on the same changelog partition stays open for a while."""
        session = self.log.init_producer("neighbour")
        self.log.begin(session)
        self.log.send(session, OutputRecord(self.owner.changelog, 0, b"\x02\x00\x01x", b"?"))

    def _produce(self) -> None:
        self.time, value = next_value(self.rng, self.time)
        self.log.append("in", 0, value)

    def check(self) -> None:
        outputs, dead, blocks = plain_run(self.log.read("in"))
        found = [(r.key, r.value) for r in self.log.read("out")]
        assert found == [(r.key, r.value) for r in outputs]
        assert sorted(r.key for r in self.log.read("telemetry.dead-letter")) == sorted(dead)
        assert self.owner.task.phase is Phase.CLOSED
        assert dict(self.owner.disk.open().blocks()) == blocks
        again = self.driver_type(self.log, self.topology, "in", disk=SimulatedDisk())
        again.settle()
        again.close()
        assert dict(again.disk.open().blocks()) == blocks


class World(Protocol):
    """What `fault` needs of a history."""

    rng: random.Random
    log: MemoryLog
    met: Counter[str]
    late: list[Callable[[], Any]]

    def hang(self, driver: TaskDriver) -> None:
        """The process stands still right here, while others take over what it had."""
        ...


def fault(world: World, driver: TaskDriver, point: str) -> None:
    """One fault at a point of the protocol; most often the process dies there."""
    log, kind = world.log, world.rng.random()
    if kind < 0.1:
        if driver.transactional_id in log._open:
            world.met["transaction timed out"] += 1
        log.time_out(driver.transactional_id)
    elif kind < 0.2:
        _request_is_late(world, driver, point)
    elif kind < 0.3 and point in IN_A_COMMIT:
        if driver.transactional_id in log._open:
            world.met["hung in the middle of a transaction"] += 1
        world.hang(driver)
    elif kind < 0.4 and point in ("send output", "send state"):
        world.met["produce failed"] += 1
        raise MustRestore("a produce request failed")
    elif kind < 0.4 and point == "end transaction":
        world.met["produce written, answer lost"] += 1
        raise MustRestore("no answer to a produce request")
    elif kind < 0.35 and point == "ask the log":
        world.met["question lost"] += 1
        raise Retriable("the log is away")
    elif kind < 0.35 and point == "the log answers":
        world.met["answer lost"] += 1
        raise Retriable("the log is away")
    elif kind < 0.45 and point == "transaction ended":
        world.met["transaction committed, answer lost"] += 1
        raise Fatal("the outcome of the commit is unknown")
    else:
        world.met[f"crash {point}"] += 1
        raise Crash


def weight(point: str) -> int:
    """Points around a transaction come seldom and matter most."""
    return 6 if point in IN_A_COMMIT else 1


def _request_is_late(world: World, driver: TaskDriver, point: str) -> None:
    """What a process sent on its last legs reaches the log when it is gone."""
    if point == "end transaction":
        session = driver.session
        assert session is not None

        def end() -> None:
            with suppress(Fenced, KeyError):
                before = session.transactional_id in world.log._open
                world.log.commit(session)
                world.met[f"late commit {'counted' if before else 'found nothing'}"] += 1
                return
            world.met["late commit was fenced"] += 1

        world.late.append(end)
        world.met["commit sent, outcome unknown"] += 1
        raise Fatal("the outcome of the commit is unknown")
    if point == "before InitProducer":
        world.late.append(lambda: world.log.init_producer(driver.transactional_id))
        world.met["registration arrived late"] += 1
    raise Crash


def kill(driver: TaskDriver, rng: random.Random, met: Counter[str], *, damages: bool) -> None:
    """The process is gone; its disk keeps what it flushed, or less."""
    lost = rng.random() < 0.2
    driver.crash(lose_disk=lost)
    done = driver.disk.done
    met["disk lost"] += lost
    met["local write torn"] += bool(done) and not isinstance(done[-1], Checkpoint)
    if damages and rng.random() < 0.1:
        met["disk damaged"] += damage(driver.disk, rng)


def note_end(driver: TaskDriver, met: Counter[str]) -> None:
    """Count why a task ended; a `Fatal` must be an outcome that nobody knows."""
    if isinstance(driver.task.error, Fatal):
        message = driver.task.error.message
        assert "outcome" in message, message
    met[f"task ended {driver.task.phase.value}"] += driver.task.phase in ENDED


def some_settings(rng: random.Random) -> TaskSettings:
    """How a task commits, is idle, and cuts its input."""
    return TaskSettings(
        commit_interval_ms=rng.choice((1, 100, 250)),
        snapshot_interval_ms=rng.choice((0, 0, 300, 2_000)),
        idle_after_ms=1_000,
        batch_records=rng.choice((1, 3, 16)),
        buffer_records=16,
    )


def next_value(rng: random.Random, time: int) -> tuple[int, bytes]:
    """(the time now, the value of the next input record): poison, late or in order."""
    time += rng.choice((0, 1, 1, 2, 15))
    if rng.random() < 0.04:
        return time, b"poison"
    if rng.random() < 0.1:
        return time, b"%d %d" % (max(0, time - rng.randint(5, 60)), rng.randint(1, 9))
    return time, b"%d %d" % (time, rng.randint(1, 9))


def damage(disk: SimulatedDisk, rng: random.Random) -> bool:
    """A block changes on the disk without anybody noticing; False: there is none."""
    at = [i for i, item in enumerate(disk.done) if isinstance(item, tuple) and item[1]]
    if at:
        spot = rng.choice(at)
        disk.done[spot] = (disk.done[spot][0], b"77")
    return bool(at)
