"""A task under every fault of the commit protocol, against a plain run over the same log.

One seed is one history: records arrive, time passes, the process dies at any point, disks are lost
or damaged, a zombie goes on beside the new owner, transactions time out, the partition moves and
comes back. At the end the committed outputs, the dead letters and the state must be what a plain
loop over the final log gives. `TIDEMILL_SIMULATIONS` sets the number of seeds.
"""

import os
import random
from collections.abc import Iterable, Sequence
from typing import Any

from streams.config import TaskSettings, Topology
from streams.errors import Fatal, MustRestore, Retriable
from streams.task import events as ev
from streams.task.phase import Phase
from streams.task.processor import InputRange, InputRecord, OutputRecord
from streams.testing import Crash, MemoryLog, SimulatedDisk, TaskDriver

SEEDS = int(os.environ.get("TIDEMILL_SIMULATIONS", "500"))
WINDOW = 10


class Windows:
    """Sums by window of a time that mostly rises.

    The open window is not in the snapshot (it is refilled by replay), sealed ones are; a late
    record reads past input again; an idle mark in the input seals.
    """

    def __init__(self) -> None:
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
            self.out.append(OutputRecord("out", 0, b"%d" % self.open, b"%d" % total))
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
            self.out.append(OutputRecord("out", 0, b"late %d" % window, b"%d" % self.late_sum))
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
        return [OutputRecord("in", 0, b"", b"idle")] if self.values else []

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


def plain_run(records: Sequence[InputRecord]) -> tuple[list[Any], list[bytes], dict[bytes, Any]]:
    """(outputs, dead-letter keys, state) by one loop over the whole log."""
    processor = Windows()
    dead: list[bytes] = []
    for record in records:
        try:
            processor.process([record])
        except ValueError:
            dead.append(b"in/0/%d" % record.offset)
            continue
        if (wanted := processor.needs()) is not None:
            past = [r for r in records if wanted.start <= r.offset < wanted.end]
            processor.supply(past, True)
    if not records:
        return [], [], {}
    position = records[-1].offset + 1
    blocks = {k: v for k, v in processor.snapshot(position).items() if v is not None}
    return [(r.key, r.value) for r in processor.outputs()], dead, blocks


class Simulation:
    """One seed's history."""

    def __init__(
        self, seed: int, driver_type: type[TaskDriver] = TaskDriver, *, damages: bool = True
    ) -> None:
        self.rng = random.Random(seed)
        self.driver_type = driver_type
        self.damages = damages
        rng = self.rng
        self.log = MemoryLog({"in": 1, "out": 1, "progress": 1})
        settings = TaskSettings(
            commit_interval_ms=rng.choice((1, 100, 250)),
            snapshot_interval_ms=rng.choice((0, 0, 300, 2_000)),
            idle_after_ms=1_000,
            batch_records=rng.choice((1, 3, 16)),
            buffer_records=16,
        )
        self.topology = Topology("windows", lambda _t, _p: Windows(), ("in",), settings=settings)
        self.rate = rng.choice((0.0, 0.02, 0.05, 0.15))
        self.disks = [SimulatedDisk(), SimulatedDisk()]
        self.time = 0
        self.home = 0
        self.zombies: list[TaskDriver] = []
        self.calm = False
        self.owner = self._new_owner()
        self.neighbour = 0

    def _new_owner(self) -> TaskDriver:
        self.home = self.rng.randrange(2)
        disk = self.disks[self.home]
        if any(z.disk is disk for z in self.zombies):  # a disk has one process
            self.home = 1 - self.home
            disk = self.disks[self.home]
        driver = self.driver_type(
            self.log, self.topology, "in", disk=disk, seed=self.rng.getrandbits(32)
        )
        driver.faults = self._fault
        return driver

    def _fault(self, point: str) -> None:
        if self.calm or self.rng.random() >= self.rate:
            return
        kind = self.rng.random()
        if kind < 0.1:
            self.log.time_out(self.owner.transactional_id)
        elif kind < 0.3 and point in ("send output", "send state"):
            raise MustRestore("a produce request failed")
        elif kind < 0.3 and point == "ask the log":
            raise Retriable("the log is away")
        elif kind < 0.2 and point == "transaction ended":
            raise Fatal("the outcome of the commit is unknown")
        else:
            raise Crash

    def run(self) -> None:
        for _ in range(self.rng.randint(10, 45)):
            self._act()
        self.calm = True
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
        for zombie in list(self.zombies):
            if rng.random() < 0.5:
                self._drive(zombie, turns=rng.randint(1, 4))
        self._guard(lambda: self._some_turns(rng.choice((1, 3, 10, 100))))

    def _some_turns(self, turns: int) -> None:
        for _ in range(turns):
            if not self.owner.alive or not self.owner.turn():
                break

    def _guard(self, do: Any) -> None:
        try:
            do()
        except Crash:
            self._die()
        if not self.owner.alive:
            self._rejoin()

    def _die(self) -> None:
        self.owner.crash(lose_disk=self.rng.random() < 0.2)
        if self.damages and self.rng.random() < 0.1:
            damage(self.owner.disk, self.rng)

    def _rejoin(self) -> None:
        """The process starts again, or another takes over."""
        if isinstance(self.owner.task.error, Fatal):
            message = self.owner.task.error.message
            assert "outcome" in message, message
        self.owner.host.close()
        self.owner = self._new_owner()

    def _drive(self, driver: TaskDriver, turns: int = 10_000) -> None:
        try:
            for _ in range(turns):
                if not driver.alive or not driver.turn():
                    break
        except Crash:
            driver.crash()
        if not driver.alive and driver in self.zombies:
            self.zombies.remove(driver)

    def _become_zombie(self) -> None:
        """The owner hangs; the group gives its partition to another, then it wakes up."""
        if len(self.zombies) < 1 and self.owner.alive:
            self.zombies.append(self.owner)
            self.owner = self._new_owner()

    def _rebalance(self) -> None:
        def move() -> None:
            self.owner.step(ev.Suspend())
            self.owner.run()
            if self.owner.alive and not self.calm and self.rng.random() < 0.6:
                self.owner.step(ev.Resume())
            elif self.owner.alive:
                self.owner.close()

        self._guard(move)

    def _neighbour_writes(self) -> None:
        """Another task's transaction on the same changelog partition stays open for a while."""
        session = self.log.init_producer("neighbour")
        self.log.begin(session)
        self.log.send(session, OutputRecord(self.owner.changelog, 0, b"\x02\x00\x01x", b"?"))

    def _produce(self) -> None:
        rng = self.rng
        self.time += rng.choice((0, 1, 1, 2, 15))
        if rng.random() < 0.04:
            value = b"poison"
        elif rng.random() < 0.1:
            value = b"%d %d" % (max(0, self.time - rng.randint(5, 60)), rng.randint(1, 9))
        else:
            value = b"%d %d" % (self.time, rng.randint(1, 9))
        self.log.append("in", 0, value)

    def check(self) -> None:
        outputs, dead, blocks = plain_run(self.log.read("in"))
        assert [(r.key, r.value) for r in self.log.read("out")] == outputs
        assert sorted(r.key for r in self.log.read("telemetry.dead-letter")) == sorted(dead)
        assert self.owner.task.phase is Phase.CLOSED
        assert dict(self.owner.disk.open().blocks()) == blocks
        again = self.driver_type(self.log, self.topology, "in", disk=SimulatedDisk())
        again.settle()
        again.close()
        assert dict(again.disk.open().blocks()) == blocks


def damage(disk: SimulatedDisk, rng: random.Random) -> None:
    """A block changes on the disk without anybody noticing."""
    at = [i for i, item in enumerate(disk.done) if isinstance(item, tuple) and item[1]]
    if at:
        spot = rng.choice(at)
        disk.done[spot] = (disk.done[spot][0], b"77")


def test_any_history_of_crashes_gives_what_a_run_without_gives():
    for seed in range(SEEDS):
        try:
            Simulation(seed).run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
