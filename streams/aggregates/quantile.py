"""Quantiles, from exponential histograms."""

from __future__ import annotations

from streams.aggregates.exponential import ExponentialHistogram
from streams.aggregates.exponential_points import ExponentialPoints
from streams.aggregates.pooled import Pooled
from streams.aggregates.port import F64, I64, Points
from streams.kernels.powers import MAX_SCALE


class Quantile:
    """The quantile q of the values: the state is an exponential histogram, `finish` one number.

    A quantile of quantiles is none: states are rolled up, finished values are not.
    """

    version = 1

    def __init__(
        self, name: str, q: float, *, max_size: int = 160, max_scale: int = MAX_SCALE
    ) -> None:
        """q within 0 and 1; max_size and max_scale as in `ExponentialHistogram` (ValueError)."""
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile lies within 0 and 1, and {q} does not")
        self.name = name
        self.q = q
        self.histogram = ExponentialHistogram(name, max_size=max_size, max_scale=max_scale)

    def empty(self, n: int) -> Pooled:
        return self.histogram.empty(n)

    def add(self, state: Pooled, rows: I64, points: Points) -> None:
        self.histogram.add(state, rows, points)

    def add_points(self, state: Pooled, rows: I64, points: ExponentialPoints) -> None:
        """Point j, which came bucketed, joins row rows[j]; Rejected as the histogram does."""
        self.histogram.add_points(state, rows, points)

    def load(self, points: ExponentialPoints) -> Pooled:
        """A state whose row j is point j, which came bucketed; Rejected as the histogram does."""
        return self.histogram.load(points)

    def merge(self, state: Pooled, rows: I64, other: Pooled, theirs: I64) -> None:
        self.histogram.merge(state, rows, other, theirs)

    def finish(self, state: Pooled) -> F64:
        """f64[n], by the rule of `ExponentialHistograms.quantile`; NaN for a row without values."""
        return self.histogram.finish(state).quantile(self.q)

    def encode(self, state: Pooled) -> bytes:
        return self.histogram.encode(state)

    def decode(self, data: bytes) -> Pooled:
        return self.histogram.decode(data)
