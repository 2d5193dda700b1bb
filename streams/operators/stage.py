"""The steps of a task, fused: each takes a batch and hands what it makes to the next ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, cast

import numpy as np

from streams.batch import Array, BytesColumn
from streams.errors import StreamsError
from streams.expressions import Expr, holds
from streams.operators.batch import I64, Batch, Clock
from streams.queries.questions import Part, Question
from streams.schema import Schema, Type
from streams.task.outputs import Outputs
from streams.values import Values, values_of

Blocks: TypeAlias = Iterator[tuple[bytes, bytes | None]]

Returned: TypeAlias = Mapping[str, Any] | tuple[Mapping[str, Any], Any]
"""What a user's function gives: columns; where the number of rows changes, also the index i64[n]
of the row that each comes from."""


class BadFunction(StreamsError):
    """A user's function returned what its schema does not say."""


class Stage:
    """One step. State, if it has any, is blocks and facts (JSON) under its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.next: list[Stage] = []

    def take(self, batch: Batch, clock: Clock) -> None:
        """Rows, perhaps none, and how far time has come."""
        self.hand_on(batch, clock)

    def hand_on(self, batch: Batch, clock: Clock) -> None:
        """Give the rows to the next steps."""
        for stage in self.next:
            stage.take(batch, clock)

    def flush(self, out: Outputs) -> None:
        """Hand over what waits for a commit; called behind every piece of input, muted or not."""

    def blocks(self) -> Blocks:
        """State blocks that changed since the last call."""
        return iter(())

    def load(self, key: bytes, data: bytes) -> None:
        """A block of `blocks`."""
        raise AssertionError(f"{self.name} has no blocks")

    def facts(self) -> dict[str, Any]:
        """What else belongs to the state, for JSON."""
        return {}

    def restore(self, facts: dict[str, Any]) -> None:
        """The inverse of `facts`."""

    def stats(self) -> dict[str, Any]:
        """Figures for people."""
        return {}

    def read(self, question: Question) -> Part | None:
        """What it keeps of what is asked for; None: it keeps nothing that can be asked for."""
        return None


class Where(Stage):
    """Rows for which a condition holds; null does not."""

    def __init__(self, name: str, condition: Expr) -> None:
        super().__init__(name)
        self._condition = condition

    def take(self, batch: Batch, clock: Clock) -> None:
        kept = holds(self._condition, batch.columns, len(batch))
        self.hand_on(batch if kept.all() else batch.take(np.flatnonzero(kept)), clock)


class Compute(Stage):
    """Columns that are expressions of those before."""

    def __init__(self, name: str, columns: Mapping[str, Expr], keep: bool) -> None:
        super().__init__(name)
        self._columns = dict(columns)
        self._keep = keep

    def take(self, batch: Batch, clock: Clock) -> None:
        made = dict(batch.columns) if self._keep else {}
        for name, expression in self._columns.items():
            made[name] = expression.evaluate(batch.columns, len(batch))
        self.hand_on(batch.replaced(made), clock)


class MapBatches(Stage):
    """Columns by a user's function of columns."""

    def __init__(
        self, name: str, function: Callable[[Mapping[str, Values]], Returned], schema: Schema
    ) -> None:
        super().__init__(name)
        self._function = function
        self._schema = schema

    def take(self, batch: Batch, clock: Clock) -> None:
        if len(batch):
            returned = self._function(batch.columns)
            made = replaced_by(returned, batch, self._schema, self.name)
        else:
            made = no_rows(self._schema)
        self.hand_on(made, clock)


def no_rows(schema: Mapping[str, Type]) -> Batch:
    """A batch without rows."""
    none = np.zeros(0, np.int64)
    return Batch({name: values_of(kind, ()) for name, kind in schema.items()}, none, none)


def replaced_by(returned: Returned, batch: Batch, schema: Schema, name: str) -> Batch:
    """The rows that a user's function made of a batch.

    Raises:
        BadFunction: They are not what the schema says.
    """
    if isinstance(returned, tuple):
        columns, origin = returned
        rows = np.asarray(origin, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(batch):
            raise BadFunction(f"{name}: it names rows that it was not given")
        if bool((np.diff(batch.records[rows]) < 0).any()):
            raise BadFunction(f"{name}: its rows are not in the order of those it was given")
    else:
        columns, rows = returned, np.arange(len(batch))
    if set(columns) != set(schema):
        raise BadFunction(
            f"{name}: it returned the columns {sorted(columns)}, its schema says {sorted(schema)}"
        )
    made = {n: _column(columns[n], kind, len(rows), f"{name}: {n}") for n, kind in schema.items()}
    return Batch(made, batch.times[rows], batch.records[rows])


def _column(given: Any, kind: Type, n: int, what: str) -> Values:
    """A column of the type, of what a user gave for it."""
    try:
        values = _as_values(given, kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadFunction(f"{what} does not hold {kind}: {error}") from error
    if len(values) != n:
        raise BadFunction(
            f"{what} has {len(values)} rows and should have {n}; where the number of rows changes, "
            "return (columns, index of the row that each comes from)"
        )
    if values.valid is not None and not kind.nullable:
        raise BadFunction(f"{what} has rows without a value; let its type be {kind}.optional")
    return values


def _as_values(given: Any, kind: Type) -> Values:
    if isinstance(given, Values):
        if given.type.kind != kind.kind:
            raise TypeError(f"it is {given.type}")
        return given
    if isinstance(given, BytesColumn):
        if not kind.is_text:
            raise TypeError("it holds byte strings")
        return Values(kind, given)
    if isinstance(given, np.ndarray) and not kind.is_text:
        array = cast("Array", given)
        wanted = {"f64": np.float64, "bool": np.bool_}.get(kind.kind, np.int64)
        return Values(kind, np.ascontiguousarray(array.astype(wanted, casting="same_kind")))
    return values_of(kind, cast("Iterable[Any]", given))


def rows_of(columns: Mapping[str, Values], count: int, time: int, record: int) -> Batch:
    """Rows that all came with one record and have one time."""
    times: I64 = np.full(count, time, np.int64)
    return Batch(columns, times, np.full(count, record, np.int64))
