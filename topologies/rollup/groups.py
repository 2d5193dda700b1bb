"""Rows of groups: merged over sources, finished to the numbers that are published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.event_time.levels import window_start
from streams.event_time.windows import SECOND
from streams.kernels import rows as layout
from streams.kernels.exact import LARGEST_DIVISOR, exact_mean, finish_mean
from streams.kernels.order import find_groups, order_groups
from streams.kernels.rows import GROUP_WIDTH, merge_groups
from topologies.partials import IN_THE_ROW, U64, PartialRows
from topologies.results import Histograms, differ, finished, joined, taken
from topologies.states import NO_STATES, renumbered, settled

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


def emptied(rows: PartialRows) -> PartialRows:
    """The same groups, of which nothing is counted any more."""
    return replace(rows, rows=np.zeros_like(rows.rows), spills={}, states=NO_STATES)


def with_data(rows: PartialRows) -> PartialRows:
    """The rows that count something. A source sends others of groups that it has nothing of."""
    counted = rows.rows[:, layout.STREAMS] > 0
    return rows if counted.all() else rows.take(np.flatnonzero(counted))


def in_order(rows: PartialRows) -> PartialRows:
    """The rows in order of (definition, group); the same ones if they are."""
    order, runs = _order(rows)
    return rows if runs <= 1 else rows.take(order)


def places(rows: PartialRows, among: PartialRows) -> I64:
    """i64[n]: where the group of each row is in `among`, -1: nowhere. Both in order, no repeats."""
    found = np.empty(len(rows), np.int64)
    find_groups(_keys(rows), _keys(among), found)
    return found


def _keys(rows: PartialRows) -> tuple[npt.NDArray[np.uint32], U64, U64]:
    """Definition, high and low, as kernels take them."""
    return (
        rows.definition.astype(np.uint32),
        np.require(rows.high, requirements=["C", "W"]),
        np.require(rows.low, requirements=["C", "W"]),
    )


def _order(rows: PartialRows) -> tuple[I64, int]:
    order, scratch = np.empty((2, len(rows)), np.int64)
    return order, order_groups(_keys(rows), order, scratch, np.empty(len(rows) + 1, np.int64))


def merged(parts: Sequence[PartialRows]) -> PartialRows:
    """One row a group, in order of (definition, group); all parts are of one window."""
    rows = PartialRows.join(parts)
    if not len(rows):
        return rows
    order, runs = _order(rows)
    if runs > 1 or _repeats(rows):
        return _merged(rows, order)
    return rows


def _repeats(rows: PartialRows) -> bool:
    same = (rows.low[1:] == rows.low[:-1]) & (rows.high[1:] == rows.high[:-1])
    return bool((same & (rows.definition[1:] == rows.definition[:-1])).any())


def _merged(rows: PartialRows, order: I64) -> PartialRows:
    definition, high, low = rows.definition[order], rows.high[order], rows.low[order]
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = (
        (definition[1:] != definition[:-1]) | (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    )
    if fresh.all():
        return rows.take(order)
    target = (np.cumsum(fresh) - 1).astype(np.int64)
    out = np.empty((int(target[-1]) + 1, GROUP_WIDTH), np.int64)
    merge_groups(np.ascontiguousarray(rows.rows), order, target, out)
    firsts = rows.take(order[fresh])
    spills: dict[int, int] = {}
    if rows.spills:
        listed: list[int] = order.tolist()
        for position, row in enumerate(listed):
            if row in rows.spills:
                into = int(target[position])
                spills[into] = spills.get(into, 0) + rows.spills[row]
    states = NO_STATES
    if rows.states:
        numbers = np.empty(len(rows), np.int64)
        numbers[order] = target
        states = settled(renumbered(rows.states, numbers))
    return replace(firsts, rows=out, spills=spills, states=states)


A_SECOND = " a second"
OF_POINTS = "avg of points"
OF_STATES = "states"


def finishing(described: Mapping[str, Any]) -> str:
    """How the rows of a definition (as a message describes it) become numbers: see `values`."""
    over_points, over_space = str(described["over_points"]), str(described["over_space"])
    if over_points:
        if over_points not in IN_THE_ROW:
            return OF_STATES
        return {"count": "sum", "avg": OF_POINTS}.get(over_points, over_points)
    if described["over_time"] == "rate" and over_space in ("sum", "avg"):
        return over_space + A_SECOND
    return over_space


def values(rows: PartialRows, finishes: Sequence[str]) -> tuple[F64, Histograms]:
    """What each row is published as; finishes[i] says how for definition i.

    It is an aggregate over space; `sum a second` or `avg a second`, where the exact sum is divided
    by the window's seconds as well; or `avg of points`; or it finishes the rows' states.
    """
    out = np.zeros(len(rows))
    for index, how in enumerate(finishes):
        chosen = np.flatnonzero(rows.definition == index)
        if len(chosen) and how != OF_STATES:
            numbers = rows.rows.take(chosen, axis=0)
            out[chosen] = _finish(numbers, how, _seconds(rows, chosen, how))
    histograms: Histograms = None
    if rows.states:
        numbers, has, histograms = finished(rows.states, len(rows))
        out[has] = numbers[has]
    for row, spilled in rows.spills.items():
        how = finishes[int(rows.definition[row])]
        one = rows.rows[row : row + 1]
        if _is_sum(how) and not one[0, layout.GROUP_FLAGS]:
            count = _divisors(one, how, _seconds(rows, np.array([row]), how))
            out[row] = _exactly(one[0], spilled, int(count[0]))
    return out, histograms


def _seconds(rows: PartialRows, chosen: I64, how: str) -> I64:
    """How long the windows of these rows are, where that matters; i64[n]."""
    seconds = np.ones(len(chosen), np.int64)
    if how.endswith(A_SECOND):
        level, end = rows.level[chosen], rows.end[chosen]
        for one in np.unique(level).tolist():
            same = level == one
            seconds[same] = (end[same] - window_start(end[same], one)) // SECOND
    return seconds


def _is_sum(how: str) -> bool:
    return how.startswith(("sum", "avg"))


def _divisors(rows: npt.NDArray[np.int64], how: str, seconds: I64) -> I64:
    """What the sums of rows are divided by, i64[n]."""
    counts = np.ones(len(rows), np.int64)
    if how == OF_POINTS:
        counts = np.ascontiguousarray(rows[:, layout.GROUP_POINTS])
    elif how.startswith("avg"):
        counts = np.ascontiguousarray(rows[:, layout.STREAMS])
    return counts * seconds if how.endswith(A_SECOND) else counts


def _exactly(row: npt.NDArray[np.int64], spilled: int, divisor: int) -> float:
    low, mid, high = (int(x) for x in row[layout.GROUP_SUM : layout.GROUP_SUM + 3])
    return exact_mean(low, mid, high, spilled, divisor)


def difference(rows: PartialRows, before: PartialRows) -> PartialRows:
    """Exactly how much the sum of each group in `rows` is above that `before`, where it is not 0.

    Both in order, one row a group; a group that is not there before had nothing. What is, or was,
    not finite has no difference.
    """
    had = before.take(np.flatnonzero(places(before, rows) >= 0))
    flagged = rows.rows[:, layout.GROUP_FLAGS] != 0
    if len(had):
        found = places(rows, had)
        flagged |= (found >= 0) & (had.rows[found, layout.GROUP_FLAGS] != 0)
    out = merged([_signed(rows, False), _signed(had, True)])  # one row for each of `rows`
    sums = out.rows[:, layout.GROUP_SUM : layout.GROUP_SUM + 3]
    changed = np.asarray(np.any(sums != 0, axis=1))
    changed[[row for row, amount in out.spills.items() if amount]] = True
    return out.take(np.flatnonzero(changed & ~flagged))


def _signed(rows: PartialRows, negative: bool) -> PartialRows:
    """The sums of rows and nothing else of them, or their negatives."""
    sums = np.zeros_like(rows.rows)
    columns = slice(layout.GROUP_SUM, layout.GROUP_SUM + 3)
    sums[:, columns] = rows.rows[:, columns]
    if not negative:
        return replace(rows, rows=sums, states=NO_STATES)
    low, middle, high = (~sums[:, columns]).T
    carry = low == -1
    sums[:, layout.GROUP_SUM] = low + 1
    sums[:, layout.GROUP_SUM + 1] = middle + carry
    sums[:, layout.GROUP_SUM + 2] = high + (carry & (middle == -1))
    spills = {row: -amount for row, amount in rows.spills.items()}
    return replace(rows, rows=sums, spills=spills, states=NO_STATES)


def _finish(rows: npt.NDArray[np.int64], how: str, seconds: I64) -> F64:
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
    counts = _divisors(rows, how, seconds)
    out = np.zeros(len(rows))
    finish_mean(rows, layout.GROUP_SUM, np.minimum(counts, LARGEST_DIVISOR), out)
    for row in np.flatnonzero(counts > LARGEST_DIVISOR).tolist():
        out[row] = _exactly(rows[row], 0, int(counts[row]))
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
        values: f64[n]; histograms: see `topologies.results`.
        first_points: i64[n], points that the first publication counted (0: born late).
        revisions: i64[n], the revision in which each row last changed.
        deleted: bool[n], tombstones: groups that have no data any more. They stay, so that a group
            that comes again goes on with its revisions.
    """

    rows: PartialRows
    values: F64
    first_points: npt.NDArray[np.int64]
    revisions: npt.NDArray[np.int64]
    deleted: npt.NDArray[np.bool_]
    histograms: Histograms = None

    @classmethod
    def of(cls, rows: PartialRows, numbers: F64, histograms: Histograms = None) -> Published:
        """Rows that nobody has published yet."""
        none = np.zeros(len(rows), np.int64)
        return cls(rows, numbers, none, none, np.zeros(len(rows), np.bool_), histograms)

    @property
    def points(self) -> npt.NDArray[np.int64]:
        """i64[n], the points each row counts."""
        return self.rows.rows[:, layout.GROUP_POINTS]

    def after(
        self, before: Published | None, closes: bool
    ) -> tuple[Published, npt.NDArray[np.int64]]:
        """This with revisions, given what stood before, and the indexes of rows that changed.

        A group's first publication is revision 1 if the window `closes` by it; a group that is
        born late begins with revision 2. A group that is not there any more leaves a tombstone.
        """
        n = len(self.rows)
        if before is None or not len(before.rows):
            first = self.points.copy() if closes else np.zeros(n, np.int64)
            revisions = np.full(n, 1 if closes else 2, np.int64)
            return replace(self, first_points=first, revisions=revisions), np.arange(n)
        old = places(self.rows, before.rows)
        born = old < 0
        first = np.where(born, self.points if closes else 0, before.first_points[old])
        revisions = np.where(born, 1 if closes else 2, before.revisions[old])
        moved = self.values.view(np.int64) != before.values.view(np.int64)[old]
        moved |= differ(self.histograms, before.histograms, old)
        moved = ~born & (moved | (self.points != before.points[old]) | before.deleted[old])
        revisions[moved] += 1
        now = replace(self, first_points=first, revisions=revisions)
        gone = np.ones(len(before.rows), np.bool_)
        gone[old[~born]] = False
        if gone.any():
            return now._and_tombstones(born | moved, before, np.flatnonzero(gone))
        return now, np.flatnonzero(born | moved)

    def _and_tombstones(
        self, changed: npt.NDArray[np.bool_], before: Published, gone: I64
    ) -> tuple[Published, I64]:
        """This, and tombstones of the rows `gone` of `before`; the indexes of what changed."""
        fresh = ~before.deleted[gone]
        rows = PartialRows.join([self.rows, emptied(before.rows.take(gone))])
        order, _ = _order(rows)
        histograms = joined([(self.histograms, len(self.rows)), (None, len(gone))])
        both = Published(
            rows.take(order),
            np.concatenate([self.values, np.zeros(len(gone))])[order],
            np.concatenate([self.first_points, before.first_points[gone]])[order],
            np.concatenate([self.revisions, before.revisions[gone] + fresh])[order],
            np.concatenate([self.deleted, np.ones(len(gone), np.bool_)])[order],
            taken(histograms, order),
        )
        return both, np.flatnonzero(np.concatenate([changed, fresh])[order])
