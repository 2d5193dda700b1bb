"""Settings of the group coordinator, with Kafka's defaults unless said."""

from dataclasses import dataclass

DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """Times in milliseconds.

    `initial_rebalance_delay_ms`: how long the first generation of an empty group waits for more
    members (Kafka: 3,000; less here, since one machine's consumers start together).
    `new_member_join_timeout_ms`: how long a member that never had a generation may wait in a join.
    """

    initial_rebalance_delay_ms: int = 500
    min_session_timeout_ms: int = 1_000  # Kafka: 6,000; a local broker can tell sooner
    max_session_timeout_ms: int = 1_800_000
    new_member_join_timeout_ms: int = 300_000
    max_members: int = 10_000
    max_metadata_bytes: int = 4_096
    offsets_retention_ms: int = 7 * DAY_MS
    expiry_interval_ms: int = 600_000
