"""Which segments may be cleaned, how dirty a log is, and which log is cleaned next.

The rules are Kafka's (LogCleanerManager): never the active segment, nothing above the last stable
offset, nothing younger than `min.compaction.lag.ms`; the dirtiest log first, if a share of
`min.cleanable.dirty.ratio` is dirty or a record has waited for `max.compaction.lag.ms` (KIP-354).
Beyond Kafka: a log whose tombstones or markers are old enough is cleaned even if nothing is new.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from broker.log.partition import PartitionLog
from broker.log.segment import Segment
from broker.log.settings import FOREVER
from broker.records.batch import HEADER_SIZE, read_header


class Dirt(NamedTuple):
    """What a pass over a log would do."""

    log: PartitionLog
    segments: tuple[Segment, ...]
    """All that a pass rewrites: from the first of the log to the last that may be cleaned."""
    first_dirty: int
    dirty_bytes: int
    ratio: float
    overdue: bool
    """Something must not wait any longer, whatever the ratio."""

    @property
    def is_due(self) -> bool:
        return self.overdue or (
            self.dirty_bytes > 0 and self.ratio >= self.log.settings.min_cleanable_ratio
        )


def measure(log: PartitionLog, now_ms: int) -> Dirt:
    """How dirty a log is."""
    first_dirty = max(log.compaction.checkpoint.first_dirty, log.log_start)
    lag_ms = log.settings.min_compaction_lag_ms
    segments: list[Segment] = []
    clean = dirty = 0
    overdue = False
    for segment in log.stable_segments():
        if segment.next_offset <= first_dirty:
            clean += segment.size
        elif lag_ms and segment.max_timestamp > now_ms - lag_ms:
            break
        else:
            dirty += segment.size
            overdue = overdue or _waits_too_long(log, segment, now_ms)
        segments.append(segment)
    horizon_ms = log.compaction.checkpoint.next_horizon_ms
    if horizon_ms is not None and horizon_ms <= now_ms and segments:
        overdue = True
    ratio = dirty / (clean + dirty) if dirty else 0.0
    return Dirt(log, tuple(segments), first_dirty, dirty, ratio, overdue)


def _waits_too_long(log: PartitionLog, segment: Segment, now_ms: int) -> bool:
    most_ms = log.settings.max_compaction_lag_ms
    return most_ms < FOREVER and now_ms - first_time(segment, now_ms) > most_ms


def first_time(segment: Segment, now_ms: int) -> int:
    """The time of a segment's first batch, `now_ms` if it has none."""
    head = segment.file.read(0, HEADER_SIZE) if segment.size else b""
    return read_header(head).max_timestamp if len(head) == HEADER_SIZE else now_ms


def roll_if_due(log: PartitionLog, now_ms: int) -> bool:
    """Seal an active segment that holds a record for `max.compaction.lag.ms`. OSError."""
    active, most_ms = log.segments[-1], log.settings.max_compaction_lag_ms
    if active.size and most_ms < FOREVER and now_ms - first_time(active, now_ms) > most_ms:
        log.roll(now_ms)
        return True
    return False


def may_be_cleaned(log: PartitionLog, now_ms: int) -> bool:
    """Whether a log is to be compacted, and nothing is in the way."""
    state = log.compaction
    return (
        log.settings.compacts
        and log.failed is None
        and state.uncleanable is None
        and not state.running
        and state.retry_at_ms <= now_ms
    )


def choose(logs: Iterable[PartitionLog], now_ms: int) -> Dirt | None:
    """The log to clean now: overdue before dirty, the dirtier first; None if none is due."""
    found = [measure(log, now_ms) for log in logs if may_be_cleaned(log, now_ms)]
    due = [dirt for dirt in found if dirt.is_due]
    return max(due, key=lambda dirt: (dirt.overdue, dirt.ratio), default=None)
