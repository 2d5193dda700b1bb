"""How the samples of cumulative streams follow one another (C).

The rules are those of `streams.kernels.sequence`, over sorted columns, so that examples have a
stream: a start that moved behind the sample before it is two senders, so are two values at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.kernels.rows import IS_CUMULATIVE, IS_HISTOGRAM, IS_INTEGER
from topologies.observe.watching import Columns

Mask = NDArray[np.bool_]


def sorted_by_stream(columns: Columns) -> Columns:
    """Points by stream, then time, then as they came."""
    order = np.lexsort((columns.time, columns.slot))
    return Columns(*(column[order] for column in columns))


def cumulative(columns: Columns) -> Columns:
    """The samples of cumulative sums."""
    chosen = (columns.meta & (IS_CUMULATIVE | IS_HISTOGRAM)) == IS_CUMULATIVE
    return Columns(*(column[chosen] for column in columns))


def sequences(columns: Columns, gap: int) -> dict[str, NDArray[np.int64]]:
    """The slots of samples that do not follow the one before, by how.

    columns: Samples of cumulative sums, as `sorted_by_stream` gives them. gap: ns; a stream that
    was silent for longer begins anew.
    """
    same = columns.slot[1:] == columns.slot[:-1]
    time, before = columns.time[1:], columns.time[:-1]
    start, started = columns.start[1:], columns.start[:-1]
    stated = (start > 0) & (start < time)
    less = _less(columns)
    tie = same & (time == before)
    other = columns.raw[1:] != columns.raw[:-1]
    apart = same & (time - before > gap)
    near = same & ~tie & ~apart
    moved = near & stated & (started > 0) & (start != started)
    decreased = near & ~moved & stated & (start == started) & less
    overlap = moved & (start < before)
    restart = near & ~overlap & ~decreased & (moved | less)
    found = {
        "tie": tie & other,
        "gap": apart,
        "overlap": overlap,
        "decreased": decreased,
        "restart": restart,
    }
    return {how: columns.slot[1:][mask] for how, mask in found.items()}


def _less(columns: Columns) -> Mask:
    """Whether a sample is below the one before; integers are compared as such."""
    integer = (columns.meta & IS_INTEGER) != 0
    values = np.where(integer, columns.raw.astype(np.float64), columns.raw.view(np.float64))
    both = integer[1:] & integer[:-1]
    return np.where(both, columns.raw[1:] < columns.raw[:-1], values[1:] < values[:-1])


def intervals(columns: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Streams of at least three different times, and the median of what lies between, ns.

    columns: As `sorted_by_stream` gives them.
    """
    apart = np.diff(columns.time)
    chosen = (columns.slot[1:] == columns.slot[:-1]) & (apart > 0)
    slots, apart = columns.slot[1:][chosen], apart[chosen]
    order = np.lexsort((apart, slots))
    slots, apart = slots[order], apart[order]
    streams, first, many = np.unique(slots, return_index=True, return_counts=True)
    often = many >= 2
    return streams[often], apart[first + many // 2][often]
