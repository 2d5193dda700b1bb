"""A call at a time that changes often: a timer that is asked for, and no clock that ticks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

AGAIN_MS = 20
"""Between two calls, should a time be past still after the first."""


class Alarm:
    """Calls when the time comes that it was set to last, once. For one event loop."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._due_ms: int | None = None

    def set(self, due_ms: int | None, now_ms: int) -> None:
        """Call at this time instead of the one before; None: not at all. ms, monotonic.

        A time that is past already is called soon, but never before `set` returns.
        """
        if self._timer is not None:
            if due_ms == self._due_ms:
                return
            self._timer.cancel()
            self._timer = None
        self._due_ms = due_ms
        if due_ms is not None:
            wait = due_ms - now_ms if due_ms > now_ms else AGAIN_MS
            self._timer = asyncio.get_running_loop().call_later(wait / 1000, self._call)

    def _call(self) -> None:
        self._timer = None
        self._ring()
