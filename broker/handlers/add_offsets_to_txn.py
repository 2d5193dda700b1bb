"""AddOffsetsToTxn: a transaction is about to commit positions of a group."""

from __future__ import annotations

from broker.handlers.port import Api, Broker, Request
from broker.transactions.events import AddOffsets


def handle(broker: Broker, request: Request) -> None:
    """Answered when the transaction is known to touch the group."""
    body = request.body
    event = AddOffsets(
        request.id,
        body.transactional_id,
        body.producer_id,
        body.producer_epoch,
        body.group_id,
        knows_fenced=request.version >= 2,
    )
    broker.tell("transactions", event)


API = Api(key=25, name="AddOffsetsToTxn", min_version=0, max_version=3, handle=handle)
