"""How far from a late sample of a cumulative stream the log is read again.

A late sample changes its own increase and that of the sample after it, which both follow from the
samples around it. These are looked for outward from the late sample's pane, in whole panes, twice
as far each time, and each way alone: until one is found, or until samples are too far away to
matter. If what is found is late itself, its own search goes on from there; so between two samples
that are not late all are known. The same is done for the first sample of each stream in a window
that is computed anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.event_time.levels import window_end
from streams.event_time.windows import EARLIEST, LATEST

I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
Span = tuple[int, int]
"""Event time (after, until]; of whole panes."""


class Samples(NamedTuple):
    """Samples of streams: slots i32[n], times i64[n]."""

    slots: I32
    times: I64

    def where(self, chosen: npt.NDArray[np.bool_]) -> Samples:
        """Those for which the mask holds."""
        return Samples(self.slots[chosen], self.times[chosen])

    def first_in(self, after: int, until: int) -> Samples:
        """Of samples in order, the first of each stream in (after, until]."""
        inside = self.where((self.times > after) & (self.times <= until))
        slots, first = np.unique(inside.slots, return_index=True)
        return Samples(slots, inside.times[first])


def joined_samples(parts: Iterable[Samples]) -> Samples:
    """All samples of the parts (at least one)."""
    slots, times = zip(*parts, strict=True)
    return Samples(np.concatenate(slots), np.concatenate(times))


def panes_of(times: I64, pane: int) -> set[Span]:
    """The panes that these times lie in."""
    ends = window_end(times, pane)
    return _spans(ends - pane, ends)


def inside(spans: Iterable[Span], ends: Iterable[int]) -> list[int]:
    """Those of the panes, by their ends, that lie in any of these spans (in order, disjoint)."""
    after, until = np.array([*spans, (LATEST, LATEST)], np.int64).T
    panes = np.array(sorted(ends), np.int64)
    return panes[panes > after[np.searchsorted(until, panes)]].tolist()


def joined_spans(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, those that touch as one."""
    found: list[Span] = []
    for after, until in sorted(spans):
        if found and after <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], until))
        elif after < until:
            found.append((after, until))
    return found


@dataclass(slots=True)
class Covered:
    """The time of which all points are known, or have been asked for."""

    spans: list[Span] = field(default_factory=list[Span])

    def __bool__(self) -> bool:
        return bool(self.spans)

    def add(self, spans: Iterable[Span]) -> list[Span]:
        """From now on these are covered, too; returns what of them was not, in order."""
        new: list[Span] = []
        for begin, until in joined_spans(spans):
            after = begin
            for known_after, known_until in self.spans:
                if known_until > after and known_after < until:
                    new.append((after, known_after))
                    after = known_until
            new.append((after, until))
        new = [(after, until) for after, until in new if after < until]
        self.spans = joined_spans([*self.spans, *new])
        return new

    def around(self, times: I64) -> tuple[I64, I64]:
        """The span that each of these times (i64[n], all covered) lies in: after, until."""
        after, until = np.array(self.spans, np.int64).reshape(-1, 2).T
        which = np.searchsorted(until, times)
        return after[which], until[which]


def neighbours(known: Samples, wanted: Samples) -> tuple[I64, I64]:
    """The times of the known samples right before and right after each of the wanted ones.

    Of the same stream and at another time; EARLIEST and LATEST where there is none. i64[wanted].
    """
    n, m = len(known.times), len(wanted.times)
    slots = np.concatenate([wanted.slots, known.slots, wanted.slots])
    times = np.concatenate([wanted.times, known.times, wanted.times])
    kind = np.repeat(np.array([0, 1, 2], np.int8), (m, n, m))
    order = np.lexsort((kind, times, slots))
    slots, times, is_known = slots[order], times[order], kind[order] == 1
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    last = np.maximum.accumulate(np.where(is_known, np.arange(len(order)), -1))
    nothing = len(order)
    first = np.where(is_known, np.arange(nothing), nothing)
    first = np.minimum.accumulate(first[::-1])[::-1]
    low, high = place[:m], place[m + n :]
    before, after = np.append(last, -1)[low], np.append(first, nothing)[high]
    slots, times = np.append(slots, -1), np.append(times, 0)
    return (
        np.where(slots[before] == wanted.slots, times[before], EARLIEST),
        np.where(slots[after] == wanted.slots, times[after], LATEST),
    )


def backward(known: Samples, wanted: Samples, covered: Covered, pane: int, gap: int) -> set[Span]:
    """What must be read for the sample before each wanted one; empty: all are known, or none is.

    known: samples in what is covered, and others; pane and gap in ns.
    """
    after, _ = covered.around(wanted.times)
    before, _ = neighbours(known, wanted)
    missing = (before <= after) & (after >= wanted.times - gap)
    after, times = after[missing], wanted.times[missing]
    so_far = window_end(times, pane) - after
    furthest = window_end(times - gap, pane) - pane
    return _spans(np.maximum(after - so_far, furthest), after)


def forward(
    known: Samples, wanted: Samples, newest: I64, covered: Covered, pane: int, gap: int
) -> set[Span]:
    """The same for the sample after each; newest i64[wanted]: none is sealed past that time."""
    _, until = covered.around(wanted.times)
    _, after = neighbours(known, wanted)
    limit = np.where(newest - wanted.times > gap, wanted.times + gap, newest)
    missing = (after > until) & (until < limit)
    until, times = until[missing], wanted.times[missing]
    so_far = until - (window_end(times, pane) - pane)
    return _spans(until, np.minimum(until + so_far, window_end(limit[missing], pane)))


def _spans(after: I64, until: I64) -> set[Span]:
    return set(zip(after.tolist(), until.tolist(), strict=True))


def following(known: Samples, late: Samples, covered: Covered, gap: int) -> Samples:
    """The sample after each late one, as far as known and near enough to follow it."""
    _, until = covered.around(late.times)
    _, after = neighbours(known, late)
    near = (after <= until) & (after - late.times <= gap)
    return Samples(late.slots[near], after[near])
