"""Rows of groups: merged over sources, finished to the numbers that are published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.kernels import rows as layout
from streams.kernels.exact import exact_mean, finish_mean
from streams.kernels.rows import GROUP_WIDTH, merge_groups
from topologies.partials import PartialRows

F64 = npt.NDArray[np.float64]
Key = tuple[int, int, int]
"""(definition, high, low)"""


def keys_of(rows: PartialRows) -> list[Key]:
    """The groups of the rows."""
    definitions: list[int] = rows.definition.tolist()
    high: list[int] = rows.high.tolist()
    low: list[int] = rows.low.tolist()
    return list(zip(definitions, high, low, strict=True))


def merged(parts: Sequence[PartialRows]) -> PartialRows:
    """One row a group, in order of (definition, group); all parts are of one window."""
    rows = PartialRows.join(parts)
    if not len(rows):
        return rows
    order = np.lexsort((rows.low, rows.high, rows.definition))
    definition, high, low = rows.definition[order], rows.high[order], rows.low[order]
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = (
        (definition[1:] != definition[:-1]) | (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    )
    if fresh.all():
        return rows.take(order)
    target = (np.cumsum(fresh) - 1).astype(np.int64)
    out = np.empty((int(target[-1]) + 1, GROUP_WIDTH), np.int64)
    merge_groups(rows.rows, order, target, out)
    firsts = rows.take(order[fresh])
    spills: dict[int, int] = {}
    if rows.spills:
        listed: list[int] = order.tolist()
        for position, row in enumerate(listed):
            if row in rows.spills:
                into = int(target[position])
                spills[into] = spills.get(into, 0) + rows.spills[row]
    return PartialRows(
        firsts.definition, firsts.level, firsts.end, firsts.high, firsts.low, firsts.labels,
        out, spills,
    )  # fmt: skip


def values(rows: PartialRows, over_space: Sequence[str]) -> F64:
    """The number each row is published as; over_space[i] is that of definition i."""
    out = np.zeros(len(rows))
    for index, how in enumerate(over_space):
        chosen = np.flatnonzero(rows.definition == index)
        if len(chosen):
            out[chosen] = _finish(np.ascontiguousarray(rows.rows[chosen]), how)
    for row, spilled in rows.spills.items():
        how = over_space[int(rows.definition[row])]
        if how in ("sum", "avg") and not rows.rows[row, layout.GROUP_FLAGS]:
            low, mid, high = (
                int(x) for x in rows.rows[row, layout.GROUP_SUM : layout.GROUP_SUM + 3]
            )
            count = int(rows.rows[row, layout.STREAMS]) if how == "avg" else 1
            out[row] = exact_mean(low, mid, high, spilled, count)
    return out


def _finish(rows: npt.NDArray[np.int64], how: str) -> F64:
    flags = rows[:, layout.GROUP_FLAGS]
    if how == "count":
        return rows[:, layout.STREAMS].astype(np.float64)
    if how == "last":
        return np.ascontiguousarray(rows[:, layout.GROUP_LAST]).view(np.float64)
    if how in ("min", "max"):
        column = layout.GROUP_MINIMUM if how == "min" else layout.GROUP_MAXIMUM
        out = np.ascontiguousarray(rows[:, column]).view(np.float64)
        out[(flags & layout.NAN) != 0] = np.nan
        return out
    counts = np.ascontiguousarray(rows[:, layout.STREAMS]) if how == "avg" else np.ones_like(flags)
    out = np.zeros(len(rows))
    finish_mean(rows, layout.GROUP_SUM, counts, out)
    special = flags & (layout.NAN | layout.PLUS_INFINITY | layout.MINUS_INFINITY)
    out[special == layout.PLUS_INFINITY] = np.inf
    out[special == layout.MINUS_INFINITY] = -np.inf
    mixed = layout.PLUS_INFINITY | layout.MINUS_INFINITY
    out[((special & layout.NAN) != 0) | ((special & mixed) == mixed)] = np.nan
    return out


@dataclass(frozen=True, slots=True)
class Published:
    """What stands published of one window: n rows in order of (definition, group).

    Attributes:
        rows: The merged rows behind the numbers.
        values: f64[n].
        first_points: i64[n], points that the first publication counted (0: born late).
        revisions: i64[n], the revision in which each row last changed.
    """

    rows: PartialRows
    values: F64
    first_points: npt.NDArray[np.int64]
    revisions: npt.NDArray[np.int64]

    @property
    def points(self) -> npt.NDArray[np.int64]:
        """i64[n], the points each row counts."""
        return self.rows.rows[:, layout.GROUP_POINTS]

    def after(
        self, before: Published | None, closes: bool
    ) -> tuple[Published, npt.NDArray[np.int64]]:
        """This with revisions, given what stood before, and the indexes of rows that changed.

        A group's first publication is revision 1 if the window `closes` by it; a group that is
        born late begins with revision 2.
        """
        known: dict[Key, int] = {}
        if before is not None:
            known = {key: row for row, key in enumerate(keys_of(before.rows))}
        if before is None or not known:
            first = self.points.copy() if closes else np.zeros(len(self.rows), np.int64)
            revisions = np.full(len(self.rows), 1 if closes else 2, np.int64)
            return Published(self.rows, self.values, first, revisions), np.arange(len(self.rows))
        first, revisions = np.zeros((2, len(self.rows)), np.int64)
        changed: list[int] = []
        bits, old_bits = self.values.view(np.int64), before.values.view(np.int64)
        points, old_points = self.points, before.points
        for row, key in enumerate(keys_of(self.rows)):
            old = known.get(key)
            if old is None:
                first[row], revisions[row] = (points[row], 1) if closes else (0, 2)
                changed.append(row)
                continue
            first[row], revisions[row] = before.first_points[old], before.revisions[old]
            if bits[row] != old_bits[old] or points[row] != old_points[old]:
                revisions[row] += 1
                changed.append(row)
        return Published(self.rows, self.values, first, revisions), np.array(changed, np.int64)
