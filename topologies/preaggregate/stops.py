"""Where a task stops between two records: where late points come, and where something is due."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streams.event_time.windows import EARLIEST, LATEST
from topologies.epochs import Bounds
from topologies.preaggregate.aggregation import Aggregation

NEVER = LATEST + 1


@dataclass(frozen=True, slots=True)
class Stops:
    """What the aggregations of a task wait for, all in unix ns: a few comparisons a record.

    Attributes:
        late: Points up to this time are late for some of them.
        seals: A watermark from here on seals something.
        waiting: Whether any late points have not settled; they do at a receipt from `settles` on.
    """

    late: int
    seals: int
    waiting: bool
    settles: int

    @classmethod
    def of(cls, aggregations: Iterable[Aggregation], bounds: Bounds, settle: int) -> Stops:
        """As things stand, until points are applied, windows seal, or bounds or plans change.

        settle: How long late points wait, by receipts, ns.
        """
        late, seals, settles = EARLIEST - 1, NEVER, NEVER
        waiting = False
        for each in aggregations:
            frontier, pane = each.panes.frontier, each.key.pane
            sealed = frontier // pane * pane
            late = max(late, sealed)
            if frontier < LATEST:
                seals = min(seals, sealed + pane + each.key.grace, LATEST)
            if each.pending:
                waiting = True
                settles = min(settles, each.pending_since + settle)
        if bounds.known and late <= bounds.since:
            late = EARLIEST - 1  # what is older sets a base line of the first window
        return cls(min(late, LATEST - 1), seals, waiting, settles)

    def due(self, watermark: int, received: int, marker: bool) -> bool:
        """Whether something seals, or late points settle: those of a history with its next marker,
        live ones by receipts.
        """
        return watermark >= self.seals or (self.waiting and (marker or received >= self.settles))
