"""The square root of the exact variance, rounded once.

The root is taken of the rational number that `variance` rounds, not of the rounded one, so it is
the nearest double; and it is finite where the variance is past the largest double. NaN as in
`variance`.
"""

from __future__ import annotations

from streams.aggregates.exact_sums import Sums, SumsAggregate, deviations
from streams.aggregates.port import F64
from streams.kernels.tally import MOMENTS_WIDTH


class StandardDeviation(SumsAggregate):
    """`stddev`, of a population; `stddev_sample`, of a sample of it."""

    def __init__(self, *, sample: bool = False) -> None:
        super().__init__("stddev_sample" if sample else "stddev", MOMENTS_WIDTH)
        self._less = 1 if sample else 0

    def finish(self, state: Sums) -> F64:
        """The standard deviations f64[n]."""
        return deviations(state, self._less, root=True)
