"""What a sample of a cumulative stream is to the one before it, for numbers and histograms alike.

OpenTelemetry data model, "Resets and gaps", "Cumulative streams: handling unknown start time",
"Overlap". A start time says nothing where it is 0 (or negative, which no writer means), or not
before its own sample: a stream that resumes without knowing since when it counts begins with a
point of zero duration. A sequence that began before the last sample of another one overlaps it: two
writers share an identity, and what either counted in the meantime is not known. Zero is taken for
it, which never counts twice, and which a sample that comes late can not make a row vanish by.
"""

from __future__ import annotations

from streams.kernels.compile import kernel
from streams.kernels.rows import EARLIEST
from streams.kernels.types import Column, Word

# How a sample follows, and so what it contributes (unless it is smaller: then itself)
CONTINUES = 0  # the difference to the sample before it
RESTARTED = 1  # itself: another sequence, which began after that sample
OVERLAPS = 2  # zero: another sequence, which began before that sample
BEGAN = 3  # itself: no sample before it, or too far back, and it began in its own pane
UNKNOWN = 4  # nothing, not even zero: otherwise

# What is noticed: kinds of the reset ledger
START_CHANGED = 0
DECREASED = 1
OVERLAP = 2
GAP = 3
UNKNOWN_START = 4
TIE = 5
KINDS = ("start-changed", "decreased", "overlap", "gap", "unknown-start", "tie")

# A notice, i64[NOTICE_WIDTH]: the stream, the kind, the sample's time
NOTICE_WIDTH = 3


@kernel("i64(i64, i64)", forceinline=True, allocates=False)
def end_of_window(time: Word, size: Word) -> Word:
    """The end of the window (end - size, end] that a time lies in."""
    return -((-time) // size) * size


@kernel("i64(i64, i64, i64, i64, i64, i64)", forceinline=True, allocates=False)
def follows(
    time: Word, start: Word, base_time: Word, base_start: Word, gap: Word, pane: Word
) -> Word:
    """How a sample follows the one before it (base_time EARLIEST: there is none); all in ns."""
    stated = start > 0 and start < time
    if base_time == EARLIEST or time - base_time > gap:
        inside = stated and end_of_window(start, pane) == end_of_window(time, pane)
        return BEGAN if inside else UNKNOWN
    if not stated or base_start <= 0 or start == base_start:
        return CONTINUES
    return OVERLAPS if start < base_time else RESTARTED


@kernel("i64(i64, i64, bool_)", forceinline=True, allocates=False)
def kind_of(how: Word, base_time: Word, decreased: Word) -> Word:
    """The kind to notice, -1 for none; decreased: it continues and is smaller."""
    if how == RESTARTED:
        return START_CHANGED
    if how == OVERLAPS:
        return OVERLAP
    if how == CONTINUES:
        return DECREASED if decreased else -1
    if base_time != EARLIEST:
        return GAP
    return UNKNOWN_START if how == UNKNOWN else -1


@kernel("i64(i64[:, ::1], i64, i64, i64, i64)", forceinline=True, allocates=False)
def note(notices: Column, at: Word, stream: Word, kind: Word, time: Word) -> Word:
    """Write a notice to notices i64[n, NOTICE_WIDTH] if there is room; returns the next place."""
    if kind < 0:
        return at
    if at < notices.shape[0]:
        notices[at, 0] = stream
        notices[at, 1] = kind
        notices[at, 2] = time
    return at + 1
