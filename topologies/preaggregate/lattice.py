"""Which windows are made of which, and for how long the rows of sealed ones stay.

A coarser window is made of the coarsest finer windows that fill it: a month of days, a day of
hours, an hour of minutes. A hopping window is made of plain ones as long as its hop, its *steps*,
at the moment it seals; it has no rows of its own, and a step's rows stay until the last hopping
window that it is part of has sealed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streams.event_time.levels import (
    ends_of,
    is_hopping,
    last_complete,
    nests,
    order,
    shortest,
    step_of,
    window_start,
)
from streams.event_time.windows import Times

KEPT = 4
"""Rows of a sealed window are kept if so many windows of its size fill the correction horizon."""

Window = tuple[int, int]
"""(level, end in unix ns)"""


class Lattice:
    """The levels of one pane key.

    Args:
        pane: Its size in ns, of which all windows are made.
        levels: Those that are published.
        corrections: The horizon, in ns.
        keep_from: Sealed windows shorter than this (ns) are not kept: it is quick to read their
            part of the log again, and dear to save their rows every few seconds.
    """

    def __init__(self, pane: int, levels: Iterable[int], corrections: int, keep_from: int) -> None:
        self.pane = pane
        self.published = tuple(sorted(levels, key=order))
        self.hopping = tuple(level for level in self.published if is_hopping(level))
        tumbling = {pane, *self.published, *map(step_of, self.hopping)} - {*self.hopping}
        self.stored = tuple(sorted(tumbling, key=order))
        """Levels whose windows have rows, each after those it is made of; the pane first."""
        self.made_of = self._made_of()
        """By level (but the pane), the one whose rows it is merged from."""
        self._reach: dict[int, int] = {}
        """By step, how long after its end (ns) it is still part of windows that end."""
        self.kept: set[int] = set()
        """Levels whose rows are kept when they have sealed."""
        for level in (*self.stored, *self.hopping):
            if keep_from <= shortest(level) and corrections <= KEPT * shortest(level):
                self.kept.add(step_of(level) if is_hopping(level) else level)
        for level in self.hopping:
            step = step_of(level)
            self._reach[step] = max(self._reach.get(step, 0), shortest(level) - step)

        self.anew = tuple(level for level in self.published if not self._is_kept(level))
        """Published levels of which sealed windows may have to be computed from the log."""

    def _is_kept(self, level: int) -> bool:
        return (step_of(level) if is_hopping(level) else level) in self.kept

    def _made_of(self) -> dict[int, int]:
        return {
            level: [finer for finer in self.stored[:at] if nests(finer, level)][-1]
            for at, level in enumerate(self.stored)
            if level != self.pane
        }

    def stays(self, level: int) -> bool:
        """Whether rows of a stored level stay for a while when they have sealed."""
        return level in self.kept or level in self._reach

    def needed_until(self, ends: Times, level: int) -> Times:
        """The end of the last published window that the rows of a stored one are part of."""
        return ends + self._reach.get(level, 0)

    def holds(self, window: Window, frontier: int) -> bool:
        """Whether the rows of a window are there, or those of all its steps."""
        level, end = window
        if is_hopping(level):
            level, end = self.steps(window)[0]
        return level in self.kept or self.needed_until(end, level) > frontier

    def steps(self, window: Window) -> list[Window]:
        """The stored windows that a hopping window is made of."""
        level, end = window
        step = step_of(level)
        first = window_start(end, level) + step
        return [(step, each) for each in range(first, end + 1, step)]

    def windows_of(self, time: int) -> Iterator[Window]:
        """Every published window that holds the time."""
        for level in self.published:
            for end in ends_of(time, level):
                yield level, end

    def merged_until(self, level: int, frontier: int) -> int:
        """Samples up to this time have been merged into the rows of a stored level."""
        return last_complete(frontier, self.made_of.get(level, self.pane))
