"""Keeps what the product's intake accepts of traffic, with what it was held against (C)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from streams.event_time.windows import EARLIEST
from streams.task.processor import InputRecord
from topologies.edge.cut import cut
from topologies.encodings.points import (
    METRIC_BEGIN,
    METRIC_END,
    MONOTONIC,
    NO_RECORDED_VALUE,
    NO_VALUE,
    Points,
)
from topologies.identity.stream import Stream
from topologies.preaggregate.intake import AHEAD, Batch, Intake

I64 = NDArray[np.int64]
_KEY = bytes(16)  # nobody stores what comes of it
_LARGEST = 1 << 30


class Columns(NamedTuple):
    """Points that count, n rows, those of a partition in the order of its records.

    slot i64[n], into all streams; time, start, raw, meta i64[n] as `PointColumns` has them;
    before i64[n]: the partition's watermark before the record.
    """

    slot: I64
    time: I64
    start: I64
    raw: I64
    meta: I64
    before: I64


class Outside(NamedTuple):
    """Points that are rejected: i64[n] each. ahead: ns past their receipt; 0: below zero."""

    slot: I64
    ahead: I64


class Seals(NamedTuple):
    """What a partition's records did to its watermark: it after each, and when each came; ns."""

    after: I64
    came: I64


@dataclass(slots=True)
class _Partition:
    intake: Intake
    columns: list[Columns] = field(default_factory=list[Columns])
    outside: list[Outside] = field(default_factory=list[Outside])
    watermark: int = EARLIEST
    after: list[int] = field(default_factory=list[int])
    came: list[int] = field(default_factory=list[int])
    offset: int = 0


class Watch:
    """What is known of traffic so far: 48 bytes a point, and the streams' identities.

    Requests of a partition are given in their order, and cut into records as the edge does it.
    """

    def __init__(self) -> None:
        self._partitions: dict[str, _Partition] = {}
        self.summaries: set[str] = set()
        self.requests = 0
        self.repeats = 0
        self.malformed: list[str] = []

    def feed(self, partition: str, request: bytes, tenant: str, received: int) -> None:
        """Look at a request that came at `received`, unix ns.

        Raises topologies.edge.cut.UnparsableError.
        """
        cutting = cut(
            request, tenant=tenant, topic="", partitions=1, received_ns=received, limit=_LARGEST
        )
        self.requests += 1
        for record in cutting.records:
            self._take(partition, record.value, record.headers, received)

    def mark(self, partition: str, value: bytes) -> None:
        """Look at a partition's idle mark."""
        self._take(partition, value, (("control", b"idle"),), 0)

    def _take(
        self, partition: str, value: bytes, headers: tuple[tuple[str, bytes], ...], received: int
    ) -> None:
        if partition not in self._partitions:
            self._partitions[partition] = _Partition(Intake(live=True, key=_KEY))
        here = self._partitions[partition]
        batch = here.intake.read([InputRecord(here.offset, 0, None, value, headers)])
        here.offset += 1
        self.repeats += len(batch.repeats)
        self.malformed += [each.reason for each in batch.refused]
        if batch.scanned is not None:
            self._points(here, batch, batch.scanned, received)
        here.watermark = max(here.watermark, batch.moves_to[0])
        here.after.append(here.watermark)
        here.came.append(batch.received[0])

    def _points(self, here: _Partition, batch: Batch, scanned: Points, received: int) -> None:
        points, many = batch.points, len(batch.points.slots)
        here.columns.append(
            Columns(
                points.slots.astype(np.int64),
                points.times.copy(),
                points.starts.copy(),
                points.raws.copy(),
                points.metas.astype(np.int64),
                np.full(many, here.watermark, np.int64),
            )
        )
        for row in scanned.not_aggregated():
            self.summaries.add(_name(scanned, int(row[METRIC_BEGIN]), int(row[METRIC_END])))
        if batch.rejected or batch.negative:
            slots, _ = here.intake.series.resolve(scanned)
            here.outside.append(_outside(scanned, slots, received))

    def streams(self) -> list[Stream]:
        """All streams, in the order that slots of `columns` count them."""
        return [
            one.intake.series.stream(slot)
            for one in self._partitions.values()
            for slot in range(len(one.intake.series))
        ]

    def columns(self) -> Columns:
        """All points that count."""
        none = Columns(*([np.zeros(0, np.int64)] * len(Columns._fields)))
        found = [none]
        for first, one in self._offsets():
            found += [each._replace(slot=each.slot + first) for each in one.columns]
        return Columns(*map(np.concatenate, zip(*found, strict=True)))

    def outside(self) -> Outside:
        """All points that are rejected."""
        found = [Outside(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        for first, one in self._offsets():
            found += [each._replace(slot=each.slot + first) for each in one.outside]
        return Outside(*map(np.concatenate, zip(*found, strict=True)))

    def seals(self) -> list[Seals]:
        """Of each partition."""
        return [
            Seals(np.array(one.after, np.int64), np.array(one.came, np.int64))
            for one in self._partitions.values()
        ]

    def _offsets(self) -> Iterator[tuple[int, _Partition]]:
        first = 0
        for one in self._partitions.values():
            yield first, one
            first += len(one.intake.series)


def _outside(scanned: Points, slots: NDArray[np.int32], received: int) -> Outside:
    """By the rules of `topologies.encodings.accept`."""
    time = np.where(scanned.time == 0, received, scanned.time)
    early = (slots >= 0) & ((time < 0) | (time - received > AHEAD))
    value = scanned.doubles()
    told = (scanned.flags & (NO_RECORDED_VALUE | NO_VALUE)) == 0
    below = (slots >= 0) & ~early & told & ((scanned.kind & MONOTONIC) != 0) & (value < 0)
    chosen = early | below
    ahead = np.where(early, time - received, 0)
    return Outside(slots[chosen].astype(np.int64), ahead[chosen])


def _name(scanned: Points, begin: int, end: int) -> str:
    return Metric.FromString(scanned.buffer[begin:end].tobytes()).name
