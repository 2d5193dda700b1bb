"""Finds jumps of the wall clock, by which `received` is stamped (C)."""

from __future__ import annotations

from dataclasses import dataclass

JUMP_NS = 5_000_000_000


@dataclass(slots=True)
class ClockWatch:
    """Compares the wall clock with the monotonic clock, from one look to the next.

    Only what moves between two looks counts as a jump: a clock that is slewed, a little at a time,
    is being corrected as it should.
    """

    jumps: int = 0
    _offset_ns: int | None = None

    def look(self, wall_ns: int, monotonic_ns: int) -> int:
        """How far the wall clock jumped since the last look, in ns; 0 when it did not."""
        offset = wall_ns - monotonic_ns
        before, self._offset_ns = self._offset_ns, offset
        if before is None or abs(offset - before) <= JUMP_NS:
            return 0
        self.jumps += 1
        return offset - before
