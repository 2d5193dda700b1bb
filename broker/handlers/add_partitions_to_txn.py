"""AddPartitionsToTxn: a transaction is about to write to these partitions."""

from __future__ import annotations

from broker.handlers.port import Api, Broker, Request
from broker.transactions.events import AddPartitions


def handle(broker: Broker, request: Request) -> None:
    """Versions 4 and up are for brokers among themselves and not offered."""
    body = request.body
    topics = body.v3_and_below_topics
    event = AddPartitions(
        request.id,
        body.v3_and_below_transactional_id,
        body.v3_and_below_producer_id,
        body.v3_and_below_producer_epoch,
        tuple((topic.name, index) for topic in topics for index in topic.partitions),
        knows_fenced=request.version >= 2,
    )
    broker.tell("transactions", event)


API = Api(key=24, name="AddPartitionsToTxn", min_version=0, max_version=3, handle=handle)
