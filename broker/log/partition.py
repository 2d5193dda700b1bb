"""The log of one partition: append, read, look up, mark durable. One thread, no clock of its own.

Three offsets divide it: `log_start` <= `last_stable_offset()` <= `high_watermark` <= `next_offset`.
Readers see what is below the high watermark. With `visible_when_synced` that is what was synced
(nothing that was read can be lost to a power cut), else everything appended.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from broker.log.compaction.checkpoint import Checkpoint, CompactionState
from broker.log.disk import Disk
from broker.log.lookup import TimedOffset, first_at_time
from broker.log.producers import Duplicate, ProducerTable
from broker.log.segment import Segment
from broker.log.settings import UNLIMITED, LogSettings
from broker.log.sync import SyncJob, SyncResult
from broker.protocol.errors import ErrorCode
from broker.records.batch import (
    HEADER_SIZE,
    LENGTH_PREFIX,
    MAX_INT32,
    BatchHeader,
    Refusal,
    patch_log_append_time,
    patch_position,
    read_header,
)
from broker.records.build import build_marker
from broker.records.codecs import CorruptRecordsError
from broker.records.iterate import iterate

LEADER_EPOCH = 0
START_NAME = "log-start"
SNAPSHOT_SUFFIX = ".producers"
KEPT_SNAPSHOTS = 2
CHECKPOINT_BYTES = 64 << 20
"""Bytes appended between two checkpoints; what a start after a crash has to scan, at most."""


class Appended(NamedTuple):
    """Where a batch went, or (`repeated`) had gone before."""

    base_offset: int
    next_offset: int
    append_time: int
    """-1 where the topic keeps the producers' times."""
    repeated: bool = False


class Slice(NamedTuple):
    """What a reader gets. `records` begins with a whole batch and may end with part of one."""

    error: int
    records: bytes | memoryview
    aborted: list[tuple[int, int]] | None = None


_NOTHING = memoryview(b"")


class PartitionLog:
    """One partition's log. Made by `broker.log.recovery.open_log`."""

    def __init__(
        self,
        disk: Disk,
        folder: str,
        settings: LogSettings,
        segments: list[Segment],
        producers: ProducerTable,
        log_start: int,
        snapshots: list[int],
        checkpoint: Checkpoint,
        *,
        visible_when_synced: bool,
    ) -> None:
        self.disk = disk
        self.folder = folder
        self.settings = settings
        self.segments = segments
        self.producers = producers
        self.log_start = log_start
        self.next_offset = segments[-1].next_offset
        self.high_watermark = self.next_offset
        self.visible_bytes = 0
        """Bytes that became visible since the log was opened; a cheap hint for waiting readers."""
        self.failed: str | None = None
        """Why nothing can be appended any more (a sync failed), until the broker is restarted."""
        self.closed = False
        self.syncing = False
        self.dirty = False
        self.compaction = CompactionState(checkpoint)
        self._visible_when_synced = visible_when_synced
        self._bases = [segment.base_offset for segment in segments]
        self._sealed_unsynced: list[Segment] = []
        self._sealed_syncing: tuple[Segment, ...] = ()
        self._snapshots = snapshots
        self._snapshot_saved = max(snapshots, default=0)
        self._checkpointed = segments[-1].vouched
        self._checkpoint_due = False
        self._visible_segment = segments[-1]
        self._visible_position = segments[-1].size

    # --- appending ------------------------------------------------------------------------------

    def append(
        self, batch: bytearray | memoryview, header: BatchHeader, now_ms: int
    ) -> Appended | Refusal:
        """Append a checked client batch; its offset and epoch are written into `batch` in place.

        A repeat of one of a producer's last five batches is answered with the offset it has.
        """
        if self.failed is not None:
            return Refusal(ErrorCode.kafka_storage_error, self.failed)
        if header.producer_id >= 0:
            known = self.producers.check(header)
            if known is not None:
                if isinstance(known, Duplicate):
                    time = known.timestamp if self.settings.stamp_append_time else -1
                    return Appended(known.base_offset, known.next_offset, time, repeated=True)
                return known
        settings = self.settings
        if settings.check_records:
            try:
                for _ in iterate(batch, header._replace(base_offset=0)):
                    pass
            except CorruptRecordsError as problem:
                return Refusal(ErrorCode.invalid_record, str(problem))
        append_time, max_timestamp = -1, header.max_timestamp
        if settings.stamp_append_time:
            append_time = max_timestamp = now_ms
            patch_log_append_time(batch, header, now_ms)
        base = self.next_offset
        refusal = self._write(batch, header, base, max_timestamp, now_ms)
        if refusal is not None:
            return refusal
        if header.producer_id >= 0:
            self.producers.record(header, base, now_ms)
        return Appended(base, self.next_offset, append_time)

    def append_own(self, batch: bytearray, now_ms: int) -> Appended | Refusal:
        """Append a batch that the broker built (no producer, not a marker)."""
        if self.failed is not None:
            return Refusal(ErrorCode.kafka_storage_error, self.failed)
        base, header = self.next_offset, read_header(batch)
        refusal = self._write(batch, header, base, header.max_timestamp, now_ms)
        return refusal or Appended(base, self.next_offset, -1)

    def append_marker(
        self,
        producer_id: int,
        producer_epoch: int,
        now_ms: int,
        *,
        commit: bool,
        coordinator_epoch: int,
    ) -> Appended | Refusal:
        """End a producer's transaction here. Without an open one the marker still fences older
        epochs, as in Kafka; a marker of an epoch that is itself fenced is refused."""
        if self.failed is not None:
            return Refusal(ErrorCode.kafka_storage_error, self.failed)
        known = self.producers.producers.get(producer_id)
        if known is not None and producer_epoch < known.epoch:
            return Refusal(ErrorCode.invalid_producer_epoch, f"epoch {known.epoch} was seen")
        marker = build_marker(
            producer_id,
            producer_epoch,
            commit=commit,
            coordinator_epoch=coordinator_epoch,
            now_ms=now_ms,
        )
        base, header = self.next_offset, read_header(marker)
        refusal = self._write(marker, header, base, header.max_timestamp, now_ms)
        if refusal is not None:
            return refusal
        self.producers.record_marker(
            header, base, now_ms, commit=commit, coordinator_epoch=coordinator_epoch
        )
        return Appended(base, self.next_offset, -1)

    def _write(
        self,
        batch: bytearray | memoryview,
        header: BatchHeader,
        base: int,
        max_timestamp: int,
        now_ms: int,
    ) -> Refusal | None:
        patch_position(batch, base, LEADER_EPOCH)
        size = header.length + LENGTH_PREFIX
        end = base + header.last_offset_delta + 1
        active = self.segments[-1]
        try:
            if active.size and self._is_full(active, active.size + size, end, now_ms):
                active = self.roll(now_ms)
            active.file.append(batch)
        except OSError as problem:
            return Refusal(
                ErrorCode.kafka_storage_error, f"{self.folder}: {problem.strerror or problem}"
            )
        active.note(base, end, max_timestamp, size)
        self.next_offset = end
        self.dirty = True
        if not self._visible_when_synced:
            self._show(end, active, active.size, size)
        return None

    def _is_full(self, active: Segment, size: int, end: int, now_ms: int) -> bool:
        settings = self.settings
        return (
            size > settings.segment_bytes
            or now_ms - active.opened_ms > settings.segment_ms
            or end - active.base_offset > MAX_INT32
        )

    def roll(self, now_ms: int) -> Segment:
        """Seal the active segment and begin another one. OSError: nothing changed."""
        sealed = self.segments[-1]
        base = self.next_offset
        fresh = Segment(self.disk, self.folder, base, now_ms)
        self.segments.append(fresh)
        self._bases.append(base)
        self._sealed_unsynced.append(sealed)
        self._checkpoint_due = True
        self.dirty = True
        return fresh

    # --- durability -----------------------------------------------------------------------------

    def begin_sync(self, *, checkpoint: bool = False) -> SyncJob:
        """What has to be synced now. One job at a time; `finish_sync` must follow.

        `checkpoint`: also write down index and producers' state as of now, so that the next start
        need not scan what is there; by itself that happens every `CHECKPOINT_BYTES`.
        """
        active = self.segments[-1]
        sealed = self._sealed_syncing = tuple(self._sealed_unsynced)
        self._sealed_unsynced.clear()
        self.dirty = False
        self.syncing = True
        writes = [(segment.index_path, segment.encode_index()) for segment in sealed]
        grown = active.size - self._checkpointed
        if checkpoint or self._checkpoint_due or grown >= CHECKPOINT_BYTES:
            state = self.producers.encode(self.next_offset)
            writes.append((active.index_path, active.encode_index()))
            writes.append((f"{self.folder}/{snapshot_name(self.next_offset)}", state))
            self._checkpoint_due = False
            self._checkpointed = active.size
            if self.next_offset not in self._snapshots:
                self._snapshots.append(self.next_offset)
        files = (*(segment.file for segment in sealed), active.file)
        return SyncJob(
            self.disk, files, self.next_offset, active, active.size, sealed, tuple(writes)
        )

    def finish_sync(self, job: SyncJob, result: SyncResult) -> None:
        """Take note of what became of `job`."""
        self.syncing = False
        self._sealed_syncing = ()
        if self.closed:
            self.close()
            return
        if result.problem is not None:
            why = result.problem.strerror or result.problem
            self.failed = f"{self.folder}: sync failed: {why}"
            return
        if result.saved:
            self._snapshot_saved = max(self._snapshots, default=0)
        else:
            self._sealed_unsynced[:0] = [
                segment for segment in job.sealed if segment in self.segments
            ]
            self._checkpoint_due = True
        while result.saved and len(self._snapshots) > KEPT_SNAPSHOTS:
            offset = self._snapshots.pop(0)
            self.disk.remove(f"{self.folder}/{snapshot_name(offset)}")
        if self._visible_when_synced and job.end > self.high_watermark:
            shown = job.position - self._visible_position
            if job.segment is not self._visible_segment:
                shown = job.position + 1
            self._show(job.end, job.segment, job.position, shown)

    def checkpoint_is_old(self) -> bool:
        """Whether something was appended since the last checkpoint."""
        return self._checkpoint_due or self.segments[-1].size != self._checkpointed

    def _show(self, end: int, segment: Segment, position: int, size: int) -> None:
        self.high_watermark = end
        self._visible_segment = segment
        self._visible_position = position
        self.visible_bytes += size

    # --- reading --------------------------------------------------------------------------------

    def last_stable_offset(self) -> int:
        """Below it, the fate of every transactional record is known and visible."""
        return self.producers.last_stable_offset(self.high_watermark)

    def read(self, offset: int, max_bytes: int, *, committed: bool, at_least_one: bool) -> Slice:
        """Batches from the one that holds `offset` or follows it, about `max_bytes` of them.

        `at_least_one`: a first batch that is larger comes whole. `committed`: only below the last
        stable offset, with the aborted transactions among them.
        """
        if offset < self.log_start or offset > self.next_offset:
            return Slice(ErrorCode.offset_out_of_range, _NOTHING)
        limit = self.last_stable_offset() if committed else self.high_watermark
        aborted: list[tuple[int, int]] | None = [] if committed else None
        if offset >= limit:
            return Slice(0, _NOTHING, aborted)
        at = bisect_right(self._bases, offset) - 1
        while True:
            segment = self.segments[at]
            end = self._limit_position(segment, limit)
            start = segment.index.position_before(offset)
            window = self._window(segment, offset, start, end, max_bytes, at_least_one)
            if window is not None:
                break
            at += 1
            if at == len(self.segments) or self.segments[at].base_offset >= limit:
                return Slice(0, _NOTHING, aborted)
        position, records = window
        if aborted is not None and self.producers.aborted:
            behind = segment.index.offset_after(position + len(records))
            upper = segment.next_offset if behind is None else behind
            aborted = self.producers.aborted_between(offset, min(upper, limit))
        return Slice(0, records, aborted)

    def _limit_position(self, segment: Segment, limit: int) -> int:
        if limit >= self.high_watermark:
            if segment is self._visible_segment:
                return self._visible_position
            return segment.size
        if limit >= segment.next_offset:
            return segment.size
        found = segment.locate(limit)
        return segment.size if found is None else found[0]

    def _window(
        self,
        segment: Segment,
        offset: int,
        start: int,
        end: int,
        max_bytes: int,
        at_least_one: bool,
    ) -> tuple[int, memoryview] | None:
        """Position and bytes of the batches that begin with the one that holds `offset`, or with
        the next one if compaction removed that; None if there is none in the segment."""
        read_ahead = 2 * 4096 + HEADER_SIZE
        data = segment.file.read(start, min(max(max_bytes, 0) + read_ahead, end - start))
        at = 0
        while True:
            if at + HEADER_SIZE > len(data):
                if start + at + HEADER_SIZE > end:
                    return None
                start, at = start + at, 0
                data = segment.file.read(start, min(max_bytes + read_ahead, end - start))
                if len(data) < HEADER_SIZE:
                    return None
            header = read_header(data, at)
            if header.next_offset > offset:
                break
            at += header.size
        if header.size > max_bytes and not at_least_one:
            return start + at, _NOTHING
        wanted = min(max(max_bytes, header.size), end - start - at)
        if at + wanted > len(data):
            start, at = start + at, 0
            data = segment.file.read(start, wanted)
        return start + at, memoryview(data)[at : at + wanted]

    # --- looking up -----------------------------------------------------------------------------

    def offset_for_time(self, time: int, limit: int) -> TimedOffset | None:
        """The first record below `limit` whose timestamp is `time` or later."""
        return first_at_time(self.segments, self.log_start, time, limit)

    def offset_of_max_time(self, limit: int) -> TimedOffset | None:
        """The record with the greatest timestamp below `limit` (the first of several)."""
        latest = max((segment.max_timestamp for segment in self.segments), default=-1)
        return None if latest < 0 else self.offset_for_time(latest, limit)

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self.segments)

    # --- forgetting -----------------------------------------------------------------------------

    def retain(self, now_ms: int) -> int:
        """Delete the segments that time or size no longer allow; how many went. OSError: some may
        have gone, the log is consistent."""
        self.producers.forget_before(self.log_start, now_ms - self.settings.producer_expiry_ms)
        if self.syncing or self.compaction.running or not self.settings.deletes:
            return 0
        settings = self.settings
        if settings.retention_ms != UNLIMITED:
            self._roll_expired(now_ms)
        total, gone = self.size, 0
        while len(self.segments) > 1 and self.segments[0].next_offset <= self.high_watermark:
            oldest = self.segments[0]
            too_old = (
                settings.retention_ms != UNLIMITED
                and now_ms - oldest.max_timestamp > settings.retention_ms
            )
            too_much = (
                settings.retention_bytes != UNLIMITED
                and total - oldest.size >= settings.retention_bytes
            )
            if not (too_old or too_much or oldest.next_offset <= self.log_start):
                break
            total -= oldest.size
            self._drop_oldest()
            gone += 1
        return gone

    def _roll_expired(self, now_ms: int) -> None:
        active = self.segments[-1]
        if active.size and now_ms - active.max_timestamp > self.settings.retention_ms:
            self.roll(now_ms)

    def delete_before(self, offset: int) -> int | Refusal:
        """Move the log's start up to `offset` (-1: the high watermark), durably; the new start."""
        if offset == -1:
            offset = self.high_watermark
        if offset > self.high_watermark or offset < 0:
            return Refusal(ErrorCode.offset_out_of_range, f"the log ends at {self.high_watermark}")
        if offset > self.log_start:
            try:
                self.disk.replace(f"{self.folder}/{START_NAME}", str(offset).encode())
            except OSError as problem:
                return Refusal(ErrorCode.kafka_storage_error, str(problem))
            self.log_start = offset
        return self.log_start

    def _drop_oldest(self) -> None:
        oldest = self.segments.pop(0)
        self._bases.pop(0)
        if oldest in self._sealed_unsynced:
            self._sealed_unsynced.remove(oldest)
        self.log_start = max(self.log_start, self.segments[0].base_offset)
        oldest.remove()

    # --- compaction -----------------------------------------------------------------------------

    def stable_segments(self) -> list[Segment]:
        """The segments that never change again but by compaction: sealed, below the last stable
        offset, with index and a snapshot of the producers behind them on the disk."""
        limit = min(self.last_stable_offset(), self._snapshot_saved)
        unsaved = (*self._sealed_syncing, *self._sealed_unsynced)
        return [
            segment
            for segment in self.segments[:-1]
            if segment.next_offset <= limit and segment not in unsaved
        ]

    def saved_snapshot(self) -> tuple[int, bytes]:
        """The newest snapshot of the producers on the disk: its offset and content."""
        offset = self._snapshot_saved
        return offset, self.disk.read(f"{self.folder}/{snapshot_name(offset)}") or b""

    def swap_in(
        self, sources: Sequence[Segment], fresh: Segment, removed_markers: frozenset[int]
    ) -> None:
        """From now on read `fresh` instead of `sources`. Aborted transactions whose markers went
        are forgotten with them: no data of them is left, and nothing would end them."""
        if self.closed:
            fresh.file.close()
            return
        at = self.segments.index(sources[0])
        self.segments[at : at + len(sources)] = [fresh]
        self._bases = [segment.base_offset for segment in self.segments]
        if self._visible_segment in sources:
            self._visible_segment, self._visible_position = fresh, fresh.size
        self.producers.forget_aborted(removed_markers)
        for segment in sources:
            segment.file.close()

    def close(self) -> None:
        """Take no more; close the files, or let what works on them do so. Nothing is synced."""
        self.closed = True
        self.failed = f"{self.folder} is closed"
        if not self.syncing and not self.compaction.running:
            self._close_files()

    def _close_files(self) -> None:
        for segment in self.segments:
            segment.file.close()


def snapshot_name(offset: int) -> str:
    """The file with the producers' state before `offset`."""
    return f"{offset:020d}{SNAPSHOT_SUFFIX}"
