"""How late points came: a small exact histogram a definition and day, the same in any order.

A point's lateness is how far the watermark before its record was past the end of its finest window.
It would have been in time under any grace that is longer. Days are UTC days of that watermark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streams.event_time.windows import LATEST, SECOND, window_end
from streams.kernels.keep import BEYOND, LATE
from topologies.preaggregate.cells import Cells
from topologies.preaggregate.panes import PointColumns, Sorted

I64 = npt.NDArray[np.int64]

DAY = 86_400 * SECOND
DAYS_KEPT = 2
BUCKETS = 34
"""The first holds what came less than a second late, the next up to 2, 4, 8, ... seconds."""


class Came(NamedTuple):
    """Points of one definition (its index in the plan) and day that were LATE, or BEYOND."""

    definition: int
    day: int
    state: int
    counts: list[int]
    most: int


def came(
    cells: Cells, points: PointColumns, sorted_out: Sorted, watermarks: I64, pane: int
) -> list[Came]:
    """What points were late, a definition, a day and a state.

    watermarks i64[n]: before each point's record; pane: ns. Of a history that has ended nothing is
    said.
    """
    slots, times, state = points.slots, points.times, sorted_out.state
    chosen = np.flatnonzero(((state == LATE) | (state == BEYOND)) & (watermarks != LATEST))
    late = watermarks[chosen] - window_end(times[chosen], pane)
    first, entries, _ = cells.arrays()
    sizes = first[slots[chosen] + 1] - first[slots[chosen]]
    where = np.repeat(first[slots[chosen]] - np.cumsum(sizes) + sizes, sizes)
    where += np.arange(len(where))
    definitions = cells.definition[entries[where]].astype(np.int64)
    days = np.repeat(watermarks[chosen] // DAY, sizes)
    states = np.repeat(state[chosen].astype(np.int64), sizes)
    late = np.repeat(late, sizes)
    buckets = np.minimum(np.frexp((late // SECOND).astype(np.float64))[1], BUCKETS - 1)
    found: list[Came] = []
    keys = np.stack([definitions, days, states], axis=1)
    for key in np.unique(keys, axis=0):
        mine = (keys == key).all(axis=1)
        definition, day, of = key.tolist()
        counts = np.bincount(buckets[mine]).tolist()
        found.append(Came(definition, day, of, counts, int(late[mine].max())))
    return found


class Lateness:
    """The account, by definition's name and day."""

    def __init__(self) -> None:
        self._days: dict[str, dict[int, dict[str, Any]]] = {}

    def count(self, definition: str, found: Came) -> None:
        """More points came late."""
        days = self._days.setdefault(definition, {})
        row = days.setdefault(found.day, {"late": [], "beyond": [], "most": 0})
        counts: list[int] = row["late" if found.state == LATE else "beyond"]
        counts.extend([0] * (len(found.counts) - len(counts)))
        for bucket, count in enumerate(found.counts):
            counts[bucket] += count
        row["most"] = max(row["most"], found.most)
        while len(days) > DAYS_KEPT:
            del days[min(days)]

    def rows(self) -> list[dict[str, Any]]:
        """A row a definition and day; day: days since 1970 UTC, most: ns."""
        return [
            {"definition": definition, "day": day, **row}
            for definition, days in sorted(self._days.items())
            for day, row in sorted(days.items())
        ]

    def restore(self, meta: Sequence[Mapping[str, Any]]) -> None:
        """What `rows` gave."""
        for row in meta:
            kept = {name: row[name] for name in ("late", "beyond", "most")}
            self._days.setdefault(row["definition"], {})[row["day"]] = kept
