"""Committed positions: who may commit, what is remembered, what a transaction shows and when."""

from typing import Any

from broker.groups.config import DAY_MS, GroupConfig
from broker.groups.events import (
    CommitOffsets,
    CommitTransactionOffsets,
    DeleteGroups,
    FetchOffsets,
    LeaveGroup,
    Leaving,
    OffsetToCommit,
    TopicsDeleted,
    TransactionEnded,
)
from tests.unit.broker_groups.bench import Bench, stable

NONE, METADATA_TOO_LARGE, ILLEGAL_GENERATION, UNKNOWN_MEMBER = 0, 12, 22, 25
REBALANCE, NON_EMPTY, NOT_FOUND, UNSTABLE = 27, 68, 69, 88


def at(offset: int, partition: int = 0, metadata: str = "") -> OffsetToCommit:
    return OffsetToCommit("t", partition, offset, 5, metadata)


def commit(bench: Bench, *offsets: OffsetToCommit, **named: Any) -> list[int]:
    asked = bench.ask(
        CommitOffsets,
        named.get("group", "g"),
        named.get("generation", -1),
        named.get("member", ""),
        None,
        offsets,
        named.get("retention_ms", -1),
    )
    return errors(bench, asked)


def pending(bench: Bench, producer_id: int, *offsets: OffsetToCommit, **named: Any) -> list[int]:
    asked = bench.ask(CommitTransactionOffsets, "g", producer_id, offsets, **named)
    return errors(bench, asked)


def errors(bench: Bench, asked: int) -> list[int]:
    return [p["error_code"] for t in bench.answers[asked]["topics"] for p in t["partitions"]]


def end(bench: Bench, producer_id: int, *, commit: bool) -> None:
    bench.tell("groups", TransactionEnded(("x", producer_id, 0), producer_id, commit))


def position(bench: Bench, partition: int = 0, *, stable: bool = False) -> tuple[int, int]:
    """(offset, error)"""
    asked = bench.ask(FetchOffsets, "g", (("t", partition),), stable)
    (found,) = bench.answers[asked]["topics"][0]["partitions"]
    return found["committed_offset"], found["error_code"]


def test_a_consumer_without_a_group_may_keep_its_position_here():
    bench = Bench()
    assert commit(bench, at(7, metadata="note")) == [NONE]
    asked = bench.ask(FetchOffsets, "g", None)
    (found,) = bench.answers[asked]["topics"][0]["partitions"]
    assert found == {
        "partition_index": 0,
        "committed_offset": 7,
        "committed_leader_epoch": 5,
        "metadata": "note",
        "error_code": 0,
    }


def test_what_was_never_committed_is_minus_one():
    bench = Bench()
    assert position(bench) == (-1, NONE)
    assert bench.answers[bench.ask(FetchOffsets, "nobody", None)]["topics"] == []


def test_only_members_of_this_generation_commit_to_a_group_that_has_members():
    bench = Bench()
    (member,), generation = stable(bench, 1)
    assert commit(bench, at(1), member=member, generation=generation) == [NONE]
    assert commit(bench, at(9)) == [UNKNOWN_MEMBER]
    assert commit(bench, at(9), member="zombie", generation=generation) == [UNKNOWN_MEMBER]
    assert commit(bench, at(9), member=member, generation=generation - 1) == [ILLEGAL_GENERATION]
    assert position(bench) == (1, NONE)


def test_a_generation_of_an_unknown_group_is_illegal():
    assert commit(Bench(), at(1), member="m", generation=3) == [ILLEGAL_GENERATION]


def test_a_member_commits_while_others_are_waited_for_but_not_before_the_assignment():
    bench = Bench()
    (member,), generation = stable(bench, 1)
    newcomer = bench.join()
    assert commit(bench, at(1), member=member, generation=generation) == [NONE]
    bench.join(member)
    assert newcomer in bench.answers
    assert commit(bench, at(2), member=member, generation=generation + 1) == [REBALANCE]


def test_a_commit_proves_that_the_member_lives():
    bench = Bench()
    (member,), generation = stable(bench, 1)
    for offset in range(4):
        bench.pass_time(8_000)
        assert commit(bench, at(offset), member=member, generation=generation) == [NONE]


def test_metadata_has_a_limit_and_the_other_partitions_are_kept():
    bench = Bench()
    assert commit(bench, at(1, 0, "x" * 5_000), at(2, 1)) == [METADATA_TOO_LARGE, NONE]
    assert position(bench, 1) == (2, NONE)


def test_positions_survive_a_restart():
    bench = Bench()
    commit(bench, at(1), at(5, 1))
    commit(bench, at(2))
    bench = bench.restarted()
    assert (position(bench, 0), position(bench, 1)) == ((2, NONE), (5, NONE))


def test_a_transaction_shows_its_positions_when_it_commits():
    bench = Bench()
    commit(bench, at(1))
    assert pending(bench, 77, at(2)) == [NONE]
    assert position(bench) == (1, NONE)
    assert position(bench, stable=True) == (-1, UNSTABLE)
    end(bench, 77, commit=True)
    assert position(bench, stable=True) == (2, NONE)


def test_an_aborted_transaction_leaves_the_position_alone():
    bench = Bench()
    commit(bench, at(1))
    pending(bench, 77, at(2))
    end(bench, 77, commit=False)
    assert position(bench, stable=True) == (1, NONE)


def test_a_pending_position_survives_a_restart_and_ends_afterwards():
    bench = Bench()
    pending(bench, 77, at(2))
    bench = bench.restarted()
    assert position(bench, stable=True) == (-1, UNSTABLE)
    end(bench, 77, commit=True)
    bench = bench.restarted()
    assert position(bench, stable=True) == (2, NONE)


def test_a_plain_commit_that_came_after_the_transactional_one_stays():
    bench = Bench()
    pending(bench, 77, at(2))
    commit(bench, at(3))
    bench = bench.restarted()
    end(bench, 77, commit=True)
    assert position(bench) == (3, NONE)


def test_a_transaction_keeps_all_of_its_positions_or_none():
    bench = Bench()
    refused = pending(bench, 77, at(1, 0, "x" * 5_000), at(2, 1))
    assert refused == [METADATA_TOO_LARGE, NONE]
    end(bench, 77, commit=True)
    assert position(bench, 1) == (-1, NONE)


def test_a_transaction_that_names_a_member_is_fenced_by_generation():
    bench = Bench()
    (member,), generation = stable(bench, 1)
    ok = {"generation_id": generation, "member_id": member}
    assert pending(bench, 77, at(1), **ok) == [NONE]
    assert pending(bench, 77, at(2), **{**ok, "generation_id": 9}) == [ILLEGAL_GENERATION]
    assert pending(bench, 77, at(2), **{**ok, "member_id": "zombie"}) == [UNKNOWN_MEMBER]
    assert pending(bench, 77, at(3)) == [NONE], "old clients name nobody"


def test_positions_of_an_empty_group_expire_and_then_the_group_does():
    bench = Bench(groups=GroupConfig(offsets_retention_ms=DAY_MS))
    (member,), generation = stable(bench, 1, session=1_800_000)
    commit(bench, at(1), member=member, generation=generation)
    for _ in range(100):
        bench.pass_time(1_700_000)
        assert bench.beat(member, generation) == NONE
    assert position(bench) == (1, NONE), "a living group keeps its positions"
    bench.ask(LeaveGroup, "g", (Leaving(member),))
    bench.pass_time(DAY_MS - 700_000)
    assert position(bench) == (1, NONE)
    bench.pass_time(1_400_000)
    assert position(bench) == (-1, NONE)
    assert bench.restarted().state() == "Dead"


def test_a_client_may_ask_for_a_retention_of_its_own():
    bench = Bench()
    commit(bench, at(1), retention_ms=3_600_000)
    bench.pass_time(4_300_000)
    assert position(bench) == (-1, NONE)


def test_a_pending_position_keeps_the_committed_one_from_expiring():
    bench = Bench(groups=GroupConfig(offsets_retention_ms=DAY_MS))
    commit(bench, at(1))
    pending(bench, 77, at(2))
    bench.pass_time(3 * DAY_MS)
    assert position(bench) == (1, NONE)


def test_only_empty_groups_can_be_deleted():
    bench = Bench()
    (member,), generation = stable(bench, 1)
    commit(bench, at(1), member=member, generation=generation)

    def delete() -> list[int]:
        results = bench.answers[bench.ask(DeleteGroups, ("g", "nobody"))]["results"]
        return [r["error_code"] for r in results]

    assert delete() == [NON_EMPTY, NOT_FOUND]
    bench.ask(LeaveGroup, "g", (Leaving(member),))
    assert delete() == [NONE, NOT_FOUND]
    assert position(bench.restarted()) == (-1, NONE)


def test_a_deleted_topic_takes_its_positions_along():
    bench = Bench()
    commit(bench, at(1))
    pending(bench, 77, at(2))
    bench.tell("groups", TopicsDeleted(frozenset({"t"})))
    end(bench, 77, commit=True)
    assert position(bench.restarted()) == (-1, NONE)
