"""What is said of changed definitions is what a run shows: of the final and the upsert topic.

As in `test_registry_differences.py`.
"""

from __future__ import annotations

from dataclasses import astuple

from metric_registry.differences.outcomes import Outcome
from metric_registry.differences.shape import Series
from tests.simulation.change_points import SECOND
from tests.simulation.change_runs import (
    OVERFLOW,
    Window,
    each_change,
    every_scenario,
    rows_of,
    shown,
)
from tests.simulation.change_world import Identity, Labels, Outputs, Point


def identity(series: Series | None) -> Identity | None:
    return None if series is None else Identity(*astuple(series))


Streams = dict[Labels, list[Point]]


def points_of(outputs: Outputs, wanted: Identity | None) -> Streams:
    """Of all streams with this identity but those of overflow."""
    return {labels: points for (one, labels), points in outputs.final.items() if one == wanted}


@every_scenario
def test_the_series_of_the_final_topic_are_those_that_are_said(name: str):
    found = shown(name)
    for change, outcome in each_change(found):
        names = {change.name, change.was or change.name}
        there = {
            one
            for one, labels in found.changed.final
            if one.name in names
            and one.interval == outcome.granularity
            and OVERFLOW not in dict(labels)
        }
        said = {identity(outcome.before), identity(outcome.after)} - {None}
        assert there == said, (change.name, outcome.granularity)
        becomes = {
            (False, False): {"none"},
            (False, True): {"begin"},
            (True, False): {"end"},
            (True, True): {"go on", "new run"} if len(said) == 1 else {"replaced"},
        }[outcome.before is not None, outcome.after is not None]
        assert outcome.series in becomes


@every_scenario
def test_old_series_say_what_they_said_and_end_as_is_said(name: str):
    found = shown(name)
    for change, outcome in each_change(found):
        if outcome.series not in ("end", "replaced"):
            assert outcome.ending == ""
            continue
        until = found.log.since if outcome.ending == "expire" else found.log.announced
        before = points_of(found.before, identity(outcome.before))
        now = points_of(found.changed, identity(outcome.before))
        data = data_of(found.changed, change.was or change.name, outcome)
        assert now
        for labels, points in now.items():
            if outcome.ending == "stop":
                assert all(p.end <= until for p in points)
                assert points == [p for p in before[labels] if p.end <= points[-1].end]
                assert points[-1].value is not None
                continue
            last = max(end for start, end, whose in data if whose == labels and start < until)
            if found.carries(change.was or change.name):  # an amount is data
                last = max(p.end for p in points if p.value and float.fromhex(p.value))
            tail = [p for p in points if p.end > last]
            if "/" not in outcome.granularity and outcome.before.data != "gauge":
                assert len(tail) == outcome.expire_after + 1
            else:
                assert len(tail) == 1
            assert [p.value is None for p in tail] == [False] * (len(tail) - 1) + [True]
            same = min(last, until) if found.carries(change.was or change.name) else last
            assert [p for p in points if p.end <= same] == [
                p for p in before[labels] if p.end <= same
            ]


def data_of(outputs: Outputs, name: str, outcome: Outcome) -> set[Window]:
    """Windows of series with data."""
    version = outcome.before.version if outcome.before else ""
    rows = rows_of(outputs, name, outcome)
    return {(k.start, k.end, k.labels) for k in rows if k.version == version}


@every_scenario
def test_new_series_begin_with_the_windows_that_are_theirs(name: str):
    found = shown(name)
    for change, outcome in each_change(found):
        if outcome.series not in ("begin", "replaced"):
            continue
        now = points_of(found.changed, identity(outcome.after))
        alone = points_of(found.new(change.base_lines), identity(outcome.after))
        cumulative = outcome.after.temporality == "cumulative"
        assert now
        for labels, points in now.items():
            if change.before == change.after:  # published otherwise
                assert points[0].end > found.log.announced - 10 * SECOND
                first = points[0].end
            else:
                first = min(p.end for p in points)
                assert min(p.start for p in points) >= found.log.since
            if not cumulative and "may differ" not in (outcome.points,):
                assert points == [p for p in alone[labels] if p.end >= first]


@every_scenario
def test_points_are_the_same_where_that_is_said_and_else_differ(name: str):
    found = shown(name)
    for change, outcome in each_change(found):
        if outcome.before is None or outcome.after is None:
            assert outcome.points == ""
            continue
        lacks = change.base_lines in ("from the announcement on", "known of some")
        with_data = {
            (k.end, k.labels)
            for outputs, each in (
                (found.before, change.was or change.name),
                (found.after, change.name),
            )
            for k in rows_of(outputs, each, outcome)
            if k.start >= found.log.since
        }
        old, new = (
            {
                (p.start if not cumulative else 0, p.end, labels): p.value
                for labels, points in points_of(outputs, identity(series)).items()
                for p in points
                if p.end > found.log.since and (p.end, labels) in with_data
                if p.start >= found.log.since or cumulative
            }
            for outputs, series, cumulative in (
                (found.before, outcome.before, outcome.before.temporality == "cumulative"),
                (
                    found.after if lacks else found.changed,
                    outcome.after,
                    outcome.after.temporality == "cumulative",
                ),
            )
        )
        assert old
        assert (old == new) == (outcome.points == "same"), (change.name, outcome.granularity)


@every_scenario
def test_the_same_series_go_on_as_is_said(name: str):
    found = shown(name)
    for change, outcome in each_change(found):
        if outcome.series not in ("go on", "new run"):
            assert not outcome.forgets
            continue
        before, now = (
            points_of(outputs, identity(outcome.before))
            for outputs in (found.before, found.changed)
        )
        silent = [
            (labels, p)
            for labels, points in before.items()
            for p in points
            if p not in now.get(labels, [])
            if p.value is None or float.fromhex(p.value) == 0
        ]
        assert outcome.forgets == bool(silent) or outcome.series == "new run"
        runs = outcome.after.temporality == "cumulative" and {
            (labels, p.start)
            for labels, points in now.items()
            for p in points
            if p.start not in {q.start for q in before.get(labels, [])}
        }
        assert bool(runs) == (outcome.series == "new run"), change.name


@every_scenario
def test_keys_of_the_upsert_topic_are_those_that_are_said(name: str):
    found = shown(name)
    for change, outcome in each_change(found):
        names = {change.name, change.was or change.name}
        keys = {
            k
            for k in found.changed.upserts
            if k.name in names and k.granularity == outcome.granularity
        }
        rows = {
            (k.name, k.version, k.end, k.labels): k.start
            for n in names
            for k in rows_of(found.changed, n, outcome)
        }
        got = {(k.name, k.version, k.end, k.labels) for k in keys}
        told = found.log.announced
        early = {key for key in rows if key[2] <= told - 10 * SECOND}
        late = {key for key in rows if key[2] > told}
        match outcome.upserts:
            case "none":
                assert got == set()
            case "replaced" | "go on":
                assert got == set(rows)
                assert len({key[1] for key in got}) == (2 if outcome.upserts == "replaced" else 1)
            case "begin":
                assert got >= late
                if change.before == change.after:
                    assert early - got
            case "end":
                assert got >= early
                if change.before == change.after:
                    assert not got & late
