"""How many values histogram points observed; a plain value is one, unless it is not finite."""

from __future__ import annotations

import numpy as np

from streams.aggregates.explicit import ExplicitState
from streams.aggregates.histogram_sum import HistogramSum
from streams.aggregates.port import F64
from streams.kernels.moments import COUNT


class HistogramCount(HistogramSum):
    """`count` over histogram points."""

    def __init__(self) -> None:
        super().__init__("histogram_count")

    def finish(self, state: ExplicitState) -> F64:
        """The counts f64[n]."""
        return state.rows[:, COUNT].astype(np.float64)
