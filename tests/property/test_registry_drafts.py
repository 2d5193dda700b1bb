"""Whatever was seen, its drafts have no finding of a check, and mean what they were made of."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from metric_registry.check import check_files
from metric_registry.drafts.drafting import draft
from metric_registry.drafts.seen import Seen, SeenAttribute, SeenMetric
from metric_registry.load import SourceFile
from metric_registry.rules import Settings

WORDS = [
    "cpu",
    "limit",
    "utilization",
    "p99",
    "mean",
    "info",
    "time",
    "total",
    "Bytes",
    "true",
    "é",
]
NAMES = st.one_of(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).flatmap(
        lambda words: st.sampled_from(["_", ".", "-", "/", ""]).map(lambda sign: sign.join(words))
    ),
    st.text(min_size=1, max_size=12),
    st.sampled_from(["rollups", "a: b", "- a", "#a", "a #b", "null", "1", "1e3", "~", "x" * 255]),
)
UNITS = st.one_of(
    st.sampled_from(["", "1", "%", "s", "By", "By/s", "Cel", "{request}", "W", "Hz", "bytes"]),
    st.text(max_size=5),
)
VALUES = st.lists(st.text(max_size=6), max_size=4, unique=True)
ATTRIBUTES = st.builds(
    SeenAttribute,
    name=NAMES | st.sampled_from(["tenant", "host.name", "resource.", "otel.metric.overflow"]),
    values=VALUES.map(tuple),
    distinct=st.integers(0, 3000),
    more=st.booleans(),
    streams=st.integers(0, 9),
)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
BOUNDS = st.lists(st.floats(-1e300, 1e300), max_size=120, unique=True).map(
    lambda bounds: tuple(sorted(bounds))
)
METRICS = st.builds(
    SeenMetric,
    name=NAMES,
    kind=st.sampled_from(["gauge", "sum", "histogram", "exponential_histogram", "summary"]),
    streams=st.integers(0, 9),
    points=st.integers(0, 5000),
    attributes=st.lists(ATTRIBUTES, max_size=4, unique_by=lambda one: one.name).map(tuple),
    groups=st.just(len),
    temporality=st.sampled_from(["delta", "cumulative", "unspecified"]),
    monotonic=st.booleans(),
    others=st.just(()),
    unit=UNITS,
    description=st.text(max_size=30) | st.sampled_from(["In C (in C)", "Whether it is: up", "''"]),
    interval_ns=st.none() | st.integers(1, 10**15),
    least=NUMBERS,
    greatest=NUMBERS,
    bounds=BOUNDS,
)  # fmt: skip
SEEN = st.builds(
    Seen,
    st.lists(METRICS, max_size=4, unique_by=lambda one: one.name).map(tuple),
    st.none() | st.integers(0, 10**13),
)


def findings(text: str) -> list[Any]:
    report = check_files([SourceFile("drafts.yaml", text.encode())], Settings())
    return [*report.errors, *report.warnings]


@given(SEEN, st.text(min_size=1, max_size=8).filter(str.strip))
@settings(max_examples=300, deadline=None)
def test_drafts_have_no_finding_but_that_a_unit_is_not_known(seen: Seen, owner: str) -> None:
    made = draft(seen)
    text = made.text(owner)
    unknown = {metric.name for metric in seen.metrics if metric.unit}
    found = [one for one in findings(text) if one.code != "TM204" or not unknown]
    assert not made.drafts or not found, f"{found[0]}\n{text}"
    read = [document for document in yaml.safe_load_all(text) if document]
    assert [one["name"] for one in read] == [one.name for one in made.drafts]
    assert [one["source"]["metric"] for one in read] == [one.metric for one in made.drafts]
    assert [tuple(one["space"]["keep"]) for one in read] == [one.kept for one in made.drafts]
    assert [one["description"] for one in read] == [one.description for one in made.drafts]
    assert {one.metric for one in (*made.drafts, *made.undrafted)} == {
        metric.name for metric in seen.metrics
    }
    event(f"{min(len(made.drafts), 5)} drafts")
