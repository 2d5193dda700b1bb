"""Aggregation over all time, as steps: a table of groups whose changes are published at commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streams.event_time.windows import EARLIEST
from streams.operators.batch import I64, Batch, Clock
from streams.operators.frames import Frame, to_partition
from streams.operators.groups import Aggregation, Groups, distinct
from streams.operators.keys import pack
from streams.operators.stage import Blocks, Stage, rows_of
from streams.operators.suppress import Ticks, UntilTimeLimit, Waiting
from streams.operators.windowed import group_records
from streams.queries.questions import Part, Question
from streams.queries.reading import read_totals
from streams.schema import Schema, Type
from streams.task.outputs import Outputs
from streams.task.processor import OutputRecord
from streams.values import Values


@dataclass(frozen=True, slots=True)
class Running:
    """An aggregation without windows."""

    name: str
    keys: Mapping[str, Type]
    aggregations: Sequence[Aggregation]
    suppressed: UntilTimeLimit | None = None

    def schema(self) -> Schema:
        """Of what it publishes."""
        return Schema({**self.keys, **{each.name: each.result for each in self.aggregations}})

    def add(self, groups: Groups, batch: Batch) -> I64:
        """Rows join their groups; the slots of the groups."""
        slots = groups.slots(pack([batch.columns[key] for key in self.keys], len(batch)))
        groups.add(slots, batch.columns, batch.times)
        return slots


class _Totals(Stage):
    """The groups, and which of them changed since they were published."""

    def __init__(self, running: Running) -> None:
        super().__init__(running.name)
        self._of = running
        self._groups = Groups(running.aggregations)
        self._touched: list[I64] = []
        self._now = EARLIEST
        limit = running.suppressed
        self._waiting = Waiting(limit or UntilTimeLimit(1), len(running.schema()))
        self._ticks = None if limit is None else Ticks(limit.every)

    def flush(self, out: Outputs) -> None:
        if self._ticks is None and self._touched:
            self._publish(distinct(np.concatenate(self._touched), len(self._groups)))
            self._touched = []

    def _publish_waiting(self) -> None:
        for keys in self._waiting.drain().values():
            self._publish(self._groups.index.find(keys))

    def _publish(self, slots: I64) -> None:
        order = np.argsort(self._groups.index.hashes()[slots], kind="stable")
        columns = self._groups.finish(slots[order], self._of.keys)
        now = np.array([self._now], np.int64)
        self.hand_on(rows_of(columns, len(slots), self._now, 0), Clock(now, now))

    def rows(self) -> dict[str, Values]:
        """All groups, as they are now."""
        return self._groups.finish(self._groups.in_order(), self._of.keys)

    def blocks(self) -> Blocks:
        for chunk, data in self._groups.chunks():
            yield chunk.to_bytes(4, "big"), data
        yield from self._waiting.blocks()

    def load(self, key: bytes, data: bytes) -> None:
        if self._waiting.owns(key):
            self._waiting.load(key, data)
            return
        self._groups.load(data)

    def facts(self) -> dict[str, Any]:
        assert not self._touched, "outputs are handed over before a snapshot"
        ticked = EARLIEST if self._ticks is None else self._ticks.last
        return {"now": self._now, "ticked": ticked}

    def restore(self, facts: dict[str, Any]) -> None:
        self._now = facts["now"]
        if self._ticks is not None:
            self._ticks.last = facts.get("ticked", EARLIEST)
        else:  # an earlier version may have suppressed
            self._touched += map(self._groups.index.find, self._waiting.drain().values())

    def read(self, question: Question) -> Part:
        return read_totals(self._groups, self._of.keys, self._of.aggregations, question)

    def stats(self) -> dict[str, Any]:
        return {"groups": len(self._groups)}


class RunningRows(_Totals):
    """Rows in, changed groups out: where one task sees all rows of a group."""

    def take(self, batch: Batch, clock: Clock) -> None:
        if self._ticks is not None:
            self._take_suppressed(batch, clock, self._ticks)
        elif len(batch):
            self._touched.append(self._of.add(self._groups, batch))
            self._now = max(self._now, int(clock.after[-1]))

    def _take_suppressed(self, batch: Batch, clock: Clock, ticks: Ticks) -> None:
        """Publish in the middle of a batch: behind the records that say so."""
        keys = pack([batch.columns[key] for key in self._of.keys], len(batch))
        start = 0
        for record in [*ticks.passed_at(clock.after), None]:
            end = len(batch)
            if record is not None:
                end = int(np.searchsorted(batch.records, record, "right"))
            while start < end:
                rows = np.arange(start, end)
                panes = np.zeros(len(rows), np.int64)
                count = self._waiting.note(panes, keys.take(rows), batch.records[rows])
                part = batch.slice(start, start + count)
                self._of.add(self._groups, part)
                self._now = max(self._now, int(clock.after[part.records[-1]]))
                start += count
                if self._waiting.full:
                    self._publish_waiting()
            if record is not None:
                self._now = max(self._now, int(clock.after[record]))
                self._publish_waiting()


class RunningMerge(_Totals):
    """Parts in, changed groups out."""

    def receive(self, frame: Frame) -> None:
        """What a source added since it last said so."""
        self._now = max(self._now, frame.until)
        slots = np.zeros(0, np.int64)
        if frame.kind == "groups":
            slots = self._groups.absorb(frame.body)
        if self._ticks is None:
            self._touched.append(slots)
            return
        none = np.zeros(len(slots), np.int64)
        self._waiting.note(none, self._groups.index.picked(slots), none)
        if self._ticks.passed_at(np.array([self._now], np.int64)) or self._waiting.full:
            self._publish_waiting()


class RunningParts(Stage):
    """Rows in, what they add to groups out, at every commit."""

    def __init__(self, running: Running, source: str, topic: str, partitions: int) -> None:
        super().__init__(running.name)
        self._of = running
        self._source = source
        self._topic = topic
        self._partitions = partitions
        self._groups = Groups(running.aggregations)
        self._now = EARLIEST
        limit = running.suppressed
        self._ticks = None if limit is None else Ticks(limit.every)
        self._out: list[OutputRecord] = []

    def take(self, batch: Batch, clock: Clock) -> None:
        start = 0
        for record in [] if self._ticks is None else self._ticks.passed_at(clock.after):
            end = int(np.searchsorted(batch.records, record, "right"))
            self._add(batch.slice(start, end))
            start = end
            self._now = int(clock.after[record])
            self._send()
            said = Frame("time", self.name, self._source, until=self._now)
            self._out += [to_partition(self._topic, p, said) for p in range(self._partitions)]
        self._add(batch.slice(start, len(batch)))
        if len(batch):
            self._now = int(clock.after[-1])

    def _add(self, batch: Batch) -> None:
        if len(batch):
            self._of.add(self._groups, batch)

    def flush(self, out: Outputs) -> None:
        self._send()
        out += self._out
        self._out = []

    def _send(self) -> None:
        if len(self._groups):
            frame = Frame("groups", self.name, self._source, until=self._now)
            self._out += group_records(self._groups, frame, self._topic, self._partitions)
            self._groups = Groups(self._of.aggregations)

    def facts(self) -> dict[str, Any]:
        return {} if self._ticks is None else {"ticked": self._ticks.last}

    def restore(self, facts: dict[str, Any]) -> None:
        if self._ticks is not None:
            self._ticks.last = facts.get("ticked", EARLIEST)
