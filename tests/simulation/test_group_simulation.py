"""Thousands of histories of a consumer group; and bugs that must not survive them.

`TIDEMILL_HISTORIES` sets how many histories of the real coordinator are run.
"""

import os
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from broker.coordination import Answer, Effect, Record
from broker.groups import answers
from broker.groups.coordinator import GroupCoordinator
from broker.groups.events import CommitOffsets, Heartbeat
from broker.groups.group import Group, Member, State
from broker.groups.membership import Membership
from broker.groups.outbox import Outbox
from broker.groups.rebalance import Rebalance
from broker.groups.rows import OffsetKey, decode_key
from tests.simulation.coordinator_world import ViolationError
from tests.simulation.group_world import simulate

HISTORIES = int(os.environ.get("TIDEMILL_HISTORIES", "150"))


def test_no_history_breaks_a_promise_of_groups():
    totals: dict[str, int] = {}
    for seed in range(HISTORIES):
        try:
            counts = simulate(seed).counts
        except ViolationError as broken:
            pytest.fail(f"seed {seed}: {broken}")
        totals = {name: totals.get(name, 0) + count for name, count in counts.items()}
    assert all(count > HISTORIES for count in totals.values()), totals


class HastyOutbox(Outbox):
    def tell(self, effect: Effect) -> None:
        self.at_once(effect)


def coordinator(
    rebalance: type[Rebalance] = Rebalance,
    membership: type[Membership] = Membership,
    outbox: type[Outbox] = Outbox,
) -> type[GroupCoordinator]:
    """A coordinator with one part replaced by a faulty one."""

    class Planted(GroupCoordinator):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self._outbox = outbox()
            self._membership = membership(config, self._outbox)
            self._membership._rebalance = rebalance(config, self._outbox)

    return Planted


class ForgetsTheGenerationUntilItIsAssigned(Rebalance):
    def persist(self, group: Group) -> None:
        if group.state is not State.COMPLETING:
            super().persist(group)


class NeverRemembersGenerations(Rebalance):
    def persist(self, group: Group) -> None:
        pass


class TellsEverybodyToLead(Rebalance):
    def _tell_joined(self, group: Group, member: Member, now_ms: int) -> None:
        if member.join_request is not None:
            fields = answers.joined(group, member, leader=member.member_id)
            self._outbox.tell(Answer(member.join_request, fields))
        member.join_request = None
        self.heard_of(member, now_ms)


class GivesEachItsFavouriteProtocol(Rebalance):
    def _tell_joined(self, group: Group, member: Member, now_ms: int) -> None:
        group.protocol_name = member.protocols[0].name
        super()._tell_joined(group, member, now_ms)


class KeepsTheGenerationNumber(Rebalance):
    def _next_generation(self, group: Group, now_ms: int) -> None:
        super()._next_generation(group, now_ms)
        group.generation_id = max(1, group.generation_id - group.generation_id % 2)


class DoesNotRebalanceWhenAMemberGoes(Rebalance):
    def remove(self, group: Group, member: Member, now_ms: int) -> None:
        if group.state is not State.STABLE or len(group.members) == 1:
            return super().remove(group, member, now_ms)
        del group.members[member.member_id]
        return None


class SwapsAssignments(Rebalance):
    def assign(self, group: Group, assignments: dict[str, bytes], now_ms: int) -> None:
        turned = [*assignments.values()][1:] + [*assignments.values()][:1]
        super().assign(group, dict(zip(assignments, turned, strict=True)), now_ms)


class GivesNobodyUp(Membership):
    def on_time(self, group: Group, now_ms: int) -> None:
        for member in group.members.values():
            member.deadline_ms = now_ms + 1_000
        super().on_time(group, now_ms)


class SyncsAnyGeneration(Membership):
    @staticmethod
    def _refuse_sync(group: Group, event: Any, member: Any) -> ErrorCode | None:
        return member if isinstance(member, ErrorCode) else None


class ForgetsFollowersThatJoinAgain(Membership):
    def _join_again(self, group: Group, member: Member, event: Any, now_ms: int) -> None:
        if member.member_id == group.leader:
            super()._join_again(group, member, event, now_ms)


class HeartbeatsAreAlwaysFine(GroupCoordinator):
    def _heartbeat(self, event: Heartbeat, now_ms: int) -> None:
        self._answer(event.request_id, {"error_code": 0})


class TakesCommitsOfOldGenerations(GroupCoordinator):
    def _refuse_commit(self, event: Any, now_ms: int, *, in_transaction: bool) -> ErrorCode:
        return ErrorCode.none


class AcknowledgesCommitsItDoesNotKeep(GroupCoordinator):
    def _commit(self, event: CommitOffsets, now_ms: int) -> None:
        super()._commit(event, now_ms)
        if now_ms % 7 == 0:
            self._outbox._records.clear()


class ReplaysTheFirstCommitOnly(GroupCoordinator):
    def replay(self, record: Record) -> None:
        key = decode_key(record.key)
        if not isinstance(key, OffsetKey) or not self._offsets.get(key.group_id):
            super().replay(record)


BUGS: dict[str, type[GroupCoordinator]] = {
    "AnswersBeforeItIsDurable": coordinator(outbox=HastyOutbox),
    **{
        bug.__name__: coordinator(rebalance=bug)
        for bug in (
            ForgetsTheGenerationUntilItIsAssigned,
            NeverRemembersGenerations,
            TellsEverybodyToLead,
            GivesEachItsFavouriteProtocol,
            KeepsTheGenerationNumber,
            DoesNotRebalanceWhenAMemberGoes,
            SwapsAssignments,
        )
    },
    **{
        bug.__name__: coordinator(membership=bug)
        for bug in (GivesNobodyUp, SyncsAnyGeneration, ForgetsFollowersThatJoinAgain)
    },
    **{
        bug.__name__: bug
        for bug in (
            HeartbeatsAreAlwaysFine,
            TakesCommitsOfOldGenerations,
            AcknowledgesCommitsItDoesNotKeep,
            ReplaysTheFirstCommitOnly,
        )
    },
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str):
    for seed in range(300):
        try:
            simulate(seed, groups=BUGS[bug])
        except ViolationError:
            return
    pytest.fail(f"{bug} survived 300 histories")
