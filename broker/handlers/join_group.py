"""JoinGroup: become a member of the next generation."""

from __future__ import annotations

from uuid import uuid4

from broker.groups.events import JoinGroup, Protocol
from broker.handlers.port import Api, Broker, Request, field
from broker.protocol.messages import milliseconds


def handle(broker: Broker, request: Request) -> None:
    """Answered when the generation is complete, or at once with what is wrong."""
    body = request.body
    session_timeout_ms = milliseconds(body.session_timeout)
    rebalance_timeout = field(body, "rebalance_timeout")
    event = JoinGroup(
        request.id,
        body.group_id,
        body.member_id,
        field(body, "group_instance_id"),
        request.client_id or "",
        request.client_host,
        body.protocol_type,
        tuple(Protocol(p.name, bytes(p.metadata)) for p in body.protocols),
        session_timeout_ms,
        session_timeout_ms if rebalance_timeout is None else milliseconds(rebalance_timeout),
        str(uuid4()),
        requires_member_id=request.version >= 4,
        skips_assignment=request.version >= 9,
    )
    broker.tell("groups", event)


API = Api(key=11, name="JoinGroup", min_version=0, max_version=9, handle=handle)
