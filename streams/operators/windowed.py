"""Windowed aggregation as steps: of rows, to parts that travel, and of parts that arrived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from streams.event_time.windows import EARLIEST
from streams.operators.batch import Batch, Clock
from streams.operators.frames import Frame, group_bodies, split_by_partition, to_partition
from streams.operators.groups import Aggregation, Groups
from streams.operators.keys import pack
from streams.operators.panes import Panes, Published
from streams.operators.stage import Blocks, Stage, rows_of
from streams.operators.suppress import Ticks, UntilTimeLimit, Waiting
from streams.operators.windows import TimeWindows
from streams.queries.questions import Part, Question
from streams.queries.reading import read_windows
from streams.schema import Schema, Type, boolean, i64, time
from streams.task.outputs import Outputs
from streams.task.processor import OutputRecord
from streams.values import Values, constant


@dataclass(frozen=True, slots=True)
class Updates:
    """Open windows are published as well, as they are, when the task commits.

    Not oftener than every so many ns of event time, but after so many rows at the latest.
    """

    every: int = 0
    rows: int = 100_000


@dataclass(frozen=True, slots=True)
class Windowed:
    """A windowed aggregation."""

    name: str
    windows: TimeWindows
    keys: Mapping[str, Type]
    aggregations: Sequence[Aggregation]
    updates: Updates | None = None
    suppressed: UntilTimeLimit | None = None

    @property
    def early(self) -> bool:
        """Whether open windows are published, too."""
        return self.updates is not None or self.suppressed is not None

    def schema(self) -> Schema:
        """Of what it publishes."""
        found: dict[str, Type] = {**self.keys, "window_start": time, "window_end": time}
        found |= {each.name: each.result for each in self.aggregations}
        if self.windows.revised:
            found["revision"] = i64
        if self.early:
            found["final"] = boolean
        return Schema(found)

    def panes(self) -> Panes:
        """Its state, empty."""
        return Panes(self.windows, self.keys, self.aggregations)

    def rows(self, published: Published, record: int, final: bool) -> Batch:
        """What is published of a window, as rows."""
        n, end = published.count, published.end
        columns: dict[str, Values] = {
            **published.columns,
            "window_start": constant(time, end - self.windows.size, n),
            "window_end": constant(time, end, n),
            "revision": constant(i64, published.revision, n),
            "final": constant(boolean, final, n),
        }
        return rows_of({name: columns[name] for name in self.schema()}, n, end, record)


class _WithPanes(Stage):
    """What steps with windows share: their state, and when open windows are published."""

    def __init__(self, windowed: Windowed) -> None:
        super().__init__(windowed.name)
        self._of = windowed
        self._panes = windowed.panes()
        self._keys = tuple(windowed.keys)
        self._rows = 0  # since open windows were published
        self._told = EARLIEST  # the watermark then
        self._now = EARLIEST
        limit = windowed.suppressed
        self._waiting = Waiting(limit or UntilTimeLimit(1), len(windowed.schema()))
        self._ticks = None if limit is None else Ticks(limit.every)

    def _due(self) -> bool:
        """Whether open windows are to be published now."""
        updates = self._of.updates
        if updates is None or not self._rows:
            return False
        waited = self._told == EARLIEST or self._now - self._told >= updates.every
        if not waited and self._rows < updates.rows:
            return False
        self._rows, self._told = 0, self._now
        return True

    def _publish_open(self) -> None:
        """Hand on the open windows as they are; time stands still meanwhile."""
        if not self._due():
            return
        for each in self._panes.open_windows():
            self._hand_on_alone(self._of.rows(each, 0, False))

    def _publish_waiting(self) -> None:
        """Hand on what changed in open windows, as it is now."""
        for each in self._panes.open_groups_of(self._waiting.drain()):
            self._hand_on_alone(self._of.rows(each, 0, False))

    def _hand_on_alone(self, rows: Batch) -> None:
        """Rows that replace earlier ones: nobody asks what time it is with them."""
        still = np.array([EARLIEST], np.int64)
        self.hand_on(rows, Clock(still, still))

    def blocks(self) -> Blocks:
        yield from self._panes.blocks()
        yield from self._waiting.blocks()

    def load(self, key: bytes, data: bytes) -> None:
        if self._waiting.owns(key):
            self._waiting.load(key, data)
        else:
            self._panes.load(key, data)

    def facts(self) -> dict[str, Any]:
        ticked = EARLIEST if self._ticks is None else self._ticks.last
        found = {"rows": self._rows, "told": self._told, "now": self._now, "ticked": ticked}
        return self._panes.facts() | found

    def restore(self, facts: dict[str, Any]) -> None:
        self._panes.restore(facts)
        self._rows, self._told, self._now = facts["rows"], facts["told"], facts["now"]
        if self._ticks is not None:
            self._ticks.last = facts.get("ticked", EARLIEST)
        else:  # an earlier version may have suppressed
            self._waiting.drain()

    def read(self, question: Question) -> Part:
        return read_windows(self._panes, self._of.keys, self._of.aggregations, question)

    def stats(self) -> dict[str, Any]:
        return {
            "groups": self._panes.open_groups,
            "closed": self._panes.closed,
            "late": self._panes.late,
            "dropped": self._panes.dropped,
        }

    def _add_and_close(self, batch: Batch, clock: Clock) -> list[tuple[int, int]]:
        """(record, window) of the records that close windows, after what came before them."""
        closed = self._of.windows.closed_by(clock.after)
        earlier = np.concatenate([[self._panes.closed], closed[:-1]])
        due = np.flatnonzero(closed > earlier)
        self._rows += len(batch)
        if len(clock.after):
            self._now = int(clock.after[-1])
        return [(int(r), int(closed[r])) for r in due]


class WindowRows(_WithPanes):
    """Rows in, closed windows out: where one task sees all rows of a group."""

    def take(self, batch: Batch, clock: Clock) -> None:
        if self._ticks is not None:
            self._take_suppressed(batch, clock, self._ticks)
            return
        start = 0
        parts: list[Batch] = []
        for record, closed in self._add_and_close(batch, clock):
            end = int(np.searchsorted(batch.records, record, "right"))
            self._panes.add(batch.slice(start, end), clock)
            parts += [self._of.rows(each, record, True) for each in self._panes.close(closed)]
            start = end
        self._panes.add(batch.slice(start, len(batch)), clock)
        made = Batch.join(parts, self._of.schema())
        self.hand_on(made, clock.delayed(self._of.windows.grace_ns))

    def _take_suppressed(self, batch: Batch, clock: Clock, ticks: Ticks) -> None:
        """Close and publish in the middle of a batch: behind the records that say so."""
        closing = dict(self._add_and_close(batch, clock))
        ticking = set(ticks.passed_at(clock.after))
        keys = pack([batch.columns[key] for key in self._keys], len(batch))
        panes = self._of.windows.panes_of(batch.times)
        start = 0
        for record in [*sorted({*closing, *ticking}), None]:
            end = len(batch)
            if record is not None:
                end = int(np.searchsorted(batch.records, record, "right"))
            while start < end:
                rows = np.arange(start, end)
                count = self._waiting.note(panes[rows], keys.take(rows), batch.records[rows])
                self._panes.add(batch.slice(start, start + count), clock)
                start += count
                if self._waiting.full:
                    self._publish_waiting()
            if record in closing:
                for each in self._panes.close(closing[record]):
                    self._hand_on_alone(self._of.rows(each, 0, True))
            if record in ticking:
                self._publish_waiting()

    def flush(self, out: Outputs) -> None:
        self._publish_open()


class WindowParts(_WithPanes):
    """Rows in, sealed parts out: one row a group and pane travels, not one a row."""

    def __init__(self, windowed: Windowed, source: str, topic: str, partitions: int) -> None:
        super().__init__(windowed)
        self._source = source
        self._topic = topic
        self._partitions = partitions
        self._out: list[OutputRecord] = []

    def take(self, batch: Batch, clock: Clock) -> None:
        start = 0
        closing = dict(self._add_and_close(batch, clock))
        ticking = set[int]() if self._ticks is None else {*self._ticks.passed_at(clock.after)}
        for record in sorted({*closing, *ticking}):
            end = int(np.searchsorted(batch.records, record, "right"))
            self._panes.add(batch.slice(start, end), clock)
            start = end
            if record in closing:
                self._send(closing[record])
                self._tell(Frame("mark", self.name, self._source, until=closing[record]))
            if record in ticking:
                self._send(None)
                now = int(clock.after[record])
                self._tell(Frame("time", self.name, self._source, until=now))
        self._panes.add(batch.slice(start, len(batch)), clock)

    def _tell(self, said: Frame) -> None:
        self._out += [to_partition(self._topic, p, said) for p in range(self._partitions)]

    def flush(self, out: Outputs) -> None:
        if self._of.updates is not None:
            # all of it, at every commit: a replay ends where one was, and sends nothing twice
            self._send(None)
        out += self._out
        self._out = []

    def _send(self, closed: int | None) -> None:
        for tag, pane, groups in self._panes.drain(closed):
            frame = Frame("groups", self.name, self._source, tag=tag, pane=pane)
            self._out += group_records(groups, frame, self._topic, self._partitions)


def group_records(groups: Groups, frame: Frame, topic: str, partitions: int) -> list[OutputRecord]:
    """The groups as bodies of such a frame, each at the partition of its key."""
    made: list[OutputRecord] = []
    shares = split_by_partition(groups.index.hashes(), partitions)
    for partition, slots in enumerate(shares):
        for body in group_bodies(groups, slots) if len(slots) else ():
            whole = replace(frame, body=body)
            made.append(to_partition(topic, partition, whole))
    return made


class WindowMerge(_WithPanes):
    """Parts in, closed windows out: a window closes when every source has closed it."""

    def __init__(self, windowed: Windowed, sources: Sequence[str]) -> None:
        super().__init__(windowed)
        self._until = dict.fromkeys(sources, EARLIEST)
        self._torn: set[str] = set()  # sources that have told parts, and not yet that these are all

    def receive(self, frame: Frame) -> None:
        """Parts of a window, or how far a source has come."""
        if frame.kind == "groups":
            keys = self._panes.absorb(frame.tag, frame.pane, frame.body)
            self._rows += 1
            self._torn.add(frame.source)
            if self._ticks is not None:
                n = len(keys)
                self._waiting.note(np.full(n, frame.pane, np.int64), keys, np.zeros(n, np.int64))
                if self._waiting.full:
                    self._publish_waiting()
            return
        if frame.kind == "time":
            now = np.array([frame.until], np.int64)
            if self._ticks is not None and self._ticks.passed_at(now):
                self._publish_waiting()
            return
        self._torn.discard(frame.source)
        self._until[frame.source] = max(self._until[frame.source], frame.until)
        before, closed = self._now, min(self._until.values())
        if closed <= before:
            return
        self._now = closed
        parts = [self._of.rows(each, 0, True) for each in self._panes.close(closed)]
        clock = Clock(np.array([before], np.int64), np.array([closed], np.int64))
        self.hand_on(Batch.join(parts, self._of.schema()), clock)

    def flush(self, out: Outputs) -> None:
        self._publish_open()

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"until": self._until, "torn": sorted(self._torn)}

    def restore(self, facts: dict[str, Any]) -> None:
        super().restore(facts)
        self._until = facts["until"]
        self._torn = set(facts.get("torn", ()))  # older releases did not say

    def read(self, question: Question) -> Part:
        found = super().read(question)
        return msgspec.structs.replace(found, received=dict(self._until), torn=sorted(self._torn))

    def stats(self) -> dict[str, Any]:
        slowest = min(self._until, key=lambda source: self._until[source])
        return super().stats() | {"slowest": slowest}
