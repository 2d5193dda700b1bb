"""Candidates run beside what is in force, are told to the store alone, and end with a change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from metric_registry.plan import ResolvedDefinition
from tidemill.changes import changes, differing, holds
from topologies.candidates import TooLong, base_of, candidate, definitions_of, pairs
from topologies.decisions import (
    Circumstances,
    Decision,
    Decisions,
    applied,
    rolled_back,
    started,
    tried,
)
from topologies.deployment import Deployment
from topologies.epochs import ONE_EPOCH

SECOND = 10**9
T = 20_000 * 86_400 * SECOND
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
publish: {{final: true, upsert: true}}
"""


def definition(name: str, how: str) -> ResolvedDefinition:
    report = check_files([SourceFile("d.yaml", DEFINITION.format(name, how).encode())])
    assert not report.errors, report.text()
    return report.definitions[0]


SUM, MAX, LAST = (definition("m", how) for how in ("sum", "max", "last"))
OTHER, NEW = definition("other", "sum"), definition("new", "sum")
A = compile_plan([SUM, OTHER])
B = compile_plan([MAX, OTHER, NEW])


def at(seconds: int) -> Circumstances:
    now = T + seconds * SECOND
    return Circumstances(now, now + LEAD, ONE_EPOCH, 86_400 * SECOND)


def also(known: Decisions, decided: Decision | None) -> Decisions:
    assert decided is not None
    return known.also(decided)


def names(known: Decisions) -> dict[str, str]:
    newest = known.newest
    assert newest is not None
    return {one.name: one.version for one in newest.deployed.current}


def trying() -> Decisions:
    known = also(Decisions(), started(Decisions(), A, at(0)))
    return also(known, tried(known, B, at(60)))


def test_a_candidate_counts_what_it_would_and_tells_the_store_alone():
    one = candidate(MAX)
    assert one.name == "m.candidate"
    assert base_of(one.name) == "m"
    assert (one.publish_final, one.publish_upsert) == (False, False)
    assert one.version not in (MAX.version, SUM.version)
    alike = replace(
        one, name=MAX.name, version=MAX.version, publish_final=True, publish_upsert=True
    )
    assert alike == MAX
    assert definition("m.candid", "max").version != one.version


def test_what_is_in_force_goes_on_and_what_differs_runs_beside_it():
    known = trying()
    newest = known.newest
    assert newest is not None
    assert newest.how == "candidate"
    assert names(known) == {
        "m": SUM.version,
        "m.candidate": candidate(MAX).version,
        "other": OTHER.version,
    }
    assert newest.deployed.spans(SUM.version) == Deployment(A).spans(SUM.version)
    assert newest.deployed.spans(candidate(MAX).version)[0][0] == T + 80 * SECOND
    assert pairs(newest.deployed) == [(SUM, candidate(MAX))]
    assert {one.name for one in definitions_of(newest.deployed)} == {"m", "other"}
    assert tried(known, B, at(120)) is None


def test_a_start_leaves_a_trial_alone():
    known = trying()
    assert started(known, B, at(120)) is None
    (said,) = holds(known.newest, B)
    assert "candidates run since" in said
    assert "otherwise of m, new, which" in said
    assert holds(known.newest, A) == []


def test_other_candidates_replace_those_that_run():
    known = also(trying(), tried(trying(), compile_plan([LAST]), at(120)))
    assert names(known)["m.candidate"] == candidate(LAST).version
    ended = also(known, tried(known, A, at(180)))
    assert names(ended).keys() == {"m", "other"}


def test_an_apply_ends_the_trial_and_puts_the_definition_in_force():
    known = also(trying(), applied(trying(), B, at(120)))
    assert names(known) == {"m": MAX.version, "new": NEW.version, "other": OTHER.version}
    before = known.at(T + 60 * SECOND)
    assert before is not None
    back = rolled_back(known, before, at(180))
    assert names(also(known, back)) == {"m": SUM.version, "other": OTHER.version}


def test_a_rollback_ends_the_trial():
    known = trying()
    to = known.before_the_change()
    assert to is not None
    assert names(also(known, rolled_back(known, to, at(120)))).keys() == {"m", "other"}


def test_sentences_say_what_becomes_of_candidates():
    known = trying()
    first, newest = known.of(T).deployed, known.of(T + 60 * SECOND).deployed
    (said,) = changes(first, newest, ONE_EPOCH)
    assert said.startswith("m goes on as it is; beside it, in the store alone, m.candidate counts")
    ended = applied(known, A, at(120))
    assert ended is not None
    (said,) = changes(newest, ended.deployed, ONE_EPOCH)
    assert said == "the candidate of m ends; its rows stay until their retention"
    assert differing(newest, A) == []


def test_a_name_that_the_store_could_not_take_is_refused():
    long = replace(SUM, name="n" * 200)
    with pytest.raises(TooLong, match="a view's name has at most 205: shorten"):
        candidate(long)
