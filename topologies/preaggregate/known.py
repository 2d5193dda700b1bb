"""The streams of a task: how they are read, what they belong to, and which of them are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from metric_registry.plan import Plan
from topologies.encodings.points import Points
from topologies.identity.series import SeriesTable
from topologies.preaggregate.aggregation import Aggregation
from topologies.preaggregate.columns import Members, PointColumns
from topologies.preaggregate.contents import Contents
from topologies.preaggregate.forgetting import Forgetting, staying
from topologies.preaggregate.groups import Groups
from topologies.preaggregate.histograms import Contradiction
from topologies.preaggregate.ledger import Refusals
from topologies.preaggregate.matching import Matcher
from topologies.preaggregate.readings import Readings
from topologies.preaggregate.state import Blocks, Restored


class KnownStreams:
    """Of one series table, under the definitions in force.

    Args:
        series: The table.
        forgetting: Which of them are gone.
        refusals: Where it is told which definitions refuse them.
        blocks: What is saved of them.
        contents: Where their histograms are.
    """

    def __init__(
        self,
        plan: Plan,
        series: SeriesTable,
        forgetting: Forgetting,
        refusals: Refusals,
        blocks: Blocks,
        contents: Contents,
    ) -> None:
        self.readings = Readings()
        self.contents = contents
        self.groups = Groups()
        self.forgetting = forgetting
        self._series = series
        self._refusals = refusals
        self._blocks = blocks
        self._plan = plan
        self._matcher = Matcher(plan, series, self.groups)

    def learn(self, aggregations: Sequence[Aggregation]) -> None:
        """Match streams that are new in the series table with the definitions, once each."""
        first, last = self.readings.streams, len(self._series)
        if first == last:
            return
        since = len(self.readings)
        members = self._members(first, last)
        for aggregation in aggregations:
            chosen = members.of(aggregation.definitions)
            aggregation.cells.add_streams(
                len(self.readings) - since, replace(chosen, slot=chosen.slot - since)
            )

    def _members(self, first: int, last: int) -> Members:
        """What the streams `first` to `last` - 1 belong to, by their readings, in order of slot."""
        found = self._matcher.match(first, last)
        self._refusals.add_streams(first, last, found.refusals)
        slots = self.readings.learn(
            first, last, found.members.slot, found.conversion, found.conversions
        )
        members = found.members.in_slots(slots)
        self._blocks.memberships.add(members, found.refusals)
        return members

    def matched_anew(self, plan: Plan) -> Members:
        """What every stream belongs to under these definitions, which are in force now."""
        self._plan = plan
        self._matcher = Matcher(plan, self._series, self.groups)
        self._blocks.memberships.begin()
        self._refusals.begin()
        return self._members(0, len(self._series))

    def restored(self, plan: Plan, restored: Restored) -> Members:
        """What every stream of the state belongs to: these definitions were in force."""
        streams = len(self._series)
        self._blocks.fill_readings(restored, self.readings, streams)
        self._blocks.fill_seen(restored, self.forgetting, streams, restored.meta["newest"])
        slots = len(self.readings)
        found = self._blocks.restore_members(restored, self.groups, streams, slots)
        if found is None:
            return self.matched_anew(plan)
        self._plan = plan
        self._matcher = Matcher(plan, self._series, self.groups)
        members, refused = found
        self._refusals.add_streams(0, streams, refused)
        return members

    def take(self, points: PointColumns, scanned: Points | None) -> None:
        """Keep what whole histograms among these points, which `readings` has read, say."""
        if not self.readings.plain:
            self.contents.put(scanned, points)

    def told(self, found: Sequence[Contradiction]) -> str:
        """Why points of one record are not counted, for people."""
        first = found[0]
        whose = np.zeros(len(self.readings), np.bool_)
        whose[first.slot] = True
        stream = self._series.stream(int(np.flatnonzero(self.readings.series_of(whose))[0]))
        points = "1 point" if len(found) == 1 else f"{len(found)} points"
        return (
            f"{points} of histograms cannot be counted; the first, of {stream.metric} at "
            f"{first.time}: {first.why}. The rest of the record counts"
        )

    def forget(
        self, aggregations: Sequence[Aggregation], times: tuple[int, int], position: int
    ) -> None:
        """Let go of the streams that are gone for good, if they are many: see `forgetting`.

        And of histograms that have sealed.

        times: The watermark, and the newest event time. position: The next record. No points may be
        on their way through the task.
        """
        open_panes = (one.panes.open_panes.values() for one in aggregations)
        self.contents.compact(part for panes in open_panes for parts in panes for part in parts)
        kept = staying(self.forgetting, self.readings, aggregations, times, position)
        if kept is None:
            return
        self._series.keep(kept.stays)
        slots = self.readings.keep(kept)
        self.groups = Groups()
        members = self.matched_anew(self._plan)
        for aggregation in aggregations:
            aggregation.renumber(slots, members, self.groups)
        self._blocks.renumbered()
