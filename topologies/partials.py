"""The messages of `telemetry.partials`: partial aggregates of one source, window by window.

A *seal* says that the source has sealed every window of a pane key in (`after`, `until`], at which
offset, and carries their rows (a large seal is cut: only the last message has `last`). A
*revision* carries rows that replace the source's earlier ones, complete, for windows that it
sealed before. Both are `Table`s; the columns are those of `GROUP_COLUMNS` with the definition, the
window and the group.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from metric_registry.plan import Plan, ResolvedDefinition
from streams.batch import BytesColumn, Column, Table
from streams.kernels.order import order_groups
from streams.kernels.rows import GROUP_WIDTH
from topologies.states import (
    NO_STATES,
    Piece,
    States,
    joined,
    sliced,
    state_column,
    states_of,
    taken,
)

MAX_ROWS = 20_000
"""Rows of one message; about 4 MB before compression."""

GROUP_COLUMNS = (
    "streams", "points", "sum0", "sum1", "sum2", "min", "max", "last_time", "last", "flags",
)  # fmt: skip
"""The fields of a group row, in the order of `streams.kernels.rows`; doubles as their bits."""

IN_THE_ROW = ("sum", "count", "avg", "min", "max", "last")
"""Aggregates over points for which a group's row is enough; others have a state beside it."""

_IN_THE_CACHE = 512
"""Rows."""

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class PartialRows:
    """Rows of groups: parallel columns of n rows.

    Attributes:
        definition: u16[n], the definition's index in the plan.
        level: i64[n], see `streams.event_time.levels`; end: i64[n], window end in unix ns.
        high, low: u64[n], the group's hash; labels: its labels.
        rows: i64[n, GROUP_WIDTH].
        spills: Row -> the part of its sum outside the limbs, in units of 2**-1074.
        states: The states of rows whose definitions aggregate over points.
    """

    definition: npt.NDArray[np.uint16]
    level: I64
    end: I64
    high: U64
    low: U64
    labels: BytesColumn
    rows: I64
    spills: dict[int, int]
    states: States = field(default_factory=dict[str, tuple[Piece, ...]])

    def __len__(self) -> int:
        return len(self.definition)

    def take(self, chosen: npt.NDArray[np.int64]) -> PartialRows:
        """The rows at these indexes, in their order."""
        n = len(chosen)
        if n and bool((chosen[1:] - chosen[:-1] == 1).all()):
            return self.slice(int(chosen[0]), int(chosen[0]) + n)
        spills: dict[int, int] = {}
        if self.spills:
            listed: list[int] = chosen.tolist()
            spills = {new: self.spills[old] for new, old in enumerate(listed) if old in self.spills}
        return PartialRows(
            self.definition[chosen],
            self.level[chosen],
            self.end[chosen],
            self.high[chosen],
            self.low[chosen],
            self.labels.take(chosen),
            self.rows.take(chosen, axis=0),  # a fifth of what `rows[chosen]` takes
            spills,
            taken(self.states, chosen, len(self)) if self.states else NO_STATES,
        )

    def slice(self, first: int, end: int) -> PartialRows:
        """The rows from `first` up to, without, `end`; views where that is possible."""
        if first == 0 and end == len(self):
            return self
        cut = slice(first, end)
        return PartialRows(
            self.definition[cut],
            self.level[cut],
            self.end[cut],
            self.high[cut],
            self.low[cut],
            self.labels.slice(first, end),
            self.rows[cut],
            {row - first: n for row, n in self.spills.items() if first <= row < end},
            sliced(self.states, first, end) if self.states else NO_STATES,
        )

    @classmethod
    def join(cls, parts: Iterable[PartialRows]) -> PartialRows:
        """The rows of all parts, in their order."""
        chosen = list(parts)
        if len(chosen) == 1:
            return chosen[0]
        spills: dict[int, int] = {}
        at = 0
        for part in chosen:
            spills.update({at + row: amount for row, amount in part.spills.items()})
            at += len(part)
        return cls(
            np.concatenate([p.definition for p in chosen] or [np.zeros(0, np.uint16)]),
            np.concatenate([p.level for p in chosen] or [np.zeros(0, np.int64)]),
            np.concatenate([p.end for p in chosen] or [np.zeros(0, np.int64)]),
            np.concatenate([p.high for p in chosen] or [np.zeros(0, np.uint64)]),
            np.concatenate([p.low for p in chosen] or [np.zeros(0, np.uint64)]),
            BytesColumn.join([p.labels for p in chosen]),
            np.concatenate([p.rows for p in chosen] or [np.zeros((0, GROUP_WIDTH), np.int64)]),
            spills,
            joined((part.states, len(part)) for part in chosen),
        )


def sorted_groups(definition: npt.NDArray[np.uint32], high: U64, low: U64) -> I64:
    """The order i64[n] of (definition, high, low), stable; quick where much is in order already."""
    keys = (definition, high, low)
    order, scratch = np.empty((2, len(low)), np.int64)
    order_groups(keys, order, scratch, np.empty(len(low) + 1, np.int64))
    return order


def split(
    rows: PartialRows, shards: I64, partitions: int
) -> Iterator[tuple[int, list[PartialRows]]]:
    """For each partition its rows, cut into messages of at most MAX_ROWS (at least one).

    shards i64[n]: each row's virtual shard; a partition holds every `partitions`th.
    """
    where = shards % partitions
    if not bool((where[1:] >= where[:-1]).all()):
        order = np.argsort(where, kind="stable")
        rows, where = rows.take(order), where[order]
    bounds: list[int] = np.searchsorted(where, np.arange(partitions + 1)).tolist()
    for partition, (first, end) in enumerate(itertools.pairwise(bounds)):
        cuts = range(first, max(end, first + 1), MAX_ROWS)
        yield partition, [rows.slice(cut, min(cut + MAX_ROWS, end)) for cut in cuts]


def _transposed(rows: I64) -> I64:
    """i64[w, n] of rows i64[n, w], part by part: each part is read once, and stays in the cache."""
    fields = np.empty(rows.shape[::-1], np.int64)
    for first in range(0, len(rows), _IN_THE_CACHE):
        fields[:, first : first + _IN_THE_CACHE] = rows[first : first + _IN_THE_CACHE].T
    return fields


def columns_of(rows: PartialRows) -> dict[str, Column]:
    """The rows as the columns of a table."""
    columns: dict[str, Column] = {
        "definition": rows.definition,
        "level": rows.level,
        "end": rows.end,
        "high": rows.high,
        "low": rows.low,
        "labels": rows.labels,
    }
    fields = _transposed(rows.rows)
    for column, name in enumerate(GROUP_COLUMNS):
        columns[name] = fields[column]
    if rows.spills:
        columns["spill"] = BytesColumn.of(
            _int_bytes(rows.spills.get(row, 0)) for row in range(len(rows))
        )
    if rows.states:
        columns["states"] = state_column(rows.states, len(rows))
    return columns


def to_table(rows: PartialRows, plan: Plan, meta: dict[str, Any]) -> Table:
    """The rows as a message; `definition` indexes the list `definitions` that its meta gains.

    Without rows it has no columns: most seals are of windows in which nothing was.
    """
    if not len(rows):
        return Table({}, {**meta, "definitions": []})
    used = np.zeros(len(plan.definitions), np.bool_)
    used[rows.definition] = True
    dense = (np.cumsum(used) - 1).astype(np.uint16)
    indexes: list[int] = np.flatnonzero(used).tolist()
    columns = {**columns_of(rows), "definition": dense[rows.definition]}
    described = [describe(plan.definitions[index]) for index in indexes]
    return Table(columns, {**meta, "definitions": described})


def describe(definition: ResolvedDefinition) -> dict[str, Any]:
    """What a reader of rows must know of their definition."""
    return {
        "name": definition.name,
        "version": definition.version,
        "unit": definition.unit,
        "limit": definition.series_limit,
        "over_time": definition.over_time,
        "over_space": definition.over_space,
        "over_points": definition.over_points,
        "instrument": definition.instrument,
        "final": definition.publish_final,
        "upsert": definition.publish_upsert,
        "temporality": definition.publish_temporality,
        "late": definition.publish_late,
        "expire_after": [list(pair) for pair in definition.publish_expire_after],
        "keep": [list(pair) for pair in definition.retention],
        "zone_rules": definition.zone_rules,
    }


def from_table(table: Table) -> PartialRows:
    """The rows of a table; `definition` indexes the table's own list in its meta."""
    if not table.rows:
        return PartialRows.join([])
    rows = np.empty((table.rows, GROUP_WIDTH), np.int64)
    for column, name in enumerate(GROUP_COLUMNS):
        rows[:, column] = table.array(name)
    spills: dict[int, int] = {}
    if "spill" in table.columns:
        for row, raw in enumerate(table.strings("spill")):
            if raw:
                spills[row] = int.from_bytes(raw, "little", signed=True)
    return PartialRows(
        table.array("definition").astype(np.uint16),
        table.array("level").astype(np.int64),
        table.array("end").astype(np.int64),
        table.array("high").astype(np.uint64),
        table.array("low").astype(np.uint64),
        table.strings("labels"),
        rows,
        spills,
        states_of(table.strings("states")) if "states" in table.columns else NO_STATES,
    )


def _int_bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 8) // 8, "little", signed=True) if number else b""
