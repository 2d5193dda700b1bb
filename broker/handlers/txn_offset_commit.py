"""TxnOffsetCommit: positions that count when the transaction commits."""

from __future__ import annotations

from broker.groups.events import CommitTransactionOffsets
from broker.handlers.offset_commit import failure, offsets_of
from broker.handlers.port import Api, Broker, Request, field
from broker.transactions.events import CommitOffsets


def handle(broker: Broker, request: Request) -> None:
    """Checked by the transaction coordinator, kept and answered by the group coordinator."""
    body = request.body
    offsets = CommitTransactionOffsets(
        request.id,
        body.group_id,
        body.producer_id,
        offsets_of(body),
        field(body, "generation_id", -1),
        field(body, "member_id", ""),
        field(body, "group_instance_id"),
    )
    event = CommitOffsets(body.transactional_id, body.producer_epoch, offsets)
    broker.tell("transactions", event)


API = Api(
    key=28, name="TxnOffsetCommit", min_version=0, max_version=3, handle=handle, failure=failure
)
