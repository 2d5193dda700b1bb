"""A task with a standby: beside each owner another process follows its changelog.

The histories of `crash_world.py`. Owners die, hang and move, mostly to where the copy is; the
standby dies, loses or damages its disk, reads the log in pieces that repeat and skip.
"""

from __future__ import annotations

from typing import Any

from streams.errors import Retriable
from streams.testing import Crash, SimulatedDisk, StandbyDriver, TaskDriver
from tests.simulation.crash_world import Simulation, damage


class Pair(Simulation):
    """An owner and a standby on two disks, which change places."""

    lets_go = True
    standby_type: type[StandbyDriver] = StandbyDriver

    def __init__(self, seed: int, driver: type[TaskDriver] = TaskDriver, **given: Any) -> None:
        self.standby: StandbyDriver | None = None
        super().__init__(seed, driver, **given)

    def _new_owner(self) -> TaskDriver:
        copy = None if self.standby is None else self.standby.disk
        self._let_go()
        owner = super()._new_owner()
        self.met["standby's copy taken over"] += copy is self.disks[self.home]
        other = self.disks[1 - self.home]
        if not any(zombie.disk is other for zombie in self.zombies) and self.standby is None:
            self.standby = self._new_standby(owner, other)
        return owner

    def _new_standby(self, owner: TaskDriver, disk: SimulatedDisk) -> StandbyDriver:
        return self.standby_type(
            self.log, self.topology, "in", disk=disk, seed=self.rng.getrandbits(32),
            faults=self._standby_fault,
        )  # fmt: skip

    def _let_go(self) -> None:
        """The copy is closed, or its process dies over it, before a task opens the disk."""
        standby = self.standby
        if standby is None or not self.lets_go:
            return
        try:
            standby.end()
        except Crash:
            standby.crash()
            self.met["standby died as its owner began"] += 1
        self.standby = None

    def _standby_fault(self, point: str) -> None:
        weight = 4 if point.endswith("ApplyToCopy") else 1
        if self.calm or self.rng.random() >= self.rate * weight:
            return
        if point == "ask the log" and self.rng.random() < 0.5:
            raise Retriable("the log is away")
        raise Crash

    def _act(self) -> None:
        super()._act()
        standby, rng = self.standby, self.rng
        if standby is None:
            return
        try:
            standby.advance(rng.choice((0, 1, 600, 3_000))) if rng.random() < 0.5 else None
            for _ in range(rng.choice((0, 1, 5, 50))):
                if not standby.turn():
                    break
        except Crash:
            standby.crash(lose_disk=rng.random() < 0.1)
            self.met["standby died"] += 1
            if self.damages and rng.random() < 0.1:
                damage(standby.disk, rng)
            self.standby = self._new_standby(self.owner, standby.disk)

    def check(self) -> None:
        standby = self.standby
        super().check()
        if standby is None or type(standby) is not StandbyDriver:
            return
        standby.settle()
        standby.end()
        owner = self.owner.disk.open()
        copy = standby.disk.open()
        assert dict(copy.blocks()) == dict(owner.blocks())
        if (left := owner.checkpoint()) is not None and (right := copy.checkpoint()) is not None:
            assert right.position == left.position
