"""What compaction leaves of a log: batches in the order of offsets in, what is left of each out.

The rules are those of Kafka's LogCleaner, with the delete horizon of KIP-534:

- a record stays unless a later one below `mapped_end` has its key, or its transaction was aborted;
- a tombstone stays until a time that is written into its batch when it is first cleaned, and by
  then every older value of its key is gone: `delete_retention_ms` later;
- a transaction's marker stays while anything of its transaction does, and as long after that;
- the last batch of a producer that is still known stays, empty if it must, and so does a marker
  that is all that is left of one: its epoch and sequence can be read from the log;
- so does the last batch below `end`, or a reader that wants to get there would wait for ever.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from broker.log.producers import AbortedTransaction
from broker.records.batch import BatchHeader
from broker.records.rewrite import RawRecord, records_of, rewrite, unpack

Bytes = bytes | bytearray | memoryview


class LastBatch(NamedTuple):
    """Of a producer: base offset of its last data batch (None: only markers are known), epoch."""

    base_offset: int | None
    epoch: int


class AbortedOffsets:
    """Which batches belong to aborted transactions."""

    def __init__(self, aborted: Iterable[AbortedTransaction]) -> None:
        self._spans: dict[int, list[tuple[int, int]]] = {}
        for item in aborted:
            span = (item.last_offset, item.first_offset)
            self._spans.setdefault(item.producer_id, []).append(span)

    def hold(self, header: BatchHeader) -> bool:
        """Whether the transaction of this data batch was aborted."""
        spans = self._spans.get(header.producer_id)
        if spans is None or not header.is_transactional:
            return False
        at = bisect_left(spans, (header.base_offset, 0))
        return at < len(spans) and spans[at][1] <= header.base_offset


@dataclass(frozen=True, slots=True)
class Rules:
    """What one pass goes by. Times in milliseconds."""

    now_ms: int
    delete_retention_ms: int
    mapped_end: int
    """Records from here on were not looked at, and stay."""
    end: int
    """Where the last of the segments ends that are cleaned."""
    latest: Callable[[bytes], int]
    """The greatest offset of a key among the records that are new since the last pass, or -1."""
    aborted: AbortedOffsets
    last_batches: Mapping[int, LastBatch]


class Keeper:
    """Decides batch by batch. Give it every batch of the log, in order, exactly once."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._alive: set[int] = set()
        self.removed_markers: set[int] = set()
        """Offsets of the markers that are gone."""
        self.removed_records = 0
        self.next_horizon_ms: int | None = None
        """When there will be tombstones or markers to remove."""

    def keep(self, header: BatchHeader, batch: Bytes) -> Bytes | None:
        """What is left of a batch: itself if nothing went, None if nothing stays.

        Raises CorruptRecordsError.
        """
        if header.is_control:
            return self._keep_marker(header, batch)
        data = records_of(batch, header)
        records = [] if self._rules.aborted.hold(header) else unpack(data, header)
        kept = [record for record in records if self._stays(record, header)]
        self.removed_records += header.record_count - len(kept)
        if not kept and not self._must_leave_a_trace(header):
            return None
        if header.is_transactional:
            self._alive.add(header.producer_id)
        horizon = self._horizon(header, kept)
        if horizon is None and len(kept) == header.record_count:
            return batch
        return rewrite(header, batch, data, kept, horizon)

    def _stays(self, record: RawRecord, header: BatchHeader) -> bool:
        rules = self._rules
        if record.offset >= rules.mapped_end:
            return True
        if record.key is None or rules.latest(record.key) > record.offset:
            return False
        return not (record.is_tombstone and self._has_passed(header.delete_horizon_ms))

    def _has_passed(self, horizon_ms: int | None) -> bool:
        return horizon_ms is not None and horizon_ms <= self._rules.now_ms

    def _horizon(self, header: BatchHeader, kept: list[RawRecord]) -> int | None:
        """The time to be written into a batch whose tombstones were cleaned for the first time."""
        rules = self._rules
        if not any(record.is_tombstone for record in kept) or header.next_offset > rules.mapped_end:
            return None
        return self._noted(header.delete_horizon_ms)

    def _noted(self, known_ms: int | None) -> int | None:
        """A new horizon where none is known; either way, remember when to come back."""
        horizon = known_ms
        if horizon is None:
            horizon = self._rules.now_ms + self._rules.delete_retention_ms
        if self.next_horizon_ms is None or horizon < self.next_horizon_ms:
            self.next_horizon_ms = horizon
        return horizon if known_ms is None else None

    def _keep_marker(self, header: BatchHeader, batch: Bytes) -> Bytes | None:
        rules = self._rules
        has_data = header.producer_id in self._alive
        self._alive.discard(header.producer_id)
        if has_data or header.base_offset >= rules.mapped_end:
            return batch
        if not self._has_passed(header.delete_horizon_ms):
            horizon = self._noted(header.delete_horizon_ms)
            if horizon is None:
                return batch
            data = records_of(batch, header)
            return rewrite(header, batch, data, unpack(data, header), horizon)
        if self._must_leave_a_trace(header):
            return batch
        self.removed_markers.add(header.base_offset)
        return None

    def _must_leave_a_trace(self, header: BatchHeader) -> bool:
        if header.next_offset == self._rules.end:
            return True
        last = self._rules.last_batches.get(header.producer_id)
        if last is None:
            return False
        if last.base_offset is None:
            return header.is_control and header.producer_epoch == last.epoch
        return header.base_offset == last.base_offset
