"""Delta to cumulative: contiguous deltas become running totals with a start time.

OpenTelemetry data model, "Sums: Delta-to-Cumulative" and "Sums: detecting alignment issues", for
sums and for histograms. A delta covers (start, time]; a *run* is what follows without a hole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streams.aggregates.pooled import damaged, open_sealed, seal
from streams.event_time.windows import LATEST

I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

GAP = 0
OVERLAP = 1
LATE = 2
KINDS = ("gap", "overlap", "late")
"""Of what is noticed: a delta that begins a new run behind a hole; one that begins inside of what
the run covers, and one that ends there: both are dropped."""

_STREAM, _START, _UNTIL = range(3)
_NAME, _VERSION = "cumulatives", 1


class Adds(Protocol):
    """What is needed of an aggregate: `sum`, or a histogram."""

    def empty(self, n: int) -> Any: ...
    def merge(self, state: Any, rows: I64, other: Any, theirs: I64) -> None: ...
    def encode(self, state: Any) -> bytes: ...
    def decode(self, data: bytes) -> Any: ...


@dataclass(frozen=True, slots=True)
class Totals:
    """k cumulative points, by stream and time: their columns, and a state of k rows.

    Attributes:
        streams, starts, times: i64[k], unix ns; a start at its point's own time says that nobody
            knows since when it counts.
        state: Of the aggregate that was given; `finish` makes values of it.
        notices: i64[n, 3]: stream, kind, time.
    """

    streams: I64
    starts: I64
    times: I64
    state: Any
    notices: I64

    def __len__(self) -> int:
        return len(self.streams)


class Cumulatives:
    """The running totals of streams that report deltas.

    Args:
        aggregate: How deltas add up: exactly; an exponential histogram takes the largest scale at
            which the run fits its size.
    """

    def __init__(self, aggregate: Adds) -> None:
        self._aggregate = aggregate
        self._places = np.zeros(0, np.int64)
        self._lines = np.zeros((0, 3), np.int64)
        self._state = aggregate.empty(0)

    def __len__(self) -> int:
        return len(self._lines)

    def advance(self, streams: I64, starts: I64, times: I64, deltas: Any) -> Totals:
        """What runs come to with these deltas: a point for each that joins one.

        streams i64[k], slots from 0 on; starts, times i64[k], unix ns; deltas: a state of k rows.
        Deltas of a call come in any order and are taken by time; what is not later than all that
        was taken before is dropped, and so is what overlaps it.
        """
        order = np.lexsort((starts, times, streams))
        first = np.ones(len(order), np.bool_)
        first[1:] = streams[order[1:]] != streams[order[:-1]]
        begins = np.flatnonzero(first)
        turn = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
        joined, begun = np.zeros(len(order), np.bool_), np.zeros(len(order), np.int64)
        notices: list[I64] = []
        out = self._aggregate.empty(len(order))
        for number in range(int(turn.max(initial=-1)) + 1):
            at = np.flatnonzero(turn == number)
            which = order[at]
            taken, noticed = self._take(streams[which], starts[which], times[which], deltas, which)
            at, places = at[taken], self._places[streams[which[taken]]]
            self._aggregate.merge(out, at, self._state, places)
            joined[at], begun[at] = True, self._lines[places, _START]
            notices.append(noticed)
        kept = np.flatnonzero(joined)
        state = self._aggregate.empty(len(kept))
        self._aggregate.merge(state, np.arange(len(kept)), out, kept)
        chosen = order[kept]
        every = np.concatenate([np.empty((0, 3), np.int64), *notices])
        every = every[np.lexsort((every[:, 1], every[:, 2], every[:, 0]))]
        return Totals(streams[chosen], begun[kept], times[chosen], state, every)

    def _take(
        self, streams: I64, starts: I64, times: I64, deltas: Any, which: I64
    ) -> tuple[Mask, I64]:
        """One delta a stream joins its run; which have, and what was noticed."""
        places = self._places_of(streams)
        known = places >= 0
        until = np.full(len(streams), -LATEST, np.int64)
        until[known] = self._lines[places[known], _UNTIL]
        stated = (starts > 0) & (starts < times)
        late = times <= until
        overlap = ~late & stated & (starts < until)
        behind = known & stated & (starts > until)
        taken = ~(late | overlap)
        fresh = taken & (~known | behind)
        self._begin(streams[fresh], np.where(stated, starts, times)[fresh])
        places = self._places_of(streams)
        self._aggregate.merge(self._state, places[taken], deltas, which[taken])
        self._lines[places[taken], _UNTIL] = times[taken]
        noticed: list[I64] = []
        for kind, found in ((GAP, behind), (OVERLAP, overlap), (LATE, late)):
            kinds = np.full(int(found.sum()), kind)
            noticed.append(np.stack([streams[found], kinds, times[found]], axis=1))
        return taken, np.concatenate(noticed)

    def _begin(self, streams: I64, starts: I64) -> None:
        """New runs, of nothing so far."""
        if not len(streams):
            return
        known = len(self._lines)
        places = self._places_of(streams)
        new = np.flatnonzero(places < 0)
        places[new] = known + np.arange(len(new))
        self._places[streams] = places
        grown = np.zeros((known + len(new), 3), np.int64)
        grown[:known] = self._lines
        grown[places, _STREAM], grown[places, _START] = streams, starts
        self._lines = grown
        self._keep(np.setdiff1d(np.arange(known), places))

    def _keep(self, places: I64) -> None:
        """Give the lines a state in which these rows are as they were, and the others empty."""
        state = self._aggregate.empty(len(self._lines))
        self._aggregate.merge(state, places, self._state, places)
        self._state = state

    def forget(self, before: int) -> None:
        """End the runs of streams that were silent since before this time."""
        kept = np.flatnonzero(self._lines[:, _UNTIL] >= before)
        state = self._aggregate.empty(len(kept))
        self._aggregate.merge(state, np.arange(len(kept)), self._state, kept)
        self._lines, self._state = self._lines[kept], state
        self._places[:] = -1
        self._places[self._lines[:, _STREAM]] = np.arange(len(kept))

    def encode(self) -> bytes:
        """The runs, in order of stream."""
        order = np.argsort(self._lines[:, _STREAM])
        state = self._aggregate.empty(len(order))
        self._aggregate.merge(state, np.arange(len(order)), self._state, order)
        lines = self._lines[order].astype("<i8").tobytes()
        return seal(_NAME, _VERSION, len(order), lines, self._aggregate.encode(state))

    def restore(self, data: bytes) -> None:
        """Put the runs of `encode` in the place of those here.

        Raises:
            UnreadableState: They are of another version or aggregate, or damaged.
        """
        n, (lines, state) = open_sealed(_NAME, _VERSION, data, 2)
        if len(lines) != 24 * n:
            raise damaged(_NAME, "their number is another")
        self._state = self._aggregate.decode(state)
        self._lines = np.frombuffer(lines, "<i8").reshape(n, 3).astype(np.int64)
        self._places = np.full(int(self._lines[:, _STREAM].max(initial=-1)) + 1, -1, np.int64)
        self._places[self._lines[:, _STREAM]] = np.arange(n)

    def _places_of(self, streams: I64) -> I64:
        most = int(streams.max(initial=-1)) + 1
        if most > len(self._places):
            grown = np.full(max(most, 2 * len(self._places)), -1, np.int64)
            grown[: len(self._places)] = self._places
            self._places = grown
        return self._places[streams]
