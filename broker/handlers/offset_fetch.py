"""OffsetFetch: how far a group has read."""

from __future__ import annotations

from typing import Any

from broker.groups.answers import fetched
from broker.groups.events import FetchOffsets
from broker.handlers.port import Api, Broker, Fields, Request, field
from broker.protocol.errors import ErrorCode


def handle(broker: Broker, request: Request) -> None:
    """All partitions of the group where no topics are named (version 2 and up)."""
    body = request.body
    partitions = _partitions(body)
    stable = field(body, "require_stable", False)
    broker.tell("groups", FetchOffsets(request.id, body.group_id, partitions, stable))


def _partitions(body: Any) -> tuple[tuple[str, int], ...] | None:
    if body.topics is None:
        return None
    return tuple((topic.name, index) for topic in body.topics for index in topic.partition_indexes)


def failure(body: Any) -> Fields:
    """The answer if the broker fails; version 1 has no other place for it than each partition."""
    error = ErrorCode.unknown_server_error
    refused = {"committed_offset": -1, "metadata": "", "error_code": error}
    positions = _partitions(body) or ()
    answer = fetched((topic, {"partition_index": at, **refused}) for topic, at in positions)
    return {**answer, "error_code": error}


API = Api(key=9, name="OffsetFetch", min_version=1, max_version=7, handle=handle, failure=failure)
