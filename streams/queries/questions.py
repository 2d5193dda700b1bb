"""What is asked of a store, and what one task says to it; both travel between workers as bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from streams.event_time.windows import EARLIEST, LATEST
from streams.operators.windows import TimeWindows

LAST_HASH = (1 << 64) - 1
GROUPS_A_TURN = 8_192
"""Groups that one question looks at in one turn of a task: about 10 ms of its thread."""

Place = tuple[int, int]
"""(window end, hash of the key): where a row is in the order of an answer."""


class QueryError(Exception):
    """A question that gets no answer. `status` and `code` are for programs, the text for people.

    `retry_ms`: after how long the same question may have an answer; None: never.
    """

    def __init__(
        self, status: int, code: str, message: str, *, retry_ms: int | None = None, **more: Any
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_ms = retry_ms
        self.more = more

    def body(self) -> dict[str, Any]:
        """As JSON."""
        found = {"error": self.code, "message": self.message, **self.more}
        return found if self.retry_ms is None else found | {"retry_after_ms": self.retry_ms}


class Question(msgspec.Struct, frozen=True):
    """What a task is asked.

    Attributes:
        store: The operator that keeps it.
        key: One key, packed (`streams/operators/keys.py`); of an operator's own store its bytes.
        where: Values that key columns must have; groups are looked through for them.
        after, until: Windows with ends in (after, until], unix ns.
        limit: Rows at most.
        behind: The place that an earlier page came to; None: from the beginning.
        body: What is asked of a processor of records, in words of its own; the rest is then empty.
    """

    store: str
    key: bytes | None = None
    where: dict[str, Any] = {}
    after: int = EARLIEST
    until: int = LATEST
    limit: int = 100
    behind: Place | None = None
    body: bytes = b""


class Window(msgspec.Struct, frozen=True):
    """Groups of a window as a task has them: states, not results, for others may have parts.

    `revision` 0: it is open. Without windows, `end` is 0.
    """

    end: int
    revision: int
    groups: bytes


class Row(msgspec.Struct, frozen=True):
    """A row of a table, or of an operator's own store, at its place."""

    hash: int
    values: dict[str, Any]


class Part(msgspec.Struct, frozen=True):
    """What one task has.

    Attributes:
        reached: All up to this place was looked at; None: to the end.
        closed: The last window that the task has closed.
        received: Of a task that merges: by source, the last window whose parts it has whole.
        torn: Of these, sources of whose next window it has a part, and not the whole.
        body: What a processor of records says, in words of its own.
    """

    windows: list[Window] = []
    rows: list[Row] = []
    reached: Place | None = None
    closed: int = EARLIEST
    received: dict[str, int] = {}
    torn: list[str] = []
    body: bytes = b""


class Reply(msgspec.Struct, frozen=True):
    """A part, and where its task stood: `position` is the next record of its input.

    `committed`: what a crash now would take it back to; the records behind are read again then.
    """

    part: Part
    position: int
    committed: int


def retired(windows: TimeWindows, closed: int) -> int:
    """Windows with ends up to here are no longer in the state, having been published."""
    horizon = windows.horizon_ns or 0
    return EARLIEST if closed < EARLIEST + horizon else closed - horizon
