"""The exact sum of what histogram points observed, rounded once.

0 for no observations; NaN where a point with observations does not say its sum. A plain value
counts as one observation; values that are not finite are none, as in histograms.
"""

from __future__ import annotations

from streams.aggregates.explicit import ExplicitHistogram, ExplicitPoints, ExplicitState
from streams.aggregates.exponential_points import ExponentialPoints, load_all_moments
from streams.aggregates.pooled import sums_of
from streams.aggregates.port import F64, I64, Points
from streams.kernels.moments import MOMENTS_WIDTH


class HistogramSum:
    """`sum` over histogram points. The state is a histogram of one bucket."""

    version = 1

    def __init__(self, name: str = "histogram_sum") -> None:
        self.name = name
        self._histogram = ExplicitHistogram(name, bounds=())

    def empty(self, n: int) -> ExplicitState:
        return self._histogram.empty(n)

    def add(self, state: ExplicitState, rows: I64, points: Points) -> None:
        """Each value is one observation."""
        self._histogram.add(state, rows, points)

    def load(self, points: ExplicitPoints | ExponentialPoints) -> ExplicitState:
        """A state whose row j is point j, which came bucketed: its count and its sum."""
        loaded = self.empty(len(points))
        loaded.rows[:, MOMENTS_WIDTH] = points.counts
        load_all_moments(
            loaded, points.counts, points.sums, points.lowest, points.highest, points.absent
        )
        return loaded

    def merge(self, state: ExplicitState, rows: I64, other: ExplicitState, theirs: I64) -> None:
        self._histogram.merge(state, rows, other, theirs)

    def finish(self, state: ExplicitState) -> F64:
        """The sums f64[n]."""
        return sums_of(state)

    def encode(self, state: ExplicitState) -> bytes:
        return self._histogram.encode(state)

    def decode(self, data: bytes) -> ExplicitState:
        return self._histogram.decode(data)
