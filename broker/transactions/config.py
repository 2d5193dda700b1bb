"""Settings of the transaction coordinator, with Kafka's defaults."""

from dataclasses import dataclass

DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class TransactionConfig:
    """Times in milliseconds. `retry_ms`: how long to wait when a log refused a marker."""

    max_timeout_ms: int = 900_000
    id_expiration_ms: int = 7 * DAY_MS
    expiry_interval_ms: int = 3_600_000
    retry_ms: int = 1_000
