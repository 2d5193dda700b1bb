"""When windows close, and what is published of them: a pure core over partial aggregates.

A window closes for a time domain when every source of the domain has sealed it. Its first
publication merges what the sources sealed, and nothing that came later, so it does not depend on
which source was slow. What came later (revisions of a source, another domain's rows for the same
window) is merged into the next revision.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from streams.event_time.windows import EARLIEST, LATEST, SECOND
from topologies.cardinality import Share
from topologies.epochs import Epoch, Sealed, domain_of, topic_of_source
from topologies.epochs import frontier as frontier_of
from topologies.partials import PartialRows
from topologies.results import Histograms
from topologies.rollup.groups import Published, in_order, merged, places, values, with_data
from topologies.rollup.guard import Fill, bounded, fills
from topologies.rollup.stored import States, Window

topic_of = lru_cache(4096)(topic_of_source)
"""Of a source; there are few, and each message names one."""

SWEEP = 30 * SECOND
"""Windows past their horizon are dropped this much event time at a time."""


@dataclass(frozen=True, slots=True)
class Publication:
    """Rows of one window that are new or have changed.

    `published` holds the whole window, `rows` the indexes of what changed; `certificate` is
    source -> offset of the record that sealed it; `idle` the sources that an idle mark sealed.
    """

    window: Window
    domain: str
    published: Published
    rows: npt.NDArray[np.int64]
    certificate: dict[str, int]
    idle: list[str]


@dataclass(frozen=True, slots=True)
class First:
    """The first publication of one domain's groups in a window: rows in order, values f64[n]."""

    window: Window
    rows: PartialRows
    values: npt.NDArray[np.float64]
    histograms: Histograms = None


@dataclass(frozen=True, slots=True)
class Replacement:
    """What a source's record (`offset`) changed in a closed window: its rows then, and before.

    reached: How far the source had sealed by that record. Both in order, one row a group.
    """

    window: Window
    source: str
    offset: int
    reached: int
    rows: PartialRows
    before: PartialRows


@dataclass(slots=True)
class Seals:
    """How far one source has sealed one pane key, and the record that sealed each step.

    No window that ended before `revisable` changes any more; `holds`: see `epochs.Sealed`.
    """

    frontier: int = EARLIEST
    revisable: int = EARLIEST
    holds: bool = False
    untils: list[int] = field(default_factory=list[int])
    offsets: list[int] = field(default_factory=list[int])
    idle: list[bool] = field(default_factory=list[bool])

    def add(self, until: int, offset: int, idle: bool) -> None:
        """The record at `offset` sealed everything up to `until`."""
        if until > self.frontier:
            self.frontier = until
            self.untils.append(until)
            self.offsets.append(offset)
            self.idle.append(idle)

    def sealed_by(self, end: int) -> tuple[int, bool] | None:
        """(offset, by an idle mark) of the record that sealed the window ending at `end`."""
        at = bisect_left(self.untils, end)
        return (self.offsets[at], self.idle[at]) if at < len(self.untils) else None

    def reached(self, offset: int) -> int:
        """How far the source had sealed by the record at `offset`, as far as that is known."""
        at = bisect_right(self.offsets, offset)
        return self.untils[at - 1] if at else EARLIEST

    def forget(self, before: int) -> None:
        """Drop steps that ended before; the newest stays."""
        drop = min(bisect_left(self.untils, before), len(self.untils) - 1)
        if drop > 0:
            del self.untils[:drop], self.offsets[:drop], self.idle[:drop]


@dataclass(slots=True)
class Domain:
    """A time domain: its epochs, by topic, and how far each source has sealed."""

    epochs: dict[str, Epoch] = field(default_factory=dict[str, Epoch])
    seals: dict[tuple[str, str], Seals] = field(default_factory=dict[tuple[str, str], Seals])
    """(source, pane key) -> its seals"""
    closed: dict[str, int] = field(default_factory=dict[str, int])
    """Pane key -> every window ending by then is closed."""
    told: dict[str, int] = field(default_factory=dict[str, int])
    """Pane key -> the greatest time, short of its end, that a source has sealed up to."""

    def frontier(self, pane: str) -> int:
        """Up to where all sources have sealed; EARLIEST until those of an epoch were heard of."""
        return frontier_of(
            self.epochs,
            (
                Sealed(topic_of(source), seals.frontier, seals.holds)
                for (source, key), seals in self.seals.items()
                if key == pane
            ),
        )

    def waits(self, pane: str, until: int) -> bool:
        """Whether some source, by itself, keeps the frontier from passing `until`: most seals are
        not the last that a window waits for. False: ask for the `frontier`.
        """
        return len(self.epochs) == 1 and any(
            seals.frontier <= until for (_, key), seals in self.seals.items() if key == pane
        )

    def epoch_of(self, source: str) -> Epoch:
        """The epoch that the source belongs to."""
        return self.epochs[topic_of(source)]

    def unrevisable(self, pane: str) -> int:
        """No source revises a window that ends by then."""
        waiting = (
            seals.revisable - 1
            for (source, key), seals in self.seals.items()
            if key == pane and seals.revisable <= self.epoch_of(source).until
        )
        return min(waiting, default=LATEST)


@dataclass(slots=True)
class WindowState:
    """What the sources have sent of one window, and what stands published."""

    sealed: dict[str, list[PartialRows]] = field(default_factory=dict[str, list[PartialRows]])
    """Source -> its rows, those that replaced others included."""
    waiting: list[tuple[str, int, PartialRows]] = field(
        default_factory=list[tuple[str, int, PartialRows]]
    )
    """Replacements that came before the first publication: source, its record's offset, rows."""
    unmerged: set[str] = field(default_factory=set[str])
    """Domains whose sources sent rows that no publication has counted."""
    published: Published | None = None
    plain: bool = False
    """What stands published is the first publication of all that is sealed: `published`, which
    would say the same again, is left out."""
    domain: str = ""

    def only_of(self, domain: str) -> bool:
        """Whether nothing of another domain is in it or waits in it."""
        return self.domain == domain and not self.unmerged and not self.waiting


class Windows:
    """All windows of one shard partition.

    `finishes` lists, by definition index, how rows become numbers (`groups.values`), `shares` how
    many groups it may have; both may grow.
    """

    def __init__(self, finishes: list[str], shares: list[Share]) -> None:
        self.finishes = finishes
        self.shares = shares
        self.domains: dict[str, Domain] = {}
        self.states = States[WindowState]()
        self.changed: set[Window] = set()
        self.forgotten: dict[str, tuple[int, int]] = {}
        """Pane key -> window ends (first, last) whose state was dropped."""
        self.rows_refused = 0
        self.firsts: list[First] = []
        self.replacements: list[Replacement] = []
        self.fills: list[Fill] = []
        """What happened since the caller last took them away."""
        self.swept: dict[str, int] = {}
        """Pane key -> horizon of the last sweep; restarts must not change what is dropped."""

    def take(
        self, pane: str, source: str, rows: PartialRows, replaces: bool, offset: int = -1
    ) -> list[Publication]:
        """Take rows of one source; publishes a revision where they change a closed window.

        offset: Of the source's record that made them.
        """
        publications: list[Publication] = []
        domain = _domain_of(source)
        for (level, end), part in _by_window(rows):
            window = (pane, level, end)
            if window not in self.states and self._is_forgotten(pane, end):
                self.rows_refused += len(part)
                continue
            if window not in self.states and not len(with_data(part)):
                continue
            state = self.states.setdefault(window, WindowState())
            self.changed.add(window)
            if not replaces:
                self._recall(state)
                state.sealed.setdefault(source, []).append(part)
                state.unmerged.add(domain)
            elif self._is_closed(domain, pane, end):
                self._replace(window, state, source, offset, part)
                publications.extend(self._publish(window, state, domain))
            else:
                state.waiting.append((source, offset, part))
        return publications

    def _is_forgotten(self, pane: str, end: int) -> bool:
        low, high = self.forgotten.get(pane, (LATEST, EARLIEST))
        return low <= end <= high

    def _is_closed(self, domain: str, pane: str, end: int) -> bool:
        known = self.domains.get(domain)
        return known is not None and end <= known.closed.get(pane, EARLIEST)

    def _replace(
        self, window: Window, state: WindowState, source: str, offset: int, rows: PartialRows
    ) -> None:
        """The source's rows of these groups become these; a row that counts nothing: none."""
        self._recall(state)
        fresh = in_order(rows)
        kept: list[PartialRows] = []
        gone: list[PartialRows] = []
        for part in state.sealed.get(source, []):
            ordered = in_order(part)
            stays = places(ordered, fresh) < 0
            kept.append(ordered.take(np.flatnonzero(stays)))
            gone.append(ordered.take(np.flatnonzero(~stays)))
        parts = [*kept, with_data(rows)]
        state.sealed[source] = [part for part in parts if len(part)]
        seals = self.domains[_domain_of(source)].seals.get((source, window[0]), Seals())
        reached = seals.reached(offset)
        self.replacements.append(Replacement(window, source, offset, reached, fresh, merged(gone)))

    def sealed(
        self,
        epoch: Epoch,
        source: str,
        pane: str,
        until: int,
        offset: int,
        idle: bool,
        revisable: int = EARLIEST,
        holds: bool = False,
    ) -> list[Publication]:
        """A source has sealed up to `until`; closes what all sources of its domain have sealed.

        No later revision of the source concerns a window that ended before `revisable`; holds: see
        `epochs.Sealed`.
        """
        domain = _domain_of(source)
        state = self.domains.setdefault(domain, Domain())
        topic = topic_of(source)
        state.epochs[topic] = epoch.after(state.epochs.get(topic))
        seals = state.seals.setdefault((source, pane), Seals())
        seals.add(until, offset, idle)
        seals.revisable = max(seals.revisable, revisable)
        seals.holds = holds
        if until != LATEST:
            state.told[pane] = max(until, state.told.get(pane, EARLIEST))
        before = state.closed.get(pane, EARLIEST)
        frontier = before if state.waits(pane, before) else state.frontier(pane)
        if frontier <= before:
            return []
        state.closed[pane] = frontier
        publications: list[Publication] = []
        due = sorted(
            (window[1], window[2])
            for window in self.states
            if window[0] == pane and before < window[2] <= frontier
        )
        for level, end in sorted(due, key=lambda item: (item[1], item[0])):
            window = (pane, level, end)
            publications.extend(self._close(window, domain))
        return publications

    def closed(self, domain: str, pane: str) -> int:
        """Every window of the pane key ending by then is closed for the domain."""
        known = self.domains.get(domain)
        return EARLIEST if known is None else known.closed.get(pane, EARLIEST)

    def _close(self, window: Window, domain: str) -> list[Publication]:
        state = self.states[window]
        mine = [source for source in state.sealed if _domain_of(source) == domain]
        publications: list[Publication] = []
        if mine and domain in state.unmerged:
            publications.extend(self._publish(window, state, domain, mine))
        waiting = [item for item in state.waiting if _domain_of(item[0]) == domain]
        if waiting:
            state.waiting = [item for item in state.waiting if _domain_of(item[0]) != domain]
            for source, offset, rows in waiting:
                self._replace(window, state, source, offset, rows)
            publications.extend(self._publish(window, state, domain))
        return publications

    def _publish(
        self, window: Window, state: WindowState, domain: str, only: list[str] | None = None
    ) -> list[Publication]:
        """What changes when all rows of closed domains are merged anew."""
        sources = [s for s in state.sealed if self._counts(s, window, only or [])]
        now = self._unpublished(state, sources)
        if only is not None:
            self.firsts.append(self._first(window, state, now, only))
            self.fills.extend(fills(now.rows, now.points, self.shares))
        is_first = state.published is None and only is not None
        now, changed = now.after(state.published, only is not None)
        state.unmerged.discard(domain)
        self.changed.add(window)
        if not len(changed):
            return []
        state.plain = is_first and len(sources) == len(state.sealed)
        state.published, state.domain = None if state.plain else now, domain
        certificate, idle = self._certificate(domain, window[0], window[2])
        return [Publication(window, domain, now, changed, certificate, idle)]

    def _recall(self, state: WindowState) -> None:
        """Make what stands published again, before what is sealed changes."""
        if state.plain:
            state.published = self.standing(state)
            state.plain = False

    def standing(self, state: WindowState) -> Published | None:
        """What stands published of a window; None: nothing yet."""
        if not state.plain:
            return state.published
        return self._unpublished(state, list(state.sealed)).after(None, True)[0]

    def _unpublished(self, state: WindowState, sources: list[str]) -> Published:
        """What these sources sent, in numbers."""
        rows = self._merged(state, sources)
        return Published.of(rows, *values(rows, self.finishes))

    def _merged(self, state: WindowState, sources: list[str]) -> PartialRows:
        """What these sources sent, one row a group, within the limits."""
        rows = merged([part for source in sources for part in state.sealed[source]])
        return bounded(rows, self.shares)

    def _first(self, window: Window, state: WindowState, now: Published, only: list[str]) -> First:
        """What the closing domain says of the window by itself."""
        if state.published is None:
            return First(window, now.rows, now.values, now.histograms)
        rows = self._merged(state, only)
        return First(window, rows, *values(rows, self.finishes))

    def _counts(self, source: str, window: Window, only: list[str]) -> bool:
        """Whether a source's rows count: it closes now, or its domain has closed the window."""
        return source in only or self._is_closed(_domain_of(source), window[0], window[2])

    def _certificate(self, domain: str, pane: str, end: int) -> tuple[dict[str, int], list[str]]:
        offsets: dict[str, int] = {}
        idle: list[str] = []
        of = self.domains[domain]
        for (source, key), seals in of.seals.items():
            mine = key == pane and of.epoch_of(source).owns(end)
            found = seals.sealed_by(end) if mine else None
            if found is not None:
                offsets[source] = found[0]
                if found[1]:
                    idle.append(source)
        return dict(sorted(offsets.items())), sorted(idle)

    def forget(self, live: str, pane: str) -> list[Window]:
        """Drop the pane's windows past their correction horizon in the live domain; returns them.

        For when a source has sealed more of the pane: nothing else moves the horizon on.
        """
        domain = self.domains.get(live)
        if domain is None:
            return []
        closed = self.closed(live, pane)
        swept = self.swept.get(pane, EARLIEST) + SWEEP
        if closed in (EARLIEST, LATEST) or closed <= swept:
            return []
        horizon = min(closed, domain.unrevisable(pane))
        if horizon <= swept:
            return []
        self.swept[pane] = horizon
        gone = [
            window
            for window in self.states
            if window[0] == pane and window[2] <= horizon and self.states.only_of(window, live)
        ]
        dropped = [window[2] for window in gone]
        if dropped:
            first, _ = self.forgotten.get(pane, (min(dropped), EARLIEST))
            self.forgotten[pane] = (min(first, *dropped), horizon)
        for (_, key), seals in domain.seals.items():
            if key == pane:
                seals.forget(horizon)
        for window in gone:
            del self.states[window]
        return gone


def _by_window(rows: PartialRows) -> list[tuple[tuple[int, int], PartialRows]]:
    """The rows of each (size, end), ascending; they come window by window as a rule."""
    level, end = rows.level, rows.end
    steps = np.flatnonzero((level[1:] != level[:-1]) | (end[1:] != end[:-1])) + 1
    bounds: list[int] = [0, *steps.tolist(), len(rows)]
    runs: dict[tuple[int, int], list[PartialRows]] = {}
    for first, last in itertools.pairwise(bounds):
        window = (int(level[first]), int(end[first]))
        runs.setdefault(window, []).append(rows.slice(first, last))
    return [
        (window, PartialRows.join(parts)) for window, parts in sorted(runs.items(), key=_window)
    ]


def _window(item: tuple[tuple[int, int], list[PartialRows]]) -> tuple[int, int]:
    return item[0]


@lru_cache(4096)
def _domain_of(source: str) -> str:
    return domain_of(topic_of(source))
