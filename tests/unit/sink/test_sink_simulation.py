"""The sink under crashes, lost answers, torn inserts, zombies and rebalances: each row once.

A world of a log, a consumer group, a store with deduplication tokens, and processes that run the
real core. Every effect may be carried out and its answer lost, be carried out in half, or not at
all. Bugs are planted to see that the simulation finds them. TIDEMILL_SINK_SEEDS sets how many
histories are run.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from topologies.sink.core import BatchLimits, Partition, SinkCore, Stage
from topologies.sink.events import (
    Arrived,
    Assigned,
    Commit,
    Committed,
    Done,
    Effect,
    Event,
    Failed,
    Insert,
    Records,
    Revoked,
    Seek,
    Tick,
)

SEEDS = int(os.environ.get("TIDEMILL_SINK_SEEDS", "300"))
PARTITIONS = 2
LIMITS = BatchLimits(
    max_rows=6, linger_ms=20, interval_ms=30, behind_interval_ms=200, quiet_ms=50, backoff_ms=5,
    max_backoff_ms=40,
)  # fmt: skip


@dataclass
class Process:
    core: SinkCore
    generation: int
    positions: dict[int, int] = field(default_factory=dict)
    pending: list[Commit | Insert] = field(default_factory=list)


class World:
    """A log of two partitions with gaps, a group, a store, and the processes that come and go."""

    def __init__(self, seed: int, make: type[SinkCore]) -> None:
        self.chance = random.Random(seed)
        self.make = make
        self.now = 0
        self.generation = 0
        self.logs: dict[int, list[Arrived]] = {p: [] for p in range(PARTITIONS)}
        self.ends = dict.fromkeys(range(PARTITIONS), 0)
        self.kept: dict[int, Committed] = {}
        self.tokens: set[tuple[str, str]] = set()
        self.table: Counter[tuple[int, int]] = Counter()
        self.living: Process
        self.zombies: list[Process] = []
        self.start()

    def start(self) -> None:
        self.generation += 1
        self.living = Process(self.make("topic", LIMITS), self.generation)
        for partition in range(PARTITIONS):
            self.assign(self.living, partition)

    def assign(self, process: Process, partition: int) -> None:
        fresh = f"e{self.chance.random()}"
        kept = self.kept.get(partition)
        event = Assigned(partition, self.generation, kept, 0, self.ends[partition], fresh)
        self.tell(process, event)

    def tell(self, process: Process, event: Event) -> None:
        for effect in process.core.step(event, self.now):
            self.note(process, effect)

    def note(self, process: Process, effect: Effect) -> None:
        if isinstance(effect, Seek):
            process.positions[effect.partition] = effect.offset
        elif isinstance(effect, Commit | Insert):
            process.pending.append(effect)

    def produce(self) -> None:
        partition = self.chance.randrange(PARTITIONS)
        for _ in range(self.chance.randrange(1, 4)):
            offset = self.ends[partition] + self.chance.choice((0, 0, 1))  # gaps: control records
            behind = self.chance.choice((0, 700, 10_000))
            rows = self.chance.choice((0, 1, 2, 3, 9))
            self.logs[partition].append(Arrived(offset, rows, behind))
            self.ends[partition] = offset + 1 + self.chance.choice((0, 1))

    def deliver(self, process: Process) -> None:
        for partition, position in list(process.positions.items()):
            if not process.core.wants(partition):
                continue
            there = [r for r in self.logs[partition] if r.offset >= position]
            batch = tuple(there[: self.chance.randrange(1, 5)])
            after = batch[-1].offset + 1 if batch and len(batch) < len(there) else None
            process.positions[partition] = self.ends[partition] if after is None else after
            self.tell(
                process,
                Records(partition, process.generation, batch, process.positions[partition]),
            )

    def perform(self, process: Process, fault: str) -> None:
        """Carry out one pending effect, as the fault allows."""
        if not process.pending:
            return
        effect = process.pending.pop(self.chance.randrange(len(process.pending)))
        applied = fault in ("none", "answer lost")
        if isinstance(effect, Insert):
            if fault != "not at all":
                halves = ("even",) if fault == "torn" else ("even", "odd")
                self.insert(effect, halves)
        elif applied:
            if process.generation != self.generation:
                applied = False
            else:
                self.kept[effect.partition] = effect.committed
        good = applied and fault == "none"
        answer = Done if good else Failed
        self.tell(process, answer(effect.partition, effect.assignment))

    def insert(self, effect: Insert, halves: tuple[str, ...]) -> None:
        bounds = effect.bounds
        for half in halves:
            if (effect.token, half) in self.tokens:
                continue
            self.tokens.add((effect.token, half))
            for record in self.logs[effect.partition]:
                if bounds.first <= record.offset <= bounds.last:
                    for row in range(record.rows):
                        if (row % 2 == 0) == (half == "even"):
                            self.table[effect.partition, record.offset * 100 + row] += 1

    def crash(self) -> None:
        if self.chance.random() < 0.5:
            self.zombies.append(self.living)  # it is slow, not dead, and does not know yet
        self.start()

    def reassign(self) -> None:
        """The group rebalances: this process loses a partition and gets it again."""
        self.generation += 1
        self.living.generation = self.generation
        for partition in range(PARTITIONS):
            self.tell(self.living, Revoked(partition))
            self.living.pending = [e for e in self.living.pending if isinstance(e, Insert)]
            self.living.positions.pop(partition, None)
            self.assign(self.living, partition)

    def act(self) -> None:
        self.now += self.chance.randrange(0, 12)
        what = self.chance.choices(
            ("produce", "deliver", "perform", "tick", "crash", "reassign", "zombie"),
            (4, 8, 12, 6, 0.6, 0.5, 2),
        )[0]
        fault = self.chance.choices(("none", "not at all", "answer lost", "torn"), (8, 1, 1, 1))[0]
        match what:
            case "produce":
                self.produce()
            case "deliver":
                self.deliver(self.living)
            case "perform":
                self.perform(self.living, fault)
            case "tick":
                self.tell(self.living, Tick())
            case "crash":
                self.crash()
            case "reassign":
                self.reassign()
            case _:
                if self.zombies:
                    self.perform(self.chance.choice(self.zombies), fault)

    def drain(self) -> None:
        for _ in range(400):
            self.now += 50
            self.deliver(self.living)
            self.tell(self.living, Tick())
            while self.living.pending:
                self.perform(self.living, "none")

    def wrong(self) -> dict[tuple[int, int], int]:
        """Rows that are not in the table once, with how often they are."""
        expected = {
            (partition, record.offset * 100 + row)
            for partition, log in self.logs.items()
            for record in log
            for row in range(record.rows)
        }
        return {
            row: self.table[row] for row in expected | set(self.table) if self.table[row] != 1
        } | dict.fromkeys(set(self.table) - expected, 1)


def run(seed: int, make: type[SinkCore] = SinkCore) -> World:
    world = World(seed, make)
    for _ in range(world.chance.randrange(50, 400)):
        world.act()
    world.drain()
    return world


def test_every_row_is_in_the_table_once_whatever_fails() -> None:
    for seed in range(SEEDS):
        world = run(seed)
        assert world.wrong() == {}, f"seed {seed}"
        assert sum(world.table.values()) > 0, f"seed {seed}"


class InsertsBeforeItsBoundsAreKept(SinkCore):
    def _effect(self, number: int, state: Partition) -> Effect:
        if state.stage is Stage.BOUNDING:
            state.stage = Stage.INSERTING
        return super()._effect(number, state)


class CutsAnewAfterAFailure(SinkCore):
    def _failed(self, state: Partition, now_ms: int) -> None:
        super()._failed(state, now_ms)
        if state.stage is Stage.INSERTING:
            state.stage, state.bounds, state.retry_at = Stage.FILLING, None, None


class IgnoresTheBoundsOfItsPredecessor(SinkCore):
    def _assigned(self, event: Assigned) -> list[Effect]:
        if event.committed is not None:
            event = replace(event, committed=replace(event.committed, bounds=None))
        return super()._assigned(event)


class AdvancesBeforeTheInsertIsDone(SinkCore):
    def _done(self, number: int, state: Partition, now_ms: int) -> list[Effect]:
        effects = super()._done(number, state, now_ms)
        if effects and isinstance(effects[0], Insert):
            ahead = Committed(effects[0].bounds.last + 1, state.epoch)
            return [*effects, Commit(-1, -1, ahead), Commit(number, -1, ahead)]
        return effects


class LeavesThePartitionOutOfItsToken(SinkCore):
    def _token(self, number: int, state: Partition, bounds: object) -> str:
        del number, state
        return str(bounds)


@pytest.mark.parametrize(
    "bug",
    [
        InsertsBeforeItsBoundsAreKept,
        CutsAnewAfterAFailure,
        IgnoresTheBoundsOfItsPredecessor,
        AdvancesBeforeTheInsertIsDone,
        LeavesThePartitionOutOfItsToken,
    ],
)
def test_the_simulation_finds_a_planted_bug(bug: type[SinkCore]) -> None:
    assert any(run(seed, bug).wrong() for seed in range(SEEDS))


@pytest.mark.parametrize("shorter", [True, False])
def test_a_topic_made_anew_under_an_old_name_is_stored_whole(shorter: bool) -> None:
    world = run(1)
    before = dict(world.ends)
    world.logs = {p: [] for p in range(PARTITIONS)}
    world.ends = dict.fromkeys(range(PARTITIONS), 0)
    world.table.clear()
    if not shorter:  # the log is as long as the old one was; the group's offsets went with it
        world.kept.clear()
        while any(world.ends[p] <= before[p] for p in before):
            world.produce()
    world.zombies.clear()
    world.start()
    world.produce()
    world.drain()
    assert world.wrong() == {}
