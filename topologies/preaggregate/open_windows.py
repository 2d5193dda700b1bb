"""What a source has of windows that it has not sealed: what it would send if they sealed now.

Nothing here changes the state. Points of open panes are folded as they are when a pane seals, after
the same base lines, of the streams alone that are asked for; coarser windows are merged from what
has sealed of them and from the open ones inside, as ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from metric_registry.plan import Plan
from streams.batch import encode_table
from streams.event_time.levels import ends_of, is_hopping, order, step_of, window_start
from streams.event_time.windows import SECOND
from streams.kernels.fold import POINT_WHOSE
from streams.queries.questions import Place, QueryError
from topologies.deployment import Span
from topologies.partials import to_table
from topologies.preaggregate.chains import are_samples, with_steps
from topologies.preaggregate.lattice import Window
from topologies.preaggregate.panes import I64, Panes, StreamRows, empty_bases, fold
from topologies.preaggregate.pooled import PointStates, WindowStates, together
from topologies.queries.labels import with_labels
from topologies.queries.questions import MetricQuestion, SourcePart, Turn, least
from topologies.queries.questions import Window as Said

if TYPE_CHECKING:
    from topologies.preaggregate.aggregation import Aggregation

Mask = npt.NDArray[np.bool_]
A_MOMENT_MS = 200


class _AsSealed:
    """The open windows of a pane key, of some streams, as if they sealed now.

    Args:
        streams: By slot, whether it is wanted.
        states: Of the definitions that are asked for.
        groups: Theirs, as they came, that are wanted; spellings: of their aggregates.
        until: The last window end that is wanted.
    """

    def __init__(
        self,
        panes: Panes,
        streams: Mask,
        states: PointStates,
        groups: I64,
        spellings: Collection[str],
        until: int,
    ) -> None:
        self._panes = panes
        self._streams = streams
        self._groups = groups
        self._spellings = spellings
        self._folded: dict[int, tuple[StreamRows, WindowStates]] = {}
        slots = np.flatnonzero(streams).astype(np.int32)
        dense = np.cumsum(streams) - 1
        known = slots < len(panes.bases)
        bases, chains = empty_bases(len(slots)), None
        bases[known] = panes.bases[slots[known]]
        for end in sorted(end for end in panes.open_panes if end <= until):
            parts = [part[streams[part[:, POINT_WHOSE] >> 8]] for part in panes.open_panes[end]]
            mine = [_renumbered(part, dense) for part in parts if len(part)]
            rows, _ = fold(mine, end - panes.key.pane, end, panes.key.pane, panes.gap, bases)
            spills = {(int(slots[slot]), column): n for (slot, column), n in rows.spills.items()}
            rows = StreamRows(slots[rows.slots], rows.rows, spills)
            found: WindowStates = {}
            if panes.states:
                found = states.of_points(parts)
                if chains is None and any(bool(are_samples(part).any()) for part in parts):
                    chains = panes.chains.copy()
                if chains is not None:
                    added = chains.advance(parts, end - panes.key.pane, end)
                    found |= states.of_added(added)
                    rows = with_steps(rows, added)
            self._folded[end] = rows, found

    def of(self, window: Window) -> tuple[StreamRows, WindowStates]:
        """What a window has."""
        parts = list(self._parts(window))
        rows = StreamRows()
        for part, _ in parts:
            rows = rows.merged(part)
        return rows, together(states for _, states in parts)

    def _parts(self, window: Window) -> Iterator[tuple[StreamRows, WindowStates]]:
        level, end = window
        lattice = self._panes.lattice
        if is_hopping(level):
            for step in lattice.steps(window):
                yield from self._parts(step)
            return
        if window in self._panes.rows:
            states = self._panes.states.of_groups(window, self._groups, self._spellings)
            yield self._panes.rows[window].of(self._streams), states
        if level == self._panes.key.pane:
            if end in self._folded:
                yield self._folded[end]
            return
        if end > self._panes.frontier:
            finer = lattice.made_of[level]
            for other in ends_with_data(self._panes, finer):
                if window_start(end, level) < other <= end:
                    yield from self._parts((finer, other))


def _renumbered(points: I64, dense: npt.NDArray[np.integer]) -> I64:
    out = points.copy()
    whose = points[:, POINT_WHOSE]
    out[:, POINT_WHOSE] = dense[whose >> 8] << 8 | (whose & 0xFF)
    return out


def ends_with_data(panes: Panes, level: int) -> list[int]:
    """The ends of a level's windows that have not sealed and may have something, ascending."""
    inside = {step_of(level) if is_hopping(level) else level}
    while (finer := panes.lattice.made_of.get(min(inside, key=order))) is not None:
        inside.add(finer)
    parts = {*panes.open_panes, *(end for size, end in panes.rows if size in inside)}
    found = {each for end in parts for each in ends_of(end, level)}
    return sorted(end for end in found if end > panes.frontier)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Cells of a window (ascending) that are looked at."""

    window: Window
    cells: I64


def open_windows(
    aggregations: Sequence[Aggregation],
    plan: Plan,
    question: MetricQuestion,
    busy: Collection[str],
    whose: tuple[str, int],
) -> SourcePart:
    """What a task has.

    busy: Pane keys of which windows are being computed anew; whose: the source, and how many
    sources its topic has.

    Raises `QueryError` where it has still to find out what late samples change.
    """
    reached: list[Place | None] = []
    told: dict[str, int] = {}
    versions: dict[str, tuple[Span, ...]] = {}
    crowd: dict[str, int] = {}
    windows: list[Said] = []
    for aggregation in aggregations:
        indexes = [
            index
            for index, publishes in aggregation.definitions.items()
            if plan.definitions[index].name == question.metric
            and question.level in publishes.levels
        ]
        if not indexes:
            continue
        pane = aggregation.key.text()
        if pane in busy:
            raise _settling("windows are being computed anew")
        told[pane] = aggregation.told
        for index in indexes:
            version = aggregation.definitions[index].version
            versions[version] = aggregation.definitions[index].spans
            crowd[version] = aggregation.cells.crowd(index)
        turn = Turn(question)
        windows += _windows(aggregation, plan, question, indexes, turn)
        reached.append(turn.reached)
    return SourcePart(*whose, versions, told, crowd, windows, least(reached))


def _windows(
    aggregation: Aggregation, plan: Plan, question: MetricQuestion, indexes: list[int], turn: Turn
) -> Iterator[Said]:
    cells, panes = aggregation.cells, aggregation.panes
    cells.arrays()  # numbers the newest
    mine = np.flatnonzero(np.isin(cells.definition, indexes))
    if question.labels and not question.whole:
        mine = mine[with_labels(cells.label_column(mine), question.labels)]
    wanted: list[_Wanted] = []
    for end in filter(question.wants, ends_with_data(panes, question.level)):
        if turn.is_over(end):
            break
        if question.whole:
            turn.whole(len(mine))
            wanted.append(_Wanted((question.level, end), mine))
        else:
            chosen = mine[turn.chosen(end, cells.high[mine])]
            wanted.append(_Wanted((question.level, end), chosen))
    if not wanted:
        return
    every = np.unique(np.concatenate([each.cells for each in wanted]))
    streams = cells.streams_of(every)
    _has_settled(aggregation, every, streams, wanted)
    spelled = {index: aggregation.definitions[index].states for index in indexes}
    states = PointStates({i: s for i, s in spelled.items() if s}, cells, panes.states.contents)
    last = max(each.window[1] for each in wanted)
    came = cells.came[every] if states else every[:0]
    found = _AsSealed(panes, streams, states, came, {*spelled.values()}, last)
    for each in wanted:
        level, end = each.window
        rows, of_groups = found.of(each.window)
        groups = cells.fold(rows, (end - window_start(end, level)) // SECOND)
        kept = np.isin(groups.cells, each.cells)
        groups = replace(groups, cells=groups.cells[kept], rows=groups.rows[kept], states=of_groups)
        groups = aggregation.as_sent(each.window, groups, question.whole)
        sent = cells.partial_rows(each.window, groups, states.pieces(groups))
        table = encode_table(to_table(sent, plan, {}))
        yield Said(aggregation.key.text(), end, True, table)


def _has_settled(
    aggregation: Aggregation, cells: I64, streams: Mask, wanted: Sequence[_Wanted]
) -> None:
    """Raises `QueryError` if late samples may change increases in parts that have sealed.

    What they change in windows of which nothing has sealed is known: the base lines are right.
    """
    pending = [late for late in aggregation.pending if late.cumulative and streams[late.slot]]
    if not pending:
        return
    newest = max(late.time for late in pending) + aggregation.gap
    for each in wanted:
        level, end = each.window
        begins = window_start(end, level)
        if begins < aggregation.panes.frontier and begins < newest:
            raise _settling(f"late samples of {len({late.slot for late in pending})} streams")


def _settling(what: str) -> QueryError:
    message = (
        f"{what} change what open windows hold, and it is not known yet by how much; windows of "
        "which nothing has sealed can be asked for"
    )
    return QueryError(503, "settling", message, retry_ms=A_MOMENT_MS)
