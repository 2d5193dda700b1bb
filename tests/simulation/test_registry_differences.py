"""What is said of changed definitions is what a run shows: of rows, base lines and the past.

Each change of `change_scenarios` happens in the midst of a log that the product's own topology
reads; the same log is read under the old and under the new definitions alone. Every statement of
`metric_registry.differences` is held against what stands on the topics then. A statement that says
too little fails as well: what `may differ` does differ here, and base lines that are not known are
missed.
"""

from __future__ import annotations

import pytest

from metric_registry.differences.compare import Differences, differences
from metric_registry.differences.history import BaseLines
from metric_registry.differences.report import text
from tests.simulation.change_runs import (
    OVERFLOW,
    Window,
    each_change,
    every_scenario,
    rows_of,
    shown,
)
from tests.simulation.change_scenarios import SCENARIOS
from tests.simulation.change_world import Row, RowKey, run


def test_there_are_thirty_and_more_of_all_kinds():
    assert len(SCENARIOS) >= 30
    found = [differences(*(p.definitions for p in one.plans)) for one in SCENARIOS]
    kinds = {change.kind for one in found for change in one.changes}
    assert kinds == {"new", "gone", "renamed", "changed", "published"}
    outcomes = [o for one in found for change in one.changes for o in change.outcomes]
    assert {o.rows for o in outcomes} == {"begin", "end", "go on", "new version"}
    series = {o.series for o in outcomes}
    assert series == {"none", "begin", "end", "go on", "new run", "replaced"}
    assert {o.upserts for o in outcomes} == {"none", "begin", "end", "go on", "replaced"}
    assert {o.ending for o in outcomes} == {"", "expire", "stop"}


@every_scenario
def test_what_differs_is_named_and_nothing_else_changes(name: str):
    found = shown(name)
    assert {n: c.verdict for n, c in found.changes.items()} == found.scenario.verdicts
    touched = {c.name for c in found.changes.values()} | {c.was for c in found.changes.values()}
    for now, then in (
        (found.changed.rows, found.before.rows),
        (found.changed.upserts, found.before.upserts),
    ):
        assert {k: v for k, v in now.items() if k.name not in touched} == {
            k: v for k, v in then.items() if k.name not in touched
        }
    rest = {k: v for k, v in found.changed.final.items() if k[0].name not in touched}
    assert rest == {k: v for k, v in found.before.final.items() if k[0].name not in touched}
    assert {k[0].name for k in rest} >= {"other"}


@every_scenario
def test_a_window_is_of_the_version_that_is_said_and_has_its_numbers(name: str):
    found = shown(name)
    for change, outcome in each_change(found):
        old = rows_of(found.before, change.was or change.name, outcome)
        new = rows_of(found.new(change.base_lines), change.name, outcome)
        since = found.log.since
        wanted = {k: v for k, v in old.items() if k.start < since or outcome.rows == "go on"}
        wanted |= {k: v for k, v in new.items() if k.start >= since and outcome.rows != "end"}
        if outcome.rows == "begin":
            wanted = {k: v for k, v in wanted.items() if k.start >= since}
        names = {change.name, change.was or change.name}
        got = {k: v for each in names for k, v in rows_of(found.changed, each, outcome).items()}
        assert got == wanted, (change.name, outcome.granularity)
        assert {k.version for k in got if k.start < since} <= {change.before}
        assert {k.version for k in got if k.start >= since} <= {change.after or "none"}
        if outcome.rows in ("new version", "go on"):
            assert {k.start < since for k in got} == {True, False}


@every_scenario
def test_numbers_are_the_same_where_that_is_said_and_else_differ(name: str):
    found = shown(name)
    for change, outcome in each_change(found):
        if not outcome.numbers:
            assert outcome.rows in ("begin", "end")
            continue
        old, new = (
            windows_of(rows_of(outputs, each, outcome), found.log.since)
            for outputs, each in (
                (found.before, change.was or change.name),
                (found.after, change.name),
            )
        )
        assert old
        assert (old == new) == (outcome.numbers == "same"), (change.name, outcome.granularity)


@every_scenario
def test_the_same_groups_have_rows_where_that_is_said(name: str):
    found = shown(name)
    for change, outcome in each_change(found):
        if not outcome.numbers or change.verdict != "numbers":
            continue
        old, new = (
            windows_of(rows_of(outputs, change.name, outcome), found.log.since).keys()
            for outputs in (found.before, found.after)
        )
        said = text(Differences((change,), 0)).splitlines()[0]
        assert said.endswith(f"({HEADS[change.groups]})")
        if change.groups == "same":
            assert old == new, outcome.granularity
        if name in OTHER_GROUPS:
            assert change.groups == "may differ"
            assert old != new, outcome.granularity


HEADS = {
    "same": "same rows, other numbers",
    "may differ": "groups may come and go, other numbers",
}
OTHER_GROUPS = (
    "another map",
    "a table with another row",
    "a table that says something else of a host",
    "another column",
    "a map becomes a table of more",
)
"""Scenarios in which groups of the run itself come or go."""


def test_scenarios_of_other_groups_are_there():
    assert set(OTHER_GROUPS) <= {one.name for one in SCENARIOS}


def windows_of(rows: dict[RowKey, Row], since: int) -> dict[Window, tuple[str, int]]:
    return {
        (k.start, k.end, k.labels): (v.value, v.points) for k, v in rows.items() if k.start >= since
    }


@every_scenario
def test_rows_lose_and_gain_the_labels_and_columns_that_are_said(name: str):
    found = shown(name)
    for change, outcome in each_change(found):
        if outcome.rows not in ("new version", "go on"):
            continue
        names = {change.name, change.was or change.name}
        rows = [(k, v) for n in names for k, v in rows_of(found.changed, n, outcome).items()]
        old, new = (
            {
                label
                for k, _ in rows
                for label, _ in k.labels
                if (k.start < found.log.since) == before and OVERFLOW not in dict(k.labels)
            }
            for before in (True, False)
        )
        assert (sorted(old - new), sorted(new - old)) == (
            list(outcome.lost),
            list(outcome.gained),
        )
        for series, before in ((outcome.before, True), (outcome.after, False)):
            kinds = {v.instrument for k, v in rows if (k.start < found.log.since) == before}
            if series is not None and "/" not in outcome.granularity:
                assert kinds == {series.data}
        moved = {k.zone for k, _ in rows if k.start >= found.log.since} != {
            k.zone for k, _ in rows if k.start < found.log.since
        }
        assert moved == outcome.moved


@every_scenario
def test_base_lines_are_known_where_that_is_said_and_else_missed(name: str):
    """By a host that is heard of before the announcement, and again well after the change. That the
    run is what these base lines make, another test says: here that others would make another one.
    """
    found = shown(name)
    for change in found.changes.values():
        if change.base_lines == "not needed":
            continue
        this, *others = (
            {
                key: row
                for outcome in change.outcomes
                for key, row in rows_of(found.new(said), change.name, outcome).items()
                if key.start >= found.log.since
            }
            for said in OTHERS[change.base_lines]
        )
        assert this not in others


OTHERS: dict[BaseLines, tuple[BaseLines, ...]] = {
    "known": ("known", "from the announcement on"),
    "known of some": ("known of some", "known", "from the announcement on"),
    "from the announcement on": ("from the announcement on", "known"),
}
"""What is said, and what it must not be mistaken for."""


@every_scenario
def test_the_past_of_a_backfill_is_not_there_and_has_no_more_groups_than_is_said(name: str):
    found = shown(name)
    for change in found.changes.values():
        said = {one.granularity: one for one in change.backfills}
        for outcome in change.outcomes:
            if outcome.rows == "end":
                assert outcome.granularity not in said
                continue
            alone = rows_of(found.after, change.name, outcome)
            past = {k for k in alone if k.start < found.log.since}
            there = rows_of(found.changed, change.name, outcome)
            missed = windows_of({k: alone[k] for k in past}, 0) != windows_of(
                {k: v for k, v in there.items() if k.start < found.log.since}, 0
            )
            if change.kind != "renamed" and outcome.granularity not in said:
                assert not missed or outcome.numbers == "same"
            if outcome.granularity in said:
                assert missed
                most = said[outcome.granularity].groups
                ends = {k.end for k in alone}
                assert max(sum(k.end == end for k in alone) for end in ends) <= most


@pytest.mark.parametrize("name", ["a finer granularity", "fewer streams of a counter"])
def test_it_is_the_same_if_processes_die_around_the_change(name: str):
    found = shown(name)
    assert run(found.log, *found.scenario.plans, restarts=True) == found.changed
