"""Opening a log: find its segments, drop a torn tail, rebuild the producers' state.

What an index file vouches for was synced before that file was written, and is taken as it is. The
rest (of the active segment, and of any that a crash caught between rolling and syncing) is scanned
batch by batch with its checksums; the log ends at the first batch that is not whole. What was
scanned is synced before a reader sees it: after a mere kill it may be in the page cache only.
Where segments were swapped by compaction, offsets may be missing; elsewhere a hole is a torn log.
"""

from __future__ import annotations

from bisect import bisect_right

from broker.log.compaction.checkpoint import read_checkpoint
from broker.log.compaction.swap import finish_swaps, log_bases
from broker.log.disk import Disk
from broker.log.partition import SNAPSHOT_SUFFIX, START_NAME, PartitionLog, snapshot_name
from broker.log.producers import ProducerTable
from broker.log.segment import Segment
from broker.log.settings import LogSettings
from broker.records.batch import BatchHeader
from broker.records.build import marker_epoch, marker_is_commit


def open_log(
    disk: Disk, folder: str, settings: LogSettings, now_ms: int, *, visible_when_synced: bool
) -> PartitionLog:
    """The log in `folder`, made empty if there is none. OSError if the disk refuses."""
    disk.make_folder(folder)
    finish_swaps(disk, folder)
    checkpoint = read_checkpoint(disk, folder)
    segments = _open_segments(disk, folder, checkpoint.swapped_below, now_ms)
    stored_start = disk.read(f"{folder}/{START_NAME}")
    log_start = max(segments[0].base_offset, int(stored_start or b"0"))
    log_start = min(log_start, segments[-1].next_offset)
    producers, snapshots = _producers(disk, folder, segments, now_ms)
    producers.forget_aborted(_lost_markers(producers, segments, checkpoint.swapped_below))
    return PartitionLog(
        disk,
        folder,
        settings,
        segments,
        producers,
        log_start,
        snapshots,
        checkpoint,
        visible_when_synced=visible_when_synced,
    )


def _open_segments(disk: Disk, folder: str, swapped_below: int, now_ms: int) -> list[Segment]:
    segments: list[Segment] = []
    torn = False
    for base in log_bases(disk, folder):
        segment = Segment(disk, folder, base, now_ms)
        before = segments[-1] if segments else None
        merged = False
        if before is not None and before.base_offset < swapped_below:
            merged = base < before.next_offset  # into the one before; its removal was lost
            before.next_offset = max(base, before.next_offset)
        torn = torn or (before is not None and not merged and base != before.next_offset)
        if torn or merged:
            segment.remove()
            continue
        segment.load_index()
        if segment.size < segment.file.size:
            torn = _scan(segment, base < swapped_below)
        segments.append(segment)
    if not segments:
        segments.append(Segment(disk, folder, 0, now_ms))
    return segments


def _scan(segment: Segment, has_holes: bool) -> bool:
    """Note every whole batch of the segment, cut the rest off, sync; whether there was a rest."""
    expected = segment.next_offset
    for _, header in segment.scan(segment.size, segment.file.size, verify=True):
        if header.base_offset < expected or (header.base_offset > expected and not has_holes):
            break
        expected = header.next_offset
        segment.take(header)
    torn = segment.file.size > segment.size
    if torn:
        segment.file.truncate(segment.size)
    segment.file.sync()
    return torn


def _lost_markers(table: ProducerTable, segments: list[Segment], swapped_below: int) -> set[int]:
    """Offsets of markers that compaction removed after the table's snapshot was written."""
    bases = [segment.base_offset for segment in segments]
    lost: set[int] = set()
    for offset in [item.last_offset for item in table.aborted if item.last_offset < swapped_below]:
        found = segments[max(0, bisect_right(bases, offset) - 1)].locate(offset)
        if found is None or found[1].base_offset != offset:
            lost.add(offset)
    return lost


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
    table.record_marker(
        header,
        header.base_offset,
        now_ms,
        commit=marker_is_commit(marker),
        coordinator_epoch=marker_epoch(marker),
    )
