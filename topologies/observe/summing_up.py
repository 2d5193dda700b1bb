"""From streams to what was seen of each metric (C)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from metric_registry.drafts.seen import Kind, SeenAttribute, SeenMetric, Temporality
from topologies.identity.stream import Stream, render

_MOST_VALUES = 10_000
"""Different values of an attribute that are told apart."""
_VALUES_TOLD = 20
_TEMPORALITIES = ("delta", "cumulative", "unspecified")
Labels = dict[str, str]
_Key = TypeVar("_Key", str, tuple[str, bool])


@dataclass(slots=True)
class Numbers:
    """What is known of a summary."""

    unit: str
    description: str
    points: int = 0


def summary(name: str, numbers: Numbers) -> SeenMetric:
    """A metric that is sent as quantiles, of which no stream is counted."""
    return SeenMetric(
        name, "summary", 0, numbers.points, (), lambda _: 0,
        unit=numbers.unit, description=numbers.description,
    )  # fmt: skip


def metrics_of(
    streams: Sequence[Stream], numbers: NDArray[np.float64], descriptions: Mapping[str, str]
) -> list[SeenMetric]:
    """A metric for each name.

    numbers: [5, streams], as an `Observer` keeps them.
    """
    by_name: dict[str, list[int]] = {}
    for slot, stream in enumerate(streams):
        by_name.setdefault(stream.metric, []).append(slot)
    return [
        _metric(name, [streams[at] for at in slots], numbers[:, slots], descriptions.get(name, ""))
        for name, slots in by_name.items()
    ]


def _metric(
    name: str, streams: list[Stream], numbers: NDArray[np.float64], description: str
) -> SeenMetric:
    kinds = Counter((stream.kind_name, stream.monotonic) for stream in streams)
    (kind, monotonic), _ = _most(kinds)
    units = Counter(stream.unit for stream in streams)
    unit = _most(Counter({u: n for u, n in units.items() if u}) or units)[0]
    labels = [_labels(stream) for stream in streams]
    bounds = {stream.bounds for stream in streams}
    points, first, last, least, greatest = numbers
    several = (points > 1) & (last > first)
    gaps = (last[several] - first[several]) / (points[several] - 1)
    form, temporality = _split(kind)
    return SeenMetric(
        name,
        form,
        len(streams),
        int(points.sum()),
        tuple(_attributes(labels)),
        lambda keep: len({tuple(map(each.get, keep)) for each in labels}),
        temporality=temporality,
        monotonic=monotonic,
        others=tuple(_others(kinds, (kind, monotonic), units, unit)),
        unit=unit,
        description=description,
        interval_ns=round(float(np.median(gaps))) if len(gaps) else None,
        least=None if "histogram" in form else _finite(least.min()),
        greatest=None if "histogram" in form else _finite(greatest.max()),
        bounds=bounds.pop() if len(bounds) == 1 else (),
    )


def _split(kind: str) -> tuple[Kind, Temporality | None]:
    """`sum_delta` is a sum, and delta."""
    for temporality in _TEMPORALITIES:
        if kind.endswith(f"_{temporality}"):
            return cast(Kind, kind.removesuffix(f"_{temporality}")), temporality
    return cast(Kind, kind), None


def _labels(stream: Stream) -> Labels:
    """As definitions see them: a point's attribute stands before the resource's."""
    merged: dict[str, Any] = {**stream.resource, **stream.scope, **stream.attributes}
    return {name: render(value) for name, value in merged.items()}


def _attributes(labels: list[Labels]) -> list[SeenAttribute]:
    values: dict[str, Counter[str]] = {}
    had: Counter[str] = Counter()
    more: set[str] = set()
    for each in labels:
        for name, value in each.items():
            had[name] += 1
            counted = values.setdefault(name, Counter())
            if len(counted) < _MOST_VALUES or value in counted:
                counted[value] += 1
            else:
                more.add(name)
    return [
        SeenAttribute(name, _first(values[name]), len(values[name]), name in more, had[name])
        for name in sorted(values)
    ]


def _first(counted: Counter[str]) -> tuple[str, ...]:
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return tuple(value for value, _ in ordered[:_VALUES_TOLD])


def _others(
    kinds: Counter[tuple[str, bool]], kind: tuple[str, bool], units: Counter[str], unit: str
) -> list[str]:
    told = [
        f"{'monotonic ' if monotonic else ''}{name.replace('_', ' ')} ({number:,})"
        for (name, monotonic), number in sorted(kinds.items())
        if (name, monotonic) != kind
    ]
    told += [
        f"in {other} ({number:,})" if other else f"without a unit ({number:,})"
        for other, number in sorted(units.items())
        if other != unit
    ]
    return told


def _most(counted: Counter[_Key]) -> tuple[_Key, int]:
    """The commonest; of several the first by itself, whichever came first."""
    return min(counted.items(), key=lambda item: (-item[1], item[0]))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
