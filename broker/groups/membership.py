"""Who is in a group: joining, the assignment, heartbeats, leaving, and the clock.

The classic protocol (KIP-62), with member ids required (KIP-394), static members (KIP-345), batched
leaving (KIP-345), and the skipped assignment of a returning static leader (KIP-814).
"""

from collections.abc import Callable
from dataclasses import replace

from kio.schema.errors import ErrorCode

from broker.coordination import Answer
from broker.groups import answers
from broker.groups.config import GroupConfig
from broker.groups.events import Heartbeat, JoinGroup, LeaveGroup, Leaving, SyncGroup
from broker.groups.group import Group, Member, State
from broker.groups.outbox import Outbox
from broker.groups.rebalance import Rebalance


def check_member(group: Group, member_id: str, group_instance_id: str | None) -> Member | ErrorCode:
    """The member a request speaks for, or why it may not (unknown, or replaced: fenced)."""
    if group_instance_id is not None:
        static = group.static_member(group_instance_id)
        if static is None:
            return ErrorCode.unknown_member_id
        if static.member_id != member_id:
            return ErrorCode.fenced_instance_id
    return group.members.get(member_id) or ErrorCode.unknown_member_id


class Membership:
    """Answers the requests of members; groups are handed in, nothing is kept here."""

    def __init__(self, config: GroupConfig, outbox: Outbox) -> None:
        self._config = config
        self._outbox = outbox
        self._rebalance = Rebalance(config, outbox)
        self._answer: Callable[[int, answers.Fields], None] = lambda request_id, fields: (
            outbox.tell(Answer(request_id, fields))
        )

    # --- joining ---

    def refuse_join(self, event: JoinGroup, group: Group | None) -> ErrorCode | None:
        """Why this join can't be taken, whatever the state of the group; None if it can."""
        config = self._config
        if not event.group_id:
            return ErrorCode.invalid_group_id
        low, high = config.min_session_timeout_ms, config.max_session_timeout_ms
        if not low <= event.session_timeout_ms <= high:
            return ErrorCode.invalid_session_timeout
        if group is None:
            if event.member_id:
                return ErrorCode.unknown_member_id
            group = Group(event.group_id)
        replaced = event.member_id
        if event.group_instance_id is not None and not replaced:
            static = group.static_member(event.group_instance_id)
            replaced = static.member_id if static else ""
        if not group.supports(event.protocol_type, event.protocols, but=replaced):
            return ErrorCode.inconsistent_group_protocol
        known = replaced in group.members or replaced in group.pending
        if not known and len(group.members) + len(group.pending) >= config.max_members:
            return ErrorCode.group_max_size_reached
        return None

    def join(self, group: Group, event: JoinGroup, now_ms: int) -> None:
        """JoinGroup, once `refuse_join` has nothing against it."""
        if not event.member_id:
            self._join_without_id(group, event, now_ms)
        elif event.member_id in group.pending and event.group_instance_id is None:
            del group.pending[event.member_id]
            self._add(group, event, event.member_id, now_ms)
        else:
            member = check_member(group, event.member_id, event.group_instance_id)
            if isinstance(member, Member):
                self._join_again(group, member, event, now_ms)
            else:
                self._refuse(event, member)

    def _refuse(self, event: JoinGroup, error: ErrorCode, member_id: str = "") -> None:
        fields = answers.join_refused(error, member_id or event.member_id)
        self._answer(event.request_id, fields)

    def _join_without_id(self, group: Group, event: JoinGroup, now_ms: int) -> None:
        name = event.client_id if event.group_instance_id is None else event.group_instance_id
        member_id = f"{name}-{event.fresh_id}"
        if event.group_instance_id is not None:
            static = group.static_member(event.group_instance_id)
            if static is not None:
                self._replace_static(group, static, member_id, event, now_ms)
                return
        elif event.requires_member_id:
            group.pending[member_id] = now_ms + event.session_timeout_ms
            self._refuse(event, ErrorCode.member_id_required, member_id)
            return
        self._add(group, event, member_id, now_ms)

    def _add(self, group: Group, event: JoinGroup, member_id: str, now_ms: int) -> None:
        if not group.members:
            group.protocol_type = event.protocol_type
        group.newcomer = True
        group.members[member_id] = Member(
            member_id,
            event.group_instance_id,
            event.client_id,
            event.client_host,
            event.session_timeout_ms,
            event.rebalance_timeout_ms,
            event.protocols,
            join_request=event.request_id,
            deadline_ms=now_ms + self._config.new_member_join_timeout_ms,
            is_new=True,
        )
        self._rebalance.prepare(group, now_ms)

    def _join_again(self, group: Group, member: Member, event: JoinGroup, now_ms: int) -> None:
        same = member.protocols == event.protocols
        leads = member.member_id == group.leader
        current = group.state is State.COMPLETING or (group.state is State.STABLE and not leads)
        if same and current:
            self._rebalance.heard_of(member, now_ms)
            self._answer(event.request_id, answers.joined(group, member))
            return
        self._update(group, member, event)
        self._rebalance.prepare(group, now_ms)

    def _update(self, group: Group, member: Member, event: JoinGroup) -> None:
        if member.join_request is not None:  # it asked twice: the first has lost its reader
            refused = answers.join_refused(ErrorCode.rebalance_in_progress, member.member_id)
            self._answer(member.join_request, refused)
        if len(group.members) == 1:
            group.protocol_type = event.protocol_type
        member.protocols = event.protocols
        member.session_timeout_ms = event.session_timeout_ms
        member.rebalance_timeout_ms = event.rebalance_timeout_ms
        member.client_id, member.client_host = event.client_id, event.client_host
        member.join_request = event.request_id

    def _replace_static(
        self, group: Group, old: Member, member_id: str, event: JoinGroup, now_ms: int
    ) -> None:
        """A static member came back under a new member id: the old one is fenced for good."""
        self._rebalance.dismiss(old, ErrorCode.fenced_instance_id)
        old_id, same = old.member_id, old.protocols == event.protocols
        new = replace(old, member_id=member_id, join_request=None, sync_request=None)
        group.members = {
            m.member_id: m for m in (new if m is old else m for m in group.members.values())
        }
        led = group.leader == old_id
        if led:
            group.leader = member_id
        self._update(group, new, event)
        if group.state is not State.STABLE or not same:
            if group.state is State.STABLE:
                self._rebalance.persist(group)
            self._rebalance.prepare(group, now_ms)
            return
        new.join_request = None
        self._rebalance.heard_of(new, now_ms)
        self._rebalance.persist(group)
        if event.skips_assignment:
            fields = answers.joined(group, new, skip=led)
        else:  # an older client that believed to lead would assign anew without a rebalance
            fields = answers.joined(group, new, leader=old_id if led else "")
        self._answer(event.request_id, fields)

    # --- the assignment ---

    def sync(self, group: Group, event: SyncGroup, now_ms: int) -> None:
        """SyncGroup: the leader brings all assignments, everybody gets their own."""
        member = check_member(group, event.member_id, event.group_instance_id)
        error = self._refuse_sync(group, event, member)
        if error is not None or not isinstance(member, Member):
            refused = answers.sync_refused(error or ErrorCode.unknown_member_id)
            self._answer(event.request_id, refused)
            return
        member.synced = True
        self._rebalance.heard_of(member, now_ms)
        if group.state is State.STABLE:
            self._answer(event.request_id, answers.synced(group, member))
            return
        if member.sync_request is not None:
            refused = answers.sync_refused(ErrorCode.rebalance_in_progress)
            self._answer(member.sync_request, refused)
        member.sync_request = event.request_id
        if member.member_id == group.leader:
            self._rebalance.assign(group, dict(event.assignments), now_ms)

    @staticmethod
    def _refuse_sync(
        group: Group, event: SyncGroup, member: Member | ErrorCode
    ) -> ErrorCode | None:
        if isinstance(member, ErrorCode):
            return member
        if event.generation_id != group.generation_id:
            return ErrorCode.illegal_generation
        for said, known in (
            (event.protocol_type, group.protocol_type),
            (event.protocol_name, group.protocol_name),
        ):
            if said is not None and said != known:
                return ErrorCode.inconsistent_group_protocol
        if group.state is State.PREPARING:
            return ErrorCode.rebalance_in_progress
        return None

    # --- staying and leaving ---

    def heartbeat(self, group: Group, event: Heartbeat, now_ms: int) -> ErrorCode:
        """Whether the member is still in the generation it speaks of."""
        member = check_member(group, event.member_id, event.group_instance_id)
        if isinstance(member, ErrorCode):
            return member
        if event.generation_id != group.generation_id:
            return ErrorCode.illegal_generation
        self._rebalance.heard_of(member, now_ms)
        preparing = group.state is State.PREPARING
        return ErrorCode.rebalance_in_progress if preparing else ErrorCode.none

    def heard_of(self, member: Member, now_ms: int) -> None:
        """Any request of a member proves that it lives."""
        self._rebalance.heard_of(member, now_ms)

    def leave(self, group: Group, event: LeaveGroup, now_ms: int) -> list[ErrorCode]:
        """LeaveGroup: an error a member."""
        return [self._leave_one(group, leaving, now_ms) for leaving in event.members]

    def _leave_one(self, group: Group, leaving: Leaving, now_ms: int) -> ErrorCode:
        member_id = leaving.member_id
        if leaving.group_instance_id is not None and not member_id:
            static = group.static_member(leaving.group_instance_id)
            member_id = static.member_id if static else ""
        if member_id in group.pending:
            del group.pending[member_id]
            self._rebalance.complete_if_all_joined(group, now_ms)
            return ErrorCode.none
        member = check_member(group, member_id, leaving.group_instance_id)
        if isinstance(member, ErrorCode):
            return member
        self._rebalance.remove(group, member, now_ms)
        return ErrorCode.none

    # --- the clock ---

    def on_time(self, group: Group, now_ms: int) -> None:
        """Do what is due by now: expire members and ids, end the phases of a rebalance."""
        for member_id in [i for i, until in group.pending.items() if until <= now_ms]:
            del group.pending[member_id]
            self._rebalance.complete_if_all_joined(group, now_ms)
        for member in list(group.members.values()):
            expires = member.expires_ms()
            if expires is not None and expires <= now_ms and member.member_id in group.members:
                self._rebalance.remove(group, member, now_ms)
        if group.sync_deadline_ms is not None and group.sync_deadline_ms <= now_ms:
            group.sync_deadline_ms = None
            for member in [m for m in group.members.values() if not m.synced]:
                if member.member_id in group.members:
                    self._rebalance.remove(group, member, now_ms)
        if group.join_deadline_ms is not None and group.join_deadline_ms <= now_ms:
            self._rebalance.join_deadline(group, now_ms)
