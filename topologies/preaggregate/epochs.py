"""What the bounds of a topic epoch mean for the points of a partition.

Points past the end of an epoch are the next one's. Points up to its begin are the one's before; of
those only samples of cumulative streams matter here, and only as base lines. What is counted,
rejected or late is told by the epoch that owns its time, so that nothing is told twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from streams.event_time.windows import EARLIEST, LATEST
from streams.kernels.fold import POINT_WHOSE, in_order
from streams.kernels.keep import LATE
from streams.kernels.rows import IS_CUMULATIVE
from topologies.encodings.points import Points
from topologies.epochs import Bounds
from topologies.preaggregate.columns import Late, PointColumns
from topologies.preaggregate.panes import I64, Panes, packed

if TYPE_CHECKING:
    from topologies.preaggregate.aggregation import Aggregation

Mask = npt.NDArray[np.bool_]
I32 = npt.NDArray[np.int32]


def relevant(times: I64, metas: npt.NDArray[np.uint8], since: I64, until: I64, gap: int) -> Mask:
    """bool[n]: points of the epoch (since, until], and samples that may be base lines of it.

    All i64[n], unix ns; gap: how long a base line lasts, ns.
    """
    early = times <= since
    base = early & (metas & IS_CUMULATIVE != 0) & (times > np.maximum(since, EARLIEST + gap) - gap)
    return base | ~early & (times <= until)


def owned(times: I64, bounds: Bounds) -> slice | Mask:
    """Chooses those of these times that the epoch owns."""
    if bounds.all_of_time:
        return slice(None)
    return (times > bounds.since) & (times <= bounds.until)


def moves_to(newest: int, received: int, bounds: Bounds, ahead: int) -> int:
    """Where a record moves event time: to its newest point, but never past its receipt.

    Where an epoch has ended what is newer goes elsewhere, so its receipts stand for that: without
    them late agents alone would decide when its last windows seal.
    """
    time = min(newest, received)
    return max(time, received - ahead) if received > bounds.until else time


def of_own_time(scanned: Points, slots: I32, received: I64, bounds: Sequence[Bounds]) -> I32:
    """The slots i32[n], -1 where a point's time is another epoch's. received i64[messages].

    Times past 2**63 ns, which nobody counts, are the last epoch's.
    """
    since, until = limits(bounds)
    times = np.where(scanned.time == 0, received[scanned.message], scanned.time)
    times = np.where(times < 0, LATEST, times)
    own = (times > since[scanned.message]) & (times <= until[scanned.message])
    return np.where(own, slots, -1).astype(np.int32)


def owns_newest(scanned: Points, received: I64, bounds: Sequence[Bounds]) -> list[bool]:
    """By message whether the epoch owns its newest point (without any: its receipt)."""
    newest = np.full(len(bounds), EARLIEST)
    times = np.where(scanned.time == 0, received[scanned.message], scanned.time)
    np.maximum.at(newest, scanned.message, times)
    empty = newest == EARLIEST
    newest[empty] = received[empty]
    return [each.owns(time) for each, time in zip(bounds, newest.tolist(), strict=True)]


def limits(bounds: Sequence[Bounds]) -> tuple[I64, I64]:
    """(since, until) of each, i64[n]."""
    return (
        np.array([each.since for each in bounds], np.int64),
        np.array([each.until for each in bounds], np.int64),
    )


def without_base_lines(
    aggregation: Aggregation,
    points: PointColumns,
    records: I32,
    offsets: I64,
    watermarks: I64,
    received: I64,
) -> tuple[PointColumns, I32]:
    """Take samples from before the epoch as base lines; returns the points that are its own.

    The arguments are those of `Aggregation.add`. Samples that come after the epoch's first window
    has sealed are late: what they change is found when they settle.
    """
    since = aggregation.bounds.since
    early = points.times <= since
    if not early.any():
        return points, records
    rest = points.where(~early), records[~early]
    points, records = points.where(early), records[early]
    found = aggregation.panes.sort_out(points, records, watermarks, aggregation.cells.wanted())
    taken = found.state == LATE
    if taken.any():
        aggregation.remember_where(found, records, offsets, watermarks)
        points, records = points.where(taken), records[taken]
        move_bases(aggregation.panes, points)
        if aggregation.panes.frontier > since:
            _await(aggregation, points, offsets[records], received[records])
    return rest


def move_bases(panes: Panes, points: PointColumns) -> None:
    """Base lines become the newest samples: of these (cumulative, i32[n] slots), or as they are."""
    if panes.states:
        panes.chains.raise_lines(packed(points))
    slots = np.unique(points.slots)
    known = panes.bases[slots].copy()
    known[:, POINT_WHOSE] |= slots.astype(np.int64) << 8
    ordered = in_order([known[known[:, 0] != EARLIEST], packed(points)], len(panes.bases))
    whose = ordered[:, POINT_WHOSE] >> 8
    last = ordered[np.append(whose[1:] != whose[:-1], True)]
    slots = last[:, POINT_WHOSE] >> 8
    last[:, POINT_WHOSE] &= 0xFF
    panes.bases[slots] = last


def _await(aggregation: Aggregation, points: PointColumns, offsets: I64, received: I64) -> None:
    """Let late base lines settle, where increases are counted. offsets, received: of each point."""
    cells = aggregation.cells
    slots = points.slots.tolist()
    which = [at for at, slot in enumerate(slots) if cells.increases(cells.cells_of({slot}))]
    if which and not aggregation.pending:
        aggregation.pending_since = int(received[which[0]])
    for at in which:
        time, offset = int(points.times[at]), int(offsets[at])
        aggregation.pending.append(Late(slots[at], time, offset, True))
