"""Explicit bucket histograms, as OpenTelemetry's data model has them.

Histograms add up only where their bounds are equal; the bounds are a parameter of the aggregate, so
states of other bounds are of another type: `DifferentBounds`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.aggregates.exponential_points import load_all_moments
from streams.aggregates.pooled import (
    Pooled,
    checked,
    columns_of,
    damaged,
    highest_of,
    lowest_of,
    narrow,
    open_sealed,
    place_wide_words,
    seal,
    sums_of,
    wide_words,
    widened,
)
from streams.aggregates.port import F64, I64, U8, Points
from streams.errors import Rejected
from streams.kernels.explicit import (
    add_explicit,
    clear_explicit,
    coarsen_buckets,
    explicit_quantiles,
    merge_explicit,
)
from streams.kernels.moments import COUNT, MOMENTS_WIDTH, WIDE, WIDE_WORDS

DEFAULT_BOUNDS = (
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0,
    10000.0,
)  # fmt: skip


class DifferentBounds(Rejected):
    """A histogram of other bounds, which cannot be merged without guessing."""

    def __init__(self, message: str) -> None:
        super().__init__("histogram-bounds", message)


@dataclass(frozen=True, slots=True)
class ExplicitPoints:
    """Histogram data points that came bucketed, as parallel columns of k points.

    Attributes:
        counts, sums, lowest, highest: i64[k], f64[k], f64[k], f64[k].
        absent: u8[k], NO_SUM, NO_LOWEST and NO_HIGHEST of `streams.kernels.moments`, of what a
            point does not say.
        bound_offsets, bounds: i64[k + 1] and f64[.]: the bounds of point j are
            bounds[bound_offsets[j] : bound_offsets[j + 1]].
        bucket_offsets, bucket_counts: i64[k + 1] and i64[.], one more a point than bounds.
    """

    counts: I64
    sums: F64
    lowest: F64
    highest: F64
    absent: U8
    bound_offsets: I64
    bounds: F64
    bucket_offsets: I64
    bucket_counts: I64

    def __len__(self) -> int:
        return len(self.counts)


def contradictory(points: ExplicitPoints) -> npt.NDArray[np.bool_]:
    """Which points contradict themselves, bool[k]: bounds that do not rise, buckets that are not
    one more than bounds, or do not add up to the count.

    Raises:
        Rejected: The columns do not fit together.
    """
    for offsets, column in (
        (points.bound_offsets, points.bounds),
        (points.bucket_offsets, points.bucket_counts),
    ):
        whole = len(offsets) == len(points) + 1 and offsets[0] == 0 and offsets[-1] == len(column)
        if not whole or bool((np.diff(offsets) < 0).any()):
            raise Rejected("bucket-count", "the offsets of bounds and counts do not fit them")
    sizes, buckets = np.diff(points.bound_offsets), np.diff(points.bucket_offsets)
    wrong = buckets != sizes + 1
    steps = np.diff(points.bounds, prepend=-np.inf)
    steps[points.bound_offsets[:-1][sizes > 0]] = 1.0
    fault = ~np.isfinite(points.bounds) | ~(steps > 0)
    wrong |= _within(fault, points.bound_offsets) > 0
    wrong |= _within(points.bucket_counts < 0, points.bucket_offsets) > 0
    return wrong | (_within(points.bucket_counts, points.bucket_offsets) != points.counts)


def _within(column: npt.NDArray[Any], offsets: I64) -> I64:
    """The sums of each point's part of a column, i64[k]."""
    sums = np.zeros(len(column) + 1, np.int64)
    np.cumsum(column, out=sums[1:])
    return sums[offsets[1:]] - sums[offsets[:-1]]


@dataclass(slots=True)
class ExplicitState(Pooled):
    """Rows of `streams.kernels.explicit`, and the bounds f64[b] of their buckets."""

    bounds: F64


@dataclass(frozen=True, slots=True)
class ExplicitValue:
    """One explicit histogram: the fields of OTLP's data point. NaN: not known."""

    count: int
    sum: float
    min: float
    max: float
    bounds: tuple[float, ...]
    bucket_counts: tuple[int, ...]


class ExplicitHistograms:
    """Finished rows: `self[r]` is the histogram of row r, `quantile` a column over all rows."""

    def __init__(self, state: ExplicitState, bounds: F64) -> None:
        self.bounds = bounds
        self.counts: I64 = state.rows[:, COUNT].copy()
        self.sums = sums_of(state)
        self.lowest = lowest_of(state)
        self.highest = highest_of(state)
        self.bucket_counts: npt.NDArray[np.int64] = state.rows[:, MOMENTS_WIDTH:].copy()
        self._rows = state.rows.copy()

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, r: int) -> ExplicitValue:
        numbers = (self.sums[r], self.lowest[r], self.highest[r])
        total, least, greatest = (math.nan if x != x else float(x) for x in numbers)
        buckets = tuple(self.bucket_counts[r].tolist())
        bounds = tuple(self.bounds.tolist())
        return ExplicitValue(int(self.counts[r]), total, least, greatest, bounds, buckets)

    def quantile(self, q: float) -> F64:
        """f64[n]: the value below which a part q of each row's values lies; NaN for an empty row.

        Prometheus's `histogram_quantile`: the bucket in which the cumulative count reaches q times
        the count, and linearly within it. Where the outer buckets have no bound, minimum and
        maximum stand in; unknown, the first begins at 0 (or at its upper bound, if that is below),
        and the last gives its lower bound. Never outside of minimum and maximum. Its distance from
        a value of that rank is at most the bucket's width.

        Raises:
            ValueError: q is not within 0 and 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile lies within 0 and 1, and {q} does not")
        out = np.empty(len(self))
        explicit_quantiles(
            self._rows, self.bounds, float(q), self.counts, self.lowest, self.highest, out
        )
        return out


class ExplicitHistogram:
    """Explicit bucket histograms with these bounds."""

    version = 1

    def __init__(
        self, name: str = "explicit_histogram", *, bounds: Sequence[float] = DEFAULT_BOUNDS
    ) -> None:
        """bounds: finite, strictly ascending (ValueError else); none: one bucket for all values."""
        held = np.array(bounds, np.float64) + 0.0
        if not np.isfinite(held).all() or bool((np.diff(held) <= 0).any()):
            raise ValueError(f"bounds are finite and strictly ascending, not {tuple(bounds)}")
        self.name = name
        self.bounds = held

    def empty(self, n: int) -> ExplicitState:
        rows = np.empty((n, MOMENTS_WIDTH + len(self.bounds) + 1), np.int64)
        clear_explicit(rows)
        return ExplicitState(rows, np.zeros((1, 0), np.int64), np.zeros(1, np.int64), self.bounds)

    def add(self, state: ExplicitState, rows: I64, points: Points) -> None:
        """Values that are not finite join no bucket and no sum; they are counted apart."""
        self._own(state)
        which = checked(rows, len(state), len(points))
        raws, metas = columns_of(points)

        def step(done: int) -> int:
            return add_explicit(
                done, which, raws, metas, self.bounds, state.rows, state.pool, state.used
            )

        state.fill(step, len(which), WIDE_WORDS)

    def add_points(self, state: ExplicitState, rows: I64, points: ExplicitPoints) -> None:
        """Point j, which came bucketed, joins row rows[j].

        Buckets between two of these bounds become one, which loses nothing but where they met.

        Raises:
            DifferentBounds: A point lacks one of these bounds; nothing has joined.
            Rejected: A point contradicts itself; nothing has joined.
        """
        checked(rows, len(state), len(points))
        self.merge(state, rows, self.load(points), np.arange(len(points)))

    def load(self, points: ExplicitPoints) -> ExplicitState:
        """A state whose row j is point j, which came bucketed; raises what `add_points` does."""
        loaded = self.empty(len(points))
        loaded.rows[:, MOMENTS_WIDTH:] = self._buckets(points)
        load_all_moments(
            loaded, points.counts, points.sums, points.lowest, points.highest, points.absent
        )
        return loaded

    def merge(self, state: ExplicitState, rows: I64, other: ExplicitState, theirs: I64) -> None:
        self._own(state)
        self._own(other)
        which = checked(rows, len(state), len(theirs))
        order = checked(theirs, len(other), len(rows))
        source = other.copy() if other is state else other

        def step(done: int) -> int:
            return merge_explicit(
                done, which, state.rows, state.pool, state.used, order, source.rows, source.pool
            )

        state.fill(step, len(which), WIDE_WORDS)

    def finish(self, state: ExplicitState) -> ExplicitHistograms:
        return ExplicitHistograms(state, self.bounds)

    def encode(self, state: ExplicitState) -> bytes:
        fixed = state.rows[:, :MOMENTS_WIDTH].copy()
        fixed[:, WIDE] = fixed[:, WIDE] > 0
        return seal(
            self.name,
            self.version,
            len(state),
            self.bounds.astype("<f8").tobytes(),
            np.ascontiguousarray(fixed.T).tobytes(),
            wide_words(state.pool, state.rows[:, WIDE]).tobytes(),
            narrow(state.rows[:, MOMENTS_WIDTH:].ravel()),
        )

    def decode(self, data: bytes) -> ExplicitState:
        n, (bounds, fixed, wide, counts) = open_sealed(self.name, self.version, data, 4)
        if bounds != self.bounds.astype("<f8").tobytes():
            raise damaged(self.name, "their bounds are others")
        words = np.frombuffer(wide, "<i8")
        try:
            state = self.empty(n)
            state.rows[:, :MOMENTS_WIDTH] = np.frombuffer(fixed, "<i8").reshape(MOMENTS_WIDTH, n).T
            state.rows[:, MOMENTS_WIDTH:] = widened(counts).reshape(n, len(self.bounds) + 1)
            state.grow(len(words))
            place_wide_words(state, state.rows, WIDE, words)
        except ValueError as error:
            raise damaged(self.name, str(error)) from error
        return state

    def _own(self, state: ExplicitState) -> None:
        if not np.array_equal(state.bounds, self.bounds):
            raise DifferentBounds(
                f"a state with the bounds {state.bounds.tolist()} is none with the bounds "
                f"{self.bounds.tolist()}"
            )

    def _buckets(self, points: ExplicitPoints) -> npt.NDArray[np.int64]:
        """i64[k, buckets] of points that have these bounds, among others."""
        if not len(points.bounds) and not len(points.bucket_counts) and not len(self.bounds):
            return points.counts.reshape(-1, 1)  # OTLP: one bucket may go without saying
        at = np.flatnonzero(contradictory(points))
        if len(at):
            raise Rejected("bucket-count", f"histogram point {int(at[0])} contradicts itself")
        buckets = np.zeros((len(points), len(self.bounds) + 1), np.int64)
        other = coarsen_buckets(
            points.bound_offsets, points.bounds, points.bucket_offsets, points.bucket_counts,
            self.bounds, buckets,
        )  # fmt: skip
        if other >= 0:
            begin, end = points.bound_offsets[other : other + 2].tolist()
            raise DifferentBounds(
                f"histogram point {other} has the bounds {points.bounds[begin:end].tolist()}, "
                f"which lack some of {self.bounds.tolist()}"
            )
        return buckets
