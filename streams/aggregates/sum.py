"""The sum of the values, rounded once.

| of | the sum is |
|---|---|
| no points | +0.0 |
| NaN, or infinities of both signs | NaN |
| infinities of one sign | that infinity |
| -0.0 alone, or values that cancel | +0.0 |
| a total past the largest double | an infinity of its sign |
| integers | exact before the one rounding |

Exact for up to 2**32 values a row.
"""

from __future__ import annotations

import numpy as np

from streams.aggregates.exact_sums import Sums, SumsAggregate, quotients
from streams.aggregates.port import F64
from streams.kernels.tally import SUM_WIDTH


class Sum(SumsAggregate):
    """`sum`."""

    def __init__(self) -> None:
        super().__init__("sum", SUM_WIDTH)

    def finish(self, state: Sums) -> F64:
        """The sums f64[n]."""
        return quotients(state, np.ones(len(state.rows), np.int64))
