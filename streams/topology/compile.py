"""From a sub-topology to the processor of one of its tasks."""

from __future__ import annotations

from streams.operators.batch import Batch, Clock
from streams.operators.entry import Entry, InternalEntry, RowsEntry, TableEntry
from streams.operators.processor import FusedProcessor
from streams.operators.records import DeclaredProcessor
from streams.operators.running import Running, RunningMerge, RunningParts, RunningRows
from streams.operators.sink import Sink
from streams.operators.stage import Stage
from streams.operators.travel import Arrival, Enrich, Process, SendRows, SendTable
from streams.operators.windowed import Windowed, WindowMerge, WindowParts, WindowRows
from streams.schema import Schema
from streams.task.events import TaskId
from streams.task.processor import Processor
from streams.topology import nodes
from streams.topology.kept import arrival_name, entry_name, kept
from streams.topology.nodes import Node
from streams.topology.plan import Plan, SubTopology


class MergeStage(Stage):
    """Rows of several paths through one task, put in the order of their records again."""

    def __init__(self, name: str, schema: Schema, paths: int) -> None:
        super().__init__(name)
        self._schema = schema
        self._paths = paths
        self._parts: list[Batch] = []

    def take(self, batch: Batch, clock: Clock) -> None:
        self._parts.append(batch)
        if len(self._parts) < self._paths:
            return
        parts, self._parts = self._parts, []
        whole = Batch.join(parts, self._schema)
        if len(parts) > 1:
            whole = whole.take(whole.records.argsort(kind="stable"))
        self.hand_on(whole, clock)


def processor(plan: Plan, sub: SubTopology, topic: str, partition: int) -> Processor:
    """The steps of the task (topic, partition), fused; or the user's own processor."""
    if isinstance(sub.root, nodes.RecordProcessor):
        own = sub.root
        allowed = {topic, *(each.name for each in own.writes)}
        return DeclaredProcessor(own.make(topic, partition), own.name, kept(plan, sub), allowed)
    return _Assembly(plan, sub, topic, partition).whole()


class _Assembly:
    def __init__(self, plan: Plan, sub: SubTopology, topic: str, partition: int) -> None:
        self._plan = plan
        self._sub = sub
        self._topic = topic
        self._partition = partition
        self._source = f"{topic}/{partition}"
        self._stages: dict[Node, Stage] = {}
        self._senders: list[tuple[int, Stage]] = []
        self._roots: list[Stage] = []

    def whole(self) -> FusedProcessor:
        entry = self._entry()
        placed = sorted(self._stages.items(), key=lambda item: item[0].number)
        ordered = [(node.number, stage) for node, stage in placed]
        # a sender has the number of the node it feeds, and stands behind the one it is fed by
        behind = sorted(ordered + self._senders, key=lambda item: item[0])
        stages = [entry, *self._roots, *(stage for _, stage in behind)]
        return FusedProcessor(entry, stages, kept(self._plan, self._sub))

    def _entry(self) -> Entry:
        root = self._sub.root
        match self._sub.kind, root:
            case "table", nodes.TableSource():
                return TableEntry(root.name, root.codec, self._table_senders(root))
            case "rows", nodes.Source():
                closes = _closed_by_marks(self._plan) if root.idle_marks else []
                task = TaskId(self._sub.name, self._topic, self._partition)
                letters = self._plan.settings.dead_letter_topic
                entry = RowsEntry(root.name, root.codec, root.time, task, closes, letters)
                self._follow(root, entry)
                return entry
            case _:
                return self._internal(root)

    def _internal(self, root: Node) -> Entry:
        sources = self._sub.sources
        receiver: Arrival | WindowMerge | RunningMerge
        match root:
            case nodes.Aggregate(of=Windowed() as of):
                self._stages[root] = receiver = WindowMerge(of, sources)
                self._follow(root, receiver)
            case nodes.Aggregate(of=Running() as of):
                self._stages[root] = receiver = RunningMerge(of)
                self._follow(root, receiver)
            case _:
                receiver = Arrival(arrival_name(root), root.parents[0].schema, sources)
                self._roots.append(receiver)
                receiver.next.append(self._made(root))
        tables = {feed: self._enrich(join) for feed, join in self._sub.tables}
        waits = [
            (feed, f"{join.table.topic}/{p}")
            for feed, join in self._sub.tables
            for p in range(join.table.partitions or 0)
        ]
        return InternalEntry(entry_name(self._sub), receiver, tables, waits)

    def _enrich(self, join: nodes.Join) -> Enrich:
        found = self._stages[join]
        assert isinstance(found, Enrich)
        return found

    def _follow(self, node: Node, stage: Stage) -> None:
        """Put the consumers of a node behind its step."""
        for consumer in self._plan.consumers(node):
            if self._plan.is_in(consumer, self._sub):
                stage.next.append(self._made(consumer))
            else:
                sender = self._sender(consumer)
                self._senders.append((consumer.number, sender))
                stage.next.append(sender)

    def _made(self, node: Node) -> Stage:
        """The step of a node, made once however many paths lead to it."""
        if node not in self._stages:
            self._stages[node] = stage = self._step(node)
            self._follow(node, stage)
        return self._stages[node]

    def _step(self, node: Node) -> Stage:
        match node:
            case nodes.Transform():
                return node.make()
            case nodes.Merge():
                paths = sum(self._plan.is_in(parent, self._sub) for parent in node.parents)
                return MergeStage(node.name, node.schema, paths)
            case nodes.Aggregate(of=Windowed() as of):
                return WindowRows(of)
            case nodes.Aggregate(of=Running() as of):
                return RunningRows(of)
            case nodes.Join(table=table):
                values = {name: node.schema[name] for name in table.values}
                feed = f"{node.name}-table"
                return Enrich(node.name, feed, node.on, table.key_types, values, node.inner)
            case nodes.OwnOperator():
                return Process(node.name, node.make(), node.schema)
            case nodes.Output():
                return Sink(node.name, node.topic, node.codec, self._source)
            case _:
                raise AssertionError(f"{node} is no step")

    def _sender(self, node: Node) -> Stage:
        """The step that sends what a node of another sub-topology needs."""
        (place,) = self._plan.places(node)
        topic, count = place.sub.topic, place.sub.partitions or 0
        match node:
            case nodes.Aggregate(of=Windowed() as of):
                return WindowParts(of, self._source, topic, count)
            case nodes.Aggregate(of=Running() as of):
                return RunningParts(of, self._source, topic, count)
            case nodes.Join():
                keys = tuple(node.on.values())
            case nodes.OwnOperator():
                keys = node.by or ()
            case _:
                raise AssertionError(f"nothing travels to {node}")
        return SendRows(node.name, node.parents[0].schema, keys, self._source, topic, count)

    def _table_senders(self, table: nodes.TableSource) -> list[SendTable]:
        made: list[SendTable] = []
        for sub in self._plan.subs:
            for feed, join in sub.tables:
                if join.table is table:
                    sender = SendTable(
                        feed, table.key, self._source, sub.topic, sub.partitions or 0,
                        table.everywhere,
                    )  # fmt: skip
                    made.append(sender)
                    self._roots.append(sender)
        return made


def _closed_by_marks(plan: Plan) -> list[tuple[int, int]]:
    """(advance, grace) of all windows: what an idle mark may close."""
    found = [n.of for n in plan.nodes if isinstance(n, nodes.Aggregate)]
    windows = [of.windows for of in found if isinstance(of, Windowed)]
    return sorted({(each.advance, each.grace_ns) for each in windows})
