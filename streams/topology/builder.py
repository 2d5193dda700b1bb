"""The builder: streams and tables by Kafka Streams' words; checked as they are put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streams.codecs import Codec
from streams.config import TaskSettings
from streams.schema import Schema, TopologyError
from streams.topology import nodes
from streams.topology.plan import Plan
from streams.topology.records import Records
from streams.topology.stream import KTable, Stream, known, names_of
from streams.topology.topics import Topic


class StreamsBuilder:
    """Collects the operators of a topology; `build` plans it.

    `name` prefixes sub-topologies and internal topics, as an application id does in Kafka Streams.
    `partitions`: of internal topics; None: as many as the topic with the most that feeds them.
    `version`: raise it with every change of what is stored; see the README on rolling upgrades.
    """

    def __init__(self, name: str, *, partitions: int | None = None, version: int = 1) -> None:
        self.name = name
        self._version = version
        self.nodes: list[nodes.Node] = []
        self._partitions = partitions
        self._counts: dict[str, int] = {}

    def stream(
        self,
        topic: str,
        codec: Codec,
        *,
        time: str | None = None,
        partitions: int | None = None,
        key: str | Sequence[str] | None = None,
        idle_marks: bool = False,
    ) -> Stream:
        """The rows of a topic.

        `time`: the column with the event time; None: the timestamp of the record. `partitions`: how
        many the topic has; needed where rows of several partitions meet. `key`: the columns that
        decide the partition of a row, if its producers see to that: groups that hold them need no
        second hop. `idle_marks`: write a record into the topic when a partition falls silent, so
        that windows close; its other readers must pass over records with the header `control`.
        """
        schema = _schema_of(codec, topic)
        if time is not None and (time not in schema or schema[time].nullable):
            raise TopologyError(
                f"stream {topic!r}: there is no column {time!r} that always has a value"
            )
        if time is not None and schema[time].kind != "time":
            raise TopologyError(
                f"stream {topic!r}: event time {time!r} is {schema[time]}; "
                "let the codec read it as time"
            )
        keys = None if key is None else names_of(key)
        for column in keys or ():
            known(schema, column, f"stream {topic!r}: key")
        made = nodes.Source(
            name=self.unique_name(None, f"source-{topic}"), number=len(self.nodes), schema=schema,
            topic=topic, codec=codec, time=time, partitions=partitions, key=keys,
            idle_marks=idle_marks,
        )  # fmt: skip
        return Stream(self, self._added(made))

    def table(
        self,
        topic: str,
        codec: Codec,
        *,
        key: str | Sequence[str] | None = None,
        partitions: int | None = None,
    ) -> KTable:
        """A table by the log of its changes: the latest row of a key, none after a tombstone."""
        return self._table(topic, codec, key, partitions, False)

    def global_table(
        self,
        topic: str,
        codec: Codec,
        *,
        key: str | Sequence[str] | None = None,
        partitions: int | None = None,
    ) -> KTable:
        """A table of which every task has all rows: join it by any column."""
        return self._table(topic, codec, key, partitions, True)

    def _table(
        self,
        topic: str,
        codec: Codec,
        key: str | Sequence[str] | None,
        partitions: int | None,
        everywhere: bool,
    ) -> KTable:
        schema = _schema_of(codec, topic)
        keys = codec.key if key is None else names_of(key)
        if not keys or any(name not in schema for name in keys):
            raise TopologyError(
                f"table {topic!r}: it needs key columns, of its schema; give Json(schema, key=...)"
            )
        made = nodes.TableSource(
            name=self.unique_name(None, f"table-{topic}"), number=len(self.nodes), schema=schema,
            topic=topic, codec=codec, key=keys, partitions=partitions, everywhere=everywhere,
        )  # fmt: skip
        return KTable(self._added(made))

    def records(
        self, topic: Topic | str, *, also: str | None = None, any_number: str | None = None
    ) -> Records:
        """The records of a topic as they are, for processors of your own (the Processor API).

        A name instead of a `Topic`: somebody else's, with any number of partitions. `also`: a
        regular expression; topics of such names are read as well, from when they appear. They have
        as many partitions as the topic, but for those whose name matches `any_number`.
        """
        given = Topic(topic, None) if isinstance(topic, str) else topic
        made = nodes.RecordSource(
            name=self.unique_name(None, f"records-{given.name}"), number=len(self.nodes),
            schema=Schema(), topic=given, also=also, any_number=any_number,
        )  # fmt: skip
        return Records(self, self._added(made))

    def build(self, settings: TaskSettings | None = None) -> Plan:
        """The plan: sub-topologies, internal topics. Raises `TopologyError`.

        Without settings, what cannot be processed goes to `<name>-dead-letter`, and batches are
        large: records of a row each cost half of what they do 256 at a time.
        """
        given = settings or TaskSettings(
            batch_records=4096, buffer_records=8192, dead_letter_topic=f"{self.name}-dead-letter"
        )
        return Plan(self.name, self.nodes, self._partitions, given, self._version)

    def unique_name(self, given: str | None, default: str, numbered: bool = False) -> str:
        """A name that nobody else has."""
        if given is None and numbered:
            self._counts[default] = self._counts.get(default, 0) + 1
            given = f"{default}-{self._counts[default]}"
        name = given or default
        if "/" in name or not name:
            raise TopologyError(f"an operator cannot be called {name!r}: / is not allowed")
        if any(node.name == name for node in self.nodes):
            raise TopologyError(
                f"two operators are called {name!r}; give one of them a name of its own "
                "(name=...): its store and its topics are found by it"
            )
        return name

    def _added(self, node: Any) -> Any:
        self.nodes.append(node)
        return node

    def replace(self, old: nodes.Node, new: nodes.Node) -> None:
        """Another node in the place of one that nothing follows yet. Raises `TopologyError`."""
        if any(old in node.parents for node in self.nodes):
            raise TopologyError(f"suppress after {old.name}: something else follows it already")
        self.nodes[self.nodes.index(old)] = new

    def add(
        self, kind: type[Any], name: str | None, default: str, numbered: bool, **of: Any
    ) -> Any:
        """A node of this kind, named and numbered."""
        made = kind(name=self.unique_name(name, default, numbered), number=len(self.nodes), **of)
        return self._added(made)


def _schema_of(codec: Codec, topic: str) -> Schema:
    if not codec.schema:
        raise TopologyError(f"{topic!r} cannot be read without a schema; give it to the codec")
    return codec.schema
