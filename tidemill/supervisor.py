"""Which process runs, which waits, which is started again: the decisions of `tidemill up`.

A pure core: it is told what happened and the time, and answers with what to do. One crash does not
take the others down; a process that keeps crashing is tried again ever more slowly, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

STOP_AFTER_MS = 6_000
"""How long a process may drain before it is killed."""
STOP_LAST_AFTER_MS = 3_000
"""The same for those that others need, which end last: together they stay below ten seconds."""
_FIRST_PAUSE_MS = 500
_LONGEST_PAUSE_MS = 15_000
_CALM_MS = 60_000


class Phase(Enum):
    """Where a process is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Started:
    """The process runs, with this id."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class BecameReady:
    """The process says that it serves."""

    name: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The process is gone. `code`: its exit status, negative for a signal."""

    name: str
    code: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by."""


@dataclass(frozen=True, slots=True)
class StopAll:
    """The user wants everything to end."""


Event = Started | BecameReady | Exited | Tick | StopAll


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the process."""

    name: str


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask the process to drain and end (SIGTERM)."""

    name: str


@dataclass(frozen=True, slots=True)
class Kill:
    """End the process at once (SIGKILL)."""

    name: str


@dataclass(frozen=True, slots=True)
class Tell:
    """A line for the person who watches."""

    text: str


Effect = Spawn | Terminate | Kill | Tell


@dataclass(slots=True)
class Process:
    """What the supervisor knows of one process."""

    name: str
    after: tuple[str, ...]
    phase: Phase = Phase.WAITING
    pid: int = 0
    restarts: int = 0
    failures: int = 0
    due_ms: int = 0
    since_ms: int = 0
    was_ready: bool = False


@dataclass(slots=True)
class Supervisor:
    """Processes by name; `after` names those that must have been ready once before."""

    processes: dict[str, Process] = field(default_factory=dict[str, Process])
    stopping: bool = False

    def add(self, name: str, after: tuple[str, ...] = ()) -> None:
        """Declare a process, before anything runs."""
        self.processes[name] = Process(name, after)

    @property
    def ended(self) -> bool:
        """Whether everything has stopped."""
        return self.stopping and all(
            process.phase is Phase.ENDED for process in self.processes.values()
        )

    def step(self, event: Event, now_ms: int) -> list[Effect]:
        """What to do now."""
        effects: list[Effect] = []
        match event:
            case Started(name, pid):
                self.processes[name].pid = pid
            case BecameReady(name):
                effects += self._ready(self.processes[name], now_ms)
            case Exited(name, code):
                effects += self._exited(self.processes[name], code, now_ms)
            case StopAll():
                effects += self._stop(now_ms)
            case Tick():
                pass
        return effects + self._due(now_ms)

    def _ready(self, process: Process, now_ms: int) -> list[Effect]:
        if process.phase is not Phase.STARTING:
            return []
        process.phase = Phase.READY
        process.was_ready = True
        process.since_ms = now_ms
        return [Tell(f"{process.name} is back")] if process.restarts else []

    def _exited(self, process: Process, code: int, now_ms: int) -> list[Effect]:
        process.pid = 0
        if self.stopping:
            process.phase = Phase.ENDED
            return []
        calm = process.phase is Phase.READY and now_ms - process.since_ms >= _CALM_MS
        process.failures = 0 if calm else process.failures + 1
        pause = min(_FIRST_PAUSE_MS * 2 ** max(0, process.failures - 1), _LONGEST_PAUSE_MS)
        process.phase = Phase.RESTARTING
        process.restarts += 1
        process.due_ms = now_ms + pause
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return [
            Tell(
                f"{process.name} ended with {how}; starting it again in {pause / 1000:g} s "
                f"(restart {process.restarts}, see logs/{process.name}.log)"
            )
        ]

    def _stop(self, now_ms: int) -> list[Effect]:
        if self.stopping:
            return [Kill(p.name) for p in self.processes.values() if p.pid]
        self.stopping = True
        for process in self.processes.values():
            process.phase = Phase.STOPPING if process.pid else Phase.ENDED
            process.due_ms = 0
        return []

    def _due(self, now_ms: int) -> list[Effect]:
        if self.stopping:
            return self._stop_in_order(now_ms)
        effects: list[Effect] = []
        for process in self.processes.values():
            waits = process.phase is Phase.WAITING and all(
                self.processes[other].was_ready for other in process.after
            )
            again = process.phase is Phase.RESTARTING and now_ms >= process.due_ms
            if waits or again:
                process.phase = Phase.STARTING
                effects.append(Spawn(process.name))
        return effects

    def _stop_in_order(self, now_ms: int) -> list[Effect]:
        """Readers and writers first, what they depend on after them."""
        effects: list[Effect] = []
        running = {p.name for p in self.processes.values() if p.phase is Phase.STOPPING}
        needed = {other for name in running for other in self.processes[name].after}
        for process in self.processes.values():
            if process.phase is not Phase.STOPPING or process.name in needed:
                continue
            if process.due_ms == 0:
                process.due_ms = now_ms + (STOP_AFTER_MS if process.after else STOP_LAST_AFTER_MS)
                effects.append(Terminate(process.name))
            elif now_ms >= process.due_ms:
                process.due_ms = now_ms + STOP_AFTER_MS
                effects.append(Tell(f"{process.name} did not end in time and is killed"))
                effects.append(Kill(process.name))
        return effects
