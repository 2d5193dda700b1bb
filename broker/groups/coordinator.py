"""The group coordinator: every group of this node, as a core behind `broker.coordination`."""

from typing import Any

from kio.schema.errors import ErrorCode

from broker.coordination import (
    Answer,
    Appended,
    AppendFailed,
    Effect,
    Record,
    Restored,
    SetTimer,
    Tell,
    TimerFired,
)
from broker.groups import answers
from broker.groups import events as on
from broker.groups.config import GroupConfig
from broker.groups.group import Group, Member, State
from broker.groups.membership import Membership, check_member
from broker.groups.offsets import Offsets
from broker.groups.outbox import RETRY_TIMER, Outbox
from broker.groups.rows import (
    GroupKey,
    OffsetKey,
    PendingKey,
    decode_group,
    decode_key,
    decode_offset,
    record,
)

EXPIRY_TIMER = "expiry"


class GroupCoordinator:
    """Groups, their members and their offsets. See README.md for inputs, effects, invariants."""

    topic = "__consumer_offsets"

    def __init__(self, config: GroupConfig) -> None:
        self._config = config
        self._outbox = Outbox()
        self._membership = Membership(config, self._outbox)
        self._groups: dict[str, Group] = {}
        self._offsets: dict[str, Offsets] = {}
        self._timers: dict[str, int] = {}  # group -> when its timer fires

    def replay(self, record: Record) -> None:
        """Take one durable record, in the order they were appended."""
        value = record.value
        match decode_key(record.key):
            case GroupKey(group_id):
                if value is None:
                    self._groups.pop(group_id, None)
                else:
                    self._groups[group_id] = Group.from_row(group_id, decode_group(value))
            case OffsetKey(group_id, topic, partition):
                row = None if value is None else decode_offset(value)
                self._offsets_of(group_id).replay((topic, partition), None, row)
            case PendingKey(group_id, topic, partition, producer_id):
                row = None if value is None else decode_offset(value)
                self._offsets_of(group_id).replay((topic, partition), producer_id, row)

    def step(self, event: Any, now_ms: int) -> list[Effect]:
        """Take one event of `broker.groups.events` or `broker.coordination`."""
        match event:
            case Appended() | AppendFailed():
                return self._outbox.settle(event, now_ms)
            case TimerFired(name) if name == RETRY_TIMER:
                return self._outbox.settle(event, now_ms)
            case Restored():
                self._restored(now_ms)
            case TimerFired(("group", str(group_id))):
                self._on_time(group_id, now_ms)
            case TimerFired():
                self._expire_offsets(now_ms)
            case _:
                self._request(event, now_ms)
        return self._outbox.flush()

    def _request(self, event: on.Event, now_ms: int) -> None:
        match event:
            case on.JoinGroup():
                self._join(event, now_ms)
            case on.SyncGroup():
                self._sync(event, now_ms)
            case on.Heartbeat():
                self._heartbeat(event, now_ms)
            case on.LeaveGroup():
                self._leave(event, now_ms)
            case on.CommitOffsets():
                self._commit(event, now_ms)
            case on.CommitTransactionOffsets():
                self._commit_in_transaction(event, now_ms)
            case on.FetchOffsets():
                self._fetch(event)
            case on.ListGroups():
                self._list(event)
            case on.DescribeGroups():
                self._describe(event)
            case on.DeleteGroups():
                self._delete(event)
            case on.TransactionEnded():
                self._transaction_ended(event)
            case on.TopicsDeleted():
                self._topics_deleted(event)

    # --- members ---

    def _join(self, event: on.JoinGroup, now_ms: int) -> None:
        group = self._group(event.group_id)
        error = self._membership.refuse_join(event, group)
        if error is not None:
            self._answer(event.request_id, answers.join_refused(error, event.member_id))
            return
        group = group or self._create(event.group_id, now_ms)
        self._membership.join(group, event, now_ms)
        self._touched(group)

    def _sync(self, event: on.SyncGroup, now_ms: int) -> None:
        group = self._group(event.group_id)
        if group is None:
            refused = answers.sync_refused(self._no_group(event.group_id))
            self._answer(event.request_id, refused)
            return
        self._membership.sync(group, event, now_ms)
        self._touched(group)

    def _heartbeat(self, event: on.Heartbeat, now_ms: int) -> None:
        group = self._group(event.group_id)
        if group is None:
            error = self._no_group(event.group_id)
        else:
            error = self._membership.heartbeat(group, event, now_ms)
            self._touched(group)
        self._answer(event.request_id, {"error_code": error})

    def _leave(self, event: on.LeaveGroup, now_ms: int) -> None:
        group = self._group(event.group_id)
        if group is None:
            errors = [self._no_group(event.group_id)] * len(event.members)
        else:
            errors = self._membership.leave(group, event, now_ms)
            self._touched(group)
        named = [
            (leaving.member_id, leaving.group_instance_id, error)
            for leaving, error in zip(event.members, errors, strict=True)
        ]
        self._answer(event.request_id, answers.left(named, batched=event.batched))

    # --- offsets ---

    def _commit(self, event: on.CommitOffsets, now_ms: int) -> None:
        error = self._refuse_commit(event, now_ms, in_transaction=False)
        errors: list[ErrorCode] = []
        offsets = self._offsets_of(event.group_id)
        for offset in event.offsets:
            errors.append(error or self._check_metadata(offset))
            if errors[-1] is ErrorCode.none:
                self._outbox.append(offsets.commit(offset, now_ms, event.retention_ms))
        self._answer(event.request_id, answers.committed(event.offsets, errors))

    def _commit_in_transaction(self, event: on.CommitTransactionOffsets, now_ms: int) -> None:
        error = self._refuse_commit(event, now_ms, in_transaction=True)
        errors = [error or self._check_metadata(offset) for offset in event.offsets]
        if not any(errors):  # all or none: a transaction must not commit half of its positions
            offsets = self._offsets_of(event.group_id)
            for offset in event.offsets:
                self._outbox.append(offsets.commit_pending(offset, event.producer_id, now_ms))
        self._answer(event.request_id, answers.committed(event.offsets, errors))

    def _refuse_commit(
        self,
        event: on.CommitOffsets | on.CommitTransactionOffsets,
        now_ms: int,
        *,
        in_transaction: bool,
    ) -> ErrorCode:
        group = self._group(event.group_id)
        if not event.group_id:
            return ErrorCode.invalid_group_id
        speaks_as_member = (
            event.generation_id >= 0 or event.member_id or event.group_instance_id is not None
        )
        if group is None:
            if event.generation_id >= 0:
                return ErrorCode.illegal_generation
            self._create(event.group_id, now_ms)
            return ErrorCode.none
        if event.generation_id < 0 and group.state is State.EMPTY:
            return ErrorCode.none
        if not speaks_as_member:  # a stranger among members; its transaction vouches for it
            return ErrorCode.none if in_transaction else ErrorCode.unknown_member_id
        member = check_member(group, event.member_id, event.group_instance_id)
        if isinstance(member, ErrorCode):
            return member
        if event.generation_id != group.generation_id:
            return ErrorCode.illegal_generation
        if group.state is State.COMPLETING and not in_transaction:
            return ErrorCode.rebalance_in_progress
        self._heard_of(group, member, now_ms)
        return ErrorCode.none

    def _heard_of(self, group: Group, member: Member, now_ms: int) -> None:
        self._membership.heard_of(member, now_ms)
        self._touched(group)

    def _check_metadata(self, offset: on.OffsetToCommit) -> ErrorCode:
        fits = len(offset.metadata.encode()) <= self._config.max_metadata_bytes
        return ErrorCode.none if fits else ErrorCode.offset_metadata_too_large

    def _fetch(self, event: on.FetchOffsets) -> None:
        offsets = self._offsets.get(event.group_id) or Offsets(event.group_id)
        positions = offsets.known() if event.partitions is None else event.partitions
        found = [offsets.fetch(p, require_stable=event.require_stable) for p in positions]
        if event.partitions is None:
            found = [
                (topic, f) for topic, f in found if f["committed_offset"] >= 0 or f["error_code"]
            ]
        self._answer(event.request_id, answers.fetched(found))

    def _transaction_ended(self, event: on.TransactionEnded) -> None:
        for offsets in list(self._offsets.values()):
            if event.producer_id in offsets.pending:
                ended = offsets.end_transaction(event.producer_id, commit=event.commit)
                self._outbox.append(*ended)
                self._forget_if_unused(offsets)
        self._outbox.tell(Tell("transactions", on.OffsetsDecided(event.token)))

    def _topics_deleted(self, event: on.TopicsDeleted) -> None:
        for offsets in list(self._offsets.values()):
            for position in [p for p in offsets.known() if p[0] in event.topics]:
                self._outbox.append(*offsets.drop(position))
            self._forget_if_unused(offsets)

    def _expire_offsets(self, now_ms: int) -> None:
        retention_ms = self._config.offsets_retention_ms
        for offsets in list(self._offsets.values()):
            group = self._group(offsets.group_id)
            if group is not None and group.state is not State.EMPTY:
                continue
            since_ms = group.since_ms if group is not None and group.generation_id > 0 else 0
            for position in offsets.expired(now_ms, retention_ms, since_ms):
                self._outbox.append(*offsets.drop(position))
            self._forget_if_unused(offsets)
        for group in list(self._groups.values()):
            old = now_ms >= group.since_ms + retention_ms
            if group.state is State.EMPTY and old and not group.pending:
                self._forget_group(group)
        self._outbox.at_once(SetTimer(EXPIRY_TIMER, now_ms + self._config.expiry_interval_ms))

    # --- administration ---

    def _list(self, event: on.ListGroups) -> None:
        ids = sorted({*self._groups, *(o.group_id for o in self._offsets.values() if o)})
        groups = [self._groups.get(group_id) or Group(group_id) for group_id in ids]
        listed = [
            {
                "group_id": group.group_id,
                "protocol_type": group.protocol_type,
                "group_state": group.state.value,
                "group_type": "classic",
            }
            for group in groups
            if not event.states or group.state.value in event.states
        ]
        self._answer(event.request_id, {"error_code": ErrorCode.none, "groups": listed})

    def _describe(self, event: on.DescribeGroups) -> None:
        nobody = State.DEAD
        groups = [
            self._group(group_id) or Group(group_id, state=nobody) for group_id in event.group_ids
        ]
        self._answer(event.request_id, {"groups": [answers.described(group) for group in groups]})

    def _delete(self, event: on.DeleteGroups) -> None:
        results = [
            {"group_id": group_id, "error_code": self._delete_one(group_id)}
            for group_id in event.group_ids
        ]
        self._answer(event.request_id, {"results": results})

    def _delete_one(self, group_id: str) -> ErrorCode:
        group = self._group(group_id)
        if not group_id:
            return ErrorCode.invalid_group_id
        if group is None:
            return ErrorCode.group_id_not_found
        offsets = self._offsets_of(group_id)
        if group.state is not State.EMPTY or offsets.pending:
            return ErrorCode.non_empty_group
        for position in list(offsets.committed):
            self._outbox.append(*offsets.drop(position))
        self._forget_group(group)
        return ErrorCode.none

    # --- groups, and the clock ---

    def _group(self, group_id: str) -> Group | None:
        """The group, also where only its offsets are known: then it is an empty one."""
        group = self._groups.get(group_id)
        if group is None and self._offsets.get(group_id):
            group = self._groups[group_id] = Group(group_id)
        return group

    def _offsets_of(self, group_id: str) -> Offsets:
        return self._offsets.setdefault(group_id, Offsets(group_id))

    def _create(self, group_id: str, now_ms: int) -> Group:
        group = self._groups[group_id] = Group(group_id, since_ms=now_ms)
        return group

    @staticmethod
    def _no_group(group_id: str) -> ErrorCode:
        return ErrorCode.unknown_member_id if group_id else ErrorCode.invalid_group_id

    def _forget_if_unused(self, offsets: Offsets) -> None:
        if not offsets and offsets.group_id not in self._groups:
            del self._offsets[offsets.group_id]

    def _forget_group(self, group: Group) -> None:
        if self._offsets.get(group.group_id):
            return
        self._offsets.pop(group.group_id, None)
        del self._groups[group.group_id]
        self._outbox.append(record(GroupKey(group.group_id), None))

    def _answer(self, request_id: int, fields: answers.Fields) -> None:
        self._outbox.tell(Answer(request_id, fields))

    def _restored(self, now_ms: int) -> None:
        for offsets in [o for o in self._offsets.values() if not o]:
            del self._offsets[offsets.group_id]
        for group in self._groups.values():
            for member in group.members.values():
                member.deadline_ms = now_ms + member.session_timeout_ms
            if group.state is State.COMPLETING:
                group.sync_deadline_ms = now_ms + group.rebalance_timeout_ms()
            self._touched(group)
        self._outbox.at_once(SetTimer(EXPIRY_TIMER, now_ms + self._config.expiry_interval_ms))

    def _on_time(self, group_id: str, now_ms: int) -> None:
        self._timers.pop(group_id, None)
        group = self._groups.get(group_id)
        if group is None:
            return
        self._membership.on_time(group, now_ms)
        self._touched(group)
        never_was = group.state is State.EMPTY and group.generation_id == 0 and not group.pending
        if never_was and not self._offsets.get(group_id):
            self._forget_group(group)

    def _touched(self, group: Group) -> None:
        """Have the group looked at when it is due; a later time than set is found out then."""
        at_ms = group.next_deadline_ms()
        set_ms = self._timers.get(group.group_id)
        if at_ms is not None and (set_ms is None or at_ms < set_ms):
            self._timers[group.group_id] = at_ms
            self._outbox.at_once(SetTimer(("group", group.group_id), at_ms))
