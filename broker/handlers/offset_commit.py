"""OffsetCommit: remember how far a group has read."""

from __future__ import annotations

from typing import Any

from broker.groups.answers import committed
from broker.groups.events import CommitOffsets, OffsetToCommit
from broker.handlers.port import Api, Broker, Fields, Request, field
from broker.protocol.errors import ErrorCode
from broker.protocol.messages import milliseconds


def offsets_of(body: Any) -> tuple[OffsetToCommit, ...]:
    """The positions in an OffsetCommit or a TxnOffsetCommit, in their order."""
    return tuple(
        OffsetToCommit(
            topic.name,
            partition.partition_index,
            partition.committed_offset,
            field(partition, "committed_leader_epoch", -1),
            partition.committed_metadata or "",
        )
        for topic in body.topics
        for partition in topic.partitions
    )


def handle(broker: Broker, request: Request) -> None:
    """Answered when the positions are durable."""
    body = request.body
    event = CommitOffsets(
        request.id,
        body.group_id,
        body.generation_id_or_member_epoch,
        body.member_id,
        field(body, "group_instance_id"),
        offsets_of(body),
        milliseconds(field(body, "retention_time", -1)),
    )
    broker.tell("groups", event)


def failure(body: Any) -> Fields:
    """The answer if the broker fails: every partition has an unknown error."""
    offsets = offsets_of(body)
    return committed(offsets, [ErrorCode.unknown_server_error] * len(offsets))


API = Api(key=8, name="OffsetCommit", min_version=2, max_version=8, handle=handle, failure=failure)
