"""Answers of the group coordinator, in the fields of Kafka's message definitions (snake case)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kio.schema.errors import ErrorCode

from broker.groups.events import OffsetToCommit
from broker.groups.group import Group, Member

Fields = Mapping[str, Any]


def join_refused(error: ErrorCode, member_id: str) -> Fields:
    """A JoinGroup that was not taken; `member_id` is what to come back with."""
    return {
        "error_code": error,
        "generation_id": -1,
        "protocol_type": None,
        "protocol_name": "",
        "leader": "",
        "member_id": member_id,
        "members": (),
    }


def joined(group: Group, member: Member, *, leader: str = "", skip: bool = False) -> Fields:
    """The generation, as this member is told of it: only the leader learns who else is in it.

    `leader`: who the member shall believe leads, if not who does.
    """
    told_leader = leader or group.leader or ""
    return {
        "error_code": ErrorCode.none,
        "generation_id": group.generation_id,
        "protocol_type": group.protocol_type,
        "protocol_name": group.protocol_name,
        "leader": told_leader,
        "skip_assignment": skip,
        "member_id": member.member_id,
        "members": [
            {
                "member_id": other.member_id,
                "group_instance_id": other.group_instance_id,
                "metadata": other.metadata(group.protocol_name),
            }
            for other in group.members.values()
        ]
        if member.member_id == told_leader
        else (),
    }


def sync_refused(error: ErrorCode) -> Fields:
    """A SyncGroup without an assignment."""
    return {"error_code": error, "protocol_type": None, "protocol_name": None, "assignment": b""}


def synced(group: Group, member: Member) -> Fields:
    """The member's own assignment."""
    return {
        "error_code": ErrorCode.none,
        "protocol_type": group.protocol_type,
        "protocol_name": group.protocol_name,
        "assignment": member.assignment,
    }


def left(members: Iterable[tuple[str, str | None, ErrorCode]], *, batched: bool) -> Fields:
    """LeaveGroup: one error a member; before version 3 the only member's error is the answer's."""
    answers = [
        {"member_id": member_id, "group_instance_id": instance, "error_code": error}
        for member_id, instance, error in members
    ]
    top = ErrorCode.none if batched or not answers else answers[0]["error_code"]
    return {"error_code": top, "members": answers}


def committed(offsets: Sequence[OffsetToCommit], errors: Sequence[ErrorCode]) -> Fields:
    """OffsetCommit and TxnOffsetCommit: an error a partition, topics in the order they came."""
    topics: dict[str, list[Fields]] = {}
    for offset, error in zip(offsets, errors, strict=True):
        answer = {"partition_index": offset.partition, "error_code": error}
        topics.setdefault(offset.topic, []).append(answer)
    return {"topics": [{"name": name, "partitions": p} for name, p in topics.items()]}


def fetched(offsets: Iterable[tuple[str, Fields]]) -> Fields:
    """OffsetFetch: (topic, the fields of a partition)."""
    topics: dict[str, list[Fields]] = {}
    for topic, partition in offsets:
        topics.setdefault(topic, []).append(partition)
    return {
        "error_code": ErrorCode.none,
        "topics": [{"name": name, "partitions": p} for name, p in topics.items()],
    }


def described(group: Group) -> Fields:
    """One group of DescribeGroups."""
    return {
        "error_code": ErrorCode.none,
        "group_id": group.group_id,
        "group_state": group.state.value,
        "protocol_type": group.protocol_type,
        "protocol_data": group.protocol_name or "",
        "members": [
            {
                "member_id": member.member_id,
                "group_instance_id": member.group_instance_id,
                "client_id": member.client_id,
                "client_host": member.client_host,
                "member_metadata": member.metadata(group.protocol_name),
                "member_assignment": member.assignment,
            }
            for member in group.members.values()
        ],
    }
