"""Histograms as results: what a reader of OTLP finds in one, and what a set of values comes to.

A *population* is what is known of a row before it is published: its values, nothing rounded.
Populations are added by being put together; what is seen of one is computed from all its values,
by the plain references of `tests/aggregates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aggregates import sketch_references as sketches
from aggregates.references import Sample
from oracle import contents
from oracle.arithmetic import Number, bits, of_bits, to_double, total

EXPLICIT, EXPONENTIAL = "histogram", "exponential_histogram"
KINDS = {"explicit_histogram": EXPLICIT, "exponential_histogram": EXPONENTIAL}
"""Aggregate over points -> what OTLP calls its result."""


class Histogram(NamedTuple):
    """One, as a reader sees it. Doubles are their bits; None: not said.

    buckets: bounds and counts; or scale, zero count, zero threshold, and of either sign the counts
    by index, without those that are 0.
    """

    kind: str
    count: int
    sum: int | None
    min: int | None
    max: int | None
    buckets: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Population:
    """Values of one row, and the histogram that is asked for: its aggregate and parameter.

    parts: in the place of values, what came as histograms.
    """

    aggregate: str
    parameter: Any
    values: tuple[int | float, ...]
    parts: tuple[contents.Content, ...] = ()

    def plus(self, other: Population) -> Population:
        """Both together."""
        values, parts = self.values + other.values, self.parts + other.parts
        return Population(self.aggregate, self.parameter, values, parts)

    def seen(self) -> Histogram:
        """What is published of it."""
        if self.parts:
            return self._merged()
        samples = [Sample(0, 0, value, cumulative=False) for value in self.values]
        if self.aggregate == "explicit_histogram":
            given = self.parameter or sketches.DEFAULT_BOUNDS
            found: Any = sketches.explicit(samples, [float(one) for one in given])
            buckets = (tuple(map(bits, found.bounds)), found.bucket_counts)
        else:
            found = sketches.exponential(samples, self.parameter or 160)
            positive = _by_index(found.positive_offset, found.positive_counts)
            negative = _by_index(found.negative_offset, found.negative_counts)
            threshold = bits(found.zero_threshold)
            buckets = (found.scale, found.zero_count, threshold, positive, negative)
        below = found.min < 0  # then OTLP asks for no sum
        least, most = (None if one != one else bits(one) for one in (found.min, found.max))
        summed = None if below else bits(found.sum)
        return Histogram(KINDS[self.aggregate], found.count, summed, least, most, buckets)

    def _merged(self) -> Histogram:
        count, summed, least, most = contents.moments(self.parts)
        if self.aggregate == "explicit_histogram":
            wanted = [float(one) for one in self.parameter or sketches.DEFAULT_BOUNDS]
            counts = contents.explicit(self.parts, wanted)
            buckets: tuple[Any, ...] = (tuple(map(bits, wanted)), tuple(counts))
            below = any(n and bound < 0 for bound, n in zip(wanted, counts, strict=False))
        else:
            found = contents.exponential(self.parts, self.parameter or 160)
            scale, zeros, threshold, *sides = found
            shown = (tuple(sorted(side.items())) for side in sides)
            buckets = (scale, zeros, bits(threshold), *shown)
            below = bool(sides[1])
        said = [None if one != one else bits(one) for one in (to_double(summed), least, most)]
        if below or least < 0:  # then OTLP asks for no sum
            said[0] = None
        if not count:
            said[0] = bits(0.0)
        return Histogram(KINDS[self.aggregate], count, *said, buckets)


Exact = Number | Population
Shown = float | Histogram


def together(parts: Sequence[Exact]) -> Exact:
    """The exact sum of numbers, or all of the populations; zeros stand for nothing at all."""
    populations = [part for part in parts if isinstance(part, Population)]
    if not populations:
        return total([part for part in parts if not isinstance(part, Population)])
    found = populations[0]
    for more in populations[1:]:
        found = found.plus(more)
    return found


def rounded(exact: Exact) -> Shown:
    """What is published: rounded once."""
    return exact.seen() if isinstance(exact, Population) else to_double(exact)


def mark(shown: Shown) -> int | Histogram:
    """What equality means: the bits of a double, or of all in a histogram."""
    return shown if isinstance(shown, Histogram) else bits(shown)


def of_point(kind: str, point: Any) -> Histogram:
    """What an OTLP data point says."""
    said = [bits(getattr(point, f)) if point.HasField(f) else None for f in ("sum", "min", "max")]
    if kind == EXPLICIT:
        bounds = tuple(map(bits, point.explicit_bounds))
        return Histogram(kind, point.count, *said, (bounds, tuple(point.bucket_counts)))
    sides = [
        _by_index(side.offset, tuple(side.bucket_counts))
        for side in (point.positive, point.negative)
    ]
    buckets = (point.scale, point.zero_count, bits(point.zero_threshold), *sides)
    return Histogram(kind, point.count, *said, buckets)


def of_json(found: dict[str, Any]) -> Histogram:
    """What a record of the upsert topic says."""
    said = [bits(float(found[f])) if f in found else None for f in ("sum", "min", "max")]
    if "explicit_bounds" in found:
        bounds = tuple(map(bits, found["explicit_bounds"]))
        return Histogram(EXPLICIT, found["count"], *said, (bounds, tuple(found["bucket_counts"])))
    sides = [
        _by_index(found[side]["offset"], found[side]["bucket_counts"])
        for side in ("positive", "negative")
    ]
    buckets = (found["scale"], found["zero_count"], bits(found["zero_threshold"]), *sides)
    return Histogram(EXPONENTIAL, found["count"], *said, buckets)


def of_columns(named: dict[str, Any]) -> Histogram | None:
    """What the columns of a table's row say; None: its result is a number."""
    if not named["histogram"]:
        return None
    said = [None if named[f] != named[f] else bits(named[f]) for f in ("sum", "min", "max")]
    if named["histogram"] == "explicit":
        bounds = tuple(map(bits, named["explicit_bounds"]))
        buckets: tuple[Any, ...] = (bounds, tuple(named["bucket_counts"]))
        return Histogram(EXPLICIT, named["count"], *said, buckets)
    sides = [
        _by_index(named[f"{side}_offset"], named[f"{side}_bucket_counts"])
        for side in ("positive", "negative")
    ]
    buckets = (named["scale"], named["zero_count"], bits(named["zero_threshold"]), *sides)
    return Histogram(EXPONENTIAL, named["count"], *said, buckets)


def text(found: Histogram) -> str:
    """As scenarios write it: `count=3,sum=6.0,min=1.0,max=3.0,buckets=1;2;0`.

    Of exponential ones the buckets that are not empty, by index: `scale=0,positive=-1:1;0:2`.
    """
    moments = {"sum": found.sum, "min": found.min, "max": found.max}
    known = ((name, bits) for name, bits in moments.items() if bits is not None)
    said = [f"count={found.count}", *(f"{name}={of_bits(bits)!r}" for name, bits in known)]
    if found.kind == EXPLICIT:
        said.append("buckets=" + ";".join(map(str, found.buckets[1])))
        return ",".join(said)
    scale, zeros, threshold, *sides = found.buckets
    said.append(f"scale={scale}")
    if zeros:
        said.append(f"zeros={zeros}")
    if threshold:
        said.append(f"threshold={of_bits(threshold)!r}")
    for name, side in zip(("positive", "negative"), sides, strict=True):
        if side:
            said.append(f"{name}=" + ";".join(f"{index}:{count}" for index, count in side))
    return ",".join(said)


def _by_index(offset: int, counts: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple((offset + at, count) for at, count in enumerate(counts) if count)
