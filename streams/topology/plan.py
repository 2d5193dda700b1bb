"""From operators to tasks: what runs fused, where rows change hands, and what it is called.

Rule: a task reads one partition of one topic, so that what it computes is a function of one log.
Operators stay in the task of their rows as long as it sees all the rows they need. An aggregation
whose groups the partitioning does not decide is computed in part where the rows are, and the parts
travel; rows themselves travel to meet a table, or an operator of a user's, by their key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from streams.config import TaskSettings, Topology
from streams.schema import TopologyError
from streams.task.processor import ProcessorFactory
from streams.topology import nodes
from streams.topology.nodes import Node
from streams.topology.topics import Topic

Kind = Literal["rows", "table", "internal", "records"]
Style = Literal["text", "mermaid", "dot"]


@dataclass(eq=False, slots=True)
class SubTopology:
    """Operators that run in one task. A task a partition of `topic`.

    `root`: the node whose rows come in. `sources`: who writes to an internal topic
    (`topic/partition`). `tables`: (feed, join, table) of the tables that arrive beside the rows.
    """

    name: str
    topic: str
    partitions: int | None
    kind: Kind
    root: Node
    sources: tuple[str, ...] = ()
    tables: list[tuple[str, nodes.Join]] = field(default_factory=list[tuple[str, nodes.Join]])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node's rows are. `route`: the columns that decide their partition, in the order in
    which they are hashed; None: not known."""

    sub: SubTopology
    route: tuple[str, ...] | None


class Plan:
    """What a builder's operators become. Raises `TopologyError` where they cannot be planned."""

    def __init__(
        self,
        name: str,
        given: Sequence[Node],
        partitions: int | None,
        settings: TaskSettings,
        version: int = 1,
    ) -> None:
        self.name = name
        self.version = version
        self.nodes = tuple(given)
        self.subs: list[SubTopology] = []
        self.settings = settings
        self._partitions = partitions
        self._places: dict[Node, tuple[Place, ...]] = {}
        for node in self.nodes:
            self._places[node] = self._placed(node)
        topics = [sub.topic for sub in self.subs if sub.kind != "records"]
        twice = sorted({topic for topic in topics if topics.count(topic) > 1})
        if twice:
            raise TopologyError(
                f"topic {twice[0]!r} is read twice; read it once and use that stream several times"
            )
        ends = (nodes.Output, nodes.RecordProcessor)
        if not any(isinstance(node, ends) for node in self.nodes):
            raise TopologyError(f"topology {name!r} writes nothing: end it with to(topic)")

    # ------------------------------------------------------------ what it says

    def topologies(self) -> list[Topology]:
        """What a worker runs."""
        return [self._topology(sub) for sub in self.subs]

    def _topology(self, sub: SubTopology) -> Topology:
        topics, pattern, any_number = (sub.topic,), None, None
        if isinstance(sub.root, nodes.RecordProcessor) and sub.root.source.pattern is not None:
            topics, pattern = (), sub.root.source.pattern
            any_number = sub.root.source.any_number
        return Topology(
            sub.name, self.factory(sub), topics, pattern, self.settings, sub.partitions, any_number,
            self.version,
        )  # fmt: skip

    def internal_topics(self) -> dict[str, int]:
        """Topics that have to exist beside those of the user, and their partitions."""
        made: dict[str, int] = {}
        for sub in self.subs:
            if sub.kind == "internal":
                assert sub.partitions is not None
                made[sub.topic] = sub.partitions
        return made

    def topics(self) -> list[Topic]:
        """Topics that are made if they are missing: internal and declared ones, dead letters."""
        found = {name: Topic(name, n, internal=True) for name, n in self.internal_topics().items()}
        for node in self.nodes:
            if isinstance(node, nodes.RecordSource) and node.topic.partitions is not None:
                found[node.topic.name] = node.topic
            elif isinstance(node, nodes.RecordProcessor):
                found |= {topic.name: topic for topic in node.writes}
        dead_letters = self.settings.dead_letter_topic
        return list(({dead_letters: Topic(dead_letters, 1)} | found).values())

    def output_topics(self) -> list[str]:
        """Topics that are written to, but for internal ones."""
        found: list[str] = []
        for node in self.nodes:
            if isinstance(node, nodes.Output):
                found.append(node.topic)
            elif isinstance(node, nodes.RecordProcessor):
                found += [topic.name for topic in node.writes if not topic.internal]
        return list(dict.fromkeys(found))

    def factory(self, sub: SubTopology) -> ProcessorFactory:
        """(topic, partition) -> the processor of a task."""
        from streams.topology.compile import processor

        return partial(processor, self, sub)

    def describe(self) -> str:
        """The plan in words, as Kafka Streams' `TopologyDescription`."""
        from streams.topology.describe import described

        return described(self)

    def graph(self, style: Style = "mermaid") -> str:
        """The plan as a picture: a Mermaid flow chart, Graphviz' dot, or a tree in text."""
        from streams.topology.graph import drawn

        return drawn(self, style)

    # ------------------------------------------------------------ where things are

    def places(self, node: Node) -> tuple[Place, ...]:
        """Where the rows of a node are."""
        return self._places[node]

    def is_in(self, node: Node, sub: SubTopology) -> bool:
        """Whether the node's rows are made in this sub-topology."""
        return any(place.sub is sub for place in self._places[node])

    def consumers(self, node: Node) -> list[Node]:
        """Who takes the rows of a node; one that takes them twice is there twice."""
        return [each for each in self.nodes for parent in each.parents if parent is node]

    def _placed(self, node: Node) -> tuple[Place, ...]:
        match node:
            case nodes.Source():
                sub = self._sub(node.topic, node.topic, node.partitions, "rows", node)
                return (Place(sub, () if node.partitions == 1 else node.key),)
            case nodes.TableSource():
                self._sub(node.topic, node.topic, node.partitions, "table", node)
                return ()
            case nodes.Transform():
                parents = self._places[node.parents[0]]
                return tuple(Place(p.sub, _passed(p.route, node)) for p in parents)
            case nodes.Aggregate():
                return (self._together(node, node.keys) or self._internal(node, node.keys),)
            case nodes.Join():
                return (self._joined(node),)
            case nodes.OwnOperator():
                if node.by is None:
                    return tuple(Place(p.sub, None) for p in self._places[node.parents[0]])
                found = self._together(node, node.by) or self._internal(node, node.by)
                return (Place(found.sub, None),)
            case nodes.Merge():
                return self._merged(node)
            case nodes.RecordSource():
                return ()
            case nodes.RecordProcessor(source=source):
                sub = SubTopology(
                    node.name, source.topic.name, source.topic.partitions, "records", node
                )
                self.subs.append(sub)
                return (Place(sub, None),)
            case _:
                return tuple(p for parent in node.parents for p in self._places[parent])

    def _merged(self, node: Node) -> tuple[Place, ...]:
        """One place a task; what decides the partition has to be the same for all its rows."""
        found: dict[int, Place] = {}
        for parent in node.parents:
            for place in self._places[parent]:
                known = found.get(id(place.sub))
                same = known is None or known.route == place.route
                found[id(place.sub)] = place if same else Place(place.sub, None)
        return tuple(found.values())

    def _together(self, node: Node, keys: Sequence[str]) -> Place | None:
        """Where one task sees all rows with these keys already; None: nowhere."""
        places = self._places[node.parents[0]]
        if len(places) != 1 or places[0].route is None or not set(places[0].route) <= set(keys):
            return None
        return places[0]

    def _joined(self, node: nodes.Join) -> Place:
        """A table comes to the rows where they came by the same key; else both travel."""
        places = self._places[node.parents[0]]
        route = tuple(node.on.values())
        table = node.table
        if len(places) == 1 and places[0].sub.kind == "internal":
            place = places[0]
            if table.everywhere or place.route == route:
                return self._fed(node, place)
        return self._fed(node, self._internal(node, route))

    def _fed(self, node: nodes.Join, place: Place) -> Place:
        if node.table.partitions is None:
            raise TopologyError(
                f"{node.name}: how many partitions has {node.table.topic!r}? Rows wait until all "
                f"of them were read once; give table({node.table.topic!r}, ..., partitions=...)"
            )
        place.sub.tables.append((f"{node.name}-table", node))
        return place

    def _internal(self, node: Node, route: Sequence[str]) -> Place:
        """A new topic for what travels to this node."""
        sources: list[str] = []
        most = 1
        for place in self._places[node.parents[0]]:
            count = place.sub.partitions
            if count is None:
                raise TopologyError(
                    f"{node.name}: how many partitions has {place.sub.topic!r}? Its rows meet "
                    f"those of others; give stream({place.sub.topic!r}, ..., partitions=...)"
                )
            most = max(most, count)
            sources += [f"{place.sub.topic}/{p}" for p in range(count)]
        topic = f"{self.name}-{node.name}-repartition"
        sub = self._sub(node.name, topic, self._partitions or most, "internal", node)
        sub.sources = tuple(sources)
        return Place(sub, tuple(route))

    def _sub(
        self, name: str, topic: str, partitions: int | None, kind: Kind, root: Node
    ) -> SubTopology:
        sub = SubTopology(f"{self.name}-{name}".lower(), topic, partitions, kind, root)
        self.subs.append(sub)
        return sub


def _passed(route: tuple[str, ...] | None, node: nodes.Transform) -> tuple[str, ...] | None:
    """The columns that decide the partition, under the names they have behind a node."""
    if route is None or any(column not in node.passes for column in route):
        return None
    return tuple(node.passes[column] for column in route)
