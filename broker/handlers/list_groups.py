"""ListGroups: every group that this node coordinates."""

from __future__ import annotations

from broker.groups.events import ListGroups
from broker.handlers.port import Api, Broker, Request, field


def handle(broker: Broker, request: Request) -> None:
    """Filtered by state from version 4 on."""
    broker.tell("groups", ListGroups(request.id, tuple(field(request.body, "states_filter", ()))))


API = Api(key=16, name="ListGroups", min_version=0, max_version=4, handle=handle)
