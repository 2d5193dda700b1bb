"""The exact sum over the number of values, rounded once.

NaN for no points. NaN and infinities as in `sum`; values that cancel give +0.0. The mean of finite
values is finite, though their sum may be past the largest double.
"""

from __future__ import annotations

import numpy as np

from streams.aggregates.exact_sums import Sums, SumsAggregate, quotients
from streams.aggregates.port import F64
from streams.kernels.tally import COUNT, MEAN_WIDTH


class Mean(SumsAggregate):
    """`avg`."""

    def __init__(self) -> None:
        super().__init__("avg", MEAN_WIDTH)

    def finish(self, state: Sums) -> F64:
        """The means f64[n]."""
        return quotients(state, np.ascontiguousarray(state.rows[:, COUNT]))
