"""Cumulative histograms of one pane key: what their samples add, after the samples before them.

What `streams.kernels.fold` and its base lines are for numbers; the rules are those of
`topologies/temporality`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streams.aggregates.pooled import open_sealed, seal
from streams.event_time.windows import EARLIEST, LATEST
from streams.kernels.fold import POINT_RAW, POINT_START, POINT_TIME, POINT_WHOSE, POINT_WIDTH
from streams.kernels.rows import IS_CUMULATIVE, IS_HISTOGRAM, STEPS
from streams.kernels.sequence import NOTICE_WIDTH
from topologies.preaggregate.contents import Contents
from topologies.preaggregate.forgetting import Kept
from topologies.temporality.chain import Contributions
from topologies.temporality.deltas import ExplicitDeltas, ExponentialDeltas
from topologies.temporality.samples import Samples

if TYPE_CHECKING:
    from topologies.preaggregate.panes import StreamRows

I64 = npt.NDArray[np.int64]
SAMPLES = IS_HISTOGRAM | IS_CUMULATIVE
_NAME, _VERSION = "base lines of histograms", 1


class Added(NamedTuple):
    """What samples add: of each kind of buckets; the slots that had samples; what was noticed.

    notices: i64[n, NOTICE_WIDTH].
    """

    contributions: tuple[Contributions, ...]
    slots: I64
    notices: I64


NOTHING = Added((), np.zeros(0, np.int64), np.zeros((0, NOTICE_WIDTH), np.int64))


def are_samples(points: I64) -> npt.NDArray[np.bool_]:
    """Which of the points i64[n, POINT_WIDTH] are samples of cumulative histograms."""
    return points[:, POINT_WHOSE] & SAMPLES == SAMPLES


class Chains:
    """Base lines by slot.

    Args:
        pane: ns; a first sample whose start lies in its own pane counts whole.
        gap: ns; a stream that was silent for longer is unknown.
        contents: Where what samples say is.
    """

    def __init__(self, pane: int, gap: int, contents: Contents) -> None:
        self._explicit = ExplicitDeltas(pane, gap)
        self._exponential = ExponentialDeltas(pane, gap)
        self._contents = contents
        self.changed = False

    def advance(self, parts: Sequence[I64], after: int = EARLIEST, until: int = LATEST) -> Added:
        """What samples among the points add in (after, until]; base lines move on.

        parts: Points i64[n, POINT_WIDTH]. All are later than their stream's base line.
        """
        chosen = [part[are_samples(part)] for part in parts]
        mine = np.concatenate(chosen) if chosen else np.zeros((0, POINT_WIDTH), np.int64)
        if not len(mine):
            return NOTHING
        self.changed = True
        contributions: list[Contributions] = []
        notices: list[I64] = []
        for deltas, samples in self._samples(mine):
            advance = deltas.advance(samples, after, until)
            contributions += advance.contributions
            notices.append(advance.notices)
        inside = (mine[:, POINT_TIME] > after) & (mine[:, POINT_TIME] <= until)
        slots = np.unique(mine[inside, POINT_WHOSE] >> 8)
        return Added(tuple(contributions), slots, np.concatenate(notices))

    def raise_lines(self, points: I64) -> None:
        """Samples among the points that came late: where they are the last, they are base lines."""
        mine = points[are_samples(points)]
        if len(mine):
            self.changed = True
            for deltas, samples in self._samples(mine):
                deltas.raise_lines(samples)

    def _samples(self, mine: I64) -> list[tuple[Any, Samples[Any]]]:
        found: list[tuple[Any, Samples[Any]]] = []
        numbers = mine[:, POINT_RAW]
        for deltas, (chosen, points) in zip(
            (self._explicit, self._exponential), self._contents.points(numbers), strict=True
        ):
            part = mine[chosen]
            if len(part):
                columns = (part[:, POINT_WHOSE] >> 8, part[:, POINT_START], part[:, POINT_TIME])
                streams, starts, times = map(np.ascontiguousarray, columns)
                recorded = np.ones(len(part), np.bool_)
                found.append((deltas, Samples(streams, starts, times, recorded, points)))
        return found

    def renumber(self, slots: Kept) -> None:
        """The slots that stay have other numbers."""
        self.changed = True
        self._explicit.renumber(slots.now)
        self._exponential.renumber(slots.now)

    def copy(self) -> Chains:
        """The same base lines, which move on by themselves."""
        found = copy.copy(self)
        found._explicit = copy.deepcopy(self._explicit)
        found._exponential = copy.deepcopy(self._exponential)
        return found

    def encode(self) -> bytes:
        """The base lines."""
        return seal(_NAME, _VERSION, 0, self._explicit.encode(), self._exponential.encode())

    def restore(self, data: bytes) -> None:
        """What `encode` gave; raises UnreadableState."""
        _, (explicit, exponential) = open_sealed(_NAME, _VERSION, data, 2)
        self._explicit.restore(explicit)
        self._exponential.restore(exponential)


def with_steps(rows: StreamRows, added: Added) -> StreamRows:
    """Rows in which samples of histograms that add something are counted, and no others."""
    if len(added.slots):
        steps = np.bincount(
            np.concatenate([each.streams for each in added.contributions]),
            minlength=int(added.slots[-1]) + 1,
        )
        which = np.isin(rows.slots, added.slots)
        rows.rows[which, STEPS] = steps[rows.slots[which]]
    return rows


def with_notices(notices: I64, added: Added) -> I64:
    """What was noticed of numbers, and of histograms by what they say."""
    if not len(added.slots):
        return notices
    return np.concatenate([notices[~np.isin(notices[:, 0], added.slots)], added.notices])
