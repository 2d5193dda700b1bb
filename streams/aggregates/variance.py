"""The mean of the squared deviations from the mean, rounded once.

From the exact sum S and the exact sum of squares Q of n values it is (n Q - S**2) / n**2, or, for a
sample, over n (n - 1): a rational number, so nothing cancels.

NaN for no points, for one point of a sample, and where a value is NaN or infinite (its distance
from the mean is no number). Equal values have a variance of +0.0. Past the largest double it is
infinite.
"""

from __future__ import annotations

from streams.aggregates.exact_sums import Sums, SumsAggregate, deviations
from streams.aggregates.port import F64
from streams.kernels.tally import MOMENTS_WIDTH


class Variance(SumsAggregate):
    """`variance`, of a population; `variance_sample`, of a sample of it."""

    def __init__(self, *, sample: bool = False) -> None:
        super().__init__("variance_sample" if sample else "variance", MOMENTS_WIDTH)
        self._less = 1 if sample else 0

    def finish(self, state: Sums) -> F64:
        """The variances f64[n]."""
        return deviations(state, self._less, root=False)
