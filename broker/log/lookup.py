"""From times to offsets (KIP-79)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from broker.log.segment import Segment
from broker.records.batch import BatchHeader
from broker.records.codecs import CorruptRecordsError
from broker.records.iterate import iterate


class TimedOffset(NamedTuple):
    offset: int
    timestamp: int


def first_at_time(
    segments: Sequence[Segment], log_start: int, time: int, limit: int
) -> TimedOffset | None:
    """The first record in [log_start, limit) whose timestamp is `time` or later."""
    for segment in segments:
        if segment.max_timestamp < time or segment.base_offset >= limit:
            continue
        start = segment.index.position_before_time(time)
        for position, header in segment.scan(start, segment.size, verify=False):
            if header.max_timestamp < time or header.next_offset <= log_start:
                continue
            found = _record_at(segment, position, header, time, log_start)
            if found is not None:
                return found if found.offset < limit else None
    return None


def _record_at(
    segment: Segment, position: int, header: BatchHeader, time: int, log_start: int
) -> TimedOffset | None:
    batch = segment.file.read(position, header.size)
    try:
        for record in iterate(batch, header):
            if record.timestamp >= time and record.offset >= log_start:
                return TimedOffset(record.offset, record.timestamp)
    except CorruptRecordsError:
        return TimedOffset(max(header.base_offset, log_start), header.max_timestamp)
    return None
