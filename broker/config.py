"""What a broker is told. Validated at the command line, passed in, read nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from broker.log.settings import LogSettings

FsyncPolicy = Literal["group", "interval", "none"]


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """Times in milliseconds, sizes in bytes. Port 0: any free one."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 9092
    metrics_port: int | None = 9644
    advertised_host: str | None = None
    """The name clients are told to reach; `host` if None."""
    advertised_port: int | None = None
    node_id: int = 1
    fsync: FsyncPolicy = "group"
    fsync_interval_ms: int = 10
    auto_create_topics: bool = False
    default_partitions: int = 1
    max_request_bytes: int = 100 << 20
    max_pipelined_requests: int = 64
    """Requests of one connection in work; beyond that the socket is not read."""
    max_pipelined_bytes: int = 64 << 20
    """Bytes of answers that a connection may have waiting to be sent."""
    retention_check_ms: int = 30_000
    cleaner_interval_ms: int = 15_000
    """How often the broker looks for a log to compact while there was none (Kafka's
    log.cleaner.backoff.ms)."""
    cleaner_share: float = 0.25
    """Of one core's time that compaction may take."""
    cleaner_map_bytes: int = 64 << 20
    """Memory for the offsets of keys while a log is compacted, 30 bytes a key; a log with more new
    keys takes several passes (Kafka's log.cleaner.dedupe.buffer.size)."""
    stop_grace_ms: int = 2_000
    log: LogSettings = field(default_factory=LogSettings)
