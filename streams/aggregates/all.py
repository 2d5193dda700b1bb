"""1.0 if no value is zero, else 0.0; 1.0 for no points. NaN is not zero, -0.0 is."""

from __future__ import annotations

import numpy as np

from streams.aggregates.port import F64, U8
from streams.aggregates.truths import Truths
from streams.kernels.tally import ZERO


class All(Truths):
    """`all`."""

    def __init__(self) -> None:
        super().__init__("all")

    def finish(self, state: U8) -> F64:
        """The answers f64[n], 1.0 or 0.0."""
        return ((state & ZERO) == 0).astype(np.float64)
