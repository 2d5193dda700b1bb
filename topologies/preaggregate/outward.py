"""Which records of the past are read, step by step, until all that late points change is known.

First the panes of late samples, and the windows that have to be computed anew. Then what is missing
for the increases that change; that finds the samples after the late ones, whose windows change too.
What is asked for is a function of the points in panes that have been read whole, so of the log: how
it is cut into records that are read together says only what comes along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streams.event_time.levels import window_start
from streams.event_time.windows import EARLIEST
from streams.kernels.fold import BASE_TIME
from topologies.preaggregate.recomputation import Recomputation
from topologies.preaggregate.search import (
    Samples,
    Span,
    backward,
    following,
    forward,
    inside,
    joined_samples,
    panes_of,
)

if TYPE_CHECKING:
    from topologies.preaggregate.aggregation import Aggregation


@dataclass(slots=True)
class Job:
    """Late points that settle, and then a seal (frontier None: none), which need past records."""

    aggregation: Aggregation
    redone: Recomputation
    frontier: int | None
    offset: int
    idle: bool
    watermark: int = EARLIEST

    def begins(self) -> bool:
        """Whether there are records to read; the first range is next."""
        if not self.redone.ranges:
            look_further(self.aggregation, self.redone)
        if not self.redone.ranges:
            return False
        self.watermark = self.redone.ranges[0].watermark
        return True


def look_further(aggregation: Aggregation, redone: Recomputation) -> None:
    """Ask for the records to be read next (`ranges`), if anything has still to be known."""
    while True:
        known = redone.samples()
        _follow(aggregation, redone, known)
        wanted = redone.covered.add(_at_least(aggregation, redone))
        wanted = wanted or redone.covered.add(_around(aggregation, redone, known))
        if not wanted:
            return
        panes = (aggregation.index[end] for end in inside(wanted, aggregation.index))
        redone.ask(each for pane in panes for each in pane.ranges)
        if redone.ranges:
            return


def _follow(aggregation: Aggregation, redone: Recomputation, known: Samples) -> None:
    """Which samples change their increase, as far as known, and with them their windows."""
    if not (redone.increases and redone.covered):
        return
    late = redone.late_samples()
    after = following(known, late, redone.covered, aggregation.gap)
    for part in (late, after):
        for slot, time in zip(part.slots.tolist(), part.times.tolist(), strict=True):
            if time not in redone.changed.setdefault(slot, set()):
                redone.changed[slot].add(time)
                for window in aggregation.sealed_windows(time):
                    redone.windows.setdefault(window, set()).add(slot)


def _at_least(aggregation: Aggregation, redone: Recomputation) -> set[Span]:
    """The panes of late samples, and the windows that have to be computed anew."""
    spans = {
        (window_start(end, level), end)
        for level, end in redone.windows
        if not aggregation.panes.holds((level, end))
    }
    if redone.increases:
        spans |= panes_of(redone.late_samples().times, aggregation.key.pane)
    return spans


def _around(aggregation: Aggregation, redone: Recomputation, known: Samples) -> set[Span]:
    """Where the samples may be that come before and after those that change."""
    if not redone.increases:
        return set()
    late = redone.late_samples()
    newest = np.maximum(aggregation.panes.bases[late.slots, BASE_TIME], late.times)
    how = (redone.covered, aggregation.key.pane, aggregation.gap)
    first = [late]
    for window, slots in redone.windows.items():
        if not aggregation.panes.holds(window):
            cells = aggregation.with_companions(slots)
            needed = aggregation.cells.streams_of(cells)
            begins = window_start(window[1], window[0])
            first.append(known.where(needed[known.slots]).first_in(begins, window[1]))
    return backward(known, joined_samples(first), *how) | forward(known, late, newest, *how)
