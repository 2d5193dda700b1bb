"""AddPartitionsToTxn: a transaction is about to write to these partitions."""

from __future__ import annotations

from typing import Any

from broker.handlers.port import Api, Broker, Fields, Request
from broker.protocol.errors import ErrorCode
from broker.transactions.answers import partitions_added
from broker.transactions.events import AddPartitions


def handle(broker: Broker, request: Request) -> None:
    """Versions 4 and up are for brokers among themselves and not offered."""
    body = request.body
    event = AddPartitions(
        request.id,
        body.v3_and_below_transactional_id,
        body.v3_and_below_producer_id,
        body.v3_and_below_producer_epoch,
        _partitions(body),
        knows_fenced=request.version >= 2,
    )
    broker.tell("transactions", event)


def _partitions(body: Any) -> tuple[tuple[str, int], ...]:
    topics = body.v3_and_below_topics
    return tuple((topic.name, index) for topic in topics for index in topic.partitions)


def failure(body: Any) -> Fields:
    """The answer if the broker fails: every partition has an unknown error."""
    return partitions_added(_partitions(body), frozenset(), ErrorCode.unknown_server_error)


API = Api(
    key=24, name="AddPartitionsToTxn", min_version=0, max_version=3, handle=handle, failure=failure
)
