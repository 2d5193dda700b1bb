"""Which windows a row belongs to, when they close, and when a row is late.

Windows are (start, end], as everywhere here. Tumbling and hopping windows are made of *panes*, the
largest pieces that every window holds whole: a row is added once, to its pane; a window merges its
panes when it closes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from streams.event_time.windows import EARLIEST, last_complete, window_end
from streams.operators.batch import shifted
from streams.schema import TopologyError

I64 = npt.NDArray[np.int64]

Duration = timedelta | int
"""A time span; an int is nanoseconds."""


def nanoseconds(span: Duration) -> int:
    """The span in nanoseconds."""
    if isinstance(span, timedelta):
        return span // timedelta(microseconds=1) * 1000
    return span


@dataclass(frozen=True, slots=True)
class TimeWindows:
    """Windows of event time, (start, end], ends on multiples of `advance`. Nanoseconds.

    `grace_ns`: how far the watermark must be past the end before a window closes.
    `horizon_ns`: how long after that late rows still make revisions; None: they are counted and
    dropped.
    """

    size: int
    advance: int
    grace_ns: int = 0
    horizon_ns: int | None = None

    @classmethod
    def of(cls, size: Duration) -> TimeWindows:
        """Tumbling windows: one follows the other."""
        span = nanoseconds(size)
        if span < 1:
            raise TopologyError(f"a window of {size} holds nothing: give a size above zero")
        return cls(span, span)

    def advance_by(self, advance: Duration) -> TimeWindows:
        """Hopping windows: one begins every `advance`."""
        step = nanoseconds(advance)
        if not 1 <= step <= self.size:
            raise TopologyError(
                f"windows of {self.size} ns cannot advance by {step} ns: "
                "rows would fall between them, or windows never end; give 1 ns to the size"
            )
        return replace(self, advance=step)

    def grace(self, span: Duration) -> TimeWindows:
        """Wait so long, in event time, for rows that come out of order."""
        if nanoseconds(span) < 0:
            raise TopologyError("a grace is zero or more")
        return replace(self, grace_ns=nanoseconds(span))

    def revisions(self, horizon: Duration) -> TimeWindows:
        """Late rows make revisions of closed windows, up to so long after the close."""
        if nanoseconds(horizon) < 1:
            raise TopologyError("revisions need a horizon above zero: how late may a row be")
        return replace(self, horizon_ns=nanoseconds(horizon))

    @property
    def pane(self) -> int:
        """The length of a pane."""
        return math.gcd(self.size, self.advance)

    @property
    def revised(self) -> bool:
        return self.horizon_ns is not None

    def panes_of(self, times: I64) -> I64:
        """The ends of the panes that hold these times."""
        return window_end(times, self.pane)

    def first_window(self, pane: int) -> int:
        """The end of the first window that holds a pane."""
        return window_end(pane, self.advance)

    def last_window(self, pane: int) -> int:
        """The end of the last window that holds a pane."""
        return last_complete(pane + self.size - self.pane, self.advance)

    def kept_until(self, pane: int) -> int:
        """With which closed window a pane is of no more use."""
        return self.last_window(pane) + (self.horizon_ns or 0)

    def closed_by(self, watermarks: I64) -> I64:
        """The last window that is closed at each of these watermarks, empty or not."""
        times = shifted(watermarks, self.grace_ns)
        # what EARLIEST is rounded to does not matter: it stays EARLIEST
        return np.where(times == EARLIEST, EARLIEST, times // self.advance * self.advance)

    def windows_between(self, pane: int, after: int, until: int) -> range:
        """The windows that hold a pane, with ends in (after, until]."""
        first = max(self.first_window(pane), window_end(after + 1, self.advance))
        return range(first, min(self.last_window(pane), until) + 1, self.advance)

    def panes_in(self, end: int) -> range:
        """The panes of the window with this end."""
        return range(end - self.size + self.pane, end + 1, self.pane)

    def describe(self) -> str:
        """For people and for the identity of a plan."""
        said = f"size={self.size}ns advance={self.advance}ns grace={self.grace_ns}ns"
        return said if self.horizon_ns is None else f"{said} revisions={self.horizon_ns}ns"
