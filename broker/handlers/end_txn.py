"""EndTxn: commit or abort."""

from __future__ import annotations

from broker.handlers.port import Api, Broker, Request
from broker.transactions.events import EndTransaction


def handle(broker: Broker, request: Request) -> None:
    """Answered when every partition has its marker, so that the next transaction may begin."""
    body = request.body
    event = EndTransaction(
        request.id,
        body.transactional_id,
        body.producer_id,
        body.producer_epoch,
        body.committed,
        knows_fenced=request.version >= 2,
    )
    broker.tell("transactions", event)


API = Api(key=26, name="EndTxn", min_version=0, max_version=3, handle=handle)
