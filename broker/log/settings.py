"""What a topic's configuration means to the log of its partitions."""

from __future__ import annotations

from dataclasses import dataclass

UNLIMITED = -1
FOREVER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Sizes in bytes, times in milliseconds; -1 means without limit."""

    segment_bytes: int = 256 << 20
    segment_ms: int = 7 * 24 * 3600 * 1000
    retention_bytes: int = UNLIMITED
    retention_ms: int = 7 * 24 * 3600 * 1000
    max_message_bytes: int = 1048588
    stamp_append_time: bool = False
    """Batches carry the broker's time (message.timestamp.type=LogAppendTime)."""
    deletes: bool = True
    """Old segments are deleted (cleanup.policy contains delete)."""
    compacts: bool = False
    """Only the last record of each key is kept (cleanup.policy contains compact)."""
    min_cleanable_ratio: float = 0.5
    delete_retention_ms: int = 24 * 3600 * 1000
    """How long tombstones and transaction markers stay once they were cleaned."""
    min_compaction_lag_ms: int = 0
    max_compaction_lag_ms: int = FOREVER
    check_records: bool = False
    """Every record is parsed before its batch is appended (tidemill.check.records)."""
    producer_expiry_ms: int = 24 * 3600 * 1000
