"""Aggregation over all time, as steps: a table of groups whose changes are published at commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streams.event_time.windows import EARLIEST
from streams.operators.batch import I64, Batch, Clock
from streams.operators.frames import Frame
from streams.operators.groups import Aggregation, Groups, distinct
from streams.operators.keys import pack
from streams.operators.stage import Blocks, Stage, rows_of
from streams.operators.windowed import group_records
from streams.queries.questions import Part, Question
from streams.queries.reading import read_totals
from streams.schema import Schema, Type
from streams.task.processor import OutputRecord
from streams.values import Values


@dataclass(frozen=True, slots=True)
class Running:
    """An aggregation without windows."""

    name: str
    keys: Mapping[str, Type]
    aggregations: Sequence[Aggregation]

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

    def flush(self, out: list[OutputRecord]) -> None:
        if not self._touched:
            return
        slots = distinct(np.concatenate(self._touched), len(self._groups))
        self._touched = []
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

    def load(self, key: bytes, data: bytes) -> None:
        self._groups.absorb(data)
        self._groups.changed.clear()

    def facts(self) -> dict[str, Any]:
        assert not self._touched, "outputs are handed over before a snapshot"
        return {"now": self._now}

    def restore(self, facts: dict[str, Any]) -> None:
        self._now = facts["now"]

    def read(self, question: Question) -> Part:
        return read_totals(self._groups, self._of.keys, self._of.aggregations, question)

    def stats(self) -> dict[str, Any]:
        return {"groups": len(self._groups)}


class RunningRows(_Totals):
    """Rows in, changed groups out: where one task sees all rows of a group."""

    def take(self, batch: Batch, clock: Clock) -> None:
        if len(batch):
            self._touched.append(self._of.add(self._groups, batch))
            self._now = max(self._now, int(clock.after[-1]))


class RunningMerge(_Totals):
    """Parts in, changed groups out."""

    def receive(self, frame: Frame) -> None:
        """What a source added since it last said so."""
        self._touched.append(self._groups.absorb(frame.body))
        self._now = max(self._now, frame.until)


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

    def take(self, batch: Batch, clock: Clock) -> None:
        if len(batch):
            self._of.add(self._groups, batch)
            self._now = int(clock.after[-1])

    def flush(self, out: list[OutputRecord]) -> None:
        if len(self._groups):
            frame = Frame("groups", self.name, self._source, until=self._now)
            out += group_records(self._groups, frame, self._topic, self._partitions)
            self._groups = Groups(self._of.aggregations)
