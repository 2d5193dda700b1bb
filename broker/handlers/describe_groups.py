"""DescribeGroups: state, members and assignments of groups."""

from __future__ import annotations

from broker.groups.events import DescribeGroups
from broker.handlers.port import Api, Broker, Request


def handle(broker: Broker, request: Request) -> None:
    """A group that does not exist is described as Dead."""
    broker.tell("groups", DescribeGroups(request.id, tuple(request.body.groups)))


API = Api(key=15, name="DescribeGroups", min_version=0, max_version=5, handle=handle)
