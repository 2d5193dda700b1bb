"""From streams to the statistics that a plan's cost is estimated from (C)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metric_registry.planner.statistics import (
    RESOURCE,
    TENANT,
    VALUES,
    AttributeCount,
    MetricCount,
    paired,
)
from topologies.identity.stream import Stream, render

_SECOND = 10**9
_ABSENT = 0
_OWN = (TENANT, RESOURCE)
"""Names that stand for something else than an attribute that is sent so."""
Codes = NDArray[np.int64]
"""i64[streams], what number a stream's value has; 0: it has none."""


def counts_of(
    streams: Sequence[Stream], numbers: NDArray[np.float64]
) -> tuple[dict[str, MetricCount], int, float]:
    """Each metric's streams, counted; the traffic's oldest time (unix ns), and how many seconds it
    lasted by its own times, 0 and 0 where no point has one.

    numbers: [5, streams], as an `Observer` keeps them.
    """
    by_name: dict[str, list[int]] = {}
    for slot, stream in enumerate(streams):
        by_name.setdefault(stream.metric, []).append(slot)
    metrics = {
        name: _metric([streams[at] for at in slots], numbers[:, slots])
        for name, slots in sorted(by_name.items())
    }
    first, last = numbers[1], numbers[2]
    timed = first <= last
    if not timed.any():
        return metrics, 0, 0.0
    since = int(first[timed].min())
    return metrics, since, (float(last[timed].max()) - since) / _SECOND


def _metric(streams: list[Stream], numbers: NDArray[np.float64]) -> MetricCount:
    columns = _columns(streams)
    attributes = {
        name: AttributeCount(
            distinct=len(values.texts),
            streams=int((values.codes != _ABSENT).sum()),
            longest=0 if name == RESOURCE else max(len(text.encode()) for text in values.texts),
            resource=values.resource,
            values={} if name == RESOURCE else values.counted(),
        )
        for name, values in sorted(columns.items())
    }
    chosen = paired({name: _different(values.codes) for name, values in columns.items()})
    pairs = [
        (one, other, _pairs(columns[one], columns[other]))
        for at, one in enumerate(chosen)
        for other in chosen[at + 1 :]
    ]
    points, first, last = numbers[:3]
    several = (points > 1) & (last > first)
    gaps = (last[several] - first[several]) / (points[several] - 1)
    interval = round(float(np.median(gaps))) if len(gaps) else None
    rate = float((_SECOND / gaps).sum())
    if interval:  # of which one point was seen goes on like the others
        rate += int((points == 1).sum()) * _SECOND / interval
    return MetricCount(
        streams=len(streams),
        points_per_second=round(rate, 6),
        interval_ns=interval,
        attributes=attributes,
        pairs=tuple(pairs),
    )


class _Values:
    """The values of one attribute."""

    def __init__(self, streams: int) -> None:
        self.codes: Codes = np.zeros(streams, np.int64)
        self.texts: dict[str, int] = {}
        self.resource = True

    def set(self, at: int, text: str, from_resource: bool) -> None:
        self.codes[at] = self.texts.setdefault(text, len(self.texts) + 1)
        self.resource &= from_resource

    def counted(self) -> dict[str, int]:
        """Streams of each value, where these are few."""
        if len(self.texts) > VALUES:
            return {}
        found = np.bincount(self.codes, minlength=len(self.texts) + 1)
        return {text: int(found[code]) for text, code in sorted(self.texts.items())}


def _columns(streams: list[Stream]) -> dict[str, _Values]:
    columns: dict[str, _Values] = {}
    resources: dict[str, int] = {}

    def column(name: str) -> _Values:
        found = columns.get(name)
        if found is None:
            found = columns[name] = _Values(len(streams))
        return found

    for at, stream in enumerate(streams):
        own = {**stream.scope, **stream.attributes}
        for name, value in stream.resource.items():
            if name not in own and name not in _OWN:
                column(name).set(at, render(value), True)
        for name, value in own.items():
            if name not in _OWN:
                column(name).set(at, render(value), False)
        column(TENANT).set(at, stream.tenant, True)
        whole = repr((stream.tenant, sorted(stream.resource.items())))
        column(RESOURCE).set(at, str(resources.setdefault(whole, len(resources))), True)
    return columns


def _different(codes: Codes) -> int:
    """Values, and none at all is one of them."""
    return len(np.unique(codes))


def _pairs(one: _Values, other: _Values) -> int:
    return len(np.unique(one.codes * (len(other.texts) + 1) + other.codes))
