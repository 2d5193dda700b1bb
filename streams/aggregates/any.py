"""1.0 if any value is not zero, else 0.0; 0.0 for no points. NaN is not zero, -0.0 is."""

from __future__ import annotations

import numpy as np

from streams.aggregates.port import F64, U8
from streams.aggregates.truths import Truths
from streams.kernels.tally import NON_ZERO


class Any(Truths):
    """`any`."""

    def __init__(self) -> None:
        super().__init__("any")

    def finish(self, state: U8) -> F64:
        """The answers f64[n], 1.0 or 0.0."""
        return ((state & NON_ZERO) != 0).astype(np.float64)
