"""Exponential histograms, as OpenTelemetry's data model has them: base 2**(2**-scale).

The scale of a row is the largest, up to max_scale, at which its positive values fit into max_size
buckets and its negative ones too: a function of the set of values (`streams.kernels.exponential`).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

from streams.aggregates.exponential_points import ExponentialPoints, load_points
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
from streams.aggregates.port import F64, I64, Points
from streams.kernels.buckets import pack_range, quantiles, unpack_range
from streams.kernels.exponential import (
    EXPONENTIAL_WIDTH,
    FIRST,
    LAST,
    NEGATIVE,
    POSITIVE,
    SCALE,
    THRESHOLD,
    ZEROS,
    add_exponential,
    clear_exponential,
    fold_into_zero,
    merge_exponential,
    spare_words,
)
from streams.kernels.moments import COUNT, EXCLUDED, FLAGS, HIGHEST, LOWEST, TOTAL, WIDE
from streams.kernels.powers import MAX_SCALE, MIN_SCALE, tables

_FIXED = (
    COUNT, TOTAL, TOTAL + 1, TOTAL + 2, WIDE, LOWEST, HIGHEST, FLAGS, EXCLUDED, ZEROS, THRESHOLD,
    SCALE, POSITIVE + FIRST, POSITIVE + LAST, NEGATIVE + FIRST, NEGATIVE + LAST,
)  # fmt: skip
_RANGES = (POSITIVE, NEGATIVE)


@dataclass(frozen=True, slots=True)
class ExponentialValue:
    """One exponential histogram: the fields of OTLP's data point. NaN: not known."""

    count: int
    sum: float
    min: float
    max: float
    zero_count: int
    zero_threshold: float
    scale: int
    positive_offset: int
    positive_counts: tuple[int, ...]
    negative_offset: int
    negative_counts: tuple[int, ...]


class ExponentialHistograms:
    """Finished rows: `self[r]` is the histogram of row r, `quantile` a column over all rows."""

    def __init__(self, state: Pooled, threshold: float) -> None:
        self._state = state.copy()
        fold_into_zero(self._state.rows, self._state.pool, _bits(threshold), tables())
        self.counts: I64 = state.rows[:, COUNT].copy()
        self.sums = sums_of(state)
        self.lowest = lowest_of(state)
        self.highest = highest_of(state)
        self.scales: I64 = self._state.rows[:, SCALE].copy()
        self.zero_counts: I64 = self._state.rows[:, ZEROS].copy()
        self.zero_thresholds: F64 = self._state.rows[:, THRESHOLD].copy().view(np.float64)

    def __len__(self) -> int:
        return len(self._state)

    def __getitem__(self, r: int) -> ExponentialValue:
        one = Pooled(self._state.rows[r : r + 1], self._state.pool, self._state.used)
        positive, negative = (_packed(one, c)[1] for c in _RANGES)
        numbers = (self.sums[r], self.lowest[r], self.highest[r])
        total, least, greatest = (math.nan if x != x else float(x) for x in numbers)
        return ExponentialValue(
            int(self.counts[r]),
            total,
            least,
            greatest,
            int(self.zero_counts[r]),
            float(self.zero_thresholds[r]),
            int(self.scales[r]),
            int(one.rows[0, POSITIVE + FIRST]),
            tuple(positive.tolist()),
            int(one.rows[0, NEGATIVE + FIRST]),
            tuple(negative.tolist()),
        )

    def buckets(self, negative: bool = False) -> tuple[I64, I64, I64]:
        """Offsets i64[n] (OTLP's), and ragged counts: where they begin i64[n + 1], and all."""
        c = NEGATIVE if negative else POSITIVE
        begins, counts = _packed(self._state, c)
        return self._state.rows[:, c + FIRST].copy(), begins, counts

    def quantile(self, q: float) -> F64:
        """f64[n]: the value below which a part q of each row's values lies; NaN for an empty row.

        The bucket in which the cumulative count reaches q times the count; within it the value goes
        with the rank on a logarithmic axis (Prometheus's rule for native histograms), in steps of
        scale 20; within the zero bucket linearly. Never outside of minimum and maximum. Its
        relative distance from a value of that rank is at most 2**(2**-scale) - 1.

        Raises:
            ValueError: q is not within 0 and 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile lies within 0 and 1, and {q} does not")
        out = np.empty(len(self))
        quantiles(
            self._state.rows, self._state.pool, float(q), self.zero_counts, self.zero_thresholds,
            self.counts, self.lowest, self.highest, tables()[0], out,
        )  # fmt: skip
        return out


class ExponentialHistogram:
    """Exponential histograms of at most max_size buckets a sign."""

    version = 1

    def __init__(
        self,
        name: str = "exponential_histogram",
        *,
        max_size: int = 160,
        max_scale: int = MAX_SCALE,
        zero_threshold: float = 0.0,
    ) -> None:
        """max_scale: where an empty row begins; zero_threshold: magnitudes up to it are zeros.

        Raises:
            ValueError: A parameter outside of what can be kept: max_size 4..16384, max_scale
                -10..20, zero_threshold a finite number of 0 or more.
        """
        if not 4 <= max_size <= 1 << 14:
            raise ValueError(f"max_size is 4 to 16384 buckets, not {max_size}")
        if not MIN_SCALE <= max_scale <= MAX_SCALE:
            raise ValueError(f"max_scale is {MIN_SCALE} to {MAX_SCALE}, not {max_scale}")
        if not 0 <= zero_threshold < np.inf:
            raise ValueError(f"zero_threshold is a finite number of 0 or more: {zero_threshold}")
        self.name = name
        self.max_size = max_size
        self.max_scale = max_scale
        self.zero_threshold = zero_threshold + 0.0
        self._spare = spare_words(max_size)

    def empty(self, n: int) -> Pooled:
        rows = np.empty((n, EXPONENTIAL_WIDTH), np.int64)
        clear_exponential(rows, self.max_scale, _bits(self.zero_threshold))
        return Pooled.of(rows)

    def add(self, state: Pooled, rows: I64, points: Points) -> None:
        """Values that are not finite join no bucket and no sum; they are counted apart."""
        which = checked(rows, len(state), len(points))
        raws, metas = columns_of(points)
        scratch = np.empty(self.max_size, np.int64)

        def step(done: int) -> int:
            return add_exponential(
                done, which, raws, metas, state.rows, state.pool, state.used, scratch,
                self.max_size, self._spare, _bits(self.zero_threshold), tables(),
            )  # fmt: skip

        state.fill(step, len(which), self._spare)

    def add_points(self, state: Pooled, rows: I64, points: ExponentialPoints) -> None:
        """Point j, which came bucketed, joins row rows[j].

        Raises:
            Rejected: A point contradicts itself; nothing has joined.
        """
        checked(rows, len(state), len(points))
        self.merge(state, rows, self.load(points), np.arange(len(points)))

    def load(self, points: ExponentialPoints) -> Pooled:
        """A state whose row j is point j at its own scale; raises what `add_points` does."""
        return load_points(points, self.empty(len(points)), self.max_scale)

    def merge(self, state: Pooled, rows: I64, other: Pooled, theirs: I64) -> None:
        which = checked(rows, len(state), len(theirs))
        order = checked(theirs, len(other), len(rows))
        source = other.copy() if other is state else other
        scratch = np.empty(self.max_size, np.int64)

        def step(done: int) -> int:
            return merge_exponential(
                done, which, state.rows, state.pool, state.used, order, source.rows, source.pool,
                scratch, self.max_size, self._spare,
            )  # fmt: skip

        state.fill(step, len(which), self._spare)

    def finish(self, state: Pooled) -> ExponentialHistograms:
        return ExponentialHistograms(state, self.zero_threshold)

    def encode(self, state: Pooled) -> bytes:
        fixed = state.rows[:, _FIXED]
        fixed[:, _FIXED.index(WIDE)] = fixed[:, _FIXED.index(WIDE)] > 0
        return seal(
            self.name,
            self.version,
            len(state),
            self._parameters(),
            np.ascontiguousarray(fixed.T).tobytes(),
            wide_words(state.pool, state.rows[:, WIDE]).tobytes(),
            *(narrow(_packed(state, c)[1]) for c in _RANGES),
        )

    def decode(self, data: bytes) -> Pooled:
        n, parts = open_sealed(self.name, self.version, data, 5)
        if parts[0] != self._parameters():
            raise damaged(self.name, "its sizes, scale or zero threshold are others")
        try:
            return self._placed(n, *parts[1:])
        except ValueError as error:
            raise damaged(self.name, str(error)) from error

    def _parameters(self) -> bytes:
        return struct.pack("<Iid", self.max_size, self.max_scale, self.zero_threshold)

    def _placed(self, n: int, fixed: bytes, wide: bytes, *counts: bytes) -> Pooled:
        """The state of these parts; ValueError if they do not fit together."""
        columns = np.frombuffer(fixed, "<i8").reshape(len(_FIXED), n)
        buckets = [widened(part) for part in counts]
        words = np.frombuffer(wide, "<i8")
        room = len(words) + sum(8 * n + 2 * len(each) for each in buckets)
        state = Pooled.of(self.empty(n).rows, room)
        state.rows[:, _FIXED] = columns.T
        scales = state.rows[:, SCALE]
        if n and not (int(scales.min()) >= MIN_SCALE and int(scales.max()) <= self.max_scale):
            raise ValueError("a scale is outside of those allowed")
        for c, each in zip(_RANGES, buckets, strict=True):
            sizes = state.rows[:, c + LAST] - state.rows[:, c + FIRST] + 1
            if n and not (int(sizes.min()) >= 0 and int(sizes.max()) <= self.max_size):
                raise ValueError("a row has too many buckets")
            begins = _summed(sizes)
            if begins[-1] != len(each):
                raise ValueError("the buckets are more or fewer than the rows say")
            unpack_range(state.rows, c, begins, each, state.pool, state.used)
        place_wide_words(state, state.rows, WIDE, words)
        return state


def _packed(state: Pooled, c: int) -> tuple[I64, I64]:
    """The buckets of the range at column c, ragged: where they begin i64[n + 1], and all."""
    begins = _summed(state.rows[:, c + LAST] - state.rows[:, c + FIRST] + 1)
    out = np.empty(int(begins[-1]), np.int64)
    pack_range(np.ascontiguousarray(state.rows), c, state.pool, begins, out)
    return begins, out


def _summed(sizes: I64) -> I64:
    begins = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=begins[1:])
    return begins


def _bits(value: float) -> int:
    return int(np.float64(value).view(np.int64))
