"""DeleteGroups: forget empty groups and their positions."""

from __future__ import annotations

from broker.groups.events import DeleteGroups
from broker.handlers.port import Api, Broker, Request


def handle(broker: Broker, request: Request) -> None:
    """An error a group."""
    broker.tell("groups", DeleteGroups(request.id, tuple(request.body.groups_names)))


API = Api(key=42, name="DeleteGroups", min_version=0, max_version=2, handle=handle)
