"""The group coordinator's durable records: three kinds of key, msgpack on both sides.

| key | value |
|---|---|
| `["group", group]` | `GroupRow`: the last generation, its members and assignments |
| `["offset", group, topic, partition]` | `OffsetRow`: a committed position |
| `["pending", group, topic, partition, producer id]` | `OffsetRow` that awaits its marker |
"""

from dataclasses import dataclass

import msgspec

from broker.coordination import Record


class MemberRow(msgspec.Struct, frozen=True):
    """A member of a generation as it is remembered over a restart."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: tuple[tuple[str, bytes], ...]
    assignment: bytes


class GroupRow(msgspec.Struct, frozen=True):
    """A generation; `assigned` False: its members wait for the leader's assignment.

    `since_ms`: when it came to be, in wall time; starts the retention of an empty group's offsets.
    """

    generation_id: int
    protocol_type: str
    protocol_name: str | None
    leader: str | None
    assigned: bool
    since_ms: int
    members: tuple[MemberRow, ...]


class OffsetRow(msgspec.Struct, frozen=True):
    """A position; `order` ranks commits to the same partition by when they were accepted.

    `expires_ms` is set where the client asked for a retention of its own.
    """

    offset: int
    leader_epoch: int
    metadata: str
    committed_ms: int
    order: int
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class GroupKey:
    """Key of a `GroupRow`."""

    group_id: str


@dataclass(frozen=True, slots=True)
class OffsetKey:
    """Key of a committed `OffsetRow`."""

    group_id: str
    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class PendingKey:
    """Key of an `OffsetRow` whose transaction is open."""

    group_id: str
    topic: str
    partition: int
    producer_id: int


Key = GroupKey | OffsetKey | PendingKey


class UnknownRowError(ValueError):
    """A row of a kind that this version does not know: the data is of a newer version."""


def encode_key(key: Key) -> bytes:
    """The key's bytes; equal keys have equal bytes."""
    match key:
        case GroupKey(group):
            parts: list[str | int] = ["group", group]
        case OffsetKey(group, topic, partition):
            parts = ["offset", group, topic, partition]
        case PendingKey(group, topic, partition, producer_id):
            parts = ["pending", group, topic, partition, producer_id]
    return msgspec.msgpack.encode(parts)


def decode_key(data: bytes) -> Key:
    """Inverse of `encode_key`; raises `UnknownRowError`."""
    match msgspec.msgpack.decode(data):
        case ["group", str(group)]:
            return GroupKey(group)
        case ["offset", str(group), str(topic), int(partition)]:
            return OffsetKey(group, topic, partition)
        case ["pending", str(group), str(topic), int(partition), int(producer_id)]:
            return PendingKey(group, topic, partition, producer_id)
        case other:
            raise UnknownRowError(f"the group log holds a row of an unknown kind: {other!r}")


_GROUP = msgspec.msgpack.Decoder(GroupRow)
_OFFSET = msgspec.msgpack.Decoder(OffsetRow)


def record(key: Key, value: GroupRow | OffsetRow | None) -> Record:
    """A record to append; None deletes the key."""
    return Record(encode_key(key), None if value is None else msgspec.msgpack.encode(value))


def decode_group(value: bytes) -> GroupRow:
    """The value under a `GroupKey`."""
    return _GROUP.decode(value)


def decode_offset(value: bytes) -> OffsetRow:
    """The value under an `OffsetKey` or a `PendingKey`."""
    return _OFFSET.decode(value)
