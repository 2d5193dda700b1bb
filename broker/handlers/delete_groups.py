"""DeleteGroups: forget empty groups and their positions."""

from __future__ import annotations

from typing import Any

from broker.groups.events import DeleteGroups
from broker.handlers.port import Api, Broker, Fields, Request
from broker.protocol.errors import ErrorCode


def handle(broker: Broker, request: Request) -> None:
    """An error a group."""
    broker.tell("groups", DeleteGroups(request.id, tuple(request.body.groups_names)))


def failure(body: Any) -> Fields:
    """The answer if the broker fails: every group has an unknown error."""
    error = ErrorCode.unknown_server_error
    return {"results": [{"group_id": group, "error_code": error} for group in body.groups_names]}


API = Api(key=42, name="DeleteGroups", min_version=0, max_version=2, handle=handle, failure=failure)
