"""What late points ask for: records of the past, and windows to be published again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streams.kernels.rows import IS_CUMULATIVE
from topologies.preaggregate.columns import Late, PointColumns
from topologies.preaggregate.lattice import Window
from topologies.preaggregate.ranges import Range, Readings
from topologies.preaggregate.search import Covered, Samples

I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Recomputation:
    """What late points change, and the past records of the partition it takes.

    Attributes:
        windows: Sealed windows that change, each with the streams that do.
        slots: For each slot, whether its points are needed.
        late: The points.
        increases: Whether increases change.
        last: The newest record that counts.
        changed: By cumulative stream the times of samples whose increase changes: the late ones,
            and the next one after each, as far as known.
        covered: The time of which all points are known.
        ranges: The records to be read next, ascending; empty if no more are needed.
    """

    windows: dict[Window, set[int]]
    slots: Mask
    late: list[Late]
    increases: bool
    last: int
    changed: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    covered: Covered = field(default_factory=Covered)
    ranges: list[Range] = field(default_factory=list[Range])
    _read: Readings = field(default_factory=Readings)
    _points: list[PointColumns] = field(default_factory=list[PointColumns])
    _offsets: list[I64] = field(default_factory=list[I64])

    def ask(self, ranges: Iterable[Range]) -> None:
        """These records are needed; those that have been read are not read again."""
        until_last = (each._replace(last=min(each.last, self.last)) for each in ranges)
        self.ranges = self._read.missing(until_last)

    def has_read(self, watermark: int) -> None:
        """The first of the ranges has been read; watermark: the partition's behind it."""
        self._read.add(self.ranges.pop(0), watermark)

    def needs(self, slots: npt.NDArray[np.int32]) -> Mask:
        """Whether points of these slots matter, bool[n]."""
        mask = slots < len(self.slots)
        mask[mask] = self.slots[slots[mask]]
        return mask

    def keep(self, points: PointColumns, offsets: I64) -> None:
        """Take points that matter from records of the range; offsets i64[n]: their records."""
        if len(points):
            self._points.append(points)
            self._offsets.append(offsets)

    def gathered(self) -> tuple[PointColumns, Mask]:
        """The points taken, and for each whether it is one of `late`."""
        points = PointColumns.join(self._points)
        offsets = np.concatenate([np.zeros(0, np.int64), *self._offsets])
        self._points, self._offsets = [points], [offsets]
        late = {(item.slot, item.time, item.offset) for item in self.late}
        came = np.fromiter({item.offset for item in self.late}, np.int64)
        found = np.isin(offsets, came)
        columns = (points.slots[found], points.times[found], offsets[found])
        seen = zip(*(column.tolist() for column in columns), strict=True)
        found[found] = np.fromiter((key in late for key in seen), np.bool_, len(columns[0]))
        return points, found

    def late_samples(self) -> Samples:
        """The late points of cumulative streams."""
        late = [(item.slot, item.time) for item in self.late if item.cumulative]
        slots, times = np.array(late, np.int64).reshape(-1, 2).T
        return Samples(slots.astype(np.int32), np.ascontiguousarray(times))

    def samples(self) -> Samples:
        """The samples of cumulative streams that are known, by stream and time."""
        points, _ = self.gathered()
        order = np.flatnonzero((points.metas & IS_CUMULATIVE) != 0)
        order = order[np.lexsort((points.times[order], points.slots[order]))]
        return Samples(points.slots[order], points.times[order])
