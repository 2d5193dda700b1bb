"""Heartbeat: a member says that it lives, and hears whether it must join again."""

from __future__ import annotations

from broker.groups.events import Heartbeat
from broker.handlers.port import Api, Broker, Request, field


def handle(broker: Broker, request: Request) -> None:
    """Answered at once."""
    body = request.body
    instance = field(body, "group_instance_id")
    event = Heartbeat(request.id, body.group_id, body.generation_id, body.member_id, instance)
    broker.tell("groups", event)


API = Api(key=12, name="Heartbeat", min_version=0, max_version=4, handle=handle)
