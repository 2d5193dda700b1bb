"""The exact increase over the seconds of the window, rounded once. NaN where the increase is.

No extrapolation to the ends of the window.
"""

from __future__ import annotations

from streams.aggregates.increase import Increase, Increases
from streams.aggregates.port import F64
from streams.event_time.windows import SECOND


class Rate(Increase):
    """`rate`.

    Args:
        seconds: Of the window, 1..2**31. States do not depend on it.
        pane, gap: As for `Increase`.
    """

    name = "rate"

    def __init__(
        self, seconds: int = 60, pane: int = 10 * SECOND, gap: int = 15 * 60 * SECOND
    ) -> None:
        super().__init__(pane, gap)
        self._seconds = seconds

    def finish(self, state: Increases) -> F64:
        """The rates f64[n], a second."""
        return self._divided(state, self._seconds)
