"""Opening a log: find its segments, drop a torn tail, rebuild the producers' state.

A segment with a good index file was synced before that file was written and is taken as it is.
The others (the active one, and any that a crash caught between rolling and syncing) are scanned
batch by batch with their checksums; the log ends at the first batch that is not whole. What is left
is synced before a reader sees it: after a mere kill it may be in the page cache only.
"""

from __future__ import annotations

from broker.log.disk import Disk
from broker.log.partition import START_NAME, PartitionLog, snapshot_name
from broker.log.producers import ProducerTable
from broker.log.segment import Segment
from broker.log.settings import LogSettings
from broker.records.batch import BatchHeader
from broker.records.build import marker_is_commit

_SUFFIX = ".log"


def open_log(
    disk: Disk, folder: str, settings: LogSettings, now_ms: int, *, visible_when_synced: bool
) -> PartitionLog:
    """The log in `folder`, made empty if there is none. OSError if the disk refuses."""
    disk.make_folder(folder)
    segments = _open_segments(disk, folder, now_ms)
    stored_start = disk.read(f"{folder}/{START_NAME}")
    log_start = max(segments[0].base_offset, int(stored_start or b"0"))
    log_start = min(log_start, segments[-1].next_offset)
    producers = _producers(disk, folder, segments, now_ms)
    segments[-1].drop_index()
    return PartitionLog(
        disk,
        folder,
        settings,
        segments,
        producers,
        log_start,
        visible_when_synced=visible_when_synced,
    )


def _open_segments(disk: Disk, folder: str, now_ms: int) -> list[Segment]:
    bases = [int(name[: -len(_SUFFIX)]) for name in disk.names(folder) if name.endswith(_SUFFIX)]
    segments: list[Segment] = []
    torn = False
    for base in sorted(bases):
        segment = Segment(disk, folder, base, now_ms)
        if torn or (segments and base != segments[-1].next_offset):
            torn = True
            segment.remove()
            continue
        if not segment.load_index():
            torn = _scan(segment)
        segments.append(segment)
    if not segments:
        segments.append(Segment(disk, folder, 0, now_ms))
    return segments


def _scan(segment: Segment) -> bool:
    """Note every whole batch of the segment, cut the rest off, sync; whether there was a rest."""
    expected = segment.base_offset
    for _, header in segment.scan(0, segment.file.size, verify=True):
        if header.base_offset != expected:
            break
        segment.note(header, header.size)
        expected = header.next_offset
    torn = segment.file.size > segment.size
    if torn:
        segment.drop_index()
        segment.file.truncate(segment.size)
    segment.file.sync()
    return torn


def _producers(disk: Disk, folder: str, segments: list[Segment], now_ms: int) -> ProducerTable:
    """The newest snapshot at a segment's start, plus every batch from there on."""
    table, first = ProducerTable(), 0
    for at in range(len(segments) - 1, -1, -1):
        base = segments[at].base_offset
        data = disk.read(f"{folder}/{snapshot_name(base)}")
        found = ProducerTable.decode(data, base) if data is not None else None
        if found is not None:
            table, first = found, at
            break
    for segment in segments[first:]:
        for position, header in segment.scan(0, segment.size, verify=False):
            if header.producer_id >= 0:
                _apply(table, segment, position, header, now_ms)
    return table


def _apply(
    table: ProducerTable, segment: Segment, position: int, header: BatchHeader, now_ms: int
) -> None:
    if not header.is_control:
        table.record(header, now_ms)
        return
    marker = segment.file.read(position, header.size)
    epoch = int.from_bytes(marker[-5:-1], "big", signed=True)
    table.record_marker(header, now_ms, commit=marker_is_commit(marker), coordinator_epoch=epoch)
