"""Histories of one task that writes at least once: what it writes may come twice, and always comes.

`Repeating(seed).run()` lives what `Simulation(seed)` does. At the end every output and dead letter
of a plain loop over the log must be there, nothing that the loop does not give may be, and the
state must be the loop's: repeats are of what is written, never of what is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from streams.state.changelog import ChangelogRecord
from streams.task import events as ev
from streams.task.at_least_once import AtLeastOnceTask
from streams.task.events import Event
from streams.task.phase import Phase
from streams.task.processor import OutputRecord
from streams.testing import MemoryLog, SimulatedDisk, TaskDriver
from tests.simulation.crash_world import Simulation, plain_run


class AtLeastOnceDriver(TaskDriver):
    """Does what a worker does whose guarantee is `at_least_once`."""

    task_type = AtLeastOnceTask

    def commit(
        self, outputs: Sequence[OutputRecord], changelog: Sequence[ChangelogRecord]
    ) -> Event:
        self.write(outputs)
        return super().commit((), changelog) if changelog else ev.Committed(0)

    def write(self, outputs: Sequence[OutputRecord]) -> None:
        """Outside any transaction."""
        for output in outputs:
            self.faults("send output")
            self.log.write(output)


class Repeating(Simulation):
    """One seed's history."""

    def __init__(
        self,
        seed: int,
        driver_type: type[TaskDriver] = AtLeastOnceDriver,
        *,
        damages: bool = True,
        met: Counter[str] | None = None,
    ) -> None:
        super().__init__(seed, driver_type, damages=damages, met=met)

    def check(self) -> None:
        outputs, dead, blocks = plain_run(self.log.read("in"))
        wanted = Counter((r.key, r.value) for r in outputs)
        found = Counter((r.key, r.value) for r in self.log.read("out"))
        assert not wanted - found, f"lost: {wanted - found}"
        assert set(found) == set(wanted)
        assert {r.key for r in self.log.read("telemetry.dead-letter")} == set(dead)
        self.met["output came twice"] += found.total() > wanted.total()
        self.met["every output came once"] += found.total() == wanted.total()
        assert self.owner.task.phase is Phase.CLOSED
        assert dict(self.owner.disk.open().blocks()) == blocks
        self._check_changelog(self.log, blocks)

    def _check_changelog(self, log: MemoryLog, blocks: dict[bytes, bytes]) -> None:
        again = self.driver_type(log, self.topology, "in", disk=SimulatedDisk())
        again.settle()
        again.close()
        assert dict(again.disk.open().blocks()) == blocks
