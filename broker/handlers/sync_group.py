"""SyncGroup: bring (the leader) or fetch (everybody) the assignment of a generation."""

from __future__ import annotations

from broker.groups.events import SyncGroup
from broker.handlers.port import Api, Broker, Request, field


def handle(broker: Broker, request: Request) -> None:
    """Answered when the leader has spoken."""
    body = request.body
    event = SyncGroup(
        request.id,
        body.group_id,
        body.generation_id,
        body.member_id,
        field(body, "group_instance_id"),
        tuple((a.member_id, bytes(a.assignment)) for a in body.assignments),
        field(body, "protocol_type"),
        field(body, "protocol_name"),
    )
    broker.tell("groups", event)


API = Api(key=14, name="SyncGroup", min_version=0, max_version=5, handle=handle)
