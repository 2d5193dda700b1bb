"""By how much a stream's total grew. A row is one stream in one window.

A point that stands for itself (delta temporality) counts its value. Cumulative samples are put in
order of event time; of several of one time the greatest counts (value by IEEE 754 totalOrder with
NaN above infinity, then exact number, then start). Each sample then counts

| when the sample before it | it counts |
|---|---|
| is no more than `gap` earlier | the exact difference |
| is greater | the sample itself: a reset |
| has another start, and its time is not past this sample's start | the sample itself: a reset |
| has another start, and its time is past this sample's start | zero: two writers overlap |
| is missing, or further back, and its own start lies in its pane | the sample itself |
| is missing, or further back, otherwise | nothing: it is a base line |

and the exact sum of that is rounded once. A start that is 0, or not before its own sample, is no
start (`streams.kernels.sequence`). NaN for rows in which nothing counted: the increase is not
known, which is not zero. A difference with NaN, or between equal infinities, makes it NaN; a
difference that is infinite follows `sum`. NaN is greater than nothing and smaller than nothing.

Which sample comes before which is known only when all have come, so samples are kept (32 bytes
each) until somebody finishes the row; deltas are summed as they come. The increase over space is
the `sum` of increases, never the increase of samples of several streams in one row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from streams.aggregates.checks import check_rows
from streams.aggregates.encoding import (
    UnreadableState,
    array,
    pack,
    pack_integers,
    unpack,
    unpack_integers,
)
from streams.aggregates.exact_sums import Sums, SumsAggregate, quotients
from streams.aggregates.port import F64, I64, Points
from streams.event_time.windows import EARLIEST, LATEST, SECOND
from streams.kernels.exact import spill_of
from streams.kernels.fold import (
    BASE_TIME,
    BASE_WIDTH,
    POINT_RAW,
    POINT_TIME,
    POINT_WHOSE,
    POINT_WIDTH,
    SPILL_WIDTH,
    fold_points,
    in_order,
)
from streams.kernels.rows import (
    INCREASE,
    IS_CUMULATIVE,
    IS_INTEGER,
    STEPS,
    STREAM_WIDTH,
    increase_flags_of,
)
from streams.kernels.sequence import NOTICE_WIDTH
from streams.kernels.tally import COUNT, LIMBS, MEAN_WIDTH, SPECIAL, inside

_NAN_BITS = 0x7FF8000000000000
_KINDS = IS_INTEGER | IS_CUMULATIVE


@dataclass(slots=True)
class Increases:
    """What increases of n streams are computed from.

    Attributes:
        deltas: The exact sum and number of points that stand for themselves.
        bases: i64[n, BASE_WIDTH], the sample before the first that may count; time EARLIEST: none.
        samples: i64[k, POINT_WIDTH] each, cumulative samples in any order; WHOSE has the row.
    """

    deltas: Sums
    bases: I64
    samples: list[I64] = field(default_factory=list[I64])

    def settle(self) -> I64:
        """All samples by row and time, one a time; the state keeps them so."""
        ordered = in_order(self.samples, len(self.bases))
        self.samples = [ordered[_last_of_each(ordered, POINT_TIME)]]
        return self.samples[0]


class Increase:
    """`increase`.

    Args:
        pane: Nanoseconds; a first sample whose start lies in the same window of this size counts.
        gap: Nanoseconds; a stream that was silent for longer is unknown again.
    """

    name = "increase"
    version = 1

    def __init__(self, pane: int = 10 * SECOND, gap: int = 15 * 60 * SECOND) -> None:
        self._pane = pane
        self._gap = gap
        self._sums = SumsAggregate(f"{self.name} of deltas", MEAN_WIDTH)

    def empty(self, n: int) -> Increases:
        """n rows of nothing."""
        bases = np.zeros((n, BASE_WIDTH), np.int64)
        bases[:, BASE_TIME] = EARLIEST
        return Increases(self._sums.empty(n), bases)

    def add(self, state: Increases, rows: I64, points: Points) -> None:
        """Point j is a sample, or a delta, of the stream of row rows[j]."""
        check_rows(rows, len(state.bases), len(points))
        cumulative = (points.metas & IS_CUMULATIVE) != 0
        samples, deltas = np.flatnonzero(cumulative), np.flatnonzero(~cumulative)
        if len(deltas):
            self._sums.add(state.deltas, rows[deltas], points.take(deltas))
        if len(samples):
            state.samples.append(_packed(rows[samples], points.take(samples)))

    def add_base_lines(self, state: Increases, rows: I64, points: Points) -> None:
        """Point j is a sample before the window of row rows[j]: the latest is its base line."""
        check_rows(rows, len(state.bases), len(points))
        _raise_bases(state, _packed(rows, points))

    def merge(self, state: Increases, rows: I64, other: Increases, theirs: I64) -> None:
        """Row theirs[j] of other joins row rows[j]."""
        self._sums.merge(state.deltas, rows, other.deltas, theirs)
        samples = other.settle()
        first = np.searchsorted(samples[:, POINT_WHOSE] >> 8, np.arange(len(other.bases) + 1))
        counts = first[theirs + 1] - first[theirs]
        ends = np.cumsum(counts)
        chosen: I64 = np.repeat(first[theirs] - ends + counts, counts)
        chosen += np.arange(len(chosen))
        if len(chosen):
            state.samples.append(_of_rows(samples[chosen], np.repeat(rows, counts)))
        based = np.flatnonzero(other.bases[theirs, BASE_TIME] != EARLIEST)
        if len(based):
            _raise_bases(state, _of_rows(other.bases[theirs[based]], rows[based]))

    def finish(self, state: Increases) -> F64:
        """The increases f64[n]."""
        return self._divided(state, 1)

    def _divided(self, state: Increases, seconds: int) -> F64:
        total = self._sums.empty(len(state.bases))
        every = np.arange(len(state.bases))
        self._sums.merge(total, every, state.deltas, every)
        slots, steps = self._steps(state)
        self._sums.merge(total, slots, steps, np.arange(len(slots)))
        return quotients(total, np.where(total.rows[:, COUNT] > 0, seconds, 0))

    def _steps(self, state: Increases) -> tuple[I64, Sums]:
        """What samples contribute: rows i64[k], and the exact sum and number of steps of each."""
        samples = state.settle()
        n, k = len(state.bases), len(samples)
        rows = np.empty((min(n, k), STREAM_WIDTH), np.int64)
        slots = np.empty(len(rows), np.int32)
        spilled = np.empty((3 * k, SPILL_WIDTH), np.int64)  # untouched memory costs nothing
        notices = np.empty((k, NOTICE_WIDTH), np.int64)
        result = np.zeros(3, np.int64)
        fold_points(
            samples, EARLIEST, LATEST, self._pane, self._gap, state.bases.copy(), rows, slots,
            spilled, notices, result,
        )  # fmt: skip
        written, spills, _ = result.tolist()
        steps = self._sums.empty(written)
        steps.rows[:, LIMBS : LIMBS + 3] = rows[:written, INCREASE : INCREASE + 3]
        steps.rows[:, SPECIAL] = increase_flags_of(rows[:written])
        steps.rows[:, COUNT] = rows[:written, STEPS]
        for row, column, bits, sign in spilled[:spills].tolist():
            if column == INCREASE:
                steps.spills[row] = steps.spills.get(row, 0) + sign * spill_of(bits)
        return slots[:written].astype(np.int64), steps

    def encode(self, state: Increases) -> bytes:
        """The state as bytes."""
        parts = [state.deltas.rows, state.bases, state.settle()]
        arrays = [part.astype("<i8").tobytes() for part in parts]
        spills = pack_integers(state.deltas.spills)
        return pack(self.name, self.version, len(state.bases), *arrays, spills)

    def decode(self, data: bytes) -> Increases:
        """The state that `encode` was given."""
        n, (deltas, bases, samples, spills) = unpack(self.name, self.version, data, 4)
        rows, lines = (
            array(self.name, deltas, (n, MEAN_WIDTH)),
            array(self.name, bases, (n, BASE_WIDTH)),
        )
        size = len(samples) // (8 * POINT_WIDTH)
        found = array(self.name, samples, (size, POINT_WIDTH))
        if not inside(found[:, POINT_WHOSE] >> 8, n):
            raise UnreadableState(f"a sample in a state of {self.name!r} is of none of {n} rows")
        sums = Sums(rows, unpack_integers(self.name, spills, n))
        return Increases(sums, lines, [found])


def _packed(rows: I64, points: Points) -> I64:
    """Samples as i64[k, POINT_WIDTH]; any NaN becomes the canonical one."""
    out = np.empty((len(rows), POINT_WIDTH), np.int64)
    integer = (points.metas & IS_INTEGER) != 0
    nan = ~integer & np.isnan(points.raws.view(np.float64))
    out[:, 0], out[:, 1] = points.times, points.starts
    out[:, POINT_RAW] = np.where(nan, _NAN_BITS, points.raws)
    out[:, POINT_WHOSE] = points.metas & _KINDS
    return _of_rows(out, rows)


def _of_rows(samples: I64, rows: I64) -> I64:
    """The samples (or base lines), each as one of row rows[j]; changes what it is given."""
    samples[:, POINT_WHOSE] = rows << 8 | samples[:, POINT_WHOSE] & 0xFF
    return samples


def _last_of_each(ordered: I64, *columns: int) -> I64:
    """Places of the last point of each row, or of each row and value of the columns."""
    rows = ordered[:, POINT_WHOSE] >> 8
    last = np.ones(len(ordered), np.bool_)
    last[:-1] = rows[1:] != rows[:-1]
    for column in columns:
        last[:-1] |= ordered[1:, column] != ordered[:-1, column]
    return np.flatnonzero(last)


def _raise_bases(state: Increases, samples: I64) -> None:
    """Later samples than a row's base line take its place."""
    rows = np.unique(samples[:, POINT_WHOSE] >> 8)
    rows = rows[state.bases[rows, BASE_TIME] != EARLIEST]
    known = _of_rows(state.bases[rows], rows)
    ordered = in_order([samples, known], len(state.bases))
    latest = ordered[_last_of_each(ordered)]
    rows = latest[:, POINT_WHOSE] >> 8
    latest[:, POINT_WHOSE] &= 0xFF
    state.bases[rows] = latest
