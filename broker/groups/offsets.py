"""The positions of one group: committed ones, and those whose transaction is still open.

A transaction's positions become visible when its commit marker does. Two commits to the same
partition are ranked by when they were accepted: a plain commit that came after a transactional one
stays, though the transaction ends later (as Kafka ranks them by their place in the offsets log).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kio.schema.errors import ErrorCode

from broker.coordination import Record
from broker.groups.events import OffsetToCommit
from broker.groups.rows import OffsetKey, OffsetRow, PendingKey, record

Position = tuple[str, int]  # topic, partition


@dataclass(slots=True)
class Offsets:
    """`pending`: by producer id. `order`: the rank of the last commit that was accepted."""

    group_id: str
    committed: dict[Position, OffsetRow] = field(default_factory=dict[Position, OffsetRow])
    pending: dict[int, dict[Position, OffsetRow]] = field(
        default_factory=dict[int, dict[Position, OffsetRow]]
    )
    order: int = 0

    def __bool__(self) -> bool:
        """Whether anything is kept."""
        return bool(self.committed or self.pending)

    def replay(self, position: Position, producer_id: int | None, row: OffsetRow | None) -> None:
        """Take one durable row; `producer_id` None for a committed one."""
        if row is not None:
            self.order = max(self.order, row.order)
        rows = self.committed if producer_id is None else self.pending.setdefault(producer_id, {})
        if row is None:
            rows.pop(position, None)
        else:
            rows[position] = row
        if producer_id is not None and not rows:
            del self.pending[producer_id]

    def commit(self, offset: OffsetToCommit, now_ms: int, retention_ms: int) -> Record:
        """Set a position at once; `retention_ms` -1: as the broker is configured."""
        expires_ms = None if retention_ms < 0 else now_ms + retention_ms
        position, row = self._row(offset, now_ms, expires_ms)
        self.committed[position] = row
        return record(OffsetKey(self.group_id, *position), row)

    def commit_pending(self, offset: OffsetToCommit, producer_id: int, now_ms: int) -> Record:
        """Set a position for when the producer's transaction commits."""
        position, row = self._row(offset, now_ms, None)
        self.pending.setdefault(producer_id, {})[position] = row
        return record(PendingKey(self.group_id, *position, producer_id), row)

    def end_transaction(self, producer_id: int, *, commit: bool) -> Iterator[Record]:
        """Apply or drop what the producer left pending."""
        for position, row in self.pending.pop(producer_id, {}).items():
            yield record(PendingKey(self.group_id, *position, producer_id), None)
            known = self.committed.get(position)
            if commit and (known is None or known.order < row.order):
                self.committed[position] = row
                yield record(OffsetKey(self.group_id, *position), row)

    def fetch(self, position: Position, *, require_stable: bool) -> tuple[str, dict[str, Any]]:
        """(topic, fields of the answer); offset -1 where nothing was committed."""
        topic, partition = position
        row = self.committed.get(position)
        error = ErrorCode.none
        if require_stable and any(position in rows for rows in self.pending.values()):
            row, error = None, ErrorCode.unstable_offset_commit
        return topic, {
            "partition_index": partition,
            "committed_offset": -1 if row is None else row.offset,
            "committed_leader_epoch": -1 if row is None else row.leader_epoch,
            "metadata": "" if row is None else row.metadata,
            "error_code": error,
        }

    def known(self) -> list[Position]:
        """Every partition with a committed or a pending position, in order."""
        return sorted({*self.committed, *(p for rows in self.pending.values() for p in rows)})

    def drop(self, position: Position) -> Iterator[Record]:
        """Forget a partition's position, pending ones too."""
        if self.committed.pop(position, None) is not None:
            yield record(OffsetKey(self.group_id, *position), None)
        for producer_id in [pid for pid, rows in self.pending.items() if position in rows]:
            rows = self.pending[producer_id]
            del rows[position]
            yield record(PendingKey(self.group_id, *position, producer_id), None)
            if not rows:
                del self.pending[producer_id]

    def expired(self, now_ms: int, retention_ms: int, unused_since_ms: int) -> list[Position]:
        """Partitions whose retention is over, counted from the later of their commit and
        `unused_since_ms`; those with a pending position are never among them."""
        waiting = {position for rows in self.pending.values() for position in rows}
        return [
            position
            for position, row in self.committed.items()
            if position not in waiting
            and now_ms
            >= (
                max(row.committed_ms, unused_since_ms) + retention_ms
                if row.expires_ms is None
                else row.expires_ms
            )
        ]

    def _row(
        self, offset: OffsetToCommit, now_ms: int, expires_ms: int | None
    ) -> tuple[Position, OffsetRow]:
        self.order += 1
        row = OffsetRow(
            offset.offset, offset.leader_epoch, offset.metadata, now_ms, self.order, expires_ms
        )
        return (offset.topic, offset.partition), row
