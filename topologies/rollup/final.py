"""The series of the final topic: one point a series and window, ever. A pure core.

A series is a group of a definition, at one window size, of one time domain. What its next point
must say follows from what it has said: a sum has no gaps (zeros, until it has been silent for too
long, then one point without a value), a cumulative one counts from the start of its run, and one
that carries adds what late points have changed since. Windows close in ascending order a domain
and pane key; nothing here depends on how they are cut into calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from streams.event_time.levels import (
    end_after,
    end_before,
    is_hopping,
    last_complete,
    window_start,
    windows_between,
)
from streams.event_time.windows import EARLIEST, LATEST
from streams.kernels.rows import merge_groups
from topologies.cardinality import Share
from topologies.partials import PartialRows
from topologies.results import Histograms, repeated, taken
from topologies.rollup.groups import in_order, merged, places, values
from topologies.rollup.guard import bounded
from topologies.states import NO_STATES

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
TableKey = tuple[str, str, int]
"""(domain, pane key, level)"""
Mask = Callable[[PartialRows], npt.NDArray[np.bool_]]
"""Which of n rows: bool[n]."""


@dataclass(frozen=True, slots=True)
class Contract:
    """How a definition appears on the final topic.

    Attributes:
        final: Whether it does at all.
        adds_up: A sum or a histogram, else a gauge; hopping windows of a sum are gauges, and those
            of a histogram do not appear.
        cumulative: Each point counts from the start of its run, not of its window.
        carry: What late points change is added to the next point.
        expire_after: Level -> windows without data that a series survives.
        finish: How rows become numbers (`groups.values`).
        share: How many groups there may be.
        nothing: The body of its histogram of no values (`topologies.results`), if it is one.
    """

    final: bool
    adds_up: bool
    cumulative: bool
    carry: bool
    expire_after: dict[int, int]
    finish: str
    share: Share
    nothing: bytes = b""


@dataclass(frozen=True, slots=True)
class Closing:
    """A window that closes, with the first publication of its groups (in order).

    complete: False where data is known to be missing, so that nothing may be said of it.
    """

    level: int
    end: int
    rows: PartialRows
    values: F64
    complete: bool = True
    histograms: Histograms = None


@dataclass(frozen=True, slots=True)
class Points:
    """Points of one window: n groups in order; not `recorded`: they say that there is no value."""

    domain: str
    level: int
    end: int
    rows: PartialRows
    start: I64
    values: F64
    recorded: bool = True
    histograms: Histograms = None


@dataclass(slots=True)
class Correction:
    """What a source's record (`offset`) changed in sealed windows: the exact differences.

    They travel with the first window that the source sealed by a later record, so one that ends
    after `after`: how far it had sealed by then.
    """

    source: str
    offset: int
    after: int
    rows: PartialRows


def bare(rows: PartialRows) -> PartialRows:
    """The groups alone, without their numbers."""
    nothing = np.empty((len(rows), 0), np.int64)
    return replace(rows, rows=nothing, spills={}, states=NO_STATES)


_NONE = PartialRows.join([])
_NO_VALUES = np.zeros(0)


@dataclass(slots=True)
class Table:
    """The series of one domain, pane key and window size. `rows.end`: their last data.

    Attributes:
        end: The last window that closed.
        present: Series (not cumulative) with data in that window; their `end` is the same.
        saved: Whether the last snapshot has the groups of `present`.
        silent: Series (not cumulative) without.
        totals: Cumulative series, their exact sums since `starts` i64[n].
        waiting: Corrections that no point has carried.
    """

    end: int = EARLIEST
    present: PartialRows = field(default_factory=lambda: bare(_NONE))
    saved: bool = False
    silent: PartialRows = field(default_factory=lambda: bare(_NONE))
    totals: PartialRows = _NONE
    starts: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    waiting: list[Correction] = field(default_factory=list[Correction])

    @property
    def series(self) -> int:
        """How many series go on."""
        return len(self.present) + len(self.silent) + len(self.totals)

    def select(self, keep: Mask) -> None:
        """Keep the series that `keep` chooses, and what waits for them."""
        before = len(self.present)
        self.starts = self.starts[keep(self.totals)]
        self.present, self.silent, self.totals = (
            _chosen(rows, keep) for rows in (self.present, self.silent, self.totals)
        )
        self.saved &= len(self.present) == before
        for correction in self.waiting:
            correction.rows = _chosen(correction.rows, keep)
        self.waiting = [correction for correction in self.waiting if len(correction.rows)]


def _chosen(rows: PartialRows, keep: Mask) -> PartialRows:
    return rows.take(np.flatnonzero(keep(rows)))


class _Later:
    """Chooses groups with data in a window of these that ends at `end` or later."""

    def __init__(self, closings: Sequence[Closing]) -> None:
        rows = in_order(PartialRows.join([bare(closing.rows) for closing in closings]))
        last = np.ones(len(rows), np.bool_)
        if len(rows):
            last[:-1] = _differ(rows.slice(0, len(rows) - 1), rows.slice(1, len(rows)))
        self._last = rows.take(np.flatnonzero(last))
        self.end = EARLIEST

    def __call__(self, rows: PartialRows) -> npt.NDArray[np.bool_]:
        found = places(rows, self._last)
        return np.append(self._last.end, EARLIEST)[found] >= self.end  # -1: the last


def _differ(rows: PartialRows, others: PartialRows) -> npt.NDArray[np.bool_]:
    return (
        (rows.low != others.low) | (rows.high != others.high)
        | (rows.definition != others.definition)
    )  # fmt: skip


def _same_groups(rows: PartialRows, others: PartialRows) -> bool:
    return len(rows) == len(others) and not bool(_differ(rows, others).any())


class FinalSeries:
    """All series of one shard partition."""

    def __init__(self) -> None:
        self.tables: dict[TableKey, Table] = {}
        self.changed: set[TableKey] = set()
        """Tables that are not as they were at the last snapshot; also some that are gone."""
        self._contracts: list[Contract] = []
        self._limits: dict[int, I64] = {}
        self._final, self._adds_up, self._cumulative = np.zeros((3, 0), np.bool_)

    def define(self, definition: int, contract: Contract) -> None:
        """From now on the definition of this index (at most the next one) has this contract.

        If it was another, its series end here without a word, and what comes begins anew.
        """
        if definition == len(self._contracts):
            self._contracts.append(contract)
        elif self._contracts[definition] != contract:
            self._contracts[definition] = contract
            for key, table in self.tables.items():
                table.select(lambda rows: rows.definition != definition)
                self.changed.add(key)
        self._limits.clear()
        flags = [(c.final, c.adds_up, c.cumulative) for c in self._contracts]
        self._final, self._adds_up, self._cumulative = np.array(flags, np.bool_).T.copy()

    def carries(self, definitions: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
        """Whether these definitions carry corrections: bool[n]."""
        flags = np.array([c.final and c.carry for c in self._contracts], np.bool_)
        return flags[definitions]

    def correct(self, domain: str, pane: str, level: int, correction: Correction) -> None:
        """Let a correction travel with the next window of its source, if there will be one."""
        if correction.after == LATEST or is_hopping(level) or not len(correction.rows):
            return
        key = (domain, pane, level)
        self.tables.setdefault(key, Table()).waiting.append(correction)
        self.changed.add(key)

    def sealed(self, domain: str, pane: str, source: str, offset: int, until: int) -> None:
        """The source's record at `offset` sealed up to `until`: its own corrections come later."""
        for (of_domain, of_pane, level), table in self.tables.items():
            if (of_domain, of_pane) != (domain, pane):
                continue
            for correction in table.waiting:
                if (correction.source, correction.offset) == (source, offset):
                    correction.after = max(correction.after, until)
                    self.changed.add((domain, pane, level))

    def close(
        self, domain: str, pane: str, until: int, horizon: int, closings: Sequence[Closing]
    ) -> list[Points]:
        """Close every window up to `until`; `closings` are those that have data (or lack it).

        until: LATEST where the domain has ended. Of windows past `horizon` (the greatest time
        that a source told before it ended) nothing is known then but their data: a series ends
        with its own last window.
        """
        levels: dict[int, list[Closing]] = {
            key[2]: [] for key in self.tables if key[:2] == (domain, pane)
        }
        for closing in closings:
            levels.setdefault(closing.level, []).append(closing)
        points: list[Points] = []
        for level, mine in sorted(levels.items()):
            mine.sort(key=lambda closing: closing.end)
            points.extend(self._close_level((domain, pane, level), until, horizon, mine))
        return points

    def _close_level(
        self, key: TableKey, until: int, horizon: int, closings: list[Closing]
    ) -> Iterator[Points]:
        table = self.tables.setdefault(key, Table())
        self.changed.add(key)
        later = _Later(closings) if until == LATEST else None
        limit = horizon if later else until
        steps = [*closings, None]
        for closing in steps:
            last = limit if closing is None else end_before(closing.end, key[2])
            for empty in self._without_data(table, key[2], last):
                yield from self._step(table, key, empty, later if empty.end > limit else None)
            if closing is not None:
                past = later if closing.end > limit else None
                yield from self._step(table, key, closing, past)
        if later or not (table.series or table.waiting):
            del self.tables[key]

    def _without_data(self, table: Table, level: int, last: int) -> Iterator[Closing]:
        """The windows after the last one that closed, up to `last`, that have something to say."""
        while (end := self._next(table, level)) <= last:
            yield Closing(level, end, _NONE, _NO_VALUES)

    def _next(self, table: Table, level: int) -> int:
        """The next window about which a series has something to say without data."""
        if not table.series:
            if not table.waiting:
                return LATEST
            first = min(correction.after for correction in table.waiting)
            return end_after(max(table.end, last_complete(first, level)), level)
        if table.waiting or len(table.totals):
            return end_after(table.end, level)
        limit = self._limit(level)
        expiry = LATEST
        for rows in (table.present, table.silent):
            if bool(self._adds(rows, level).any()):
                return end_after(table.end, level)
            if len(rows):
                ends = end_after(rows.end, level, limit[rows.definition] + 1)
                expiry = min(expiry, int(ends.min()))
        return expiry

    def _step(
        self, table: Table, key: TableKey, closing: Closing, later: _Later | None
    ) -> Iterator[Points]:
        """One window; of one that lies past its domain's horizon only `later` data is known."""
        domain, _, level = key
        end, rows, numbers, shapes = table.end, closing.rows, closing.values, closing.histograms
        table.end = end = closing.end
        if later is not None:
            later.end = end
            table.select(later)
        if not closing.complete:
            table.starts = np.full(len(table.starts), end)
            table.totals = replace(table.totals, rows=np.zeros_like(table.totals.rows), spills={})
            return
        if not bool((appears := self._appears(rows, level)).all()):
            chosen = np.flatnonzero(appears)
            rows, numbers, shapes = rows.take(chosen), numbers[chosen], taken(shapes, chosen)
        due = [correction for correction in table.waiting if correction.after < end]
        if due:
            table.waiting = [one for one in table.waiting if one.after >= end]
            amounts = [replace(c.rows, end=np.full(len(c.rows), end)) for c in due]
            rows = bounded(merged([rows, *amounts]), [c.share for c in self._contracts])
            numbers, shapes = values(rows, self._finishes())
        cumulative = self._cumulative[rows.definition] & (not is_hopping(level))
        if len(table.totals) or bool(cumulative.any()):
            yield from self._add(table, domain, level, end, rows.take(np.flatnonzero(cumulative)))
            chosen = np.flatnonzero(~cumulative)
            rows, numbers, shapes = rows.take(chosen), numbers[chosen], taken(shapes, chosen)
        if len(rows):
            starts = window_start(rows.end, level)
            yield Points(domain, level, end, rows, starts, numbers, histograms=shapes)
        yield from self._silence(table, domain, level, end, rows)

    def _silence(
        self, table: Table, domain: str, level: int, end: int, rows: PartialRows
    ) -> Iterator[Points]:
        """The series that go on from window to window, without those that have `rows` in this."""
        before, table.present = table.present, bare(rows)
        same = _same_groups(before, rows)
        table.saved &= same
        if same and not len(table.silent):
            return
        silent = [table.silent] if same else [table.silent, before]
        silent = [one.take(np.flatnonzero(places(one, rows) < 0)) for one in silent if len(one)]
        table.silent = rest = in_order(PartialRows.join([bare(_NONE), *silent]))
        if not len(rest):
            return
        gone = windows_between(rest.end, end, level) > self._limit(level)[rest.definition]
        zeros = rest.take(np.flatnonzero(~gone & self._adds(rest, level)))
        if len(zeros):
            start = np.full(len(zeros), window_start(end, level))
            empty = repeated([one.nothing for one in self._contracts], zeros.definition)
            none = np.zeros(len(zeros))
            yield Points(domain, level, end, zeros, start, none, histograms=empty)
        if gone.any():
            table.silent = rest.take(np.flatnonzero(~gone))
            rest = rest.take(np.flatnonzero(gone))
            start = np.full(len(rest), window_start(end, level))
            yield Points(domain, level, end, rest, start, np.zeros(len(rest)), False)

    def _add(
        self, table: Table, domain: str, level: int, end: int, rows: PartialRows
    ) -> Iterator[Points]:
        """Cumulative series: the sum of each run so far, which a silent window leaves as it is."""
        totals, starts = _added(table.totals, table.starts, rows, window_start(end, level))
        gone = windows_between(totals.end, end, level) > self._limit(level)[totals.definition]
        if gone.any():
            rest, start = totals.take(np.flatnonzero(gone)), starts[gone]
            totals, starts = totals.take(np.flatnonzero(~gone)), starts[~gone]
            yield Points(domain, level, end, rest, start, np.zeros(len(rest)), False)
        table.totals, table.starts = totals, starts
        if len(totals):
            numbers, shapes = values(totals, self._finishes())
            yield Points(domain, level, end, totals, starts, numbers, histograms=shapes)

    def _finishes(self) -> list[str]:
        return [contract.finish for contract in self._contracts]

    def _appears(self, rows: PartialRows, level: int) -> npt.NDArray[np.bool_]:
        """bool[n]: whether each row's series is on the topic. No histogram can overlap another."""
        if not is_hopping(level):
            return self._final[rows.definition]
        shaped = np.array([bool(contract.nothing) for contract in self._contracts], np.bool_)
        return (self._final & ~shaped)[rows.definition]

    def _adds(self, rows: PartialRows, level: int) -> npt.NDArray[np.bool_]:
        """bool[n]: whether each row's series is a sum; what overlaps never is."""
        return self._adds_up[rows.definition] & (not is_hopping(level))

    def _limit(self, level: int) -> I64:
        """i64[definitions]: how many windows of this size without data a series survives."""
        found = self._limits.get(level)
        if found is None:
            found = np.array([c.expire_after.get(level, 0) for c in self._contracts], np.int64)
            self._limits[level] = found
        return found


def _added(
    totals: PartialRows, starts: I64, rows: PartialRows, start: int
) -> tuple[PartialRows, I64]:
    """Each run's sum with the rows of one more window; runs that begin do so at `start`."""
    n = len(rows)
    plain = not (totals.spills or rows.spills or totals.states or rows.states)
    if plain and _same_groups(totals, rows):
        each = np.arange(n)
        out = np.empty_like(totals.rows)
        both = np.concatenate([totals.rows, rows.rows])
        merge_groups(both, np.arange(2 * n), np.concatenate([each, each]), out)
        return replace(totals, rows=out, end=rows.end), starts
    both = merged([totals, rows])
    was, now = places(both, totals), places(both, rows)
    starts = np.append(starts, start)[was]  # -1: the last
    end = np.where(now >= 0, np.append(rows.end, 0)[now], both.end)
    return replace(both, end=end), starts
