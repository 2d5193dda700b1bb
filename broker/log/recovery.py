"""Opening a log: find its segments, drop a torn tail, rebuild the producers' state.

What an index file vouches for was synced before that file was written, and is taken as it is. The
rest (of the active segment, and of any that a crash caught between rolling and syncing) is scanned
batch by batch with its checksums; the log ends at the first batch that is not whole. What was
scanned is synced before a reader sees it: after a mere kill it may be in the page cache only.
"""

from __future__ import annotations

from broker.log.disk import Disk
from broker.log.partition import SNAPSHOT_SUFFIX, START_NAME, PartitionLog, snapshot_name
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
    producers, snapshots = _producers(disk, folder, segments, now_ms)
    return PartitionLog(
        disk,
        folder,
        settings,
        segments,
        producers,
        log_start,
        snapshots,
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
        segment.load_index()
        if segment.size < segment.file.size:
            torn = _scan(segment)
        segments.append(segment)
    if not segments:
        segments.append(Segment(disk, folder, 0, now_ms))
    return segments


def _scan(segment: Segment) -> bool:
    """Note every whole batch of the segment, cut the rest off, sync; whether there was a rest."""
    expected = segment.next_offset
    for _, header in segment.scan(segment.size, segment.file.size, verify=True):
        if header.base_offset != expected:
            break
        expected = header.next_offset
        segment.note(header.base_offset, expected, header.max_timestamp, header.size)
    torn = segment.file.size > segment.size
    if torn:
        segment.file.truncate(segment.size)
    segment.file.sync()
    return torn


def _producers(
    disk: Disk, folder: str, segments: list[Segment], now_ms: int
) -> tuple[ProducerTable, list[int]]:
    """The newest snapshot that fits, plus every batch behind it; and the snapshots there are.

    A snapshot may be newer than what is left of the log. It goes: the log will grow past it again,
    with other batches.
    """
    end = segments[-1].next_offset
    table, start, offsets = ProducerTable(), 0, _snapshot_offsets(disk, folder)
    for offset in [offset for offset in offsets if offset > end]:
        disk.remove(f"{folder}/{snapshot_name(offset)}")
    offsets = [offset for offset in offsets if offset <= end]
    for offset in reversed(offsets):
        found = ProducerTable.decode(disk.read(f"{folder}/{snapshot_name(offset)}") or b"", offset)
        if found is not None:
            table, start = found, offset
            break
    for segment in segments:
        if segment.next_offset <= start:
            continue
        begin = segment.index.position_before(start)
        for position, header in segment.scan(begin, segment.size, verify=False):
            if header.producer_id >= 0 and header.base_offset >= start:
                _apply(table, segment, position, header, now_ms)
    return table, offsets


def _snapshot_offsets(disk: Disk, folder: str) -> list[int]:
    return sorted(
        int(name[: -len(SNAPSHOT_SUFFIX)])
        for name in disk.names(folder)
        if name.endswith(SNAPSHOT_SUFFIX)
    )


def _apply(
    table: ProducerTable, segment: Segment, position: int, header: BatchHeader, now_ms: int
) -> None:
    if not header.is_control:
        table.record(header, header.base_offset, now_ms)
        return
    marker = segment.file.read(position, header.size)
    epoch = int.from_bytes(marker[-5:-1], "big", signed=True)
    table.record_marker(
        header, header.base_offset, now_ms, commit=marker_is_commit(marker), coordinator_epoch=epoch
    )
