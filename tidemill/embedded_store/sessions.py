"""Sessions: handles that outlive a request, so that temporary tables and SET last."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tidemill.embedded_store import errors
from tidemill.embedded_store.engine import Handle
from tidemill.embedded_store.errors import StoreError
from tidemill.embedded_store.request import Request


@dataclass(slots=True)
class _Kept:
    handle: Handle
    expires: float
    busy: bool


class Sessions:
    """Handles by session id. Used from the event loop alone."""

    def __init__(
        self, opened: Callable[[], Handle], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._open = opened
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def borrow(self, request: Request) -> Handle:
        """The session's handle, the caller's until ``give_back``.

        Raises:
            StoreError: Another request is using it, or ``session_check`` and it is not there.
        """
        self.expire()
        kept = self._kept.get(request.session_id)
        if kept is None:
            if request.session_check:
                raise StoreError(
                    errors.SESSION_NOT_FOUND, f"session '{request.session_id}' is not there"
                )
            kept = self._kept[request.session_id] = _Kept(self._open(), 0.0, False)
        if kept.busy:
            raise StoreError(
                errors.SESSION_IS_LOCKED,
                f"session '{request.session_id}' is busy with another query: "
                "a session runs one at a time",
            )
        kept.busy = True
        kept.expires = self._clock() + request.session_timeout
        return kept.handle

    def give_back(self, request: Request, usable: bool) -> None:
        """End of a borrowing; a handle that is not as it was is closed."""
        kept = self._kept[request.session_id]
        kept.busy = False
        kept.expires = self._clock() + request.session_timeout
        if not usable:
            self._kept.pop(request.session_id).handle.close()

    def expire(self) -> None:
        """Close the sessions whose time is over."""
        now = self._clock()
        for name in [n for n, kept in self._kept.items() if not kept.busy and kept.expires < now]:
            self._kept.pop(name).handle.close()

    def close(self) -> None:
        for kept in self._kept.values():
            if not kept.busy:
                kept.handle.close()
        self._kept.clear()
