"""DescribeGroups: state, members and assignments of groups."""

from __future__ import annotations

from typing import Any

from broker.groups.events import DescribeGroups
from broker.handlers.port import Api, Broker, Fields, Request
from broker.protocol.errors import ErrorCode


def handle(broker: Broker, request: Request) -> None:
    """A group that does not exist is described as Dead."""
    broker.tell("groups", DescribeGroups(request.id, tuple(request.body.groups)))


def failure(body: Any) -> Fields:
    """The answer if the broker fails: every group has an unknown error."""
    error = ErrorCode.unknown_server_error
    return {"groups": [{"group_id": group, "error_code": error} for group in body.groups]}


API = Api(
    key=15, name="DescribeGroups", min_version=0, max_version=5, handle=handle, failure=failure
)
