"""LeaveGroup: members go, the rest rebalances at once."""

from __future__ import annotations

from broker.groups.events import LeaveGroup, Leaving
from broker.handlers.port import Api, Broker, Request


def handle(broker: Broker, request: Request) -> None:
    """One member before version 3, any number since."""
    body = request.body
    batched = request.version >= 3
    if batched:
        members = tuple(Leaving(m.member_id, m.group_instance_id) for m in body.members)
    else:
        members = (Leaving(body.member_id),)
    broker.tell("groups", LeaveGroup(request.id, body.group_id, members, batched))


API = Api(key=13, name="LeaveGroup", min_version=0, max_version=5, handle=handle)
