"""What was seen of a metric's streams; whoever reads traffic or files makes these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "sum", "histogram", "exponential_histogram", "summary"]
Temporality = Literal["delta", "cumulative", "unspecified"]


@dataclass(frozen=True, slots=True)
class SeenAttribute:
    """An attribute of a metric's streams.

    Attributes:
        name: As definitions ask for it.
        values: Different ones, as labels, in order of how many streams have them; a few.
        distinct: How many different ones there are, at least.
        more: Whether there may be more than `distinct`: nobody counted on.
        streams: How many have it.
    """

    name: str
    values: tuple[str, ...]
    distinct: int
    more: bool
    streams: int


@dataclass(frozen=True, slots=True)
class SeenMetric:
    """A metric by the name under which it is sent.

    Attributes:
        kind, temporality, monotonic: Of most of its streams; `temporality` is None of a gauge.
        others: What else streams of that name are, in words.
        unit: As most streams say it; empty where none does.
        description: As an agent says it, or empty.
        streams, points: How many were seen; no points of what only a catalogue lists.
        interval_ns: Between two points of a stream, in the middle of all streams; None where no
            stream has two.
        least, greatest: Of its values; None where there are none, as of histograms.
        bounds: Of explicit buckets, where all streams have the same.
        groups: How many groups these attributes make of its streams.
    """

    name: str
    kind: Kind
    streams: int
    points: int
    attributes: tuple[SeenAttribute, ...]
    groups: Callable[[Sequence[str]], int]
    temporality: Temporality | None = None
    monotonic: bool = False
    others: tuple[str, ...] = ()
    unit: str = ""
    description: str = ""
    interval_ns: int | None = None
    least: float | None = None
    greatest: float | None = None
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """All of it.

    Attributes:
        metrics: In order of their names, each once.
        behind_ns: How far behind the newest point of its partition one in a thousand points came,
            or more; None where there is no order of arrival.
    """

    metrics: tuple[SeenMetric, ...]
    behind_ns: int | None = None
