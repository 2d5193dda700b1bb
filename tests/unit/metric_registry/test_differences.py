"""What is said of changed definitions, where it needs no run: `tests/simulation` has those."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

import metric_registry
from metric_registry.check import check_files
from metric_registry.differences import report
from metric_registry.differences.compare import Differences, Kept, differences
from metric_registry.differences.shape import COLUMNS
from metric_registry.granularities import text_of
from metric_registry.load import SourceFile
from metric_registry.plan import SEMANTIC_FIELDS, ResolvedDefinition
from tests.simulation.change_scenarios import (
    GAUGE,
    LATENCY,
    SCENARIOS,
    Fields,
    fetch,
    keep,
    plan_of,
    publish,
    sizes,
    tiers,
)
from topologies.sink.histograms import KINDS, SHOWN
from topologies.sink.schema import Schema


def definitions(**fields: Fields) -> tuple[ResolvedDefinition, ...]:
    return tuple(one for one in plan_of(fields).definitions if one.name in fields)


def between(before: dict[str, Fields], after: dict[str, Fields], **more: Any) -> Differences:
    return differences(definitions(**before), definitions(**after), **more)


def test_views_have_the_columns_that_the_store_gives_them():
    plain = SHOWN[""].split(", ")
    for instrument, columns in COLUMNS.items():
        assert list(columns) == SHOWN[KINDS[instrument]].split(", ")
        assert set(columns) < set(plain)


# ---------------------------------------------------------------- which is which


def test_a_definition_of_the_same_meaning_under_another_name_is_renamed_whoever_owns_it():
    after = {"n": {**tiers(a="gold"), "owner": "sre", **publish(upsert=True)}}
    (change,) = between({"m": tiers(a="gold")}, after).changes
    assert (change.kind, change.was, change.name) == ("renamed", "m", "n")
    assert change.before != change.after
    assert [one.field for one in change.fields] == ["publish.upsert"]
    assert change.backfills == ()


def test_of_several_of_the_same_meaning_each_is_renamed_once():
    found = between({"a": {}, "b": {}}, {"c": {}, "d": {}, "e": {}})
    assert [(one.kind, one.was, one.name) for one in found.changes] == [
        ("renamed", "a", "c"),
        ("renamed", "b", "d"),
        ("new", "", "e"),
    ]


def test_who_stays_is_not_the_old_name_of_anybody():
    found = between({"a": {}}, {"a": {}, "b": {}})
    assert [(one.kind, one.name) for one in found.changes] == [("new", "b")]
    assert found.same == 1


# ---------------------------------------------------------------- fields


@given(some.sampled_from(SCENARIOS))
def test_a_new_version_has_a_field_that_makes_it_and_the_same_one_has_none(scenario: Any):
    found = differences(*(plan.definitions for plan in scenario.plans))
    for change in found.changes:
        if change.kind in ("changed", "published"):
            assert change.fields
            semantic = any(one.semantic for one in change.fields)
            assert semantic == (change.before != change.after)
    back = differences(*(plan.definitions for plan in reversed(scenario.plans)))
    assert {c.name for c in found.changes if c.kind in ("changed", "published")} == {
        c.name for c in back.changes if c.kind in ("changed", "published")
    }
    json.dumps(report.to_dict(found))


OTHERWISE: dict[str, Any] = {
    "sources": ("else",),
    "where": (("type", ("else",)),),
    "source_unit": "s",
    "source_instrument": "histogram",
    "unit": "s",
    "keep": ("else",),
    "over_time": "rate",
    "over_space": "max",
    "over_points": "p50",
    "granularities": (10, 120),
    "grace_ns": 1,
    "corrections_ns": 1,
    "series_limit": 7,
    "patterns": ("else*",),
    "zone_rules": "Europe/Berlin|else",
}


@pytest.mark.parametrize("field", sorted({*SEMANTIC_FIELDS} - {"name", "beyond", "attributes"}))
def test_every_field_of_the_version_is_told(field: str):
    (one,) = definitions(m=sizes("10s", "1d", zone="America/New_York"))
    other = replace(one, version="else", **{field: OTHERWISE[field]})
    if field == "granularities":
        kept = {"retention": one.retention, "publish_expire_after": one.publish_expire_after}
        other = replace(
            other, **{name: (value[0], (120, value[1][1])) for name, value in kept.items()}
        )
    (change,) = differences([one], [other]).changes
    assert [each.semantic for each in change.fields] == [True], field


# ---------------------------------------------------------------- the past


def test_a_backfill_is_windows_times_rows_by_the_limit_that_is_known():
    found = between({}, {"m": sizes("10s", "1m", "5m/1m")}, log_seconds=3_600)
    days = {"10s": 2 * 8_640, "1m": 14 * 1_440, "5m/1m": 14 * 1_440}
    in_log = {"10s": 360, "1m": 60, "5m/1m": 60}
    limit = 100_000 + 10_000 + 64
    for each in found.changes[0].backfills:
        assert (each.windows, each.windows_in_log) == (
            days[each.granularity],
            in_log[each.granularity],
        )
        assert (each.groups, each.bounded_by) == (limit, "limits.series")
        assert each.rows == each.windows * limit


@pytest.mark.parametrize(
    ("fields", "groups", "by"),
    [
        ({"limits": {"series": 8_191}}, 8_192, "limits.series"),
        ({"limits": {"series": 8_192}}, 8_192 + 819 + 64, "limits.series"),
        ({**fetch("Fetch", "Produce"), **keep("type")}, 2, "source"),
        (
            {**fetch("Fetch", "Produce"), **keep("type"), "limits": {"series": 1}},
            2,
            "limits.series",
        ),
        (tiers(a="gold"), 2, "source"),
    ],
)
def test_groups_are_bounded_by_the_limit_or_by_what_they_are_made_of(
    fields: Fields, groups: int, by: str
):
    backfills = between({}, {"m": fields}).changes[0].backfills
    assert {(each.groups, each.bounded_by) for each in backfills} == {(groups, by)}
    assert {each.windows_in_log for each in backfills} == {None}


def test_only_what_is_not_there_or_would_be_another_needs_a_backfill():
    def needed(before: Fields, after: Fields) -> list[str]:
        return [
            each.granularity for each in between({"m": before}, {"m": after}).changes[0].backfills
        ]

    assert needed({}, sizes("10s", "1m", "1h")) == ["1h"]
    assert needed({}, keep("region")) == ["10s", "1m"]
    assert needed({}, sizes("10s")) == []
    assert needed({}, sizes("10s", "1m", grace="3s")) == []
    assert needed({}, publish(upsert=True)) == []


def test_base_lines_are_those_of_who_has_counted_the_same_streams_as_the_same_number():
    (wide,) = definitions(m=fetch("Fetch", "Produce"))
    made = definitions(m={**tiers(a="gold"), "source": {
        **tiers(a="gold")["source"], "where": {"tier": "gold"}}})  # fmt: skip
    cases = {
        "all of its streams": (wide, definitions(n=fetch("Fetch")), "known"),
        "no condition is wider": (wide, definitions(n={}), "known of some"),
        "another pane": (wide, definitions(n=sizes("5s", "10s")), "from the announcement on"),
        "another grace": (
            wide, definitions(n=sizes("10s", grace="1s")), "from the announcement on",
        ),
        "another unit": (
            wide,
            [replace(wide, name="n", version="x", read_unit="s")],
            "from the announcement on",
        ),
        "another metric": (
            wide, [replace(wide, name="n", version="x", sources=("else",))],
            "from the announcement on",
        ),
        "a gauge's": (wide, definitions(n=GAUGE), "not needed"),
        "of points taken together": (
            replace(wide, over_points="p50", over_time="", over_space=""),
            definitions(n=fetch("Fetch")), "from the announcement on",
        ),
        "by another map": (
            made[0],
            [replace(made[0], name="n", version="x",
                     attributes=(replace(made[0].attributes[0], default="gold"),))],
            "known of some",
        ),
        "of histograms": (
            definitions(m=LATENCY)[0],
            definitions(n={**LATENCY, **keep("region")}), "known",
        ),
    }  # fmt: skip
    for what, (one, now, said) in cases.items():
        (change,) = differences([one], [one, *now]).changes
        assert change.base_lines == said, what


# ---------------------------------------------------------------- retention of the store


def days_in(schema: Schema, resolution: int) -> int:
    """What the store's own expression says."""
    (steps,) = re.findall(r"toIntervalDay\((.*)\)$", schema.lifetime)
    *cases, last = re.findall(r"resolution <= (\d+), (\d+)|(\d+)(?=\)?$)", steps)
    return next((int(d) for size, d, _ in cases if resolution <= int(size)), int(last[2]))


days_by_size = some.dictionaries(
    some.sampled_from([10, 60, 3_600, 86_400]), some.integers(1, 9), min_size=1
)


@given(days_by_size, days_by_size)
def test_how_long_rows_are_kept_is_what_the_store_makes_of_it(
    before: dict[int, int], after: dict[int, int]
):
    told = {one.resolution: one for one in differences([], [], retention=(before, after)).kept}
    for resolution, then in before.items():
        now = days_in(Schema(retention_days=after), resolution)
        assert days_in(Schema(retention_days=before), resolution) == then
        assert told.get(resolution) == (None if now == then else Kept(resolution, then, now))
    assert set(told) <= set(before)


# ---------------------------------------------------------------- for people


def test_nothing_is_said_in_one_line():
    found = between({"m": {}}, {"m": {"owner": "sre"}})
    assert not found
    assert report.text(found) == "nothing differs: 1 definition the same"


def test_every_granularity_and_every_field_is_in_the_text():
    for scenario in SCENARIOS:
        found = differences(*(plan.definitions for plan in scenario.plans))
        text = report.text(found)
        for change in found.changes:
            assert f"\n{change.name}: " in f"\n{text}"
            for one in change.fields:
                assert f"  {one.field}: {one.before} -> {one.after}\n" in text
            for outcome in change.outcomes:
                assert re.search(rf"^  (.*, )?{re.escape(outcome.granularity)}(,.*)?$", text, re.M)
            assert re.search(r"\d definitions? differs? ", text) or text.endswith("same")


def test_the_example_of_the_readme_is_what_is_said():
    page = (Path(metric_registry.__file__).parent / "README.md").read_text()
    example = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0]
    (shown,) = re.findall(r"```text\n(kafka.*?)\n```", page, re.DOTALL)
    before, after = (
        check_files([SourceFile("kafka.yaml", text.encode())]).definitions
        for text in (example, example.replace("[tenant, cluster_id, region]", "[tenant, region]"))
    )
    assert report.text(differences(before, after, log_seconds=48 * 3_600)) == shown


def test_a_day_of_a_zone_is_the_same_granularity_at_other_times():
    before, after = sizes("1h", "1d"), sizes("1h", "1d", zone="Europe/Berlin")
    (change,) = between({"m": before}, {"m": after}).changes
    assert [text_of(one.granularity) for one in change.outcomes] == ["1h", "1d"]
    assert [one.field for one in change.fields] == ["time.zone"]
    assert [one.moved for one in change.outcomes] == [False, True]
