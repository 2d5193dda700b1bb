"""Histogram points: which part of them definitions read, and what stays of them until panes seal.

A definition reads of a histogram point a number (its minimum or maximum), or all of it. A
number is a point like any other from there on. A whole histogram stays as the bytes that came,
and a point's value is where they are among the task's `Contents`: a place that is nobody else's
business, so it is never compared, saved or published.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from metric_registry.plan import ResolvedDefinition
from metric_registry.ucum import SAME, Conversion
from metric_registry.units import conversion_of
from streams.aggregates.explicit import ExplicitPoints, contradictory
from streams.aggregates.exponential_points import faults, moments_contradict
from streams.kernels.moments import NO_HIGHEST, NO_LOWEST
from streams.kernels.rows import IS_HISTOGRAM
from topologies.encodings.otlp_shapes import explicit_points, exponential_points, places
from topologies.encodings.points import (
    CUMULATIVE,
    DELTA,
    EXPONENTIAL_HISTOGRAM,
    HISTOGRAM,
    KIND_MASK,
    Points,
)
from topologies.identity.stream import Stream
from topologies.preaggregate.columns import PointColumns
from topologies.preaggregate.ledger import Refusal
from topologies.temporality.chain import MOST_BUCKETS

I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

WHOLE, LOWEST, HIGHEST = (Conversion(0, 1 << part) for part in range(3))
"""How the parts are read. No unit times zero is another, so these are no conversions of units."""
PARTS = {part: number for number, part in enumerate((WHOLE, LOWEST, HIGHEST), 1)}
_PARTS = {"min": LOWEST, "max": HIGHEST}
_KINDS = {"histogram": HISTOGRAM, "exponential_histogram": EXPONENTIAL_HISTOGRAM}
_NAN = 0x7FF8 << 48
SHOWN = 64
"""Bounds that the ledger names at most."""


def is_part(read: Conversion) -> bool:
    """Whether it reads a part of histogram points, and converts no numbers."""
    return read.p == 0


def part_read(definition: ResolvedDefinition, stream: Stream) -> Conversion | Refusal:
    """What a definition reads of a stream, one of which is of histograms; or why it does not.

    Extremes of cumulative histograms are of whole runs, and of no window. Bounds in another unit
    would have to be rounded.
    """
    wanted, kind = definition.source_instrument, stream.kind & KIND_MASK
    said = stream.kind_name.replace("_", " ")
    if not wanted:
        return Refusal(definition.name, "histogram", said)
    if kind != _KINDS[wanted]:
        return Refusal(definition.name, "kind", said)
    read = _PARTS.get(definition.over_points, WHOLE)
    temporality = stream.kind & (DELTA | CUMULATIVE)
    if not temporality or (temporality == CUMULATIVE and read in (LOWEST, HIGHEST)):
        return Refusal(definition.name, "temporality", said)
    unit = stream.unit or definition.source_unit
    if (
        definition.over_points != "histogram_count"
        and conversion_of(unit, definition.read_unit) != SAME
    ):
        return Refusal(definition.name, "unit", unit)
    return read


def bounds_refused(
    definition: ResolvedDefinition, wanted: tuple[float, ...], bounds: tuple[float, ...]
) -> Refusal | None:
    """Why a definition that wants these bounds does not read streams of those; None: it does."""
    if set(wanted) <= set(bounds):
        return None
    detail = f"bounds {_written(bounds)}, which lack some of {_written(wanted)}"
    return Refusal(definition.name, "bounds", detail)


def _written(bounds: tuple[float, ...]) -> str:
    shown = [repr(one) for one in bounds[:SHOWN]]
    return ", ".join([*shown, "..."] if len(bounds) > SHOWN else shown) or "(none)"


class Parts(NamedTuple):
    """What histogram points say, in the order of some rows of what was scanned.

    counts, lowest, highest, absent as in `ExplicitPoints`, doubles as their bits; why: which of the
    reasons a point contradicts itself by, u8[k], 0: it does not.
    """

    counts: I64
    lowest: I64
    highest: I64
    absent: npt.NDArray[np.uint8]
    why: npt.NDArray[np.uint8]
    reasons: list[str]


def _explicit_faults(points: ExplicitPoints) -> Iterator[tuple[Mask, str, str]]:
    why = "its bounds do not rise, or its buckets do not fit them or do not add up to the count"
    yield contradictory(points), "bucket-count", why


def _read_parts(scanned: Points, rows: I64) -> Parts:
    """What the histogram points at these rows i64[k] say."""
    k = len(rows)
    counts, lowest, highest = np.zeros((3, k), np.int64)
    absent, why_of = np.zeros((2, k), np.uint8)
    found = Parts(counts, lowest, highest, absent, why_of, [""])
    explicit = scanned.kind[rows] & KIND_MASK == HISTOGRAM
    for chosen, is_explicit in (
        (np.flatnonzero(explicit), True),
        (np.flatnonzero(~explicit), False),
    ):
        if not len(chosen):
            continue
        where = scanned.buffer, *places(scanned, rows[chosen])
        points: Any = explicit_points(*where) if is_explicit else exponential_points(*where)
        told = _explicit_faults(points) if is_explicit else faults(points)
        why = np.zeros(len(chosen), np.uint8)
        moments = points.counts, points.sums, points.lowest, points.highest, points.absent
        if not is_explicit:
            wide = np.diff(points.positive_offsets), np.diff(points.negative_offsets)
            many = (wide[0] > MOST_BUCKETS) | (wide[1] > MOST_BUCKETS)
            told = (*told, (many, "", f"it has more than {MOST_BUCKETS} buckets of a sign"))
        for wrong, _, reason in (*told, (moments_contradict(*moments), "", _OF_MOMENTS)):
            why[wrong & (why == 0)] = len(found.reasons)
            found.reasons.append(reason)
        found.why[chosen], found.counts[chosen] = why, points.counts
        found.lowest[chosen] = points.lowest.view(np.int64)
        found.highest[chosen] = points.highest.view(np.int64)
        found.absent[chosen] = points.absent
    return found


_OF_MOMENTS = "its count, sum, minimum and maximum contradict each other"


class Contradiction(NamedTuple):
    """A point that contradicts itself: its record, slot, time, and why."""

    record: int
    slot: int
    time: int
    why: str


def read_histograms(
    scanned: Points | None,
    part_of: npt.NDArray[np.uint8],
    points: PointColumns,
    records: I32,
) -> tuple[PointColumns, I32, list[Contradiction]]:
    """Put the parts that are read in the place of histogram points, of which some may be gone.

    part_of u8[readings]: 0 where a reading is of numbers, else 1 + which part is read; histogram
    points have the number of their row of `scanned` as value. Of those that contradict themselves
    none is left; they are told once each. A point of no observations has neither minimum nor
    maximum.
    """
    part = part_of[points.slots]
    points.metas[part == 0] &= ~np.uint8(IS_HISTOGRAM)  # nobody reads them
    chosen = np.flatnonzero(part)
    if not len(chosen) or scanned is None:
        return points, records, []
    rows, first, which = np.unique(points.raws[chosen], return_index=True, return_inverse=True)
    said = _read_parts(scanned, rows)
    part = part[chosen]
    for read, column, absent in (
        (LOWEST, said.lowest, NO_LOWEST),
        (HIGHEST, said.highest, NO_HIGHEST),
    ):
        mine = which[part == PARTS[read]]
        values = np.where(said.absent[mine] & absent != 0, _NAN, column[mine])
        points.raws[chosen[part == PARTS[read]]] = values
        points.metas[chosen[part == PARTS[read]]] = 0
    extremes = part != PARTS[WHOLE]
    wrong = said.why[which] > 0
    gone = wrong | extremes & (said.counts[which] == 0)
    if not gone.any():
        return points, records, []
    at = chosen[first[said.why > 0]]
    why = said.why[said.why > 0].tolist()
    told = zip(records[at].tolist(), points.slots[at].tolist(), points.times[at].tolist(), why,
               strict=True)  # fmt: skip
    stays = np.ones(len(points), np.bool_)
    stays[chosen[gone]] = False
    found = [
        Contradiction(record, slot, time, said.reasons[reason])
        for record, slot, time, reason in told
    ]
    return points.where(stays), records[stays], found
