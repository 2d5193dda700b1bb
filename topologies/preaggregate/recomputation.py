"""What late points ask for: records of the past, and windows to be published again."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from topologies.preaggregate.columns import Late, PointColumns
from topologies.preaggregate.lattice import Window
from topologies.preaggregate.ranges import Range

I64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class Recomputation:
    """What late points change, and the past records of the partition it takes.

    Attributes:
        windows: Sealed windows that change, each with the streams that do.
        slots: For each slot, whether its points are needed.
        late: The points.
        increases: Whether increases change.
        after, until: The times of points that are needed.
        ranges: Where they are, ascending; empty if none are needed.
    """

    windows: dict[Window, set[int]]
    slots: npt.NDArray[np.bool_]
    late: list[Late]
    increases: bool
    after: int
    until: int
    ranges: list[Range]
    points: list[PointColumns] = field(default_factory=list[PointColumns])
    offsets: list[I64] = field(default_factory=list[I64])

    def keep(self, points: PointColumns, offsets: I64) -> None:
        """Take the points that matter from records of the range; offsets i64[n]: their records."""
        known = points.slots < len(self.slots)
        mask = (points.times > self.after) & (points.times <= self.until) & known
        mask[mask] = self.slots[points.slots[mask]]
        if mask.any():
            self.points.append(points.where(mask))
            self.offsets.append(offsets[mask])

    def gathered(self) -> tuple[PointColumns, npt.NDArray[np.bool_]]:
        """The points taken, and for each whether it is one of `late`."""
        points = PointColumns.join(self.points)
        offsets = np.concatenate([np.zeros(0, np.int64), *self.offsets])
        late = {(item.slot, item.time, item.offset) for item in self.late}
        seen = zip(points.slots.tolist(), points.times.tolist(), offsets.tolist(), strict=True)
        return points, np.fromiter((key in late for key in seen), np.bool_, len(points))
