"""What a builder collects: operators, as data, in the order in which they were named."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streams.codecs import Codec
from streams.operators.running import Running
from streams.operators.stage import Stage
from streams.operators.travel import Operator
from streams.operators.windowed import Windowed
from streams.schema import Schema, Type
from streams.task.processor import ProcessorFactory
from streams.topology.topics import Topic


@dataclass(frozen=True, eq=False, kw_only=True)
class Node:
    """An operator.

    `schema` of what it gives; `upserts`: whether its rows replace earlier ones of their key.
    `number`: when it was named, after its parents.
    """

    name: str
    number: int
    schema: Schema
    parents: tuple[Node, ...] = ()
    upserts: bool = False

    def said(self) -> str:
        """What it does, for people and for the identity of stores."""
        return ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Source(Node):
    """A topic of rows."""

    topic: str
    codec: Codec
    time: str | None
    partitions: int | None
    key: tuple[str, ...] | None
    idle_marks: bool

    def said(self) -> str:
        return f"time={self.time or 'of the record'}"


@dataclass(frozen=True, eq=False, kw_only=True)
class TableSource(Node):
    """A topic of a table's changes. `everywhere`: every task has all of it."""

    topic: str
    codec: Codec
    key: tuple[str, ...]
    partitions: int | None
    everywhere: bool

    @property
    def key_types(self) -> dict[str, Type]:
        return {name: self.schema[name] for name in self.key}

    @property
    def values(self) -> dict[str, Type]:
        return {name: kind for name, kind in self.schema.items() if name not in self.key}


@dataclass(frozen=True, eq=False, kw_only=True)
class Transform(Node):
    """Rows to rows, one task or another. `passes`: which columns pass unchanged, and as what."""

    make: Callable[[], Stage]
    passes: Mapping[str, str]
    text: str = ""

    def said(self) -> str:
        return self.text


@dataclass(frozen=True, eq=False, kw_only=True)
class Merge(Node):
    """The rows of several streams."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Aggregate(Node):
    """An aggregation of groups, in windows or of all time."""

    of: Windowed | Running
    keys: tuple[str, ...]

    def said(self) -> str:
        given = self.parents[0].schema
        keys = ", ".join(f"{key}: {given[key]}" for key in self.keys)
        each = ", ".join(
            f"{a.name}={a.aggregate.name}.{a.aggregate.version}"
            f"({'' if a.column is None else f'{a.column}: {given[a.column]}'})"
            for a in self.of.aggregations
        )
        windows = f" windows({self.of.windows.describe()})" if isinstance(self.of, Windowed) else ""
        return f"by({keys}){windows} {each}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Join(Node):
    """Rows get the values of a table. `on`: the table's key column -> the stream's column."""

    table: TableSource
    on: Mapping[str, str]
    inner: bool

    def said(self) -> str:
        on = ", ".join(f"{column} = {self.table.topic}.{key}" for key, column in self.on.items())
        return f"{'inner' if self.inner else 'left'} on({on}) {self.table.schema}"


@dataclass(frozen=True, eq=False, kw_only=True)
class OwnOperator(Node):
    """An operator of a user's. `by`: rows that share these columns meet; None: a partition's do."""

    make: Callable[[], Operator]
    by: tuple[str, ...] | None
    version: int

    def said(self) -> str:
        by = "partition" if self.by is None else ", ".join(self.by)
        return f"by({by}) version={self.version}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Output(Node):
    """A topic that rows are written to."""

    topic: str
    codec: Codec = field(repr=False)

    def said(self) -> str:
        return self.codec.describe()


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordSource(Node):
    """Topics whose records are taken as they are: one, and those that match `also`."""

    topic: Topic
    also: str | None
    any_number: str | None

    @property
    def pattern(self) -> str | None:
        """What the name of a topic matches as a whole; None: there is only one."""
        return None if self.also is None else f"{re.escape(self.topic.name)}|{self.also}"

    def said(self) -> str:
        number = "any" if self.any_number is not None else self.topic.partitions
        return f"records, partitions={number}"


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordProcessor(Node):
    """A processor of a user's: records in, records out. `stores`: name -> what it means."""

    make: ProcessorFactory
    writes: tuple[Topic, ...]
    stores: Mapping[str, str]

    @property
    def source(self) -> RecordSource:
        """What it reads."""
        (parent,) = self.parents
        assert isinstance(parent, RecordSource)
        return parent
