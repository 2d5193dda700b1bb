"""One consumer group: its members, its generation, and what can be read off them."""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from broker.groups.events import Protocol
from broker.groups.rows import GroupRow, MemberRow


class State(Enum):
    """The states of the classic protocol, by their names in DescribeGroups.

    | state | members | what is awaited |
    |---|---|---|
    | Empty | none | a join; offsets live on |
    | PreparingRebalance | some | that all of them join again, or the rebalance time-out |
    | CompletingRebalance | a new generation | the leader's assignment |
    | Stable | a generation, all assigned | nothing |
    | Dead | - | there is no such group |
    """

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


@dataclass(slots=True)
class Member:
    """A member. `join_request`, `sync_request`: the request that waits for an answer.

    `deadline_ms`: when it is given up, unless it is heard of; not looked at while it waits for us.
    `synced`: it asked for its assignment in this generation.
    `is_new`: it never saw a generation.
    """

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: tuple[Protocol, ...]
    assignment: bytes = b""
    join_request: int | None = None
    sync_request: int | None = None
    deadline_ms: int = 0
    synced: bool = True
    is_new: bool = False

    def metadata(self, protocol_name: str | None) -> bytes:
        """The subscription in the terms of one protocol; empty if the member lacks it."""
        return next((p.metadata for p in self.protocols if p.name == protocol_name), b"")

    def expires_ms(self) -> int | None:
        """When to give the member up; None while it is we who keep it waiting."""
        waits = self.join_request is not None or self.sync_request is not None
        return None if waits and not self.is_new else self.deadline_ms

    def row(self) -> MemberRow:
        """What of it survives a restart."""
        return MemberRow(
            self.member_id,
            self.group_instance_id,
            self.client_id,
            self.client_host,
            self.session_timeout_ms,
            self.rebalance_timeout_ms,
            tuple((p.name, p.metadata) for p in self.protocols),
            self.assignment,
        )


@dataclass(slots=True)
class Group:
    """A group. `pending` are ids that were handed out and not yet joined with, and until when.

    `join_deadline_ms` ends PreparingRebalance; while `first_wait` it ends the initial delay, which
    a newcomer may extend by what is left of `first_wait_left_ms`.
    `sync_deadline_ms`: who has not asked for its assignment by then is given up.
    `since_ms`: when the group became empty.
    """

    group_id: str
    state: State = State.EMPTY
    generation_id: int = 0
    protocol_type: str = ""
    protocol_name: str | None = None
    leader: str | None = None
    members: dict[str, Member] = field(default_factory=dict[str, Member])
    pending: dict[str, int] = field(default_factory=dict[str, int])
    join_deadline_ms: int | None = None
    sync_deadline_ms: int | None = None
    first_wait: bool = False
    first_wait_left_ms: int = 0
    newcomer: bool = False
    since_ms: int = 0

    def static_member(self, group_instance_id: str) -> Member | None:
        """The member that holds this instance id."""
        for member in self.members.values():
            if member.group_instance_id == group_instance_id:
                return member
        return None

    def rebalance_timeout_ms(self) -> int:
        """The longest that any member asked for."""
        return max((m.rebalance_timeout_ms for m in self.members.values()), default=0)

    def all_joined(self) -> bool:
        """Whether nobody is left to wait for."""
        waiting = all(m.join_request is not None for m in self.members.values())
        return waiting and not self.pending

    def supports(self, protocol_type: str, protocols: tuple[Protocol, ...], but: str = "") -> bool:
        """Whether a member with these protocols could be in the group (beside all but one)."""
        others = [m for m in self.members.values() if m.member_id != but]
        if not protocol_type or not protocols:
            return False
        if not others:
            return True
        names = {p.name for p in protocols}
        return protocol_type == self.protocol_type and bool(names & self._common(others))

    def select_protocol(self) -> str:
        """Each member votes for the first it lists that all support; ties go by name."""
        members = list(self.members.values())
        common = self._common(members)
        votes = Counter(next(p.name for p in m.protocols if p.name in common) for m in members)
        return min(votes, key=lambda name: (-votes[name], name))

    @staticmethod
    def _common(members: list[Member]) -> set[str]:
        return set[str].intersection(*({p.name for p in m.protocols} for m in members))

    def next_deadline_ms(self) -> int | None:
        """The earliest time at which something is due, None if nothing ever is."""
        due = [*self.pending.values()]
        due += [e for m in self.members.values() if (e := m.expires_ms()) is not None]
        due += [d for d in (self.join_deadline_ms, self.sync_deadline_ms) if d is not None]
        return min(due, default=None)

    def row(self) -> GroupRow:
        """What of the generation survives a restart."""
        return GroupRow(
            self.generation_id,
            self.protocol_type,
            self.protocol_name,
            self.leader,
            self.state is State.STABLE,
            self.since_ms,
            tuple(m.row() for m in self.members.values()),
        )

    @classmethod
    def from_row(cls, group_id: str, row: GroupRow) -> "Group":
        """The group as its last durable generation left it; time-outs are still to be set."""
        group = cls(
            group_id,
            generation_id=row.generation_id,
            protocol_type=row.protocol_type,
            protocol_name=row.protocol_name,
            leader=row.leader,
            since_ms=row.since_ms,
        )
        for m in row.members:
            group.members[m.member_id] = Member(
                m.member_id,
                m.group_instance_id,
                m.client_id,
                m.client_host,
                m.session_timeout_ms,
                m.rebalance_timeout_ms,
                tuple(Protocol(name, metadata) for name, metadata in m.protocols),
                m.assignment,
                synced=row.assigned,
            )
        if group.members:
            group.state = State.STABLE if row.assigned else State.COMPLETING
        return group
