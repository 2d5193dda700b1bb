"""What a roll-up has of windows: of open ones what sources have sealed, of closed ones what stands.

Nothing here changes the state. What a source replaced in a window that is still open is left out:
the window's first publication will not have it either.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.batch import Column, Table, encode_table
from streams.event_time.windows import EARLIEST
from topologies.epochs import domain_of
from topologies.epochs import topic_of_source as topic_of
from topologies.partials import PartialRows, columns_of
from topologies.queries.labels import with_labels
from topologies.queries.questions import MetricQuestion, ReducerPart, Turn, least
from topologies.queries.questions import Window as Said
from topologies.rollup.groups import merged
from topologies.rollup.stored import Window
from topologies.rollup.windows import Domain, Seals, Windows, WindowState

I64 = npt.NDArray[np.int64]


def held_windows(
    windows: Windows, definitions: Sequence[dict[str, Any]], question: MetricQuestion
) -> ReducerPart:
    """What a task has; definitions: as its rows' indexes count them."""
    domain = windows.domains.get(question.domain, Domain())
    received: dict[str, dict[str, int]] = {}
    behind: dict[str, dict[str, list[tuple[int, int]]]] = {}
    for (source, pane), seals in sorted(domain.seals.items()):
        received.setdefault(pane, {})[source] = seals.frontier
        at = bisect_right(seals.untils, domain.closed.get(pane, EARLIEST))
        behind.setdefault(pane, {})[source] = [
            *zip(seals.untils[at:], seals.offsets[at:], strict=True)
        ]
    found = _Found(windows, definitions, question, domain)
    by_pane: dict[str, list[Window]] = {}
    for window in windows.states:
        if window[1] == question.level and question.wants(window[2]):
            by_pane.setdefault(window[0], []).append(window)
    turns: list[Turn] = []
    for mine in by_pane.values():
        turns.append(Turn(question))
        for window in sorted(mine, key=lambda window: window[2]):
            if not found.look(window, turns[-1]):
                break
    gone = {pane: last for pane, (_, last) in windows.forgotten.items()}
    return ReducerPart(
        received, behind, sorted(found.torn), dict(domain.closed), gone, found.crowd, found.windows,
        least(turn.reached for turn in turns),
    )  # fmt: skip


class _Found:
    """Collects what is wanted of windows."""

    def __init__(
        self,
        windows: Windows,
        definitions: Sequence[dict[str, Any]],
        question: MetricQuestion,
        domain: Domain,
    ) -> None:
        self.windows: list[Said] = []
        self.torn: set[str] = set()
        self.crowd: dict[str, int] = {}
        self._windows = windows
        self._definitions = definitions
        self._question = question
        self._domain = domain
        names = [definition["name"] == question.metric for definition in definitions]
        self._mine = np.array(names, np.bool_)

    def look(self, window: Window, turn: Turn) -> bool:
        """Take what is wanted of a window, unless the turn is over by then."""
        pane, _, end = window
        is_open = end > self._domain.closed.get(pane, EARLIEST)
        if not (self._question.is_open if is_open else self._question.is_closed):
            return True
        if turn.is_over(end):
            return False
        state = self._windows.states.peek(window)
        if is_open:
            self._open(window, state, turn)
        if self._question.is_closed:
            self._standing(window, state, turn, is_open)
        return True

    def _open(self, window: Window, state: WindowState, turn: Turn) -> None:
        """What the sources of the domain have sealed of it."""
        pane, _, end = window
        parts: list[PartialRows] = []
        for source, rows in state.sealed.items():
            if domain_of(topic_of(source)) != self._question.domain:
                continue
            if end > self._domain.seals.get((source, pane), Seals()).frontier:
                self.torn.add(source)
            parts += rows
        rows = self._of_metric(merged(parts)) if parts else None
        if rows is None:
            return
        indexes: list[int] = np.unique(rows.definition).tolist()
        for index in indexes:
            version: str = self._definitions[index]["version"]
            count = int((rows.definition == index).sum())
            self.crowd[version] = max(count, self.crowd.get(version, 0))
        if self._question.whole:
            turn.whole(len(rows))
        else:
            rows = rows.take(self._chosen(rows, end, turn))
        self.windows.append(Said(pane, end, True, self._encoded(rows, columns_of(rows))))

    def _standing(self, window: Window, state: WindowState, turn: Turn, is_open: bool) -> None:
        """What stands published; of a window that is open in this domain, because of others."""
        published = self._windows.standing(state)
        if published is None:
            return
        wanted = self._mine[published.rows.definition] & ~published.deleted
        at = np.flatnonzero(wanted)
        rows = published.rows.take(at)
        chosen = self._chosen(rows, window[2], turn)
        at, rows = at[chosen], rows.take(chosen)
        columns = columns_of(rows)
        columns["revision"] = published.revisions[at]
        columns["first_points"] = published.first_points[at]
        if len(at):
            self.windows.append(Said(window[0], window[2], False, self._encoded(rows, columns)))

    def _of_metric(self, rows: PartialRows) -> PartialRows:
        return rows.take(np.flatnonzero(self._mine[rows.definition]))

    def _chosen(self, rows: PartialRows, end: int, turn: Turn) -> I64:
        """The rows that have the labels, as far as the turn goes."""
        at = np.arange(len(rows))
        if self._question.labels:
            at = np.flatnonzero(with_labels(rows.labels, self._question.labels))
        return at[turn.chosen(end, rows.high[at])]

    def _encoded(self, rows: PartialRows, columns: dict[str, Column]) -> bytes:
        used, dense = np.unique(rows.definition, return_inverse=True)
        indexes: list[int] = used.tolist()
        described = [self._definitions[index] for index in indexes]
        columns = {**columns, "definition": dense.astype(np.uint16)}
        return encode_table(Table(columns, {"definitions": described}))
