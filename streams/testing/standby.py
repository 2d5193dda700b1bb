"""One standby on a log in memory: does what it orders, as a worker would."""

from __future__ import annotations

import random
from collections.abc import Callable

from streams.config import Topology
from streams.errors import StreamsError
from streams.standby import events as ev
from streams.standby.events import Effect, Event
from streams.standby.host import CopyHost
from streams.standby.standby import Standby
from streams.state.changelog import ChangelogRecord
from streams.task.events import TaskId
from streams.testing.disk import SimulatedDisk
from streams.testing.driver import no_faults
from streams.testing.log import MemoryLog


class StandbyDriver:
    """Follows a task's changelog into a disk. `seed` draws how what is read is cut into pieces."""

    core_type: type[Standby] = Standby
    host_type: type[CopyHost] = CopyHost

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
        self.id = TaskId(topology.name, topic, partition)
        self.changelog = f"{app}-{topology.name}-changelog"
        self.now_ms = 0
        self.core = self.core_type(self.id, topology.settings)
        self.host = self.host_type(self.id, self.disk.open)
        self.alive = True
        self._at = 0
        self._pending: Effect | None = None
        self._rng = random.Random(seed or 0)
        self._cut = seed is not None
        self._faults = faults or no_faults
        self.step(ev.Begin())

    # ------------------------------------------------------------ what a test does

    def run(self) -> None:
        """Go on until there is nothing left to do at this moment."""
        while self.turn():
            pass

    def advance(self, ms: int) -> None:
        """Let time pass, and do what falls due."""
        self.now_ms += ms
        self.step(ev.Tick())
        self.run()

    def settle(self) -> None:
        """Follow to the end of the changelog.

        Raises `AssertionError` when that takes more than a thousand turns of a second.
        """
        for _ in range(1_000):
            self.advance(1_000)
            end = self.log.bounds(self.changelog, self.id.partition)[1]
            if self.core.offset >= end and self.core.phase == "following" and not self.core.busy:
                return
        raise AssertionError(f"{self.id} is not followed to the end: {self.core.stats()}")

    def crash(self, *, lose_disk: bool = False) -> None:
        """The process is gone, with what the disk had not flushed."""
        self.alive = False
        if lose_disk:
            self.disk.lose()
        else:
            self.disk.crash(self._rng)

    def end(self) -> None:
        """Let go of the disk, as before a task opens it."""
        self.step(ev.End())
        while self.alive and self._pending is not None:
            self._perform()

    # ------------------------------------------------------------ one step at a time

    def turn(self) -> bool:
        """Do what is pending, or fetch; False when there is neither. May raise `Crash`."""
        if not self.alive:
            return False
        if self._pending is not None:
            self._perform()
            return True
        if not self.core.wants_records(self.now_ms):
            return False
        self.fetch_some()
        return True

    def fetch_some(self) -> None:
        """Hand over the next piece; now and then one that comes too early or twice."""
        if self._cut and self._rng.random() < 0.1:
            self._at = max(0, self._at + self._rng.randint(-3, 3))
        offset = self._at
        records, self._at = self.read(offset)
        end = self.log.bounds(self.changelog, self.id.partition)[1]
        self.step(ev.ChangelogFetched(offset, records, self._at, end))

    def read(self, offset: int) -> tuple[list[ChangelogRecord], int]:
        """Some committed records from `offset` on, and where to go on."""
        limit = self._rng.choice((1, 2, 100)) if self._cut else 1 << 30
        found, next_offset = self.log.fetch(self.changelog, self.id.partition, offset, limit)
        return [ChangelogRecord(r.key or b"", r.value, r.offset) for r in found], next_offset

    def step(self, event: Event) -> None:
        """Give the standby one event and note what it orders."""
        for effect in self.core.step(event, self.now_ms):
            match effect:
                case ev.Follow(offset):
                    self._at = offset
                case ev.StandbyEnded():
                    self.alive = False
                case _:
                    self._pending = effect

    def _perform(self) -> None:
        effect, self._pending = self._pending, None
        assert effect is not None
        self._faults(f"before {type(effect).__name__}")
        try:
            event = self.perform(effect)
        except StreamsError as error:
            event = ev.CopyFailed(error)
        self._faults(f"after {type(effect).__name__}")
        self.step(event)

    def perform(self, effect: Effect) -> Event:
        """What the shell of a worker does, against the in-memory log."""
        match effect:
            case ev.FindChangelog():
                self._faults("ask the log")
                bounds = self.log.bounds(self.changelog, self.id.partition, committed=False)
                return ev.ChangelogFound(*bounds)
            case ev.Follow() | ev.StandbyEnded():
                raise AssertionError(f"{effect} is not to be performed")
            case _:
                return self.host.perform(effect)
