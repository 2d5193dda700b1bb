"""What `.aggregate(name=...)` takes: an aggregate of `streams.aggregates`, and its column.

agg.count()  agg.sum("amount")  agg.p99("latency")  agg.of(MyAggregate(), "amount")
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import numpy as np

from streams.aggregates import Aggregate, aggregate
from streams.aggregates.quantile import Quantile
from streams.operators.groups import Aggregation
from streams.schema import Schema, TopologyError, Type, f64, i64, string


@dataclass(frozen=True, slots=True)
class Spec:
    """An aggregate of a column; None: of the rows themselves, which only a count can use."""

    aggregate: Aggregate[Any]
    column: str | None

    def bind(self, name: str, schema: Schema) -> Aggregation:
        """Under a name, over such rows. Raises `TopologyError`."""
        which = self.aggregate.name
        if self.column is not None:
            if self.column not in schema:
                raise TopologyError(
                    f"{name}={which}({self.column!r}): there is no such column; "
                    f"there are {', '.join(schema)}"
                )
            kind = schema[self.column]
            if kind.is_text and not hasattr(self.aggregate, "add_strings"):
                raise TopologyError(
                    f"{name}={which}({self.column!r}): {which} is for numbers, and {self.column} "
                    f"is {kind}; count() or distinct_count() take strings"
                )
        elif which != "count":
            raise TopologyError(f"{name}={which}(): say of which column")
        return Aggregation(name, self.aggregate, self.column, _result(self.aggregate, name))


def _result(each: Aggregate[Any], name: str) -> Type:
    if each.name == "count":
        return i64
    found = each.finish(each.empty(1))
    if isinstance(found, np.ndarray):
        return f64
    try:
        msgspec.json.encode(found[0])
    except TypeError as error:
        raise TopologyError(
            f"{name}={each.name}: its results are no numbers, and do not become JSON: {error}"
        ) from error
    return string


def of(each: Aggregate[Any] | str, column: str | None = None) -> Spec:
    """Any aggregate, or the registered one of this name, of a column."""
    return Spec(aggregate(each) if isinstance(each, str) else each, column)


def count(column: str | None = None) -> Spec:
    """Rows, or rows with a value in a column."""
    if column is None:
        return of("count")
    return of("count", column)


def quantile(column: str, q: float) -> Spec:
    """The quantile q, from an exponential histogram."""
    return of(Quantile(f"quantile_{q:g}", q), column)


def __getattr__(name: str) -> Any:
    """Every other registered aggregate by its name: `agg.sum("amount")`."""
    try:
        found = aggregate(name)
    except KeyError as error:
        raise AttributeError(str(error)) from error
    return partial(Spec, found)
