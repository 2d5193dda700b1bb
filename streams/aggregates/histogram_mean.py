"""The mean of what histogram points observed: their exact sum over their count, rounded once.

NaN for no observations, else as the sum (`histogram_sum`).
"""

from __future__ import annotations

import numpy as np

from streams.aggregates.explicit import ExplicitState
from streams.aggregates.histogram_sum import HistogramSum
from streams.aggregates.pooled import exact_sum, rounded, sums_of
from streams.aggregates.port import F64
from streams.kernels.exact import finish_mean
from streams.kernels.moments import (
    COUNT,
    FLAGS,
    NO_SUM,
    SPECIAL_SUM,
    TOTAL,
    WIDE,
)

_MANY = 1 << 31
"""Counts that the compiled division does not take."""
_NO_FINITE_SUM = NO_SUM | SPECIAL_SUM


class HistogramMean(HistogramSum):
    """`avg` over histogram points."""

    def __init__(self) -> None:
        super().__init__("histogram_avg")

    def finish(self, state: ExplicitState) -> F64:
        """The means f64[n]."""
        counts = np.ascontiguousarray(state.rows[:, COUNT])
        out = np.empty(len(state))
        finish_mean(state.rows, TOTAL, counts, out)
        for r in np.flatnonzero((state.rows[:, WIDE] > 0) | (counts >= _MANY)).tolist():
            if counts[r]:
                out[r] = rounded(exact_sum(state.rows[r, TOTAL:], state.pool) / int(counts[r]))
        special = state.rows[:, FLAGS] & _NO_FINITE_SUM != 0
        out[special] = sums_of(state)[special]
        out[counts == 0] = np.nan
        return out
