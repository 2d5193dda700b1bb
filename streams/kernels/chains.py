"""Samples of cumulative histogram streams, one after another, each less the one before it.

What `streams.kernels.fold` is for numbers. Rows as in `streams.kernels.differences`.
"""

from __future__ import annotations

from streams.kernels.compile import kernel
from streams.kernels.differences import RANGES, copy_row, subtract_row, takes, words_of
from streams.kernels.exponential import (
    AT,
    BITS,
    FIRST,
    LAST,
    NEGATIVE,
    POSITIVE,
    SCALE,
)
from streams.kernels.machine import i64
from streams.kernels.moments import COUNT, WIDE, clear_moments
from streams.kernels.powers import MAX_SCALE, TABLES
from streams.kernels.rows import EARLIEST, ordered
from streams.kernels.sequence import (
    BEGAN,
    CONTINUES,
    OVERLAPS,
    RESTARTED,
    TIE,
    follows,
    kind_of,
    note,
)
from streams.kernels.types import Column, Word

# A sample, i64[SAMPLE_WIDTH]: its row is that of the same number
STREAM = 0
TIME = 1
START = 2
SUM_BITS = 3  # of the sum as it came; the canonical NaN where there is none
SAMPLE_WIDTH = 4

# A contribution, i64[STEP_WIDTH]: the sample's stream and time, the start of what it covers, and
# WHOLE if it is the sample itself. Its row is that of the same number
WHOLE = 3
STEP_WIDTH = 4


@kernel("i64(i64, i64)", forceinline=True, allocates=False)
def _compared(a: Word, b: Word) -> Word:
    return -1 if a < b else (1 if a > b else 0)


@kernel("i64(i64[:, ::1], i64[:, ::1], i64, i64, i64)", allocates=False)
def _compared_contents(rows: Column, pool: Column, a: Word, b: Word, layout: Word) -> Word:
    """-1, 0, 1: the rest of two rows of equal counts and sums, in some fixed order."""
    exponential = layout == RANGES
    for c in range(rows.shape[1]):
        place = exponential and c >= POSITIVE and ((c - POSITIVE) & 3) <= BITS
        if c == WIDE or place or rows[a, c] == rows[b, c]:
            continue
        return _compared(rows[a, c], rows[b, c])
    if exponential:
        for c in (POSITIVE, NEGATIVE):
            mask, other = (i64(1) << rows[a, c + BITS]) - 1, (i64(1) << rows[b, c + BITS]) - 1
            for index in range(rows[a, c + FIRST], rows[a, c + LAST] + 1):
                mine = pool[0, rows[a, c + AT] + (index & mask)]
                theirs = pool[0, rows[b, c + AT] + (index & other)]
                if mine != theirs:
                    return _compared(mine, theirs)
    return 0


@kernel("bool_(i64[:, ::1], i64[:, ::1], i64[:, ::1], i64, i64, i64)", allocates=False)
def _outranks(samples: Column, rows: Column, pool: Column, a: Word, b: Word, layout: Word) -> Word:
    """Whether sample a goes before sample b of the same stream and time.

    The greater count, then sum, then the later start, then the rest: what it is matters only in
    that it does not depend on the order of arrival.
    """
    found = _compared(rows[a, COUNT], rows[b, COUNT])
    if found == 0:
        found = _compared(ordered(samples[a, SUM_BITS]), ordered(samples[b, SUM_BITS]))
    if found == 0:
        found = _compared(samples[a, START], samples[b, START])
    if found == 0:
        found = _compared_contents(rows, pool, a, b, layout)
    return found > 0


@kernel(
    "i64(i64[:, ::1], i64[:, ::1], i64[:, ::1], i64[::1], i64, i64, i64, i64[::1], i64[:, ::1],"
    " i64[::1])",
    allocates=False,
)
def one_a_time(
    samples: Column,
    rows: Column,
    pool: Column,
    order: Column,
    layout: Word,
    after: Word,
    until: Word,
    kept: Column,
    notices: Column,
    noticed: Column,
) -> Word:
    """Of the samples up to `until`, the one of each stream and time that outranks the others.

    samples i64[n, SAMPLE_WIDTH], with their rows; order i64[n] by stream and time; kept i64[n] is
    filled with places of samples in that order, and their number returned. notices i64[n,
    NOTICE_WIDTH]: ties after `after`; noticed i64[1].
    """
    count = i64(0)
    for k in range(order.shape[0]):
        s = order[k]
        time = samples[s, TIME]
        if time > until:
            continue
        if count > 0:
            last = kept[count - 1]
            if samples[last, STREAM] == samples[s, STREAM] and samples[last, TIME] == time:
                if time > after:
                    noticed[0] = note(notices, noticed[0], samples[s, STREAM], TIE, time)
                if _outranks(samples, rows, pool, s, last, layout):
                    kept[count - 1] = s
                continue
        kept[count] = s
        count += 1
    return count


@kernel("void(i64[:, ::1], i64, i64)", allocates=False)
def _clear_row(rows: Column, r: Word, layout: Word) -> None:
    """The identity."""
    for c in range(rows.shape[1]):
        rows[r, c] = 0
    clear_moments(rows, r)
    if layout == RANGES:
        rows[r, POSITIVE + LAST], rows[r, NEGATIVE + LAST] = -1, -1
        rows[r, SCALE] = MAX_SCALE


@kernel(
    "i64(i64, i64[::1], i64[:, ::1], i64[:, ::1], i64[:, ::1], i64[::1], i64[:, ::1],"
    " i64[:, ::1], i64[:, ::1], i64, i64, i64, i64, i64[:, ::1], i64[:, ::1], i64[::1],"
    f" i64[:, ::1], i64[:, ::1], i64[::1], i64[:, ::1], {TABLES})",
    allocates=False,
)
def step_histograms(
    start: Word,
    kept: Column,
    samples: Column,
    rows: Column,
    pool: Column,
    places: Column,
    lines: Column,
    line_rows: Column,
    line_pool: Column,
    after: Word,
    pane: Word,
    gap: Word,
    layout: Word,
    out: Column,
    out_pool: Column,
    used: Column,
    steps: Column,
    notices: Column,
    counts: Column,
    scratch: Column,
    tables: Column,
) -> Word:
    """What samples kept[start:] contribute, each compared with the one before it.

    kept i64[k], by stream and time; samples i64[n, SAMPLE_WIDTH] with rows and pool; places i64[k]:
    the line of a stream that has one, else -1; lines i64[., SAMPLE_WIDTH] with line_rows and
    line_pool: the last samples of streams before these. Samples up to `after` contribute nothing.
    Written are out's rows with out_pool and used, steps i64[k, STEP_WIDTH], and notices
    i64[., NOTICE_WIDTH]; counts i64[2]: steps, notices so far; layout and scratch as in
    `subtract_row`. Returns how many are done: fewer than k if out_pool has to grow first.
    """
    for j in range(start, kept.shape[0]):
        s = kept[j]
        stream, time = samples[s, STREAM], samples[s, TIME]
        if time <= after:
            continue
        if used[0] + words_of(rows, s, layout) > out_pool.shape[1]:
            return j
        base_time, base_start, before = i64(EARLIEST), i64(0), i64(-1)
        if j > 0 and samples[kept[j - 1], STREAM] == stream:
            before = kept[j - 1]
            base_time, base_start = samples[before, TIME], samples[before, START]
        elif places[j] >= 0:
            base_time, base_start = lines[places[j], TIME], lines[places[j], START]
        begun = samples[s, START]
        how = follows(time, begun, base_time, base_start, gap, pane)
        w = counts[0]
        whole = how in (RESTARTED, BEGAN)
        below = False
        if how == CONTINUES:
            if before >= 0:
                whole = rows[before, COUNT] == 0
                below = not whole and not subtract_row(
                    out, w, out_pool, used, rows, s, pool, rows, before, pool, layout, scratch,
                    tables,
                )  # fmt: skip
            else:
                whole = line_rows[places[j], COUNT] == 0
                below = not whole and not subtract_row(
                    out, w, out_pool, used, rows, s, pool, line_rows, places[j], line_pool,
                    layout, scratch, tables,
                )  # fmt: skip
        counts[1] = note(notices, counts[1], stream, kind_of(how, base_time, below), time)
        if whole or below:
            copy_row(out, w, out_pool, used, rows, s, pool, layout, False)
        elif how == OVERLAPS:
            _clear_row(out, w, layout)
        elif how != CONTINUES:
            continue
        steps[w, STREAM], steps[w, TIME] = stream, time
        steps[w, START] = begun if how in (RESTARTED, BEGAN) else base_time
        steps[w, WHOLE] = 1 if whole or below else 0
        counts[0] = w + 1
    return kept.shape[0]


@kernel(
    "i64(i64, i64[::1], i64[:, ::1], i64[:, ::1], i64[::1], i64[::1], i64[:, ::1], i64[:, ::1],"
    " i64)",
    allocates=False,
)
def put_rows(
    start: Word,
    which: Column,
    rows: Column,
    pool: Column,
    used: Column,
    order: Column,
    other: Column,
    theirs: Column,
    layout: Word,
) -> Word:
    """Row which[j] of rows becomes row order[j] of other, from j = start on.

    Returns how many have: fewer than k if the pool has to grow first. A row is put where it was in
    the pool if it fits there; else what it held stays behind.
    """
    for j in range(start, which.shape[0]):
        again = takes(rows, which[j], other, order[j], layout)
        if not again and used[0] + words_of(other, order[j], layout) > pool.shape[1]:
            return j
        copy_row(rows, which[j], pool, used, other, order[j], theirs, layout, again)
    return which.shape[0]
