"""Counts the streams of OTLP requests, for those who write definitions of them (C)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from metric_registry.drafts.seen import Seen
from metric_registry.planner.statistics import Measured, Statistics
from streams.event_time.windows import LATEST, rfc3339
from topologies.encodings.otlp import Scanner
from topologies.encodings.points import (
    METRIC_BEGIN,
    METRIC_END,
    METRIC_POINTS,
    NO_RECORDED_VALUE,
    NO_VALUE,
    Points,
)
from topologies.identity import SeriesTable
from topologies.observe.counting import counts_of
from topologies.observe.summing_up import Numbers, metrics_of, summary

_KEY = bytes(16)  # nobody stores what comes of it
_SECOND = 10**9
_LONGEST_BEHIND = 3_600
"""Seconds; what came later than that counts as so late."""
_SHARE_BEHIND = 0.999


class Observer:
    """What is known of all streams so far.

    Requests of one partition, or of one file, are given in their order. Memory is that of the
    streams' identities and 40 bytes each: the caller stops at a number of them.
    """

    def __init__(self) -> None:
        self._scanner = Scanner(_KEY)
        self._table = SeriesTable()
        self._numbers = _room(0)
        self._descriptions: dict[str, str] = {}
        self._summaries: dict[str, Numbers] = {}
        self._newest: dict[object, int] = {}
        self._behind = np.zeros(_LONGEST_BEHIND + 1, np.int64)
        self.points = 0
        self.requests = 0
        self.bytes = 0
        """Of the requests."""
        self.refused: list[str] = []

    @property
    def streams(self) -> int:
        """How many there are."""
        return len(self._table)

    def feed(self, requests: Sequence[bytes], tenant: str, order: object = None) -> None:
        """Look at requests that came one after the other in a partition, or in a file.

        order: Which; None where the order of requests says nothing about when they came.
        """
        self.requests += len(requests)
        self.bytes += sum(map(len, requests))
        points = self._scanner.scan(requests, [tenant] * len(requests))
        before = self.streams
        slots, also_bad = self._table.resolve(points)
        self.refused += [bad.reason for bad in (*points.malformed, *also_bad)]
        self._describe(points, slots, before)
        for row in points.not_aggregated():
            self._summary(points, row)
        good = slots >= 0
        self.points += int(good.sum())
        self._count(points, slots, good)
        if order is not None:
            self._look_at_order(points.time[good & (points.time > 0)], order)

    def seen(self) -> Seen:
        """What all that came to."""
        streams = [self._table.stream(slot) for slot in range(self.streams)]
        found = metrics_of(streams, self._numbers[:, : len(streams)], self._descriptions)
        found += [summary(name, numbers) for name, numbers in self._summaries.items()]
        names = {metric.name: metric for metric in reversed(found)}
        metrics = tuple(names[name] for name in sorted(names))
        return Seen(metrics, self._behind_ns())

    def statistics(self, in_part: bool) -> Statistics:
        """All that counted, for those who plan; in_part: it is not all that was to be looked at."""
        streams = [self._table.stream(slot) for slot in range(self.streams)]
        metrics, since, seconds = counts_of(streams, self._numbers[:, : len(streams)])
        measured = Measured(
            since=rfc3339(since) if since else "",
            seconds=round(seconds, 3),
            requests=self.requests,
            points=self.points,
            streams=len(streams),
            bytes_per_point=round(self.bytes / max(1, self.points), 1),
            in_part=in_part,
        )
        return Statistics(measured, metrics)

    def _describe(self, points: Points, slots: NDArray[np.int32], before: int) -> None:
        """Keeps what agents say of metrics whose streams have not been seen before."""
        fresh = np.flatnonzero(slots >= before)
        for row in np.unique(points.metric[fresh]).tolist():
            begin, end = points.metrics[row, [METRIC_BEGIN, METRIC_END]].tolist()
            metric = Metric.FromString(points.buffer[begin:end].tobytes())
            if metric.description:
                self._descriptions.setdefault(metric.name, metric.description)

    def _summary(self, points: Points, row: NDArray[np.int64]) -> None:
        begin, end = row[METRIC_BEGIN], row[METRIC_END]
        metric = Metric.FromString(points.buffer[begin:end].tobytes())
        known = self._summaries.setdefault(metric.name, Numbers(metric.unit, metric.description))
        known.points += int(row[METRIC_POINTS])

    def _count(self, points: Points, slots: NDArray[np.int32], good: NDArray[Any]) -> None:
        if self.streams > self._numbers.shape[1]:
            more = _room(max(self.streams, 2 * self._numbers.shape[1]))
            more[:, : self._numbers.shape[1]] = self._numbers
            self._numbers = more
        count, first, last, least, greatest = self._numbers
        np.add.at(count, slots[good], 1)
        timed = good & (points.time > 0)
        np.minimum.at(first, slots[timed], points.time[timed].astype(np.float64))
        np.maximum.at(last, slots[timed], points.time[timed].astype(np.float64))
        values = points.doubles()
        recorded = good & ((points.flags & (NO_RECORDED_VALUE | NO_VALUE)) == 0)
        recorded &= np.isfinite(values)
        np.minimum.at(least, slots[recorded], values[recorded])
        np.maximum.at(greatest, slots[recorded], values[recorded])

    def _look_at_order(self, times: NDArray[np.int64], order: object) -> None:
        if not len(times):
            return
        newest = np.maximum.accumulate(np.r_[self._newest.get(order, times[0]), times])
        self._newest[order] = min(int(newest[-1]), LATEST)
        behind = -((times - newest[:-1]) // _SECOND)  # rounded up
        np.add.at(self._behind, np.clip(behind, 0, _LONGEST_BEHIND), 1)

    def _behind_ns(self) -> int | None:
        total = int(self._behind.sum())
        if not total:
            return None
        share = np.cumsum(self._behind) / total
        return int(np.argmax(share >= _SHARE_BEHIND)) * _SECOND


def _room(streams: int) -> NDArray[np.float64]:
    """Points, first and last time (unix ns), least and greatest value of each stream."""
    empty = np.array([0.0, np.inf, -np.inf, np.inf, -np.inf])
    return np.repeat(empty[:, None], streams, axis=1)


def batches(requests: Iterable[bytes], size: int = 1 << 20) -> Iterator[list[bytes]]:
    """Requests in pieces of about `size` bytes."""
    batch: list[bytes] = []
    held = 0
    for request in requests:
        batch.append(request)
        held += len(request)
        if held >= size:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
