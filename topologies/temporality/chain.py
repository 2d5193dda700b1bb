"""Cumulative histogram streams of one kind of buckets: base lines, and what samples add to them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.aggregates.explicit import ExplicitHistogram
from streams.aggregates.exponential import ExponentialHistogram
from streams.aggregates.pooled import Pooled, damaged, open_sealed, seal
from streams.errors import Rejected
from streams.event_time.windows import LATEST
from streams.kernels.chains import (
    SAMPLE_WIDTH,
    START,
    STEP_WIDTH,
    STREAM,
    SUM_BITS,
    TIME,
    WHOLE,
    one_a_time,
    put_rows,
    step_histograms,
)
from streams.kernels.differences import RANGES
from streams.kernels.exponential import BITS, FIRST, LAST, NEGATIVE, POSITIVE
from streams.kernels.moments import NO_SUM, WIDE, WIDE_WORDS
from streams.kernels.powers import tables
from streams.kernels.sequence import NOTICE_WIDTH

I64 = npt.NDArray[np.int64]
MOST_BUCKETS = 1 << 14
"""Of a sign; points with more are rejected."""

_NAN_BITS = 0x7FF8000000000000
_NAME, _VERSION = "cumulative histograms", 1


@dataclass(frozen=True, slots=True)
class Kind:
    """What histograms that can be compared share: how their rows are read and made."""

    aggregate: ExplicitHistogram | ExponentialHistogram
    layout: int

    @classmethod
    def explicit(cls, bounds: Sequence[float]) -> Kind:
        """Explicit buckets with these bounds. The first ones may hold values below zero."""
        aggregate = ExplicitHistogram(bounds=bounds)
        negative = int(np.searchsorted(aggregate.bounds, 0.0, side="left")) + 1
        return cls(aggregate, min(negative, len(aggregate.bounds) + 1))

    @classmethod
    def exponential(cls) -> Kind:
        """Exponential buckets of any scale."""
        return cls(ExponentialHistogram(max_size=MOST_BUCKETS), RANGES)

    def widest(self, state: Pooled) -> int:
        """The most buckets that a range of these rows has, 2 at least."""
        if self.layout != RANGES or not len(state):
            return 2
        sizes = (
            state.rows[:, c + LAST] - state.rows[:, c + FIRST] + 1 for c in (POSITIVE, NEGATIVE)
        )
        return max(2, *(int(size.max()) for size in sizes))

    def words(self, state: Pooled) -> int:
        """The words of the pool that are in use."""
        used = WIDE_WORDS * int((state.rows[:, WIDE] > 0).sum())
        if self.layout == RANGES:
            for c in (POSITIVE, NEGATIVE):
                bits = state.rows[:, c + BITS]
                used += int((np.int64(1) << bits[bits > 0]).sum())
        return used


@dataclass(frozen=True, slots=True)
class Loaded:
    """Samples as rows: table i64[k, SAMPLE_WIDTH], and a state of k rows."""

    table: I64
    state: Pooled

    @classmethod
    def of(cls, kind: Kind, streams: I64, starts: I64, times: I64, points: Any) -> Loaded:
        """k points of `kind`.

        Raises:
            Rejected: A point contradicts itself, has other bounds, or too many buckets.
        """
        state = kind.aggregate.load(points)
        if kind.widest(state) > MOST_BUCKETS:
            raise Rejected("bucket-count", f"a point has more than {MOST_BUCKETS} buckets a sign")
        table = np.empty((len(streams), SAMPLE_WIDTH), np.int64)
        table[:, STREAM], table[:, TIME], table[:, START] = streams, times, starts
        sums = np.ascontiguousarray(points.sums).view(np.int64)
        absent = np.isnan(points.sums) | ((points.absent & NO_SUM) != 0)
        table[:, SUM_BITS] = np.where(absent, _NAN_BITS, sums)
        return cls(table, state)


@dataclass(frozen=True, slots=True)
class Contributions:
    """What k samples add, each a histogram of its own: row j of `state` is one of `kind`.

    Attributes:
        streams: i64[k].
        starts, times: i64[k], unix ns: a contribution covers (start, time], and belongs to the
            window of its time.
        whole: bool[k], where it is the sample itself, with minimum and maximum if it says so.
        state: k rows, to be merged by the aggregate of `kind`.
    """

    kind: Kind
    streams: I64
    starts: I64
    times: I64
    whole: npt.NDArray[np.bool_]
    state: Pooled

    def __len__(self) -> int:
        return len(self.streams)


class Chain:
    """Base lines of streams, and the rules of `streams.kernels.sequence` for what comes after.

    Args:
        kind: Of all histograms here.
        pane: ns; a first sample whose start lies in its own window of this size counts whole.
        gap: ns; a stream that was silent for longer is unknown.
    """

    def __init__(self, kind: Kind, pane: int, gap: int) -> None:
        self.kind = kind
        self._pane = pane
        self._gap = gap
        self._places = np.zeros(0, np.int64)
        self._lines = np.zeros((0, SAMPLE_WIDTH), np.int64)
        self._state: Pooled = kind.aggregate.empty(0)

    def __len__(self) -> int:
        return len(self._lines)

    def advance(self, loaded: Loaded, after: int, until: int) -> tuple[Contributions, I64]:
        """What samples in (after, until] add; moves base lines on to the last up to `until`.

        All samples are later than their stream's base line; those up to `after` contribute nothing,
        those past `until` are left alone. Returns contributions by stream and time, and notices
        i64[n, NOTICE_WIDTH].
        """
        table, state = loaded.table, loaded.state
        notices = np.empty((2 * len(table), NOTICE_WIDTH), np.int64)
        counts = np.zeros(2, np.int64)
        kept = self._kept(loaded, after, until, notices, counts[1:])
        places = self._places_of(table[kept, STREAM])
        out = self.kind.aggregate.empty(len(kept))
        steps = np.empty((len(kept), STEP_WIDTH), np.int64)
        widest = self.kind.widest(state)
        scratch = np.empty((3, widest), np.int64)

        def step(done: int) -> int:
            return step_histograms(
                done, kept, table, state.rows, state.pool, places, self._lines, self._state.rows,
                self._state.pool, after, self._pane, self._gap, self.kind.layout, out.rows,
                out.pool, out.used, steps, notices, counts, scratch, tables(),
            )  # fmt: skip

        out.grow(state.pool.shape[1])
        out.fill(step, len(kept), _spare(widest))
        written, noticed = counts.tolist()
        out.rows = out.rows[:written]
        found = steps[:written]
        self._move(loaded, kept)
        contributions = Contributions(
            self.kind,
            found[:, STREAM].copy(),
            found[:, START].copy(),
            found[:, TIME].copy(),
            found[:, WHOLE] != 0,
            out,
        )
        return contributions, notices[:noticed].copy()

    def raise_lines(self, loaded: Loaded) -> None:
        """Samples that came late contribute elsewhere; the last of a stream is its base line."""
        known = self._places_of(np.unique(loaded.table[:, STREAM]))
        known = known[known >= 0]
        lines = Loaded(self._lines[known], Pooled(self._state.rows[known], *_pool(self._state)))
        both = self._joined(lines, loaded)
        nothing = np.empty((0, NOTICE_WIDTH), np.int64)
        self._move(both, self._kept(both, LATEST, LATEST, nothing, np.zeros(1, np.int64)))

    def renumber(self, now: I64) -> None:
        """Stream s is now[s] from now on; -1: it is gone."""
        streams = now[self._lines[:, STREAM]] if len(self._lines) else self._lines[:, STREAM]
        kept = np.flatnonzero(streams >= 0)
        self._lines = self._lines[kept]
        self._lines[:, STREAM] = streams[kept]
        self._state = self._copied(Pooled(self._state.rows[kept], *_pool(self._state)))
        self._places = np.full(int(self._lines[:, STREAM].max(initial=-1)) + 1, -1, np.int64)
        self._places[self._lines[:, STREAM]] = np.arange(len(kept))

    def forget(self, before: int) -> None:
        """Drop base lines with a time before this."""
        kept = np.flatnonzero(self._lines[:, TIME] >= before)
        if len(kept) < len(self._lines):
            self._lines = self._lines[kept]
            self._state = self._copied(Pooled(self._state.rows[kept], *_pool(self._state)))
            self._places[:] = -1
            self._places[self._lines[:, STREAM]] = np.arange(len(kept))

    def encode(self) -> bytes:
        """The base lines, in order of stream."""
        order = np.argsort(self._lines[:, STREAM])
        state = Pooled(np.ascontiguousarray(self._state.rows[order]), *_pool(self._state))
        return seal(
            _NAME,
            _VERSION,
            len(self._lines),
            struct.pack("<qq", self._pane, self._gap),
            self._lines[order].astype("<i8").tobytes(),
            self.kind.aggregate.encode(_as_state(self.kind, state)),
        )

    def restore(self, data: bytes) -> None:
        """Put the base lines of `encode` in the place of those here.

        Raises:
            UnreadableState: They were written by another version, with another pane, gap or kind,
                or are damaged.
        """
        n, (parameters, lines, state) = open_sealed(_NAME, _VERSION, data, 3)
        if parameters != struct.pack("<qq", self._pane, self._gap):
            raise damaged(_NAME, "their pane or gap is another")
        if len(lines) != 8 * SAMPLE_WIDTH * n:
            raise damaged(_NAME, "their number is another")
        self._lines = np.frombuffer(lines, "<i8").reshape(n, SAMPLE_WIDTH).astype(np.int64)
        self._state = self.kind.aggregate.decode(state)
        if len(self._state) != n:
            raise damaged(_NAME, "their number is another")
        self._places = np.full(int(self._lines[:, STREAM].max(initial=-1)) + 1, -1, np.int64)
        self._places[self._lines[:, STREAM]] = np.arange(n)

    def _kept(self, loaded: Loaded, after: int, until: int, notices: I64, noticed: I64) -> I64:
        table = loaded.table
        order = np.lexsort((table[:, TIME], table[:, STREAM]))
        kept = np.empty(len(table), np.int64)
        count = one_a_time(
            table, loaded.state.rows, loaded.state.pool, order, self.kind.layout, after, until,
            kept, notices, noticed,
        )  # fmt: skip
        return kept[:count]

    def _places_of(self, streams: I64) -> I64:
        """Where the lines of these streams are, -1: nowhere; makes room for streams."""
        most = int(streams.max(initial=-1)) + 1
        if most > len(self._places):
            grown = np.full(max(most, 2 * len(self._places)), -1, np.int64)
            grown[: len(self._places)] = self._places
            self._places = grown
        return self._places[streams]

    def _move(self, loaded: Loaded, kept: I64) -> None:
        """The last sample of each stream becomes its line."""
        streams = loaded.table[kept, STREAM]
        last = kept[np.append(streams[1:] != streams[:-1], len(kept) > 0)[: len(kept)]]
        streams = loaded.table[last, STREAM]
        places = self._places_of(streams)
        fresh = np.flatnonzero(places < 0)
        if len(fresh):
            places[fresh] = len(self._lines) + np.arange(len(fresh))
            self._places[streams[fresh]] = places[fresh]
            self._lines = np.concatenate(
                [self._lines, np.empty((len(fresh), SAMPLE_WIDTH), np.int64)]
            )
            more = self.kind.aggregate.empty(len(fresh)).rows
            self._state.rows = np.concatenate([self._state.rows, more])
        self._lines[places] = loaded.table[last]
        self._put(self._state, places, loaded.state, last)

    def _put(self, into: Pooled, places: I64, state: Pooled, which: I64) -> None:
        """Rows `places` of one state become rows `which` of another."""
        done, spare = 0, _spare(self.kind.widest(state))
        while done < len(which):
            done = put_rows(
                done, places, into.rows, into.pool, into.used, which, state.rows, state.pool,
                self.kind.layout,
            )  # fmt: skip
            if done < len(which):
                if into.used[0] > 2 * self.kind.words(into) + spare:
                    copied = self._copied(into)
                    into.rows, into.pool, into.used = copied.rows, copied.pool, copied.used
                into.grow(spare)

    def _copied(self, state: Pooled) -> Pooled:
        """The rows without what others have left behind in the pool."""
        copied = self.kind.aggregate.empty(len(state))
        copied.grow(self.kind.words(state) + _spare(self.kind.widest(state)))
        every = np.arange(len(state))
        self._put(copied, every, state, every)
        return copied

    def _joined(self, first: Loaded, second: Loaded) -> Loaded:
        n, total = len(first.table), len(first.table) + len(second.table)
        state = self.kind.aggregate.empty(total)
        self._put(state, np.arange(n), first.state, np.arange(n))
        self._put(state, np.arange(n, total), second.state, np.arange(total - n))
        return Loaded(np.concatenate([first.table, second.table]), state)


def _pool(state: Pooled) -> tuple[npt.NDArray[np.int64], I64]:
    return state.pool, state.used


def _as_state(kind: Kind, state: Pooled) -> Any:
    """The rows as a state that the aggregate takes for its own."""
    own = kind.aggregate.empty(0)
    own.rows, own.pool, own.used = state.rows, state.pool, state.used
    return own


def _spare(widest: int) -> int:
    """Words of the pool that a row with so many buckets a sign may take."""
    return WIDE_WORDS + 2 * max(8, 1 << (widest - 1).bit_length())
