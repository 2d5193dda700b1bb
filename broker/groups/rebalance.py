"""From one generation to the next: wait for all members, choose a protocol, wait for the leader."""

from kio.schema.errors import ErrorCode

from broker.coordination import Answer
from broker.groups import answers
from broker.groups.config import GroupConfig
from broker.groups.group import Group, Member, State
from broker.groups.outbox import Outbox
from broker.groups.rows import GroupKey, record


class Rebalance:
    """The transitions of a group; each ends with the members told and the generation appended."""

    def __init__(self, config: GroupConfig, outbox: Outbox) -> None:
        self._config = config
        self._outbox = outbox

    def heard_of(self, member: Member, now_ms: int) -> None:
        """Start the member's session anew."""
        if not member.is_new:
            member.deadline_ms = now_ms + member.session_timeout_ms

    def persist(self, group: Group) -> None:
        """Append the generation."""
        self._outbox.append(record(GroupKey(group.group_id), group.row()))

    def dismiss(self, member: Member, error: ErrorCode) -> None:
        """Answer what the member waits for, for the last time."""
        if member.join_request is not None:
            refused = answers.join_refused(error, member.member_id)
            self._outbox.tell(Answer(member.join_request, refused))
        if member.sync_request is not None:
            self._outbox.tell(Answer(member.sync_request, answers.sync_refused(error)))
        member.join_request = member.sync_request = None

    def prepare(self, group: Group, now_ms: int) -> None:
        """Ask all members to join again; nothing new if they are being asked already."""
        if group.state is not State.PREPARING:
            self._ask_all_to_join(group, now_ms)
        self.complete_if_all_joined(group, now_ms)

    def _ask_all_to_join(self, group: Group, now_ms: int) -> None:
        for member in group.members.values():
            member.assignment = b""
            if member.sync_request is not None:
                refused = answers.sync_refused(ErrorCode.rebalance_in_progress)
                self._outbox.tell(Answer(member.sync_request, refused))
                member.sync_request = None
                self.heard_of(member, now_ms)
        timeout_ms = group.rebalance_timeout_ms()
        wait_ms = timeout_ms
        group.first_wait = group.state is State.EMPTY
        if group.first_wait:
            wait_ms = min(self._config.initial_rebalance_delay_ms, timeout_ms)
            group.first_wait_left_ms = timeout_ms - wait_ms
            group.newcomer = False
        group.state = State.PREPARING
        group.sync_deadline_ms = None
        group.join_deadline_ms = now_ms + wait_ms

    def complete_if_all_joined(self, group: Group, now_ms: int) -> None:
        """End the wait early when nobody is missing (but never the initial delay)."""
        if group.state is State.PREPARING and not group.first_wait and group.all_joined():
            self._next_generation(group, now_ms)

    def join_deadline(self, group: Group, now_ms: int) -> None:
        """The time to join is over; in the initial delay newcomers extend it."""
        if group.first_wait and group.newcomer and group.first_wait_left_ms > 0:
            more_ms = min(self._config.initial_rebalance_delay_ms, group.first_wait_left_ms)
            group.first_wait_left_ms -= more_ms
            group.newcomer = False
            group.join_deadline_ms = now_ms + more_ms
            return
        group.first_wait = False
        self._next_generation(group, now_ms)

    def _next_generation(self, group: Group, now_ms: int) -> None:
        absent = [m for m in group.members.values() if m.join_request is None]
        for member in absent:
            if member.group_instance_id is None:
                del group.members[member.member_id]
        joined = [m for m in group.members.values() if m.join_request is not None]
        if group.members and not joined:  # static members alone, and all away: wait on
            group.join_deadline_ms = now_ms + group.rebalance_timeout_ms()
            return
        group.generation_id += 1
        group.join_deadline_ms = None
        if not joined:
            self._become_empty(group, now_ms)
            return
        if group.leader not in {m.member_id for m in joined}:
            group.leader = joined[0].member_id
        group.protocol_name = group.select_protocol()
        group.state = State.COMPLETING
        group.sync_deadline_ms = now_ms + group.rebalance_timeout_ms()
        self.persist(group)
        for member in joined:
            member.synced = member.is_new = False
            self._tell_joined(group, member, now_ms)

    def _become_empty(self, group: Group, now_ms: int) -> None:
        group.state = State.EMPTY
        group.leader = group.protocol_name = None
        group.since_ms = now_ms
        self.persist(group)

    def _tell_joined(self, group: Group, member: Member, now_ms: int) -> None:
        if member.join_request is not None:
            self._outbox.tell(Answer(member.join_request, answers.joined(group, member)))
        member.join_request = None
        self.heard_of(member, now_ms)

    def assign(self, group: Group, assignments: dict[str, bytes], now_ms: int) -> None:
        """The leader's word: append it, then tell all who asked."""
        group.state = State.STABLE
        for member in group.members.values():
            member.assignment = assignments.get(member.member_id, b"")
        self.persist(group)
        for member in group.members.values():
            if member.sync_request is not None:
                fields = answers.synced(group, member)
                self._outbox.tell(Answer(member.sync_request, fields))
                member.sync_request = None
                self.heard_of(member, now_ms)

    def remove(self, group: Group, member: Member, now_ms: int) -> None:
        """The member left, or was given up: the rest rebalances."""
        self.dismiss(member, ErrorCode.unknown_member_id)
        del group.members[member.member_id]
        if group.leader == member.member_id:
            group.leader = None
        self.prepare(group, now_ms)
