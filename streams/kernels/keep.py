"""Which pane each new point belongs to, and points packed pane by pane."""

from __future__ import annotations

import numpy as np

from streams.kernels.compile import kernel
from streams.kernels.machine import i64
from streams.kernels.types import Column, Word

# What becomes of a point
UNWANTED = 0
BEYOND = 1  # came late by more than the correction horizon
LATE = 2  # its pane has sealed
KEPT = 3

# A pane of a batch, i64[PANE_WIDTH]: its end, the first and the last of its points, how many stay
PANE_END = 0
PANE_FIRST = 1
PANE_LAST = 2
PANE_KEPT = 3
PANE_WIDTH = 4

_EARLIEST = np.iinfo(np.int64).min


@kernel("i64(i64[:, ::1], i64, i64, i64)", forceinline=True, allocates=False)
def _find(panes: Column, count: Word, guess: Word, end: Word) -> Word:
    """Which of the panes ends there; count if none does. guess: where to look first."""
    for at in range(guess, min(guess + 2, count)):
        if panes[at, PANE_END] == end:
            return at
    for at in range(count):
        if panes[at, PANE_END] == end:
            return at
    return count


@kernel(
    "i64(i32[::1], i64[::1], i32[::1], u8[::1], i64[::1], UniTuple(i64, 4), u8[::1], i32[::1],"
    " i64[:, ::1], i64[::1])",
    allocates=False,
)
def sort_out(
    slots: Column,
    times: Column,
    records: Column,
    wanted: Column,
    watermarks: Column,
    how: Column,
    state: Column,
    which: Column,
    panes: Column,
    tally: Column,
) -> Word:
    """Say of each point what becomes of it, and list the panes of those that count.

    slots i32[n]; times i64[n]; records i32[n], each point's record; wanted u8[streams];
    watermarks i64[records], the partition's before the record; how: pane, grace, corrections and
    the frontier up to which panes have sealed. Written: state u8[n]; which i32[n], the pane of
    a point that is late or kept, a row of panes i64[k, PANE_WIDTH]; tally i64[4], points a state.
    Returns the number of panes, or -1 if there are more than k.
    """
    pane, grace, corrections, frontier = how
    count = 0
    at = 0
    end = _EARLIEST
    record = -1
    sealed = _EARLIEST
    horizon = _EARLIEST
    for i in range(slots.shape[0]):
        slot = slots[i]
        if slot >= wanted.shape[0] or wanted[slot] == 0:
            state[i] = UNWANTED
            tally[UNWANTED] += 1
            continue
        time = times[i]
        if end == _EARLIEST or time > end or time <= end - pane:
            end = -((-time) // pane) * pane
            at = _find(panes, count, at, end)
        if records[i] != record:
            record = i64(records[i])
            sealed = max(watermarks[record], _EARLIEST + grace) - grace
            horizon = max(watermarks[record], _EARLIEST + corrections) - corrections
        if end <= sealed and end < horizon:
            state[i] = BEYOND
            tally[BEYOND] += 1
            continue
        if at == count:
            if count == panes.shape[0]:
                return -1
            panes[at, PANE_END] = end
            panes[at, PANE_FIRST] = i
            panes[at, PANE_KEPT] = 0
            count += 1
        panes[at, PANE_LAST] = i
        which[i] = at
        what = LATE if end <= frontier else KEPT
        state[i] = what
        tally[what] += 1
        if what == KEPT:
            panes[at, PANE_KEPT] += 1
    return count


@kernel(
    "void(i32[::1], i64[::1], i64[::1], i64[::1], u8[::1], u8[::1], i32[::1], i64[::1],"
    " i64[:, ::1])",
    allocates=False,
)
def pack_points(
    slots: Column,
    times: Column,
    starts: Column,
    raws: Column,
    metas: Column,
    state: Column,
    which: Column,
    place: Column,
    out: Column,
) -> None:
    """Write the kept points as rows i64[., POINT_WIDTH] of `streams.kernels.fold`.

    A point of pane p goes to row place[p] of out, which is moved on; state and which as `sort_out`
    wrote them.
    """
    for i in range(slots.shape[0]):
        if state[i] == KEPT:
            at = place[which[i]]
            place[which[i]] = at + 1
            out[at, 0] = times[i]
            out[at, 1] = starts[i]
            out[at, 2] = raws[i]
            out[at, 3] = (i64(slots[i]) << 8) | i64(metas[i])
