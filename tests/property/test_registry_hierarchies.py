"""A definition with a hierarchy is the definitions that people would have written, one a level."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import levels

from metric_registry.check import Report, check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile

PLACES = ["cluster_id", "host.name", "region", "resource.zone", "größe", "rack/row", "type"]
MADE = {
    "region": {"from": "zone", "map": {"a1": "a", "b1": "b"}},
    "type": {"from": "t", "lower": True},
}
NAMES = st.none() | st.sampled_from(["x", "y.z", "served.by_region"])


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    places = draw(st.lists(st.sampled_from(PLACES), unique=True, min_size=2))
    cut = draw(st.integers(0, len(places) - 1))
    kept, wide = places[:cut], places[cut:]
    entries: list[Any] = [*wide, *(["all"] if draw(st.booleans()) or len(wide) == 1 else [])]
    for at in range(1, len(entries)):
        name = draw(NAMES)
        how = draw(st.integers(0, 2))
        if name is not None and how:
            entries[at] = {"by": entries[at], "name": name}
        elif how == 2:
            entries[at] = {"by": entries[at]}
    return {
        "apiVersion": "tidemill/v1",
        "kind": "Metric",
        "name": draw(st.sampled_from(["served", "served.requests"])),
        "description": "Requests",
        "owner": "o",
        "source": {
            "metric": "requests",
            "unit": "{request}",
            "attributes": draw(st.sampled_from([{}, MADE])),
            "where": draw(st.sampled_from([{}, {"region": "a"}])),
        },
        "space": {"keep": kept, "hierarchy": entries},
        "time": {"granularities": draw(st.sampled_from([["1m"], ["10s", "1h"]]))},
        "aggregate": draw(
            st.sampled_from(
                [
                    {"over_time": "increase"},
                    {"over_time": "avg", "over_space": "avg"},
                    {"over_points": "p99"},
                ]
            )
        ),
        "publish": {"upsert": draw(st.booleans())},
        "limits": {"series": draw(st.integers(10, 1000))},
    }


def checked(*docs: dict[str, Any]) -> Report:
    return check_files([SourceFile("a.yaml", "\n---\n".join(map(json.dumps, docs)).encode())])


@given(documents())
@settings(max_examples=150, deadline=None)
def test_levels_are_the_definitions_that_people_would_write_by_hand(doc: dict[str, Any]) -> None:
    apart = levels.apart(doc)
    assume(len({one["name"] for one in apart}) == len(apart))
    report, by_hand = checked(doc), checked(*apart)
    assert not report.errors, report.text()
    assert report.definitions == by_hand.definitions
    assert [entry.line for entry in report.entries] == [1] * len(apart)
    plans = [compile_plan(one.definitions).to_json() for one in (report, by_hand)]
    assert plans[0] == plans[1]


@given(documents())
@settings(max_examples=60, deadline=None)
def test_with_one_level_refused_there_are_none(doc: dict[str, Any]) -> None:
    entries = doc["space"]["hierarchy"]
    last = entries[-1] if isinstance(entries[-1], str) else entries[-1]["by"]
    entries[-1] = {"by": last, "name": doc["name"]}
    report = checked(doc)
    assert "TM501" in {finding.code for finding in report.errors}
    assert report.definitions == ()
