"""What a topic's configuration means to the log of its partitions."""

from __future__ import annotations

from dataclasses import dataclass

UNLIMITED = -1


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
    check_records: bool = False
    """Every record is parsed before its batch is appended (tidemill.check.records)."""
    producer_expiry_ms: int = 24 * 3600 * 1000
