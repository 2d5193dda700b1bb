"""What comes in to the transaction coordinator: requests, cut from their wire form.

Names are those of the protocol guide (https://kafka.apache.org/protocol). `knows_fenced`: the
request's version knows PRODUCER_FENCED; older ones are told INVALID_PRODUCER_EPOCH (KIP-588).
"""

from dataclasses import dataclass

from broker.groups.events import CommitTransactionOffsets


@dataclass(frozen=True, slots=True)
class InitProducerId:
    """InitProducerId with a transactional id (KIP-98).

    `producer_id`, `producer_epoch`: what the producer has and wants bumped (KIP-360, version 3 and
    up), else -1.
    """

    request_id: int
    transactional_id: str
    timeout_ms: int
    producer_id: int = -1
    producer_epoch: int = -1
    knows_fenced: bool = False


@dataclass(frozen=True, slots=True)
class AddPartitions:
    """AddPartitionsToTxn; `partitions` are (topic, partition)."""

    request_id: int
    transactional_id: str
    producer_id: int
    producer_epoch: int
    partitions: tuple[tuple[str, int], ...]
    knows_fenced: bool = False


@dataclass(frozen=True, slots=True)
class AddOffsets:
    """AddOffsetsToTxn: the transaction will commit positions of this group."""

    request_id: int
    transactional_id: str
    producer_id: int
    producer_epoch: int
    group_id: str
    knows_fenced: bool = False


@dataclass(frozen=True, slots=True)
class CommitOffsets:
    """TxnOffsetCommit: checked here, carried out by the group coordinator."""

    transactional_id: str
    producer_epoch: int
    request: CommitTransactionOffsets


@dataclass(frozen=True, slots=True)
class EndTransaction:
    """EndTxn."""

    request_id: int
    transactional_id: str
    producer_id: int
    producer_epoch: int
    commit: bool
    knows_fenced: bool = False


Event = InitProducerId | AddPartitions | AddOffsets | CommitOffsets | EndTransaction
