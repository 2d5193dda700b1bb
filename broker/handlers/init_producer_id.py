"""InitProducerId: a producer id, and with a transactional id the sole right to it."""

from __future__ import annotations

from broker.handlers.port import Api, Broker, Fields, Request, field
from broker.protocol.errors import ErrorCode
from broker.protocol.messages import milliseconds
from broker.transactions.events import InitProducerId


def handle(broker: Broker, request: Request) -> Fields | None:
    """Without a transactional id any new number will do; with one the coordinator decides."""
    body = request.body
    if body.transactional_id is None:
        return {
            "error_code": ErrorCode.none,
            "producer_id": broker.new_producer_id(),
            "producer_epoch": 0,
        }
    event = InitProducerId(
        request.id,
        body.transactional_id,
        milliseconds(body.transaction_timeout),
        field(body, "producer_id", -1),
        field(body, "producer_epoch", -1),
        knows_fenced=request.version >= 4,
    )
    broker.tell("transactions", event)
    return None


API = Api(key=22, name="InitProducerId", min_version=0, max_version=4, handle=handle)
