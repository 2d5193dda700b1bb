"""One pass over one log: the work with files around `keeper`. Runs in any thread.

It reads sealed segments only, which nobody else changes, and hands each segment that it made to the
log's own thread, which then reads from it instead of those before.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from broker.log.compaction.checkpoint import Checkpoint
from broker.log.compaction.dirt import Dirt
from broker.log.compaction.keeper import AbortedOffsets, Bytes, Keeper, LastBatch, Rules
from broker.log.compaction.offset_map import OffsetMap
from broker.log.compaction.swap import cleaned_name, make_swap
from broker.log.partition import PartitionLog
from broker.log.producers import ProducerTable
from broker.log.segment import Segment
from broker.records.batch import BatchHeader, crc_is_good, read_header
from broker.records.codecs import CorruptRecordsError
from broker.records.rewrite import records_of, unpack

WRITE_BYTES = 1 << 20
RETRY_MS = 60_000
"""After an error of the disk (it may be full) the log is left alone for so long."""


class UncleanableError(Exception):
    """The log can't be cleaned until the broker starts anew; the message says why."""


class StoppedError(Exception):
    """The pass was given up on request; it may be begun again at any time."""


class Swapped(NamedTuple):
    """`fresh` has taken the place of `sources` on the disk."""

    sources: tuple[Segment, ...]
    fresh: Segment
    removed_markers: frozenset[int]


class Cleaned(NamedTuple):
    """What a pass did."""

    checkpoint: Checkpoint
    read_bytes: int
    written_bytes: int
    removed_records: int


@dataclass(slots=True)
class Pass:
    """What a pass needs of the log, taken in the log's thread.

    `map_bytes`: memory for the offset map. `swapped` is called (in the thread of `run`) for each
    group that is done. `pace` is called every few records: it may sleep, or raise to give up.
    """

    log: PartitionLog
    dirt: Dirt
    now_ms: int
    map_bytes: int
    swapped: Callable[[Swapped], None]
    pace: Callable[[], None]
    aborted: AbortedOffsets = field(init=False)
    snapshot: tuple[int, bytes] = field(init=False)
    producers: frozenset[int] = field(init=False)
    checkpoint: Checkpoint = field(init=False)
    following: Segment = field(init=False)
    _read: int = 0
    _written: int = 0

    keeper_type: ClassVar[type[Keeper]] = Keeper

    def __post_init__(self) -> None:
        self.aborted = AbortedOffsets(self.log.producers.aborted)
        self.snapshot = self.log.saved_snapshot()
        self.producers = frozenset(self.log.producers.producers)
        self.checkpoint = self.log.compaction.checkpoint
        self.following = self.log.segments[len(self.dirt.segments)]

    def run(self) -> Cleaned:
        """Clean. OSError: what was swapped so far stays so, the rest is for another time. Raises
        UncleanableError, and what `pace` raises."""
        try:
            offsets, mapped_end = self._map()
            keeper = self.keeper_type(self._rules(offsets, mapped_end))
            touched = [item for item in self.dirt.segments if item.base_offset < mapped_end]
            self._prepare(touched)
            for group in groups(touched, self.log.settings.segment_bytes):
                self._clean(group, keeper)
        except CorruptRecordsError as problem:
            raise UncleanableError(f"{self.log.folder}: {problem}") from problem
        done = Checkpoint(mapped_end, self.checkpoint.swapped_below, keeper.next_horizon_ms)
        done.write(self.log.disk, self.log.folder)
        return Cleaned(done, self._read, self._written, keeper.removed_records)

    def _rules(self, offsets: OffsetMap, mapped_end: int) -> Rules:
        retention_ms = self.log.settings.delete_retention_ms
        offset, snapshot = self.snapshot
        return Rules(
            now_ms=self.now_ms,
            delete_retention_ms=retention_ms,
            mapped_end=mapped_end,
            end=self.dirt.segments[-1].next_offset,
            latest=offsets.latest,
            aborted=self.aborted,
            last_batches=last_batches(snapshot, offset, self.producers),
        )

    def _prepare(self, touched: list[Segment]) -> None:
        """Before the first swap: the offset behind the last one must be safe in the name of the
        next segment, and a restart must know that offsets may be missing."""
        self.following.file.sync()
        end = touched[-1].next_offset
        if end > self.checkpoint.swapped_below:
            self.checkpoint = self.checkpoint._replace(swapped_below=end)
            self.checkpoint.write(self.log.disk, self.log.folder)

    def _map(self) -> tuple[OffsetMap, int]:
        """The latest offsets of the keys that are new, and up to where the map reaches."""
        first_dirty = self.dirt.first_dirty
        dirty = [item for item in self.dirt.segments if item.next_offset > first_dirty]
        offsets = OffsetMap(self._record_count(dirty), self.map_bytes)
        for segment in dirty:
            for header, batch in self._batches(segment):
                if header.is_control or self.aborted.hold(header):
                    continue
                for at, record in enumerate(unpack(records_of(batch, header), header)):
                    if at % 64 == 63:
                        self.pace()
                    if record.key is None or record.offset < first_dirty:
                        continue
                    if not offsets.put(record.key, record.offset):
                        return offsets, record.offset
        return offsets, self.dirt.segments[-1].next_offset

    def _record_count(self, segments: list[Segment]) -> int:
        count = 0
        for segment in segments:
            for _, header in segment.scan(0, segment.size, verify=False):
                count += header.record_count
                self.pace()
        return count

    def _clean(self, group: list[Segment], keeper: Keeper) -> None:
        """Make one segment of a group, unless that would change nothing."""
        disk, folder = self.log.disk, self.log.folder
        base, end = group[0].base_offset, group[-1].next_offset
        path = f"{folder}/{cleaned_name(base, end)}"
        disk.remove(path)
        fresh = Segment(disk, folder, base, self.now_ms, file=disk.open(path))
        try:
            changed = self._copy(group, fresh, keeper)
            if len(group) == 1 and not changed:
                fresh.file.close()
                disk.remove(path)
                return
            fresh.next_offset = end
            fresh.file.sync()
        except BaseException:
            fresh.file.close()
            disk.remove(path)
            raise
        try:
            self.swap(base, end)
        except OSError as problem:
            why = f"{folder}: stopped while segments were swapped: {problem.strerror or problem}"
            raise UncleanableError(why) from problem
        self.swapped(Swapped(tuple(group), fresh, frozenset(keeper.removed_markers)))
        disk.replace(fresh.index_path, fresh.encode_index())

    def swap(self, base: int, end: int) -> None:
        """Give a finished segment the place of those that it was made of."""
        make_swap(self.log.disk, self.log.folder, base, end)

    def _copy(self, group: list[Segment], fresh: Segment, keeper: Keeper) -> bool:
        """Write what stays of a group; whether anything is different."""
        changed = False
        waiting = bytearray()
        for segment in group:
            for header, batch in self._batches(segment):
                kept = keeper.keep(header, batch)
                changed = changed or kept is not batch
                if kept is None:
                    continue
                fresh.take(read_header(kept))
                waiting += kept
                if len(waiting) >= WRITE_BYTES:
                    self._flush(fresh, waiting)
                self.pace()
        self._flush(fresh, waiting)
        return changed

    def _flush(self, fresh: Segment, waiting: bytearray) -> None:
        fresh.file.append(waiting)
        self._written += len(waiting)
        waiting.clear()

    def _batches(self, segment: Segment) -> Iterator[tuple[BatchHeader, Bytes]]:
        """Every batch of a sealed segment, checked."""
        behind = 0
        for position, header in segment.scan(0, segment.size, verify=False):
            batch = segment.file.read(position, header.size)
            if not crc_is_good(batch, 0, header):
                break
            yield header, batch
            behind = position + header.size
            self._read += header.size
            self.pace()
        if behind != segment.size:
            raise CorruptRecordsError(
                f"no whole batch at byte {behind} of the segment that begins with offset "
                f"{segment.base_offset}"
            )


Outcome = Cleaned | UncleanableError | OSError | StoppedError


def finish(log: PartitionLog, outcome: Outcome, now_ms: int) -> None:
    """Take note, in the log's thread, of how a pass ended; `log.compaction.running` was set."""
    state = log.compaction
    state.running = False
    if log.closed:
        log.close()
    elif isinstance(outcome, Cleaned):
        state.checkpoint = outcome.checkpoint
        state.cleaned_at_ms = now_ms
    elif isinstance(outcome, UncleanableError):
        state.uncleanable = str(outcome)
    elif isinstance(outcome, OSError):
        state.retry_at_ms = now_ms + RETRY_MS


def groups(segments: list[Segment], most_bytes: int) -> Iterator[list[Segment]]:
    """Neighbours that fit into one segment together."""
    group: list[Segment] = []
    size = 0
    for segment in segments:
        if group and size + segment.size > most_bytes:
            yield group
            group, size = [], 0
        group.append(segment)
        size += segment.size
    yield group


def last_batches(snapshot: bytes, offset: int, known: Container[int]) -> dict[int, LastBatch]:
    """The last batch of every producer that is still known, as of a snapshot, which no power cut
    takes away: what came later may be lost, and then these are the last ones. OSError."""
    table = ProducerTable.decode(snapshot, offset)
    if table is None:
        raise OSError(errno.EIO, f"the snapshot of the producers at offset {offset} is damaged")
    return {
        producer_id: LastBatch(
            producer.batches[-1].base_offset if producer.batches else None, producer.epoch
        )
        for producer_id, producer in table.producers.items()
        if producer_id in known
    }
