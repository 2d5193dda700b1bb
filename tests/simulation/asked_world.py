"""Pre-aggregation and roll-up in step, to be asked in the middle; an oracle knows what is right.

    world = World(told.definitions, told.log, random.Random(7))
    world.go_on()                     # some task takes some records, or dies and comes back
    world.ask(definition, {...})      # what a worker would answer, or Settling

What an open window must hold is what the oracle says is published first of it if every partition of
its domain ends with the records before the answer's positions, and then a mark that seals all.
"""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from oracle import epochs
from oracle import log as oracle_log
from oracle.definitions import Definition
from oracle.histograms import Histogram, mark, of_json
from oracle.log import Record
from oracle.oracle import compute

from metric_registry.compile import compile_plan
from streams.queries.questions import Part, QueryError, Reply
from streams.task.events import TaskId
from streams.task.processor import InputRecord
from tests.simulation.topology_world import (
    RESTARTS,
    SECOND,
    SHARD_PARTITIONS,
    Rows,
    granularity,
    resolved,
)
from topologies.deployment import Deployment
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor
from topologies.queries.answers import Replies, answer, may_overflow
from topologies.queries.parsing import parse, shares
from topologies.queries.questions import MetricQuestion, asked
from topologies.rollup.processor import RollupProcessor

Group = tuple[tuple[str, str], ...]
Said = dict[tuple[int, Group], tuple[int | Histogram, int]]
"""(window end, labels) -> value, as what equality means, and points."""


class Settling(Exception):
    """There is no answer at this moment, and there will be one."""


class Running:
    """One task: its input, how far it is, and its last snapshot."""

    def __init__(self, make: Callable[[], Any], chance: random.Random) -> None:
        self.records: list[InputRecord] = []
        self.at = 0
        self._make = make
        self._chance = chance
        self._blocks: dict[bytes, bytes] = {}
        self._restarts = chance.choice([0, 0, 1, 3]) * RESTARTS
        self.processor = make()
        self.processor.restore([])

    def take(self, most: int) -> list[Any]:
        """Process some records, sometimes with a snapshot and a death behind them."""
        part = self.records[self.at : self.at + self._chance.randint(1, most)]
        found = self._feed(part)
        self.at += len(part)
        if self._chance.random() < 0.3:
            self._snapshot()
        if self._restarts and self._chance.random() < 0.2:
            self._restarts -= 1
            self._come_back()
        return found

    def ask(self, question: MetricQuestion) -> Reply:
        """What it says, through the bytes that travel."""
        part: Part = self.processor.query(asked(question))
        part = msgspec.msgpack.decode(msgspec.msgpack.encode(part), type=Part)
        return Reply(part, self.at, self.at)

    def _feed(self, part: Sequence[InputRecord]) -> list[Any]:
        done = 0
        while done < len(part):
            done += self.processor.process(part[done:])
            while (wanted := self.processor.needs()) is not None:
                past = [r for r in self.records if wanted.start <= r.offset < wanted.end]
                self.processor.supply(past, True)
        return list(self.processor.outputs())

    def _snapshot(self) -> None:
        for key, block in self.processor.snapshot(self.at).items():
            if block is None:
                self._blocks.pop(key, None)
            else:
                self._blocks[key] = block

    def _come_back(self) -> None:
        self.processor = self._make()
        self.processor.restore(list(self._blocks.items()))
        first = self.processor.replay_from()
        start = next(
            (i for i, r in enumerate(self.records) if first is not None and r.offset >= first),
            len(self.records),
        )
        self._feed(self.records[0 if first is None else start : self.at])  # its outputs are muted


class World:
    """The tasks of a deployment, and what was published."""

    def __init__(
        self,
        definitions: Sequence[Definition],
        log: Mapping[tuple[str, int], Sequence[Record]],
        chance: random.Random,
    ) -> None:
        self.definitions = list(definitions)
        self.log = log
        self.chance = chance
        self.rows = Rows()
        self.still = False
        """Nothing happens while somebody asks."""
        self.plan = compile_plan([resolved(each) for each in definitions])
        self._keep_from = chance.choice([0, 0, 10, 300]) * SECOND
        self.sources = {at: Running(self._source(*at), chance) for at in sorted(log)}
        for at, source in self.sources.items():
            source.records = [
                InputRecord(r.offset, 0, None, r.value, tuple(r.headers.items())) for r in log[at]
            ]
        self.reducers = [
            Running(lambda shard=shard: RollupProcessor(shard), chance)
            for shard in range(SHARD_PARTITIONS)
        ]

    def _source(self, topic: str, partition: int) -> Callable[[], PreaggregateProcessor]:
        config = PreaggregateConfig(
            deployed=Deployment(self.plan),
            sources=sum(1 for other, _ in self.log if other == topic),
            shard_partitions=SHARD_PARTITIONS,
            key=bytes(16),
            keep_from=self._keep_from,
            forget_above=0,
            compact_above=0,
        )
        return lambda: PreaggregateProcessor(config, topic, partition)

    # ------------------------------------------------------------ what happens

    def go_on(self) -> bool:
        """One task takes some of its input; False when none has any."""
        waiting = [task for task in self._tasks() if task.at < len(task.records)]
        if waiting:
            self._take(self.chance.choice(waiting), self.chance.choice([1, 2, 5, 30]))
        return bool(waiting)

    def take_one(self) -> bool:
        """A source takes one record, and what it seals reaches the roll-up; False: none has any."""
        waiting = [task for task in self.sources.values() if task.at < len(task.records)]
        if waiting:
            self._take(self.chance.choice(waiting), 1)
            self.deliver()
        return bool(waiting)

    def deliver(self) -> None:
        """The roll-up takes all that is on its way to it."""
        for task in self.reducers:
            while task.at < len(task.records):
                self._take(task, 30)

    def _tasks(self) -> list[Running]:
        return [*self.sources.values(), *self.reducers]

    def _take(self, task: Running, most: int) -> None:
        for output in task.take(most):
            if output.topic == "telemetry.partials":
                records = self.reducers[output.partition].records
                records.append(InputRecord(len(records), 0, None, output.value))
            elif output.topic == "telemetry.rollups":
                self.rows.take(output.value)

    # ------------------------------------------------------------ what is asked

    def ask(self, definition: Definition, given: Mapping[str, str]) -> dict[str, Any]:
        """What a worker would answer. Raises `Settling`.

        Between its questions to the roll-up and to the sources something may happen.
        """
        try:
            return self._ask(definition, given)
        except QueryError as error:
            if error.code not in ("settling", "joining") or error.retry_ms is None:
                raise
            raise Settling from error

    def _ask(self, definition: Definition, given: Mapping[str, str]) -> dict[str, Any]:
        found = next(each for each in self.plan.definitions if each.name == definition.name)
        asking = parse(found, given)
        question = asking.question
        replies = self._replies(question)
        if may_overflow(replies, shares(self.plan, definition.name)):
            question = msgspec.structs.replace(question, whole=True)
            replies = self._replies(question)
        return answer(question, asking.limit, asking.bound, replies)

    def _replies(self, question: MetricQuestion) -> Replies:
        reducers = {
            TaskId("rollup", "telemetry.partials", shard): task.ask(question)
            for shard, task in enumerate(self.reducers)
        }
        while not self.still and self.chance.random() < 0.1:
            self.go_on()
        sources = {
            TaskId("preaggregate", *at): task.ask(question)
            for at, task in self.sources.items()
            if epochs.domain_of(at[0]) == question.domain and question.is_open
        }
        return Replies.of(sources, reducers)

    # ------------------------------------------------------------ what is right

    def wanted(
        self, definition: Definition, size: Any, domain: str, position: Mapping[str, int]
    ) -> Said:
        """What open windows hold of the records before the positions."""
        logs = {
            at: list(records[: max(position[f"{at[0]}/{at[1]}"], _told(at, records))])
            for at, records in self.log.items()
            if epochs.domain_of(at[0]) == domain
        }
        every = [
            one
            for one in self.definitions
            if (one.finest, one.grace, one.corrections)
            == (definition.finest, definition.grace, definition.corrections)
        ]
        carries = any(one.final and one.carry for one in every)
        closed = epochs.reached(oracle_log.read(logs), definition, carries)
        for (topic, _), records in logs.items():
            live = topic.startswith("telemetry.raw")
            control, value = (b"idle", b'{"time":%d}' % AFTER) if live else (b"marker", END)
            records.append(Record(len(records), {"control": control}, value))
        first = compute(oracle_log.read(logs), [definition]).first
        return {
            (key.window_end, key.labels): (mark(cells[domain].value), cells[domain].points)
            for key, cells in first.items()
            if key.size == size and domain in cells and key.window_end > closed
        }

    def published_at(self) -> dict[str, int]:
        """How far each roll-up task is by now."""
        return {f"telemetry.partials/{shard}": task.at for shard, task in enumerate(self.reducers)}

    def standing(self, definition: Definition, size: Any) -> dict[tuple[int, Group], Any]:
        """What stands published of windows: value, points, late points and revision."""
        return {
            (key.window_end, key.labels): (*cell, self.rows.late[key], self.rows.revisions[key])
            for key, cell in self.rows.latest.items()
            if (key.definition, key.size) == (definition.name, size)
        }


def _told(at: tuple[str, int], records: Sequence[Record]) -> int:
    """How many records, without points, tell where a later epoch begins."""
    later = re.fullmatch(r"telemetry\.raw\.e\d+", at[0]) is not None
    return int(later and records[0].headers.get("control") == b"epoch")


AFTER = 1_800_000_000 * SECOND
END = b'{"end":true}'


def said(rows: Sequence[Mapping[str, Any]]) -> Said:
    """Rows of an answer; no group may be there twice."""
    found: Said = {}
    for row in rows:
        key = row["window_end"], tuple(sorted(row["labels"].items()))
        assert key not in found, f"{key} is there twice"
        found[key] = value_of(row), row["points"]
    return found


def value_of(row: Mapping[str, Any]) -> int | Histogram:
    if "histogram" in row:
        return of_json(row["histogram"])
    return struct.unpack("<Q", struct.pack("<d", float(row["value"])))[0]


def name_of(size: Any) -> str:
    """A window size as a question spells it."""
    found = granularity(size)
    return f"{found}s" if isinstance(found, int) else found
