"""Every window of a definition is published under one version, however definitions change."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as some

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.derived.resolved import DerivedInput, ResolvedDerived
from metric_registry.load import SourceFile
from metric_registry.plan import Plan, ResolvedDefinition
from streams.event_time.windows import EARLIEST, LATEST
from streams.task.processor import InputRecord
from topologies.deployment import Deployment, InForce, changed, without_closed
from topologies.epochs import LIVE, ONE_EPOCH, Epochs, Listed
from topologies.preaggregate.config import PreaggregateConfig
from topologies.preaggregate.processor import PreaggregateProcessor

SECOND = 10**9
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
T = 20_000 * DAY
DEFINITION = """
apiVersion: tidemill/v1
kind: Metric
name: {}
description: One
owner: tests
source: {{metric: load, unit: "1"}}
space: {{keep: []}}
time: {{granularities: [{}], grace: 2s, corrections: 1h}}
aggregate: {{over_time: {}, over_space: sum}}
"""


def definition(name: str, how: str = "sum", sizes: str = "10s, 1h") -> ResolvedDefinition:
    text = DEFINITION.format(name, sizes, how).encode()
    report = check_files([SourceFile("d.yaml", text)])
    assert not report.errors, report.text()
    return report.definitions[0]


def plan(*definitions: ResolvedDefinition) -> Plan:
    return compile_plan(definitions)


SUM, MAX, DAILY = definition("m"), definition("m", "max"), definition("m", "max", "10s, 1d")
OTHER = definition("other")
ANY_PLAN = some.tuples(
    some.sampled_from([None, SUM, MAX, DAILY]), some.sampled_from([None, OTHER])
).map(lambda chosen: plan(*(one for one in chosen if one is not None)))
EPOCHS = Epochs((Listed(f"{LIVE}.e2", 3, T + 5 * HOUR),))


@given(
    some.lists(some.tuples(some.integers(0, 8), ANY_PLAN), max_size=6),
    ANY_PLAN,
    some.sampled_from([ONE_EPOCH, EPOCHS]),
    some.booleans(),
)
def test_a_window_is_of_one_version_and_a_name_has_no_gap(
    later: list[tuple[int, Plan]], first: Plan, epochs: Epochs, forgets: bool
):
    deployed = Deployment(first)
    now = T
    in_force = [(EARLIEST, {one.name for one in first.definitions})]
    for hours, wanted in later:
        now += hours * HOUR
        deployed = changed(deployed, wanted, now, epochs)
        if forgets:
            deployed = without_closed(deployed, now, 1_000 * HOUR)
        assert deployed.current == wanted.definitions
        in_force.append((now, {one.name for one in wanted.definitions}))
    for name in ("m", "other"):
        spans = sorted(
            span
            for one in deployed.plan.definitions
            if one.name == name
            for span in deployed.spans(one.version)
        )
        assert all(begins < end for begins, end in spans)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
        always = all(name in names for _, names in in_force)
        if always:
            assert (spans[0][0], spans[-1][1]) == (EARLIEST, LATEST)
            assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    assert Deployment.from_json(deployed.to_json()) == deployed


def test_a_definition_that_changes_goes_on_until_its_last_window_may_not_change_any_more():
    deployed = changed(Deployment(plan(SUM, OTHER)), plan(MAX, OTHER), T, ONE_EPOCH)
    assert deployed.spans(SUM.version) == ((EARLIEST, T),)
    assert deployed.spans(MAX.version) == ((T, LATEST),)
    assert deployed.spans(OTHER.version) == ((EARLIEST, LATEST),)
    assert {one.version for one in deployed.plan.definitions} == {
        SUM.version, MAX.version, OTHER.version,
    }  # fmt: skip
    last = T + HOUR + 2 * SECOND + HOUR + DAY  # a window, grace, corrections, records that are kept
    assert without_closed(deployed, last, DAY) == deployed
    closed = without_closed(deployed, last + 1, DAY)
    assert closed == Deployment(plan(MAX, OTHER), {MAX.version: T})


def test_what_comes_back_has_both_of_its_times():
    deployed = changed(Deployment(plan(SUM)), plan(MAX), T, ONE_EPOCH)
    back = changed(deployed, plan(SUM), T + HOUR, ONE_EPOCH)
    assert back.spans(SUM.version) == ((EARLIEST, T), (T + HOUR, LATEST))
    assert back.spans(MAX.version) == ((T, T + HOUR),)
    assert back.current == (SUM,)


def test_what_has_not_begun_when_it_goes_was_never_there():
    waits = changed(Deployment(plan(SUM)), plan(SUM, OTHER), T, ONE_EPOCH)
    gone = changed(waits, plan(SUM), T, ONE_EPOCH)
    assert gone == Deployment(plan(SUM))


def test_the_old_version_goes_on_until_a_change_of_partitions_if_the_new_one_begins_with_it():
    begins = T + 5 * HOUR
    deployed = changed(Deployment(plan(SUM)), plan(DAILY), T, EPOCHS)
    assert deployed.spans(SUM.version) == ((EARLIEST, begins),)
    assert deployed.spans(DAILY.version) == ((begins, LATEST),)


def task(deployed: Deployment) -> PreaggregateProcessor:
    config = PreaggregateConfig(deployed=deployed, sources=1, shard_partitions=1, key=bytes(16))
    return PreaggregateProcessor(config, LIVE, 0)


def told(offset: int, deployed: Deployment) -> InputRecord:
    return InputRecord(offset, 0, None, deployed.to_json(), (("control", b"plan"),))


def test_of_two_decisions_the_later_one_holds_whoever_has_heard_of_which():
    first = Deployment(plan(SUM), decided=1)
    second = replace(changed(first, plan(MAX), T, ONE_EPOCH), decided=2)
    third = replace(changed(second, plan(SUM), T + HOUR, ONE_EPOCH), decided=3)
    old = task(first)  # of a worker that has not been replaced yet
    assert old.process([told(0, second)]) == 1
    assert old.deployed == second
    assert old.before_commit(1) == []

    old.process([told(1, third), told(2, second)])
    assert old.deployed == third
    saved = [(key, value) for key, value in old.snapshot(3).items() if value is not None]
    moved = task(first)  # the same, behind a restart there
    moved.restore(saved)
    assert moved.deployed == third
    assert moved.before_commit(3) == []

    new = task(replace(third, decided=4))
    new.restore(saved)
    (asked,) = new.before_commit(3)
    assert Deployment.from_json(asked.value or b"").decided == 4


def test_a_task_that_was_not_told_asks_for_what_came_into_force_meanwhile():
    known = InForce(Deployment(plan(SUM), decided=1))
    config = PreaggregateConfig(deployed=known, sources=1, shard_partitions=1, key=bytes(16))
    task = PreaggregateProcessor(config, "telemetry.history.loaded", 0)
    assert task.before_commit(0) == []
    known.now = replace(changed(known.now, plan(MAX), T, ONE_EPOCH), decided=2)
    told = task.before_commit(0)
    assert [Deployment.from_json(asked.value or b"") for asked in told] == [known.now]
    assert task.before_commit(0) == []  # asked once
    assert task.deployed.decided == 1
    task.process([InputRecord(0, 0, None, told[0].value, told[0].headers)])
    assert task.deployed == known.now
    assert task.stats()["decided"] == 2
    assert PreaggregateProcessor(config, "telemetry.history.next", 0).deployed == known.now


def test_without_changes_nothing_is_written_of_them():
    written = json.loads(Deployment(plan(SUM), {SUM.version: T}).to_json())
    assert written.keys() == {"since", "plan"}


def derived(of: str, by: str) -> ResolvedDerived:
    given = [DerivedInput(name=n, version="v", unit="1", instrument="gauge") for n in (of, by)]
    return ResolvedDerived(
        name="x", version="v", unit="1", how="ratio", inputs=tuple(given), keep=(), absent="zero",
        granularities=(10,),
    )  # fmt: skip


def test_rows_are_alike_since_the_labels_are() -> None:
    """Also when the version that would tell it has left; and not across a gap."""
    ratio = derived("m", "other")
    newer = replace(SUM, version="newer")
    hosts = replace(SUM, keep=("host",), version="hosts")

    def then(before: Deployment, time: int, *definitions: ResolvedDefinition) -> Deployment:
        after = changed(before, compile_plan(definitions, derived=[ratio]), time, ONE_EPOCH)
        return Deployment.from_json(after.to_json())

    def since(deployed: Deployment) -> dict[str, int]:
        return deployed.computed_since(["m", "other"])

    first = Deployment(compile_plan([SUM, OTHER], derived=[ratio]))
    assert since(first) == {}
    other = then(first, T, newer, OTHER)
    assert since(other) == {}, "another version of the same labels"
    later = without_closed(other, T + 9 * DAY, DAY)
    assert SUM not in later.plan.definitions
    assert since(later) == {}
    labelled = then(later, T + 10 * DAY, hosts, OTHER)
    assert since(labelled) == {"m": T + 10 * DAY}
    assert since(without_closed(labelled, T + 20 * DAY, DAY)) == {"m": T + 10 * DAY}
    without = then(labelled, T + 21 * DAY, OTHER)
    again = then(without, T + 22 * DAY, hosts, OTHER)
    assert since(again) == {"m": T + 22 * DAY}, "nothing was computed for a day"
    assert since(then(again, T + 23 * DAY, hosts, OTHER)) == {"m": T + 22 * DAY}
    assert then(first, T, SUM, OTHER) == first, "nothing is written where nothing changes"
