"""A broker node with both coordinators, its clients, and all that goes wrong between them.

One seed decides everything: which request arrives next, which append becomes durable, whose answer
is lost, when the clock moves, when the node dies. A crash keeps what was durable and, of what was
under way, a part: whole batches, in order. Clients are generators: they yield a request and are
sent its answer, or None if the connection broke before they saw one; it may have been carried out
all the same.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from broker.coordination import (
    Admit,
    Answer,
    Append,
    Appended,
    AppendFailed,
    CancelTimer,
    Dismiss,
    MarkersWritten,
    Record,
    Restored,
    SetTimer,
    Tell,
    TimerFired,
    WriteMarkers,
)

Build = Callable[[int], Any]  # request id -> event
Client = Generator[Build, "dict[str, Any] | None", None]
Batch = tuple[int, int, str]  # producer id, epoch, what it says
Marker = tuple[int, int, bool]  # producer id, epoch, commit


class ViolationError(AssertionError):
    """A promise was broken."""


def require(held: object, promise: str, *seen: object) -> None:
    if not held:
        raise ViolationError(f"{promise}: {seen}")


class Checker:
    """Watches the node from outside; overridden per simulation."""

    def delivered(self, event: Any) -> None: ...

    def answered(self, event: Any, fields: dict[str, Any]) -> None: ...

    def crashed(self) -> None: ...

    def marked(self, partition: tuple[str, int], marker: Marker) -> None: ...


@dataclass
class Connection:
    """A client's requests, in order, and the one answer it waits for."""

    client: Client
    name: str
    queue: deque[tuple[int, Any]] = field(default_factory=deque)
    waits_for: int | None = None
    asleep: int = 0


@dataclass
class Rates:
    """Chances of a fault at each step."""

    crash: float = 0.004
    broken: float = 0.02
    killed: float = 0.006
    asleep: float = 0.004
    refused: float = 0.01
    leap: float = 0.01


class World:
    """The node and its clients. `cores`: name -> factory of a coordinator, given the services."""

    def __init__(
        self, seed: int, cores: dict[str, Callable[[Any], Any]], checker: Checker, rates: Rates
    ) -> None:
        self.random = random.Random(seed)
        self.factories, self.checker, self.rates = cores, checker, rates
        self.now_ms = 1_000_000_000
        self.durable: dict[str, list[Record]] = {name: [] for name in cores}
        self.logs: dict[tuple[str, int], list[Batch | Marker]] = {}
        self.node_id, self.last_producer_id, self.last_request, self.lives = 1, 100, 0, 0
        self.requests: dict[int, Any] = {}
        self.connections: list[Connection] = []
        self.ghosts: list[tuple[int, Any]] = []
        self.respawn: Callable[[], None] = lambda: None
        self._start()

    # --- services ---

    def new_producer_id(self) -> int:
        self.last_producer_id += 1
        return self.last_producer_id

    def partition_exists(self, topic: str, partition: int) -> bool:
        return True

    def produce(self, partition: tuple[str, int], batch: Batch) -> bool:
        """Append a transactional batch if it is admitted, as the partition's log would."""
        epoch, partitions = self.admitted.get(batch[0], (-1, set()))
        if epoch != batch[1] or partition not in partitions:
            return False
        self.logs.setdefault(partition, []).append(batch)
        return True

    # --- the node ---

    def _start(self) -> None:
        self.lives += 1
        self.under_way: dict[str, deque[Append]] = {name: deque() for name in self.factories}
        self.markers: list[WriteMarkers] = []
        self.timers: dict[tuple[str, Any], int] = {}
        self.admitted: dict[int, tuple[int, set[tuple[str, int]]]] = {}
        self.cores = {name: factory(self) for name, factory in self.factories.items()}
        for name, core in self.cores.items():
            for record in self.durable[name]:
                core.replay(record)
        for name in self.cores:
            self._tell(name, Restored())

    def _crash(self) -> None:
        for name, appends in self.under_way.items():
            for append in list(appends)[: self.random.randint(0, len(appends))]:
                self.durable[name] += append.records
        for marker in self.markers:
            chosen = [p for p in marker.partitions if self.random.random() < 0.5]
            self._mark(marker, chosen)
        for connection in list(self.connections):
            connection.queue.clear()
            self._lose(connection)
        self.ghosts.clear()
        self.checker.crashed()
        self.now_ms += self.random.choice([0, 0, 50, 60_000, -3_600_000])
        self._start()

    def _tell(self, name: str, event: Any) -> None:
        todo = deque([(name, event)])
        while todo:
            name, event = todo.popleft()
            for effect in self.cores[name].step(event, self.now_ms):
                if isinstance(effect, Tell):
                    todo.append((effect.coordinator, effect.event))
                else:
                    self._perform(name, effect)

    def _perform(self, name: str, effect: Any) -> None:
        match effect:
            case Append():
                self.under_way[name].append(effect)
            case Answer(request_id, fields):
                self._answer(request_id, dict(fields))
            case SetTimer(timer, at_ms):
                self.timers[name, timer] = at_ms
            case CancelTimer(timer):
                self.timers.pop((name, timer), None)
            case WriteMarkers():
                self.markers.append(effect)
            case Admit(producer_id, epoch, partitions):
                known = self.admitted.get(producer_id, (epoch, set()))
                before = known[1] if known[0] == epoch else set()
                self.admitted[producer_id] = (epoch, before | set(partitions))
            case Dismiss(producer_id):
                self.admitted.pop(producer_id, None)

    def _mark(self, marker: WriteMarkers, partitions: list[tuple[str, int]]) -> None:
        entry = (marker.producer_id, marker.producer_epoch, marker.commit)
        for partition in partitions:
            self.logs.setdefault(partition, []).append(entry)
            self.checker.marked(partition, entry)

    def _answer(self, request_id: int, fields: dict[str, Any]) -> None:
        require(request_id in self.requests, "a request is answered once", request_id)
        event = self.requests.pop(request_id)
        self.checker.answered(event, fields)
        for connection in list(self.connections):
            if connection.waits_for == request_id:
                self._resume(connection, fields)

    # --- clients ---

    def connect(self, name: str, client: Client) -> None:
        connection = Connection(client, name)
        self.connections.append(connection)
        self._send(connection, next(client))

    def _send(self, connection: Connection, build: Build) -> None:
        self.last_request += 1
        connection.waits_for = self.last_request
        connection.queue.append((self.last_request, build(self.last_request)))

    def _resume(self, connection: Connection, fields: dict[str, Any] | None) -> None:
        connection.waits_for = None
        try:
            self._send(connection, connection.client.send(fields))
        except StopIteration:
            self.connections.remove(connection)

    def _lose(self, connection: Connection) -> None:
        connection.waits_for = None
        self._resume(connection, None)

    def _deliver(self, request: tuple[int, Any]) -> None:
        request_id, event = request
        self.requests[request_id] = event
        self.checker.delivered(event)
        request_to = "transactions" if "transactions" in type(event).__module__ else "groups"
        self._tell(request_to, event)

    # --- one step ---

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._fault()
            self._progress()

    def quiesce(self) -> None:
        """No more faults and no more clients: all that was begun comes to its end."""
        while self.connections:
            self.connections.pop().client.close()
        self.ghosts.clear()
        for _ in range(400):
            self._settle(refuse=False)
            self._fire()

    def _fault(self) -> None:
        chance, rates = self.random.random, self.rates
        if chance() < rates.crash:
            self._crash()
        if not self.connections:
            self.respawn()
        connection = self.random.choice(self.connections)
        if chance() < rates.broken and connection.waits_for is not None:
            if connection.queue and chance() < 0.5:
                self._deliver(connection.queue.popleft())
            if connection.waits_for is not None:
                connection.queue.clear()
                self._lose(connection)
        elif chance() < rates.killed:
            self.ghosts.extend(connection.queue)
            self.connections.remove(connection)
            connection.client.close()
            self.respawn()
        elif chance() < rates.asleep:
            connection.asleep = self.random.randint(10, 200)

    def _progress(self) -> None:
        self.now_ms += self.random.choice([0, 1, 5, 40])
        kind = self.random.random()
        if self.timers and self.random.random() < self.rates.leap:
            self.now_ms = max(self.now_ms, min(self.timers.values()))
        if kind < 0.45:
            self._deliver_one()
        elif kind < 0.9:
            self._settle(refuse=self.random.random() < self.rates.refused)
        else:
            self._fire()

    def _deliver_one(self) -> None:
        for connection in self.connections:
            connection.asleep = max(0, connection.asleep - 1)
        if self.ghosts and self.random.random() < 0.1:
            self._deliver(self.ghosts.pop(self.random.randrange(len(self.ghosts))))
            return
        awake = [c for c in self.connections if c.queue and not c.asleep]
        if awake:
            self._deliver(self.random.choice(awake).queue.popleft())

    def _settle(self, *, refuse: bool) -> None:
        busy = [name for name, appends in self.under_way.items() if appends]
        if self.markers and (not busy or self.random.random() < 0.5):
            self._write_markers(refuse=refuse)
        elif busy:
            name = self.random.choice(busy)
            append = self.under_way[name].popleft()
            if refuse:
                self._tell(name, AppendFailed(append.token, 56))
            else:
                self.durable[name] += append.records
                self._tell(name, Appended(append.token))

    def _write_markers(self, *, refuse: bool) -> None:
        marker = self.markers.pop(self.random.randrange(len(self.markers)))
        done = [p for p in marker.partitions if not refuse or self.random.random() < 0.5]
        self._mark(marker, done)
        failed = tuple(p for p in marker.partitions if p not in done)
        self._tell("transactions", MarkersWritten(marker.token, failed))

    def _fire(self) -> None:
        due = [timer for timer, at_ms in self.timers.items() if at_ms <= self.now_ms]
        if due:
            name, timer = self.random.choice(due)
            del self.timers[name, timer]
            self._tell(name, TimerFired(timer))
        elif self.timers and not self.connections:
            self.now_ms = min(self.timers.values())
