"""Answers of the transaction coordinator, in the fields of Kafka's message definitions."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from kio.schema.errors import ErrorCode

from broker.transactions.transaction import State, Transaction

Fields = Mapping[str, Any]


def fenced(*, knows_fenced: bool) -> ErrorCode:
    """The producer was replaced; what it is told depends on its request's version (KIP-588)."""
    return ErrorCode.producer_fenced if knows_fenced else ErrorCode.invalid_producer_epoch


def init_refused(error: ErrorCode) -> Fields:
    """An InitProducerId without a producer id."""
    return {"error_code": error, "producer_id": -1, "producer_epoch": -1}


def initialised(producer_id: int, epoch: int) -> Fields:
    """The transactional id is the asker's."""
    return {"error_code": ErrorCode.none, "producer_id": producer_id, "producer_epoch": epoch}


def partitions_added(
    partitions: Sequence[tuple[str, int]], unknown: AbstractSet[tuple[str, int]], error: ErrorCode
) -> Fields:
    """AddPartitionsToTxn: one error for all, and another for those that do not exist."""
    topics: dict[str, list[Fields]] = {}
    for topic, partition in partitions:
        missing = (topic, partition) in unknown
        code = ErrorCode.unknown_topic_or_partition if missing else error
        answer = {"partition_index": partition, "partition_error_code": code}
        topics.setdefault(topic, []).append(answer)
    results = [{"name": name, "results_by_partition": found} for name, found in topics.items()]
    return {"results_by_topic_v3_and_below": results}


def end_refused(transaction: Transaction, commit: bool) -> ErrorCode | None:
    """What EndTxn is told without a decision; None if it is to be taken.

    | state | commit | abort |
    |---|---|---|
    | Ongoing | taken | taken |
    | PrepareCommit | CONCURRENT_TRANSACTIONS | INVALID_TXN_STATE |
    | PrepareAbort | INVALID_TXN_STATE | CONCURRENT_TRANSACTIONS |
    | CompleteCommit | NONE: done already | INVALID_TXN_STATE |
    | CompleteAbort | INVALID_TXN_STATE | NONE: done already |
    | Empty | INVALID_TXN_STATE | INVALID_TXN_STATE |
    """
    if transaction.state is State.ONGOING:
        return None
    prepared = State.PREPARE_COMMIT if commit else State.PREPARE_ABORT
    completed = State.COMPLETE_COMMIT if commit else State.COMPLETE_ABORT
    if transaction.state is prepared:
        return ErrorCode.concurrent_transactions
    return ErrorCode.none if transaction.state is completed else ErrorCode.invalid_txn_state
