"""The least value, as a double. NaN wins; -0.0 is below +0.0; NaN for no points."""

from __future__ import annotations

from streams.aggregates.extremes import Extreme


class Min(Extreme):
    """`min`."""

    def __init__(self) -> None:
        super().__init__("min", least=True)
