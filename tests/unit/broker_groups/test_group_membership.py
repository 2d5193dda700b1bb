"""The classic group protocol, one promise a test, against the bare core with a moved clock."""

from broker.groups.events import (
    CommitOffsets,
    LeaveGroup,
    Leaving,
    ListGroups,
    OffsetToCommit,
    Protocol,
)
from tests.unit.broker_groups.bench import RANGE, Bench, stable

NONE, ILLEGAL_GENERATION, INCONSISTENT, UNKNOWN_MEMBER = 0, 22, 23, 25
INVALID_SESSION_TIMEOUT, REBALANCE, INVALID_GROUP, MEMBER_ID_REQUIRED, FENCED = 26, 27, 24, 79, 82


def test_members_that_join_within_the_initial_delay_share_the_first_generation():
    bench = Bench()
    first = bench.join()
    bench.pass_time(400)
    second = bench.join()
    assert first not in bench.answers
    bench.pass_time(1_000)
    one, two = bench.answers[first], bench.answers[second]
    assert one["generation_id"] == two["generation_id"] == 1
    assert one["leader"] == two["leader"] == one["member_id"]
    assert {m["member_id"] for m in one["members"]} == {one["member_id"], two["member_id"]}
    assert two["members"] == ()


def test_everybody_gets_the_assignment_that_the_leader_brought():
    bench = Bench()
    joins = [bench.join(), bench.join()]
    bench.pass_time(1_000)
    leader, follower = (str(bench.answers[j]["member_id"]) for j in joins)
    waits = bench.sync(follower, 1, {})
    assert waits not in bench.answers
    leads = bench.sync(leader, 1, {leader: b"a", follower: b"b"})
    assert bench.answers[leads]["assignment"] == b"a"
    assert bench.answers[waits]["assignment"] == b"b"
    assert bench.state() == "Stable"


def test_a_client_that_can_is_asked_to_come_back_with_its_member_id():
    bench = Bench()
    asked = bench.join(old=False)
    assert bench.error(asked) == MEMBER_ID_REQUIRED
    again = bench.join(str(bench.answers[asked]["member_id"]), old=False)
    bench.pass_time(1_000)
    assert bench.error(again) == NONE
    assert bench.answers[again]["member_id"] == bench.answers[asked]["member_id"]


def test_a_member_id_that_was_handed_out_and_never_used_is_forgotten():
    bench = Bench()
    asked = bench.join(old=False, session=5_000)
    bench.pass_time(6_000)
    assert bench.error(bench.join(str(bench.answers[asked]["member_id"]))) == UNKNOWN_MEMBER
    assert bench.state() == "Dead"


def test_a_newcomer_makes_the_others_join_again():
    bench = Bench()
    (member,), generation = stable(bench, 1)
    newcomer = bench.join()
    assert bench.beat(member, generation) == REBALANCE
    again = bench.join(member)
    assert bench.answers[again]["generation_id"] == generation + 1
    assert bench.answers[newcomer]["generation_id"] == generation + 1
    assert bench.answers[again]["leader"] == member, "the leader stays"


def test_a_member_that_does_not_join_again_is_left_behind():
    bench = Bench()
    (one, two), generation = stable(bench, 2)
    again = bench.join(one)
    while again not in bench.answers:
        bench.pass_time(9_000)
        assert bench.beat(two, generation) in (REBALANCE, UNKNOWN_MEMBER, ILLEGAL_GENERATION)
    assert {m["member_id"] for m in bench.answers[again]["members"]} == {one}
    assert bench.beat(two, generation + 1) == UNKNOWN_MEMBER


def test_a_silent_member_is_given_up_after_its_session_and_the_rest_rebalances():
    bench = Bench()
    (one, two), generation = stable(bench, 2)
    bench.pass_time(6_000)
    assert bench.beat(one, generation) == NONE
    bench.pass_time(6_000)
    assert bench.beat(one, generation) == REBALANCE
    assert bench.beat(two, generation) == UNKNOWN_MEMBER


def test_a_member_that_waits_for_others_is_not_given_up():
    bench = Bench()
    (one, two), generation = stable(bench, 2)
    waits = bench.join(one)
    for _ in range(5):
        bench.pass_time(8_000)
        assert bench.beat(two, generation) == REBALANCE
    assert waits not in bench.answers
    bench.join(two)
    assert bench.error(waits) == NONE


def test_leaving_rebalances_at_once_and_the_last_one_leaves_an_empty_group():
    bench = Bench()
    (one, two), generation = stable(bench, 2)
    left = bench.ask(LeaveGroup, "g", (Leaving(two),), False)
    assert bench.error(left) == NONE
    assert bench.beat(one, generation) == REBALANCE
    bench.ask(LeaveGroup, "g", (Leaving(one),))
    assert bench.state() == "Empty"


def test_each_leaving_member_has_an_error_of_its_own():
    bench = Bench()
    (one,), _ = stable(bench, 1)
    asked = bench.ask(LeaveGroup, "g", (Leaving("nobody"), Leaving(one)))
    assert bench.error(asked) == NONE
    errors = [m["error_code"] for m in bench.answers[asked]["members"]]
    assert errors == [UNKNOWN_MEMBER, NONE]


def test_an_old_generation_is_told_so():
    bench = Bench()
    (one,), generation = stable(bench, 1)
    assert bench.beat(one, generation - 1) == ILLEGAL_GENERATION
    assert bench.error(bench.sync(one, generation + 1, {})) == ILLEGAL_GENERATION


def test_the_protocol_is_one_that_every_member_supports():
    bench = Bench()
    sticky, robin = Protocol("sticky", b"s"), Protocol("roundrobin", b"r")
    one = bench.join(protocols=(sticky, *RANGE))
    two = bench.join(protocols=(robin, *RANGE))
    bench.pass_time(2_000)
    assert bench.answers[one]["protocol_name"] == bench.answers[two]["protocol_name"] == "range"
    stranger = bench.join(protocols=(robin,))
    assert bench.error(stranger) == INCONSISTENT
    assert bench.error(bench.join(kind="connect")) == INCONSISTENT
    assert bench.error(bench.join(protocols=())) == INCONSISTENT


def test_the_favourite_of_the_most_members_is_chosen():
    bench = Bench()
    a, b = Protocol("a", b""), Protocol("b", b"")
    joins = [bench.join(protocols=p) for p in [(a, b), (b, a), (b, a)]]
    bench.pass_time(3_000)
    assert {bench.answers[j]["protocol_name"] for j in joins} == {"b"}


def test_senseless_joins_are_refused():
    bench = Bench()
    assert bench.error(bench.join(group="")) == INVALID_GROUP
    assert bench.error(bench.join(session=1)) == INVALID_SESSION_TIMEOUT
    assert bench.error(bench.join("who")) == UNKNOWN_MEMBER


def test_a_follower_that_joins_again_unchanged_disturbs_nobody_and_the_leader_does():
    bench = Bench()
    (leader, follower), generation = stable(bench, 2)
    again = bench.join(follower)
    assert bench.answers[again]["generation_id"] == generation
    assert bench.beat(leader, generation) == NONE
    bench.join(leader)
    assert bench.beat(follower, generation) == REBALANCE


def test_a_changed_subscription_rebalances():
    bench = Bench()
    (leader, follower), generation = stable(bench, 2)
    bench.join(follower, protocols=(Protocol("range", b"other"),))
    assert bench.beat(leader, generation) == REBALANCE


def test_who_never_asks_for_its_assignment_is_given_up():
    bench = Bench()
    joins = [bench.join(rebalance=20_000), bench.join(rebalance=20_000)]
    bench.pass_time(1_500)
    leader, mute = (str(bench.answers[j]["member_id"]) for j in joins)
    bench.sync(leader, 1, {})
    for _ in range(4):
        bench.pass_time(5_500)
        bench.beat(leader, 1)
        bench.beat(mute, 1)
    assert bench.beat(mute, 1) == UNKNOWN_MEMBER
    assert bench.beat(leader, 1) == REBALANCE


def test_a_static_member_that_comes_back_gets_its_share_without_a_rebalance():
    bench = Bench()
    (other,), _ = stable(bench, 1)
    first = bench.join(instance="worker-0")
    bench.join(other)
    old = str(bench.answers[first]["member_id"])
    bench.sync(other, 2, {other: b"0", old: b"1"})
    bench.sync(old, 2, {}, instance="worker-0")
    second = bench.join(instance="worker-0")
    new = str(bench.answers[second]["member_id"])
    assert new != old
    assert bench.answers[second]["generation_id"] == 2
    assert bench.answers[bench.sync(new, 2, {}, instance="worker-0")]["assignment"] == b"1"
    assert bench.beat(other, 2) == NONE
    assert bench.beat(old, 2, "worker-0") == FENCED
    assert bench.error(bench.join(old, instance="worker-0")) == FENCED


def test_a_static_leader_that_comes_back_does_not_assign_anew():
    bench = Bench()
    (old,), generation = stable(bench, 1, instance="worker-0")
    follower = bench.join(instance="worker-0")
    assert bench.answers[follower]["leader"] == old, "an old client believes that another leads"
    assert bench.answers[follower]["members"] == ()
    knows = bench.join(instance="worker-0", skips=True)
    assert bench.answers[knows]["skip_assignment"] is True
    assert bench.answers[knows]["leader"] == bench.answers[knows]["member_id"]
    assert bench.answers[knows]["generation_id"] == generation


def test_a_static_member_is_removed_by_its_instance_id_alone():
    bench = Bench()
    (member,), generation = stable(bench, 1, instance="worker-0")
    bench.ask(LeaveGroup, "g", (Leaving("", "worker-0"),))
    assert bench.beat(member, generation) == UNKNOWN_MEMBER


def test_a_static_member_that_waits_is_fenced_by_its_successor():
    bench = Bench()
    first = bench.join(instance="worker-0")
    second = bench.join(instance="worker-0")
    assert bench.error(first) == FENCED
    bench.pass_time(2_000)
    assert bench.error(second) == NONE


def test_an_absent_static_member_keeps_its_place_until_its_session_ends():
    bench = Bench()
    (leader,), _ = stable(bench, 1)
    static = bench.join(instance="worker-0", session=30_000, rebalance=5_000)
    bench.join(leader, rebalance=5_000)
    away = bench.answers[static]["member_id"]
    bench.sync(leader, 2, {})
    bench.sync(str(away), 2, {}, instance="worker-0")
    again = bench.join(leader, rebalance=5_000)
    bench.pass_time(6_000)
    assert away in {m["member_id"] for m in bench.answers[again]["members"]}


def test_a_restarted_coordinator_remembers_generation_members_and_assignments():
    bench = Bench()
    (one, two), generation = stable(bench, 2)
    bench = bench.restarted()
    assert bench.beat(one, generation) == NONE
    assert bench.answers[bench.sync(two, generation, {})]["assignment"] == two.encode()
    bench.pass_time(11_000)
    assert bench.beat(one, generation) == UNKNOWN_MEMBER, "their sessions run again"
    assert bench.state() == "Empty"


def test_a_restart_before_the_assignment_lets_the_leader_bring_it_afterwards():
    bench = Bench()
    joins = [bench.join(), bench.join()]
    bench.pass_time(1_000)
    leader, follower = (str(bench.answers[j]["member_id"]) for j in joins)
    bench = bench.restarted()
    assert bench.state() == "CompletingRebalance"
    waits = bench.sync(follower, 1, {})
    bench.sync(leader, 1, {follower: b"b"})
    assert bench.answers[waits]["assignment"] == b"b"


def test_generations_go_on_counting_over_restarts_and_empty_times():
    bench = Bench()
    (one,), first = stable(bench, 1)
    bench.ask(LeaveGroup, "g", (Leaving(one),))
    bench = bench.restarted()
    _, second = stable(bench, 1)
    assert second > first


def test_groups_are_listed_by_state():
    bench = Bench()
    stable(bench, 1)
    bench.ask(CommitOffsets, "simple", -1, "", None, (OffsetToCommit("t", 0, 1, -1, ""),))
    everything = bench.answers[bench.ask(ListGroups)]["groups"]
    assert {(g["group_id"], g["group_state"]) for g in everything} == {
        ("g", "Stable"),
        ("simple", "Empty"),
    }
    some = bench.answers[bench.ask(ListGroups, ("Stable",))]["groups"]
    assert [g["group_id"] for g in some] == ["g"]
