"""Run a whole topology without a broker, step by step: for the tests of those who write one.

    driver = TopologyTestDriver(plan, {"orders": 2})
    driver.pipe("orders", [{"shop": "a", "amount": 2.5, "at": 10}], partition=0)
    driver.run()                    # process and commit everything, in every task
    driver.idle()                   # time passes, nothing comes: idle marks are written
    driver.read("totals")           # rows, as dicts
    driver.restart()                # every process dies; state comes back from the changelogs

It runs the tasks of a real worker (`streams.testing.TaskDriver`) over a log in memory.
`same_any_way` runs a topology in many ways that must not matter, and compares.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from streams.codecs import Codec
from streams.config import Topology
from streams.operators.processor import FusedProcessor
from streams.operators.running import RunningMerge, RunningRows
from streams.operators.travel import Enrich, Process
from streams.queries.answers import answer
from streams.queries.parsing import found_store, parse
from streams.task.events import TaskId
from streams.task.processor import InputRecord
from streams.testing import MemoryLog, TaskDriver
from streams.topology import nodes
from streams.topology.plan import Plan
from streams.topology.stores import stores_of
from streams.values import values_of

Row = Mapping[str, Any]


class TopologyTestDriver:
    """Every task of a topology, in this process.

    `partitions`: of the topics that are read; those that the builder was told of need no entry.
    `seed`: how what is read is cut into batches, and which task goes first, is drawn from it.
    `clock_ms`: the wall clock at the start, unix ms, which idle marks say.
    """

    def __init__(
        self,
        plan: Plan,
        partitions: Mapping[str, int] | None = None,
        *,
        seed: int | None = None,
        clock_ms: int = 0,
    ) -> None:
        self.plan = plan
        self.log = MemoryLog()
        self._chance = random.Random(seed or 0)
        self._seeded = seed is not None
        given = dict(partitions or {})
        for sub in plan.subs:
            self.log.create(sub.topic, sub.partitions or given.get(sub.topic, 1))
        for topic in plan.topics():
            self.log.create(topic.name, topic.partitions or 1)
        for topic in (*plan.output_topics(), *given):
            self.log.create(topic, given.get(topic, 1))
        self._sources = {
            node.topic: node
            for node in plan.nodes
            if isinstance(node, nodes.Source | nodes.TableSource)
        }
        self.tasks = [
            TaskDriver(self.log, topology, at.topic, at.partition, app="test", seed=seed)
            for at, topology in self._tasks_of(plan)
        ]
        for task in self.tasks:
            task.wall_clock_ms = clock_ms
        self._read: dict[tuple[str, int], int] = {}
        self._stores = stores_of(plan)

    # ------------------------------------------------------------ in

    def pipe(
        self, topic: str, rows: Iterable[Row], *, partition: int = 0, timestamp_ms: int = 0
    ) -> None:
        """Rows as records of a topic, as the codec of its stream writes them."""
        source = self._sources[topic]
        given = list(rows)
        schema = source.schema
        columns = {n: values_of(kind, [r.get(n) for r in given]) for n, kind in schema.items()}
        codec: Codec = source.codec.bound(schema)
        for key, value in codec.encode(columns, len(given)):
            self.pipe_record(topic, value, key=key, partition=partition, timestamp_ms=timestamp_ms)

    def pipe_record(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = 0,
        timestamp_ms: int = 0,
        headers: tuple[tuple[str, bytes], ...] = (),
    ) -> None:
        """A record as it is; of a table, one without a value is a tombstone."""
        self.log.append(
            topic, partition, value, key=key, headers=headers, timestamp_ms=timestamp_ms
        )

    # ------------------------------------------------------------ time

    def run(self) -> None:
        """Process and commit until nothing moves any more; time passes as commits need it.

        Tables are then read to their end: rows that waited for them go on.
        """
        moved = True
        while moved:
            before = self._ends()
            for task in self._chance.sample(self.tasks, len(self.tasks)):
                task.settle()
                if task.task.ended:
                    raise AssertionError(f"{task.id} stopped: {task.task.stats()}")
                if isinstance(self._sources.get(task.id.topic), nodes.TableSource):
                    task.advance(self.plan.settings.idle_after_ms)
                    task.settle()
            moved = self._ends() != before

    def advance(self, ms: int) -> None:
        """Let time pass in every task."""
        for task in self.tasks:
            task.advance(ms)
        self.run()

    def idle(self, at_ms: int | None = None) -> None:
        """Nothing comes for so long that partitions count as idle; `at_ms`: the clock then."""
        for task in self.tasks:
            task.wall_clock_ms = task.wall_clock_ms if at_ms is None else at_ms
        for _ in range(2):
            self.advance(self.plan.settings.idle_after_ms)

    def restart(self, *, lose_disk: bool = True, task: int | None = None) -> None:
        """Every task's process, or one's, dies and comes back; the disk is lost or kept."""
        for each in self.tasks if task is None else [self.tasks[task]]:
            each.crash(lose_disk=lose_disk)
            each.start()

    def upgrade(
        self, plan: Plan, taken: Callable[[TaskId], bool] | None = None, *, drain: bool = True
    ) -> None:
        """Workers of another version take over the tasks that are `taken`, or all.

        As when workers are replaced one at a time: the others go on as they are. What the new
        version does not run any more ends with the last. `drain`: in order; else they die.
        """
        known = {task.id: task for task in self.tasks}
        for topic in plan.topics():
            self.log.create(topic.name, topic.partitions or 1)
        for topic in plan.output_topics():
            self.log.create(topic, 1)
        for at, topology in self._tasks_of(plan):
            if at not in known or taken is None or taken(at):
                known[at] = self._taken_over(topology, at, known.get(at), drain)
        names = {topology.name for topology in plan.topologies()}
        self.tasks = [t for at, t in known.items() if taken is not None or at.topology in names]
        if taken is None:
            self.plan, self._stores = plan, stores_of(plan)

    def _tasks_of(self, plan: Plan) -> list[tuple[TaskId, Topology]]:
        """A task a partition of each topic that is there and read."""
        return [
            (TaskId(topology.name, topic, partition), topology)
            for topology in plan.topologies()
            for topic in self.log.topics()
            if topology.reads(topic)
            for partition in range(self.log.partitions(topic))
        ]

    def _taken_over(
        self, topology: Topology, at: TaskId, old: TaskDriver | None, drain: bool
    ) -> TaskDriver:
        disk = None
        if old is not None:
            disk = old.disk
            old.close() if drain else old.crash()
        seed = self._chance.getrandbits(32) if self._seeded else None
        made = TaskDriver(
            self.log, topology, at.topic, at.partition, app="test", disk=disk, seed=seed
        )
        made.wall_clock_ms = self.tasks[0].wall_clock_ms
        return made

    # ------------------------------------------------------------ out

    def read(self, topic: str, codec: Codec | None = None) -> list[dict[str, Any]]:
        """Everything committed in a topic, row by row; JSON unless a codec with a schema is given.

        A row of a record without a value holds only `_key`.
        """
        return [row for record in self.read_records(topic) for row in _rows(record, codec)]

    def read_new(self, topic: str, codec: Codec | None = None) -> list[dict[str, Any]]:
        """What was committed in a topic since this was called last."""
        found: list[dict[str, Any]] = []
        for partition in range(self.log.partitions(topic)):
            start = self._read.get((topic, partition), 0)
            records, end = self.log.fetch(topic, partition, start, 1 << 62)
            self._read[topic, partition] = end
            found += [row for record in records for row in _rows(record, codec)]
        return found

    def read_records(self, topic: str) -> list[InputRecord]:
        """The committed records, partition by partition."""
        count = self.log.partitions(topic)
        return [record for p in range(count) for record in self.log.read(topic, p)]

    def latest(self, topic: str, *keys: str) -> dict[tuple[Any, ...], dict[str, Any]]:
        """The last row of each key in a topic of updates."""
        return {tuple(row[key] for key in keys): row for row in self.read(topic)}

    def dead_letters(self) -> list[InputRecord]:
        """What could not be processed; the headers `code` and `reason` say why."""
        return self.read_records(self.plan.settings.dead_letter_topic)

    def store(self, name: str) -> list[dict[str, Any]] | dict[bytes, bytes]:
        """What an operator keeps, over all tasks: the rows of a table, or byte strings by key."""
        rows: list[dict[str, Any]] = []
        stored: dict[bytes, bytes] = {}
        own = False
        for stage in (s for p in self._processors() for s in p.stages if s.name == name):
            if isinstance(stage, Process):
                own = True
                stored |= dict(stage.store.items())
            elif isinstance(stage, Enrich | RunningRows | RunningMerge):
                columns = stage.table.rows() if isinstance(stage, Enrich) else stage.rows()
                lists = [values.to_list() for values in columns.values()]
                rows += [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
        return stored if own else rows

    def query(self, store: str, **asked: Any) -> dict[str, Any]:
        """What a worker answers over HTTP: key columns and options by their names, as there.

            driver.query("totals", shop="a")["rows"]
            driver.query("hours", **{"from": 0, "limit": 10})

        Tasks go on only as far as they must to answer. Raises `QueryError`.
        """
        shape = found_store(self._stores, store)
        asking = parse(shape, {name: _text(value) for name, value in asked.items()})
        by_id = {task.id: task for task in self.tasks}
        count = self.log.partitions
        replies = {
            task: by_id[task].ask(asking.question) for task in shape.holders(asking.key, count)
        }
        for task in shape.feeders(count):
            replies[task] = by_id[task].ask(asking.question)
        return answer(shape, asking.question, asking.bound, replies)

    def stats(self) -> dict[str, Any]:
        """The figures of every operator, by task."""
        tasks = zip(self.tasks, (task.host.processor for task in self.tasks), strict=True)
        return {str(task.id): live.stats() for task, live in tasks if live is not None}

    def state_bytes(self) -> dict[str, int]:
        """What the tasks of each sub-topology have saved, as their changelogs hold it."""
        found: dict[str, int] = {}
        for task in self.tasks:
            records = self.log.read(task.changelog, task.changelog_partition)
            latest = {record.key or b"": record.value for record in records}
            size = sum(len(key) + len(value) for key, value in latest.items() if value)
            found[task.changelog] = found.get(task.changelog, 0) + size
        return found

    def _processors(self) -> list[FusedProcessor]:
        live = (task.host.processor for task in self.tasks)
        return [each for each in live if isinstance(each, FusedProcessor)]

    def _ends(self) -> dict[str, int]:
        topics = {task.id.topic for task in self.tasks}
        return {
            f"{topic}/{p}": self.log.bounds(topic, p)[1]
            for topic in topics
            for p in range(self.log.partitions(topic))
        }


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rows(record: InputRecord, codec: Codec | None) -> list[dict[str, Any]]:
    if record.value is None:
        return [{"_key": record.key}]
    if codec is None:
        return [msgspec.json.decode(line) for line in record.value.split(b"\n")]
    columns = codec.decode([record]).columns
    lists = [values.to_list() for values in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def same_any_way(
    make: Callable[[int], TopologyTestDriver],
    feed: Sequence[Callable[[TopologyTestDriver], None]],
    result: Callable[[TopologyTestDriver], Any],
    *,
    seeds: Iterable[int] = range(5),
    order: Callable[[random.Random], Sequence[int]] | None = None,
) -> Any:
    """Feed a topology in several ways that must not matter; the result, which is always the same.

    For every seed: what is read is cut elsewhere, tasks take turns in another order, processes die
    between two steps (with or without their disk) and in the middle of a commit's input. `make`
    builds a driver with a seed; `feed` are the steps, `order` may draw another order of them (see
    `within_grace`).

    Raises:
        AssertionError: Two ways gave two results.
    """
    first: Any = None
    for number, seed in enumerate(seeds):
        chance = random.Random(seed)
        driver = make(seed)
        places = list(range(len(feed))) if order is None else list(order(chance))
        for at in places:
            feed[at](driver)
            if number and chance.random() < 0.5:
                driver.run() if chance.random() < 0.5 else _some(driver, chance)
            if number and chance.random() < 0.3:
                driver.restart(lose_disk=chance.random() < 0.5)
        driver.run()
        found = result(driver)
        if number == 0:
            first = found
        assert found == first, f"seed {seed} gave another result: {found} and {first}"
    return first


def within_grace(times: Sequence[int], grace: int, chance: random.Random) -> list[int]:
    """A random order of rows with these times in which none is late for a window with this grace.

    It holds for one partition, and one row a record: a row comes before any other is `grace` past
    it. A grace of zero leaves the order of time.
    """
    waiting = sorted(range(len(times)), key=lambda at: times[at])
    found: list[int] = []
    while waiting:
        limit = times[waiting[0]] + grace
        choices = 1
        while choices < len(waiting) and times[waiting[choices]] < limit:
            choices += 1
        found.append(waiting.pop(chance.randrange(choices)))
    return found


def _some(driver: TopologyTestDriver, chance: random.Random) -> None:
    """Some tasks do some of their work, so that a crash finds them in the middle of it."""
    for task in chance.sample(driver.tasks, len(driver.tasks)):
        for _ in range(chance.randrange(30)):
            task.turn()
