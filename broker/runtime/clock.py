"""The broker's time: Unix milliseconds that never go back and do not jump.

Timers, retention and stamped records hang on it. It runs with the monotonic clock and follows the
wall clock by small steps, so a wall clock that jumps expires nobody's session and freezes no timer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

MOST_STEP_MS = 1500


class Clock:
    """`wall` and `steady` give nanoseconds."""

    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        steady: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()
        self._last_ms = 0

    def now_ms(self) -> int:
        now = (self._steady() + self._offset) // 1_000_000
        if now > self._last_ms:
            self._last_ms = now
        return self._last_ms

    def follow(self) -> int:
        """Move towards the wall clock, by 1.5 s at most; the milliseconds still missing."""
        ahead = self._wall() - self._steady() - self._offset
        most = MOST_STEP_MS * 1_000_000
        step = max(-most, min(most, ahead))
        self._offset += step
        return (ahead - step) // 1_000_000
