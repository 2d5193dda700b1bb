"""Streams, tables and groups: the words behind a source. Checked as they are put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from streams.codecs import Codec, Json
from streams.expressions import Expr, col, lit, when
from streams.expressions.terms import Column
from streams.operators.running import Running
from streams.operators.stage import Compute, MapBatches, Returned, Stage, Where
from streams.operators.suppress import Suppressed, UntilWindowCloses
from streams.operators.travel import BEFORE, TIMES, Operator
from streams.operators.windowed import Updates, Windowed
from streams.operators.windows import Duration, TimeWindows, nanoseconds
from streams.schema import Schema, TopologyError, Type
from streams.topology import nodes
from streams.topology.agg import Spec, count
from streams.values import Values

if TYPE_CHECKING:
    from streams.topology.builder import StreamsBuilder

MapFunction = Callable[[Mapping[str, Values]], Returned]


class KTable:
    """A table to join streams with."""

    def __init__(self, node: nodes.TableSource) -> None:
        self.node = node


class Stream:
    """Rows with a schema. Every method gives another stream; this one stays as it is."""

    def __init__(self, builder: StreamsBuilder, node: nodes.Node) -> None:
        self.builder = builder
        self.node = node

    @property
    def schema(self) -> Schema:
        return self.node.schema

    def where(self, condition: Expr, *, name: str | None = None) -> Stream:
        """The rows for which the condition holds; null does not."""
        kind = self._typed(condition, "where")
        if kind.kind != "bool":
            raise TopologyError(
                f"where({condition!r}): a condition is bool, not {kind}; compare it"
            )
        return self._where(condition, name)

    def _where(self, condition: Expr, name: str | None) -> Stream:
        return self._transform(
            "where", name, lambda n: Where(n, condition), self.schema,
            {column: column for column in self.schema}, repr(condition),
        )  # fmt: skip

    def select(self, *columns: str, name: str | None = None, **named: Any) -> Stream:
        """These columns, and columns that are expressions, and no others."""
        wanted = {column: col(column) for column in columns} | named
        return self._compute("select", wanted, keep=False, name=name)

    def with_columns(self, *, name: str | None = None, **named: Any) -> Stream:
        """All columns, and those that are expressions; one of a known name replaces it."""
        return self._compute("with_columns", named, keep=True, name=name)

    def _compute(
        self, kind: str, columns: Mapping[str, Any], keep: bool, name: str | None
    ) -> Stream:
        if not columns:
            raise TopologyError(f"{kind}: name at least one column")
        made = {column: lit(value) for column, value in columns.items()}
        typed = {column: self._typed(e, f"{kind}: {column}") for column, e in made.items()}
        schema = self.schema | typed if keep else Schema(typed)
        passes = {old: old for old in self.schema if keep and old not in made}
        for new, expression in made.items():
            if isinstance(expression, Column) and (
                new == expression.name or expression.name not in passes
            ):
                passes[expression.name] = new
        text = ", ".join(f"{column}={expression!r}" for column, expression in made.items())
        return self._transform(kind, name, lambda n: Compute(n, made, keep), schema, passes, text)

    def map_batches(
        self, function: MapFunction, schema: Schema, *, name: str | None = None
    ) -> Stream:
        """Rows by a function of columns: row by row in effect, for batches are cut anywhere.

        It gives columns (arrays, lists or `Values`); where the number of rows changes, also the
        index of the row that each comes from.
        """
        return self._transform(
            "map_batches", name, lambda n: MapBatches(n, function, schema), schema, {},
            getattr(function, "__qualname__", repr(function)),
        )  # fmt: skip

    def branch(self, *conditions: Expr) -> list[Stream]:
        """A stream for each condition, of the rows for which it is the first that holds."""
        found: list[Stream] = []
        earlier: Expr | None = None
        for condition in conditions:
            kind = self._typed(condition, "branch")
            if kind.kind != "bool":
                raise TopologyError(f"branch({condition!r}): a condition is bool, not {kind}")
            mine = condition if earlier is None else condition & ~earlier
            found.append(self._where(mine, None))
            holds = when(condition).then(True).otherwise(False)
            earlier = holds if earlier is None else earlier | holds
        return found

    def merge(self, *others: Stream, name: str | None = None) -> Stream:
        """The rows of this stream and of others with the same schema."""
        for other in others:
            if dict(other.schema) != dict(self.schema):
                raise TopologyError(
                    f"merge: {other.node.name} has {other.schema}, {self.node.name} has "
                    f"{self.schema}; select the same columns"
                )
        parents = (self.node, *(other.node for other in others))
        if any(parent.upserts for parent in parents):
            raise TopologyError("merge: rows that replace earlier ones cannot be merged; see to()")
        return Stream(
            self.builder,
            self.builder.add(nodes.Merge, name, "merge", True, schema=self.schema, parents=parents),
        )

    def group_by(self, *keys: str) -> GroupedStream:
        """Groups of rows that share these columns; none: one group. Null is a key of its own."""
        self._rows_only("group_by")
        for key in keys:
            kind = known(self.schema, key, "group_by")
            if kind.kind == "f64":
                raise TopologyError(
                    f"group_by({key!r}): doubles are no keys; cast it to i64 or string"
                )
        return GroupedStream(self, tuple(keys))

    def join(
        self, table: KTable, on: str | Mapping[str, str], *, name: str | None = None
    ) -> Stream:
        """Rows with the table's values at their key; rows without one are dropped.

        `on`: the column, of both, or {column here: key column of the table}.
        """
        return self._join(table, on, True, name)

    def left_join(
        self, table: KTable, on: str | Mapping[str, str], *, name: str | None = None
    ) -> Stream:
        """Rows with the table's values at their key; null where there is none."""
        return self._join(table, on, False, name)

    def _join(
        self, table: KTable, on: str | Mapping[str, str], inner: bool, name: str | None
    ) -> Stream:
        self._rows_only("join")
        node = table.node
        pairs = {on: on} if isinstance(on, str) else dict(on)
        by_key = {key: column for column, key in pairs.items()}
        if set(by_key) != set(node.key):
            raise TopologyError(
                f"join with {node.topic!r}: on={on!r} does not name its key {', '.join(node.key)}"
            )
        for key, column in by_key.items():
            kind = known(self.schema, column, f"join with {node.topic!r}")
            if kind.kind != node.schema[key].kind:
                raise TopologyError(
                    f"join with {node.topic!r}: {column} is {kind} and its key {key} is "
                    f"{node.schema[key]}; cast one"
                )
        both = sorted(set(node.values) & set(self.schema))
        if both:
            raise TopologyError(
                f"join with {node.topic!r}: both sides have {', '.join(both)}; "
                "select() others first"
            )
        values = {n: kind if inner else kind.optional for n, kind in node.values.items()}
        made = self.builder.add(
            nodes.Join, name, f"join-{node.topic}", False, schema=self.schema | values,
            parents=(self.node,), table=node, inner=inner,
            on={key: by_key[key] for key in node.key},
        )  # fmt: skip
        return Stream(self.builder, made)

    def process(
        self,
        make: Callable[[], Operator],
        schema: Schema,
        *,
        name: str,
        by: str | Sequence[str] | None = None,
        version: int = 1,
    ) -> Stream:
        """Rows by an operator of your own, with a store that restarts do not touch.

        `by`: rows that share these columns meet in one task; None: those of a partition do.
        `version`: of what it keeps; a store of another version is refused.
        """
        self._rows_only("process")
        keys = None if by is None else names_of(by)
        for key in keys or ():
            known(self.schema, key, f"process {name!r}: by")
        made = self.builder.add(
            nodes.OwnOperator, name, name, False, schema=schema, parents=(self.node,), make=make,
            by=keys, version=version,
        )  # fmt: skip
        return Stream(self.builder, made)

    def suppress(self, until: Suppressed) -> Stream:
        """Publish an aggregation less often: `until_window_closes()`, or `until_time_limit(...)`.

        To be said right behind `aggregate`. Without it windows wait for their close, and totals
        are published when the task commits.
        """
        node = self.node
        if not isinstance(node, nodes.Aggregate):
            raise TopologyError(f"suppress after {node.name}: say it right behind aggregate()")
        of = node.of
        if of.suppressed is not None or (isinstance(of, Windowed) and of.updates is not None):
            raise TopologyError(f"suppress after {node.name}: it was said before when to publish")
        if isinstance(until, UntilWindowCloses):
            if isinstance(of, Running):
                raise TopologyError(
                    f"suppress after {node.name}: totals have no windows that close; "
                    "give until_time_limit(...)"
                )
            return self
        limited = replace(of, suppressed=until)
        made = replace(node, of=limited, schema=limited.schema(), upserts=True)
        self.builder.replace(node, made)
        return Stream(self.builder, made)

    def to(self, topic: str, codec: Codec | None = None, *, name: str | None = None) -> None:
        """Write the rows to a topic; as JSON unless a codec is given."""
        try:
            bound = (codec or Json()).bound(self.schema)
        except TopologyError as error:
            raise TopologyError(f"to {topic!r}: {error}") from error
        self.builder.add(
            nodes.Output, name, f"to-{topic}", False, schema=self.schema, parents=(self.node,),
            topic=topic, codec=bound,
        )  # fmt: skip

    def _typed(self, expression: Any, what: str) -> Type:
        try:
            return lit(expression).type_in(self.schema)
        except TopologyError as error:
            raise TopologyError(f"{what} after {self.node.name}: {error}") from error

    def _rows_only(self, what: str) -> None:
        if self.node.upserts:
            raise TopologyError(
                f"{what} after {self.node.name}: its rows replace earlier ones, and would be "
                "counted beside them; aggregate the stream it is made from, or write it with to() "
                "and read it with table()"
            )

    def _transform(
        self,
        kind: str,
        name: str | None,
        make: Callable[[str], Stage],
        schema: Schema,
        passes: Mapping[str, str],
        text: str,
    ) -> Stream:
        for column in (TIMES, BEFORE):
            if column in schema:
                raise TopologyError(f"{kind}: {column} is kept for the framework")
        unique = self.builder.unique_name(name, kind, numbered=True)
        made = self.builder.add(
            nodes.Transform, unique, unique, False, schema=schema, parents=(self.node,),
            make=lambda: make(unique), passes=passes, text=text, upserts=self.node.upserts,
        )  # fmt: skip
        return Stream(self.builder, made)


class GroupedStream:
    """Rows by groups, to be aggregated."""

    def __init__(self, stream: Stream, keys: tuple[str, ...]) -> None:
        self._stream = stream
        self._keys = keys

    def windowed_by(self, windows: TimeWindows) -> WindowedStream:
        """The same in windows of event time."""
        return WindowedStream(self._stream, self._keys, windows)

    def aggregate(self, *, name: str | None = None, **aggregates: Spec) -> Totals:
        """One row a group, of all time; what changed is published when the task commits."""
        default = _default_name(self._keys)
        bound = _bound(self._stream, self._keys, aggregates, name or default)
        of = Running(name or default, bound[0], bound[1])
        made = self._stream.builder.add(
            nodes.Aggregate, name, default, False, schema=of.schema(),
            parents=(self._stream.node,), of=of, keys=self._keys, upserts=True,
        )  # fmt: skip
        return Totals(self._stream.builder, made, self._keys)

    def count(self, *, name: str | None = None) -> Totals:
        """`aggregate(count=agg.count())`."""
        return self.aggregate(name=name, count=count())


class WindowedStream:
    """Rows by groups and windows, to be aggregated."""

    def __init__(self, stream: Stream, keys: tuple[str, ...], windows: TimeWindows) -> None:
        self._stream = stream
        self._keys = keys
        self._windows = windows
        self._updates: Updates | None = None

    def updates(self, every: Duration = 0, rows: int = 100_000) -> WindowedStream:
        """Publish open windows, too, as they are when the task commits (column `final`: false).

        Not oftener than every so much event time, but after so many rows at the latest.
        """
        made = WindowedStream(self._stream, self._keys, self._windows)
        made._updates = Updates(nanoseconds(every), rows)
        return made

    def aggregate(self, *, name: str | None = None, **aggregates: Spec) -> Stream:
        """One row a group and window, when the window closes (Kafka Streams' `suppress`).

        With revisions or updates later rows replace earlier ones of the same window.
        """
        for column in ("window_start", "window_end", "revision", "final"):
            if column in self._keys or column in aggregates:
                raise TopologyError(
                    f"aggregate: {column} is a column of windows; choose another name"
                )
        default = _default_name(self._keys)
        keys, bound = _bound(self._stream, self._keys, aggregates, name or default)
        of = Windowed(name or default, self._windows, keys, bound, self._updates)
        made = self._stream.builder.add(
            nodes.Aggregate, name, default, False, schema=of.schema(),
            parents=(self._stream.node,), of=of, keys=self._keys,
            upserts=self._windows.revised or self._updates is not None,
        )  # fmt: skip
        return Stream(self._stream.builder, made)


class Totals(Stream):
    """A table of groups: its rows replace earlier ones of their key."""

    def __init__(self, builder: StreamsBuilder, node: nodes.Node, keys: tuple[str, ...]) -> None:
        super().__init__(builder, node)
        self._keys = keys

    def suppress(self, until: Suppressed) -> Totals:
        return Totals(self.builder, super().suppress(until).node, self._keys)

    def to(self, topic: str, codec: Codec | None = None, *, name: str | None = None) -> None:
        """Write the changes, keyed by the group; as JSON unless a codec is given."""
        super().to(topic, codec or Json(key=self._keys), name=name)


def _bound(
    stream: Stream, keys: tuple[str, ...], aggregates: Mapping[str, Spec], name: str
) -> tuple[dict[str, Type], list[Any]]:
    if not aggregates:
        raise TopologyError(f"{name}: aggregate nothing? Give name=agg.count() or another")
    for column in aggregates:
        if column in keys:
            raise TopologyError(f"{name}: {column} is a key already; choose another name")
    try:
        bound = [spec.bind(column, stream.schema) for column, spec in aggregates.items()]
    except TopologyError as error:
        raise TopologyError(f"{name} after {stream.node.name}: {error}") from error
    return {key: stream.schema[key] for key in keys}, bound


def _default_name(keys: tuple[str, ...]) -> str:
    return "-".join(("aggregate", *keys))


def names_of(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def known(schema: Schema, column: str, what: str) -> Type:
    if column not in schema:
        raise TopologyError(f"{what}: there is no column {column!r}; there are {', '.join(schema)}")
    return schema[column]
