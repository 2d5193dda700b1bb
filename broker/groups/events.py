"""What comes in to the group coordinator: requests, cut from their wire form, and three signals.

Names are those of the protocol guide (https://kafka.apache.org/protocol). A request carries the
`request_id` that its answer names. Times are milliseconds. What the broker itself feeds to every
coordinator (Restored, Appended, AppendFailed, TimerFired) is in `broker.coordination`.
"""

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Protocol:
    """An assignor that a member supports, with the member's subscription in its terms."""

    name: str
    metadata: bytes


@dataclass(frozen=True, slots=True)
class JoinGroup:
    """JoinGroup (KIP-62, KIP-345, KIP-394).

    `fresh_id` makes the member id when one must be made: unique for ever (a uuid), from the shell.
    `requires_member_id`: the client can deal with MEMBER_ID_REQUIRED (version 4 and up).
    `skips_assignment`: the client understands `skip_assignment` (version 9 and up, KIP-814).
    """

    request_id: int
    group_id: str
    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    protocol_type: str
    protocols: tuple[Protocol, ...]
    session_timeout_ms: int
    rebalance_timeout_ms: int
    fresh_id: str
    requires_member_id: bool
    skips_assignment: bool = False


@dataclass(frozen=True, slots=True)
class SyncGroup:
    """SyncGroup; `assignments` is filled by the leader only. Protocol fields: version 5 and up."""

    request_id: int
    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None
    assignments: tuple[tuple[str, bytes], ...]
    protocol_type: str | None = None
    protocol_name: str | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Heartbeat of a member in a generation."""

    request_id: int
    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None = None


@dataclass(frozen=True, slots=True)
class Leaving:
    """Who leaves; an administrator names a static member by its instance id alone."""

    member_id: str
    group_instance_id: str | None = None


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    """LeaveGroup; `batched`: version 3 and up, where each member has an error of its own."""

    request_id: int
    group_id: str
    members: tuple[Leaving, ...]
    batched: bool = True


@dataclass(frozen=True, slots=True)
class OffsetToCommit:
    """One partition's position; `leader_epoch` -1 where the client did not say."""

    topic: str
    partition: int
    offset: int
    leader_epoch: int
    metadata: str


@dataclass(frozen=True, slots=True)
class CommitOffsets:
    """OffsetCommit; generation -1 and an empty member id come from consumers without a group.

    `retention_ms` -1 leaves the expiry to the broker (versions 2 to 4 may ask for their own).
    """

    request_id: int
    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None
    offsets: tuple[OffsetToCommit, ...]
    retention_ms: int = -1


@dataclass(frozen=True, slots=True)
class CommitTransactionOffsets:
    """TxnOffsetCommit, after the transaction coordinator vouched for producer and epoch.

    Generation and member are -1 and empty before version 3, and then not checked (KIP-447).
    """

    request_id: int
    group_id: str
    producer_id: int
    offsets: tuple[OffsetToCommit, ...]
    generation_id: int = -1
    member_id: str = ""
    group_instance_id: str | None = None


@dataclass(frozen=True, slots=True)
class FetchOffsets:
    """OffsetFetch; `partitions` None asks for all. `require_stable` is KIP-447's (version 7)."""

    request_id: int
    group_id: str
    partitions: tuple[tuple[str, int], ...] | None
    require_stable: bool = False


@dataclass(frozen=True, slots=True)
class ListGroups:
    """ListGroups; empty filters mean all."""

    request_id: int
    states: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DescribeGroups:
    """DescribeGroups."""

    request_id: int
    group_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteGroups:
    """DeleteGroups: only empty groups can be deleted."""

    request_id: int
    group_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TransactionEnded:
    """A transaction's marker for its offsets: what this producer left pending is decided.

    Told by the transaction coordinator, which is told `OffsetsDecided(token)` once it is durable.
    """

    token: Hashable
    producer_id: int
    commit: bool


@dataclass(frozen=True, slots=True)
class OffsetsDecided:
    """The answer to `TransactionEnded`."""

    token: Hashable


@dataclass(frozen=True, slots=True)
class TopicsDeleted:
    """Topics are gone, and with them every position in them."""

    topics: frozenset[str]


Event = (
    JoinGroup
    | SyncGroup
    | Heartbeat
    | LeaveGroup
    | CommitOffsets
    | CommitTransactionOffsets
    | FetchOffsets
    | ListGroups
    | DescribeGroups
    | DeleteGroups
    | TransactionEnded
    | TopicsDeleted
)
