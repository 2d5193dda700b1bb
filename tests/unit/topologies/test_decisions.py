"""What is in force is the newest decision; those before it can be put back."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as some

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.derived.resolved import DerivedInput, ResolvedDerived
from metric_registry.load import SourceFile
from metric_registry.plan import Plan, ResolvedDefinition
from topologies.decisions import (
    KEPT,
    Circumstances,
    Decision,
    Decisions,
    UnreadableDecision,
    applied,
    rolled_back,
    started,
)
from topologies.deployment import Deployment, changed
from topologies.epochs import ONE_EPOCH

SECOND = 10**9
DAY = 86_400 * SECOND
T = 20_000 * DAY
LEAD = 20 * SECOND
DEFINITION = """
apiVersion: tidemill/v1
kind: Metric
name: {}
description: One
owner: tests
source: {{metric: load, unit: "1"}}
space: {{keep: []}}
time: {{granularities: [10s], grace: 2s, corrections: 1h}}
aggregate: {{over_time: {}, over_space: sum}}
"""


def definition(name: str, how: str) -> ResolvedDefinition:
    report = check_files([SourceFile("d.yaml", DEFINITION.format(name, how).encode())])
    assert not report.errors, report.text()
    return report.definitions[0]


def plan(*definitions: ResolvedDefinition) -> Plan:
    return compile_plan(definitions)


SUM, MAX, LAST = (definition("m", how) for how in ("sum", "max", "last"))
OTHER = definition("other", "sum")
A, B, C = plan(SUM), plan(MAX, OTHER), plan(LAST)


def at(seconds: int, kept: int = DAY) -> Circumstances:
    now = T + seconds * SECOND
    return Circumstances(now, now + LEAD, ONE_EPOCH, kept)


def decide(known: Decisions, choose: Callable[[], Decision | None]) -> Decisions:
    decided = choose()
    return known if decided is None else known.also(decided)


def in_turn(*plans: Plan) -> Decisions:
    """The first plan in force from the start, the others applied a minute apart."""
    known = decide(Decisions(), lambda: started(Decisions(), plans[0], at(0)))
    for minutes, wanted in enumerate(plans[1:], 1):
        when = at(60 * minutes)
        known = decide(known, lambda w=wanted, k=known, c=when: applied(k, w, c))
    return known


def current(known: Decisions) -> tuple[ResolvedDefinition, ...]:
    newest = known.newest
    assert newest is not None
    return newest.deployed.current


def test_the_first_definitions_count_from_the_beginning():
    for decided in (started(Decisions(), A, at(0)), applied(Decisions(), A, at(0))):
        assert decided is not None
        assert decided.deployed == Deployment(A, decided=T)


def test_what_is_applied_counts_from_the_time_that_was_told():
    known = in_turn(A, B)
    newest = known.newest
    assert newest is not None
    assert (newest.how, newest.deployed.decided) == ("apply", T + 60 * SECOND)
    assert newest.deployed.since == {d.version: T + 60 * SECOND + LEAD for d in B.definitions}
    assert applied(known, B, at(900)) is None


def test_a_rollback_puts_back_what_was_there_and_says_which():
    known = in_turn(A, B)
    to = known.before_the_change()
    assert to is not None
    back = rolled_back(known, to, at(120))
    assert back is not None
    assert back.deployed.current == A.definitions
    assert (back.how, back.back_to) == ("rollback", T)
    first = known.of(T).deployed
    assert back.deployed.spans(SUM.version)[0] == (first.spans(SUM.version)[0][0], T + 80 * SECOND)


def test_rolling_back_twice_goes_back_twice_and_not_forward_again():
    known = in_turn(A, B, C)
    seen = []
    for seconds in (300, 400, 500):
        to = known.before_the_change()
        if to is None:
            break
        known = decide(known, lambda k=known, t=to, s=seconds: rolled_back(k, t, at(s)))
        seen.append(current(known))
    assert seen == [B.definitions, A.definitions]


def test_behind_an_apply_it_is_what_was_in_force_before_that():
    known = in_turn(A, B)
    known = decide(known, lambda: rolled_back(known, known.of(T), at(120)))
    known = decide(known, lambda: applied(known, C, at(180)))
    to = known.before_the_change()
    assert to is not None
    assert to.deployed.current == A.definitions


def test_a_rollback_holds_over_starts_until_something_is_applied():
    known = in_turn(A, B)
    known = decide(known, lambda: rolled_back(known, known.of(T), at(120)))
    assert started(known, B, at(180)) is None
    assert started(known, C, at(100 * 86_400)) is None
    known = decide(known, lambda: applied(known, C, at(240)))
    again = started(known, A, at(300))
    assert again is not None
    assert again.deployed.current == A.definitions


def test_a_start_forgets_versions_that_nothing_can_come_of_any_more():
    known = in_turn(A, B)
    assert started(known, B, at(3600)) is None
    later = started(known, B, at(10 * 86_400))
    assert later is not None
    assert later.deployed.plan == B


def test_a_decision_is_later_than_the_one_before_also_if_the_clock_was_set_back():
    known = in_turn(A, B)
    decided = applied(known, C, at(0))
    assert decided is not None
    assert decided.deployed.decided == T + 60 * SECOND + 1
    newest = known.newest
    assert newest is not None
    assert decided.deployed.replaces(newest.deployed)


def test_a_time_names_what_was_in_force_then():
    known = in_turn(A, B, C)
    for seconds, wanted in ((0, A), (59, A), (60, B), (119, B), (5_000, C)):
        found = known.at(T + seconds * SECOND)
        assert found is not None
        assert found.deployed.current == wanted.definitions
    assert known.at(T - 1) is None


def test_a_deployment_says_which_windows_begin_at_a_time():
    deployed = changed(Deployment(A), B, T, ONE_EPOCH)
    assert deployed.begun(T - 1) == (SUM, OTHER)  # the other one comes
    assert deployed.begun(T) == (MAX, OTHER)
    gone = changed(Deployment(B), A, T, ONE_EPOCH)
    assert gone.begun(T - 1) == (MAX, OTHER)
    assert gone.begun(T) == (SUM,)


STEPS = some.lists(
    some.tuples(some.sampled_from(["start", "apply", "rollback"]), some.sampled_from([A, B, C])),
    max_size=8,
)


@given(STEPS, some.randoms())
def test_whoever_reads_the_topic_finds_the_same_in_force(steps, rng):
    """Read whole, in pieces, or after the log has left out what was replaced."""
    known, records, when = Decisions(), [], 0
    for how, wanted in steps:
        when += rng.choice([1, 30, 100_000])
        to = known.before_the_change()
        decided = None
        if how == "rollback" and to is not None:
            decided = rolled_back(known, to, at(when))
        elif how != "rollback":
            decided = (started if how == "start" else applied)(known, wanted, at(when))
        if decided is None:
            continue
        before = known.newest
        if before is not None:
            assert decided.deployed.replaces(before.deployed)
            assert not before.deployed.replaces(decided.deployed)
            told = changed(before.deployed, compile_plan(decided.deployed.current), 0, ONE_EPOCH)
            assert told.current == decided.deployed.current
        known = known.also(decided)
        records.append((decided.key, decided.to_json()))
        records += [(key, None) for key in known.outdated(3)]
        for key in known.outdated(3):
            known = known.taken(key, None)
    read = Decisions()
    for key, value in records:
        read = read.taken(key, value)
    left = [one for i, one in enumerate(records) if one[0] not in {k for k, _ in records[i + 1 :]}]
    compacted = Decisions()
    for key, value in left:
        compacted = compacted.taken(key, value)
    assert read == compacted == known
    assert len(known.times) <= 3
    for time in known.times:
        assert Decision.from_json(known.records[time]) == known.of(time)


def test_the_oldest_decisions_leave_the_topic():
    known = Decisions(dict.fromkeys(range(1, KEPT + 3), b"")).outdated()
    assert known == [b"1", b"2"]


def test_an_old_decision_that_cannot_be_read_keeps_nobody_from_the_newest():
    known = in_turn(A).taken(b"7", b'{"how":"apply","deployed":{"plan":{"format":0}}}')
    assert current(known) == A.definitions
    with pytest.raises(UnreadableDecision, match="another version of this program"):
        known.of(7)
    with pytest.raises(UnreadableDecision, match="no time in unix ns"):
        known.taken(b"soon", b"{}")
    with pytest.raises(UnreadableDecision, match="another version of this program"):
        _ = Decisions({9: b"?"}).newest


def test_times_are_in_order():
    times = in_turn(A, B, C).times
    assert times == sorted(times)
    assert all(a < b for a, b in itertools.pairwise(times))


def test_what_is_derived_comes_changes_and_is_put_back() -> None:
    given = DerivedInput(name="m", version=SUM.version, unit="1", instrument="gauge")
    one = ResolvedDerived(
        name="x", version="v", unit="1", how="sum", inputs=(given, given), keep=(), absent="none",
        granularities=(10,),
    )  # fmt: skip
    without, with_it = compile_plan([SUM]), compile_plan([SUM], derived=[one])
    known = Decisions()

    def when(hours: int) -> Circumstances:
        now = T + hours * 3_600 * SECOND
        return Circumstances(now, now + LEAD, ONE_EPOCH, DAY)

    def decided(decision: Decision | None) -> Decisions:
        assert decision is not None
        return known.also(decision)

    known = decided(applied(known, without, when(0)))
    assert applied(known, without, when(1)) is None
    known = decided(applied(known, with_it, when(1)))
    assert known.newest is not None
    assert known.newest.deployed.plan.derived == (one,)
    assert known.newest.deployed.since == {}, "its inputs go on"
    assert applied(known, with_it, when(2)) is None
    before = known.before_the_change()
    assert before is not None
    known = decided(rolled_back(known, before, when(2)))
    assert known.newest is not None
    assert known.newest.deployed.plan.derived == ()
    known = decided(applied(known, with_it, when(3)))
    first = known.at(T + 3_600 * SECOND)
    assert first is not None
    assert rolled_back(known, first, when(4)) is None, "that is what is in force"
    known = decided(applied(known, without, when(4)))
    known = decided(rolled_back(known, first, when(5)))
    assert known.newest is not None
    assert known.newest.deployed.plan.derived == (one,)
