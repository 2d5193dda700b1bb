"""OffsetFetch: how far a group has read."""

from __future__ import annotations

from broker.groups.events import FetchOffsets
from broker.handlers.port import Api, Broker, Request, field


def handle(broker: Broker, request: Request) -> None:
    """All partitions of the group where no topics are named (version 2 and up)."""
    body = request.body
    partitions = None
    if body.topics is not None:
        partitions = tuple((t.name, index) for t in body.topics for index in t.partition_indexes)
    stable = field(body, "require_stable", False)
    broker.tell("groups", FetchOffsets(request.id, body.group_id, partitions, stable))


API = Api(key=9, name="OffsetFetch", min_version=1, max_version=7, handle=handle)
