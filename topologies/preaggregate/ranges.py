"""Where in a partition the points of a pane are, so that they can be read again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

NEAR = 64
"""Ranges of records this close are read as one."""
MOST_RANGES = 16
"""Of one pane; then the closest are joined."""


class Range(NamedTuple):
    """Records [first, last] of the partition, and its watermark before the first."""

    first: int
    last: int
    watermark: int


def joined(ranges: Iterable[Range]) -> list[Range]:
    """The ranges in order, those that overlap or are near each other as one."""
    found: list[Range] = []
    for each in sorted(ranges):
        if found and each.first <= found[-1].last + NEAR:
            found[-1] = found[-1]._replace(last=max(found[-1].last, each.last))
        else:
            found.append(each)
    return found


@dataclass(slots=True)
class PaneIndex:
    """Where in the partition a pane's points are: one range, and more for those that came late."""

    ranges: list[Range]

    @property
    def first(self) -> int:
        """The first record."""
        return self.ranges[0].first

    def add(self, new: Range) -> None:
        """There are more, in later records."""
        self.ranges = joined([*self.ranges, new])
        if len(self.ranges) > MOST_RANGES:
            gaps = [b.first - a.last for a, b in itertools.pairwise(self.ranges)]
            at = gaps.index(min(gaps))
            self.ranges[at : at + 2] = [
                self.ranges[at]._replace(last=self.ranges[at + 1].last),
            ]


class Read(NamedTuple):
    """Records [first, last] that have been read, and the watermark behind them."""

    first: int
    last: int
    watermark: int


@dataclass(slots=True)
class Readings:
    """Which records have been read, so that none is read twice."""

    known: list[Read] = field(default_factory=list[Read])

    def add(self, what: Range, watermark: int) -> None:
        """These have been; watermark: the partition's behind the last of them."""
        self.known = sorted([*self.known, Read(what.first, what.last, watermark)])

    def missing(self, ranges: Iterable[Range]) -> list[Range]:
        """What of the ranges has not been read, in order."""
        found: list[Range] = []
        for first, last, watermark in joined(ranges):
            for known in self.known:
                if known.last < first or known.first > last:
                    continue
                if known.first > first:
                    found.append(Range(first, known.first - 1, watermark))
                first, watermark = known.last + 1, known.watermark
            if first <= last:
                found.append(Range(first, last, watermark))
        return found
