"""Two workers that share the partitions of two topologies, in groups that rebalance eagerly.

`split` reads two partitions and writes window sums into two others, `totals` adds them up: so a
task reads what another commits or aborts, two tasks write one partition, and everything moves while
it is at work. Workers die with all their tasks, hang past their session and come back, are too busy
for a rebalance, or are told late that they lost a partition. At the end each hop's outputs, letters
and state are what plain loops give.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from streams.config import Topology
from streams.queries.questions import Question
from streams.task import events as ev
from streams.task.phase import Phase
from streams.task.processor import InputRange, InputRecord, OutputRecord
from streams.testing import Crash, MemoryLog, SimulatedDisk, TaskDriver
from tests.simulation.crash_world import (
    Windows,
    fault,
    kill,
    next_value,
    note_end,
    plain_run,
    some_settings,
    weight,
)

PARTITIONS = 2
At = tuple[str, int]
"""(topology, partition)"""


class Totals:
    """Adds up what the windows of each partition say; gives each new total."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.position = 0
        self.totals: dict[bytes, int] = {}
        self.changed: set[bytes] = set()
        self.out: list[OutputRecord] = []

    def restore(self, blocks: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in blocks:
            if key == b"!":
                self.position = int(value)
            else:
                self.totals[key] = int(value)

    def replay_from(self) -> int | None:
        return self.position or None

    def process(self, records: Sequence[InputRecord]) -> int:
        for record in records:
            key = (record.key or b"").split()[0]  # the partition that it came from
            self.totals[key] = self.totals.get(key, 0) + int(record.value or b"0")
            self.changed.add(key)
            self.out.append(OutputRecord("out", self.partition, key, b"%d" % self.totals[key]))
        return len(records)

    def needs(self) -> InputRange | None:
        return None

    def supply(self, records: Sequence[InputRecord], done: bool) -> None:
        raise AssertionError

    def outputs(self) -> list[OutputRecord]:
        out, self.out = self.out, []
        return out

    def urgent(self) -> bool:
        return False

    def before_commit(self, position: int) -> list[OutputRecord]:
        return []

    def idle(self, now_ms: int) -> list[OutputRecord]:
        return []

    def snapshot(self, position: int) -> dict[bytes, bytes | None]:
        blocks: dict[bytes, bytes | None] = {k: b"%d" % self.totals[k] for k in self.changed}
        self.changed.clear()
        return blocks | {b"!": b"%d" % position}

    def stats(self) -> dict[str, Any]:
        return {"sources": len(self.totals)}


def emitted(partition: int) -> Callable[[bytes, bytes], OutputRecord]:
    """Where a window of one input partition goes."""

    def emit(key: bytes, value: bytes) -> OutputRecord:
        target = int(key.split()[-1]) % PARTITIONS
        return OutputRecord("mid", target, b"%d %s" % (partition, key), value)

    return emit


class Worker:
    """A process: its disks stay when it dies. `member`: of the groups of these topologies."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.disks: dict[At, SimulatedDisk] = {}
        self.tasks: dict[At, TaskDriver] = {}
        self.closing: list[TaskDriver] = []
        self.hung = False
        self.member: set[str] = set()

    def drivers(self) -> list[TaskDriver]:
        return [*self.tasks.values(), *self.closing]


class Shared:
    """One seed's history of two workers."""

    def __init__(
        self,
        seed: int,
        driver_type: type[TaskDriver] = TaskDriver,
        *,
        damages: bool = True,
        met: Counter[str] | None = None,
    ) -> None:
        self.rng = rng = random.Random(seed)
        self.met = Counter[str]() if met is None else met
        self.driver_type = driver_type
        self.damages = damages
        self.log = MemoryLog({"in": PARTITIONS, "mid": PARTITIONS, "out": PARTITIONS})
        self.log.create("progress", 1)
        self.rate = rng.choice((0.0, 0.005, 0.01, 0.03))
        self.topologies = {
            "split": Topology(
                "split",
                lambda t, p: Windows(t, p, emitted(p)),
                ("in",),
                settings=some_settings(rng),
            ),
            "totals": Topology(
                "totals", lambda _t, p: Totals(p), ("mid",), settings=some_settings(rng)
            ),
        }
        self.workers = [Worker(0), Worker(1)]
        self.assigned: dict[str, dict[Worker, set[int]]] = {name: {} for name in self.topologies}
        self.revoking: set[str] = set()
        self.late: list[Callable[[], Any]] = []
        self.calm = False
        self.times = [0] * PARTITIONS
        for name in self.topologies:
            for worker in self.workers:
                worker.member.add(name)
            self._assign(name)

    # ------------------------------------------------------------ the history

    def run(self) -> None:
        for _ in range(self.rng.randint(15, 50)):
            self._act()
        self.calm = True
        self._late_requests_arrive()
        for name in list(self.log._open):
            self.log.time_out(name)
        for worker in self.workers:
            self._wake(worker)
        for _ in range(8):
            if self._come_to_rest():
                break
        self.check()

    def _act(self) -> None:
        rng, action = self.rng, self.rng.random()
        if action < 0.40:
            for _ in range(rng.randint(1, 6)):
                self._produce()
        elif action < 0.62:
            self._time_passes(rng.choice((1, 100, 600, 3_000)))
        elif action < 0.72:
            self._rebalance(rng.choice(list(self.topologies)))
        elif action < 0.77:
            self._hang(rng.choice(self.workers))
        elif action < 0.79:
            self._die(rng.choice(self.workers), "killed")
        elif action < 0.80:
            for worker in self.workers:
                self._die(worker, "killed with the other")
        elif action < 0.88:
            self._late_requests_arrive()
        elif action < 0.92:
            name = rng.choice(list(self.topologies))
            self.log.compact(f"app-{name}-changelog", rng.randrange(PARTITIONS))
        elif action < 0.95:
            for driver in [d for worker in self.workers for d in worker.tasks.values()]:
                driver.step(ev.Asked(0, Question("a store")))
        for worker in self.workers:
            if worker.hung and rng.random() < 0.3:
                self._wake(worker)
            self._turns(worker, rng.choice((3, 10, 40, 120)))
        for name in list(self.revoking):
            if rng.random() < 0.4:
                self._assign(name)

    def _come_to_rest(self) -> bool:
        """Everything is counted, committed and closed; False: something was fenced meanwhile."""
        for name in self.topologies:
            self._rebalance(name)
            self._assign(name)
        for name in self.topologies:
            for worker in self.workers:
                self._turns(worker, 10_000)
            if self.revoking:  # somebody was fenced and joins anew
                return False
            for worker in self.workers:
                for (topology, _), driver in list(worker.tasks.items()):
                    if topology == name and driver.alive:
                        driver.settle()
        tasks = [d for w in self.workers for d in w.tasks.values()]
        good = len(tasks) == 2 * PARTITIONS
        good = good and all(d.task.phase is Phase.RUNNING for d in tasks)
        if good:
            for driver in tasks:
                driver.close()
        return good and all(d.task.phase is Phase.CLOSED for d in tasks)

    def _produce(self) -> None:
        at = self.rng.randrange(PARTITIONS)
        self.times[at], value = next_value(self.rng, self.times[at])
        self.log.append("in", at, value)

    def _late_requests_arrive(self) -> None:
        for request in self.late:
            request()
        self.late.clear()

    # ------------------------------------------------------------ workers

    def _fault(self, driver: TaskDriver, point: str) -> None:
        if self.calm:
            return
        self.met["transaction committed among faults"] += point == "transaction ended"
        if self.rng.random() >= self.rate * weight(point):
            return
        if self._name(driver) in self.revoking:
            self.met["fault in the middle of a rebalance"] += 1
        fault(self, driver, point)

    def _name(self, driver: TaskDriver) -> str:
        return driver.id.topology

    def _guard(self, worker: Worker, do: Callable[[], Any]) -> bool:
        """False: the process died of it."""
        try:
            do()
        except Crash:
            self._die(worker, "died at a point")
            return False
        return True

    def _turns(self, worker: Worker, turns: int) -> None:
        """The tasks of a worker take turns, as they happen to."""
        for _ in range(turns):
            if worker.hung:
                return
            ready = [d for d in worker.drivers() if d.alive]
            self.rng.shuffle(ready)
            moved = False
            for driver in ready:
                if not self._guard(worker, partial(self._turn, driver)):
                    return
                if moved := self._moved:
                    break
            if not worker.hung:
                self._see_off(worker)
            if not moved:
                return

    def _turn(self, driver: TaskDriver) -> None:
        self._moved = driver.turn()

    def _time_passes(self, ms: int) -> None:
        for worker in self.workers:
            if not worker.hung:
                for driver in worker.drivers():
                    if driver.alive and not self._guard(worker, partial(driver.advance, ms)):
                        break
                if not worker.hung:
                    self._see_off(worker)

    def _see_off(self, worker: Worker) -> None:
        """What ended leaves; a task that was fenced takes its whole worker out of the group."""
        for driver in [d for d in worker.closing if not d.alive]:
            note_end(driver, self.met)
            worker.closing.remove(driver)
        for at, driver in list(worker.tasks.items()):
            if driver.alive or at not in worker.tasks:
                continue
            note_end(driver, self.met)
            del worker.tasks[at]
            if driver.task.phase is Phase.FENCED:
                self.met["zombie was fenced"] += 1
                driver.host.close()
                self._leave(worker, at[0])
            elif driver.task.phase is Phase.FAILED:
                self._die(worker, "exited")
                return
        if not self.calm or not self.revoking:
            self._open_what_waits(worker)

    def _leave(self, worker: Worker, name: str) -> None:
        """Close what it has of a topology, then join anew."""
        for at in [at for at in worker.tasks if at[0] == name]:
            self._retire(worker, at)
        self.assigned[name].pop(worker, None)
        worker.member.add(name)
        self._rebalance(name)

    def _die(self, worker: Worker, how: str) -> None:
        """The process is gone with all its tasks; another starts in its place at once."""
        self.met[f"worker {how}"] += 1
        for driver in worker.drivers():
            driver.host.close() if how == "exited" else None
            kill(driver, self.rng, self.met, damages=self.damages)
        worker.tasks.clear()
        worker.closing.clear()
        worker.hung = False
        if self.rng.random() < 0.5:
            self._late_requests_arrive()
        for name in self.topologies:
            self.assigned[name].pop(worker, None)
            worker.member.add(name)
            self._rebalance(name)

    def hang(self, driver: TaskDriver) -> None:
        (worker,) = [w for w in self.workers if driver in w.drivers()]
        self._hang(worker)

    def _hang(self, worker: Worker) -> None:
        """It stops past its session; the group goes on without it, and the other takes over."""
        if any(each.hung for each in self.workers):
            return
        worker.hung = True
        self.met["worker hung"] += 1
        for name in self.topologies:
            self.assigned[name].pop(worker, None)
            worker.member.discard(name)
            self._rebalance(name)
            self._assign(name)
        for other in self.workers:
            self._turns(other, self.rng.choice((0, 5, 30, 100)))

    def _sending(self, driver: TaskDriver) -> bool:
        return any(isinstance(effect, ev.Commit) for effect in driver.pending)

    def _wake(self, worker: Worker) -> None:
        """It believes for a while that its tasks are its own; then it hears, and joins anew."""
        if not worker.hung:
            return
        worker.hung = False
        self.met["worker came back"] += 1
        self._turns(worker, self.rng.choice((0, 3, 20)))
        for name in self.topologies:
            if name not in worker.member:
                self._leave(worker, name)

    # ------------------------------------------------------------ the group

    def _rebalance(self, name: str) -> None:
        """The members suspend what they have; the assignment comes later."""
        if name in self.revoking:
            return
        self.revoking.add(name)
        for worker in self.workers:
            if worker.hung or name not in worker.member:
                continue
            for at, driver in worker.tasks.items():
                if at[0] == name and driver.alive:
                    moving = "in a transaction" if self._sending(driver) else "at work"
                    self.met[f"partition revoked {moving}"] += 1
                    driver.step(ev.Suspend())

    def _assign(self, name: str) -> None:
        """Who has not settled is given up; partitions go anywhere, mostly where they were."""
        self.revoking.discard(name)
        members = [w for w in self.workers if name in w.member and not w.hung]
        for worker in members:
            self._give_up_the_busy(worker, name)
        given: dict[Worker, set[int]] = {worker: set() for worker in members}
        before = self.assigned[name]
        for partition in range(PARTITIONS) if members else ():
            stays = [w for w in members if partition in before.get(w, ())]
            move = not stays or self.rng.random() < 0.5
            given[self.rng.choice(members) if move else stays[0]].add(partition)
        self.assigned[name] = given
        for worker in members:
            for at in [at for at in worker.tasks if at[0] == name]:
                driver = worker.tasks[at]
                if at[1] in given[worker] and driver.task.phase is Phase.SUSPENDED:
                    self.met["partition came back"] += 1
                    driver.step(ev.Resume())
                else:
                    self.met["partition moved away"] += 1
                    self._retire(worker, at)
            self._open_what_waits(worker)

    def _give_up_the_busy(self, worker: Worker, name: str) -> None:
        """Without a commit; what is open ends with the next registration."""
        for at, driver in list(worker.tasks.items()):
            if at[0] == name and driver.alive and not driver.task.settled:
                if self.rng.random() < 0.7:  # it gets the time
                    self._guard(worker, driver.run)
                if at in worker.tasks and driver.alive and not driver.task.settled:
                    self.met["partition given up unsettled"] += 1
                    driver.alive = False
                    driver.host.close()
                    del worker.tasks[at]

    def _retire(self, worker: Worker, at: At) -> None:
        driver = worker.tasks.pop(at)
        if driver.alive:
            driver.step(ev.Close())
        if driver.alive:
            worker.closing.append(driver)

    def _open_what_waits(self, worker: Worker) -> None:
        """Start the tasks it was given, each once nothing in the process has its store."""
        for name, given in self.assigned.items():
            for partition in sorted(given.get(worker, ())):
                at = name, partition
                closing = any((self._name(d), d.id.partition) == at for d in worker.closing)
                if at in worker.tasks or closing:
                    self.met["task waits for its store"] += closing
                    continue
                disk = worker.disks.setdefault(at, SimulatedDisk())
                topology = self.topologies[name]
                elsewhere = [d for w in self.workers if w is not worker for d in w.drivers()]
                rivals = any((self._name(d), d.id.partition) == at for d in elsewhere)
                self.met["task began beside its old owner"] += rivals
                driver = self.driver_type(
                    self.log,
                    topology,
                    topology.topics[0],
                    partition,
                    disk=disk,
                    seed=self.rng.getrandbits(32),
                )
                driver.faults = partial(self._fault, driver)
                worker.tasks[at] = driver

    # ------------------------------------------------------------ the end

    def check(self) -> None:
        letters: list[bytes] = []
        expected: list[OutputRecord] = []
        for partition in range(PARTITIONS):
            records = self.log.read("in", partition)
            outputs, dead, blocks = plain_run(records, partition, emitted(partition))
            expected += outputs
            letters += dead
            assert self._state("split", partition) == blocks
        for partition in range(PARTITIONS):
            arrived = self.log.read("mid", partition)
            for source in range(PARTITIONS):
                mine = [o for o in expected if (o.key or b"").startswith(b"%d " % source)]
                wanted = [(o.key, o.value) for o in mine if o.partition == partition]
                found = [(r.key, r.value) for r in arrived if r.key.startswith(b"%d " % source)]
                assert found == wanted
            plain = Totals(partition)
            plain.process(arrived)
            out = self.log.read("out", partition)
            assert [(r.key, r.value) for r in out] == [(o.key, o.value) for o in plain.outputs()]
            totals = {k: v for k, v in self._state("totals", partition).items() if k != b"!"}
            assert totals == {k: b"%d" % v for k, v in plain.totals.items()}
        assert sorted(r.key for r in self.log.read("telemetry.dead-letter")) == sorted(letters)

    def _state(self, name: str, partition: int) -> dict[bytes, bytes]:
        """What a fresh worker restores, which is what is on the disk of the last owner."""
        (owner,) = [w for w in self.workers if (name, partition) in w.tasks]
        local = dict(owner.disks[name, partition].open().blocks())
        topology = self.topologies[name]
        again = self.driver_type(self.log, topology, topology.topics[0], partition)
        again.settle()
        again.close()
        assert dict(again.disk.open().blocks()) == local
        return local
