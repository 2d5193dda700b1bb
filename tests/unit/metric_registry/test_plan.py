"""The plan: matching, panes, storage, and what is explained of it."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from typing import Any

import pytest

from metric_registry.check import check_files
from metric_registry.compile import CompileError, compile_plan
from metric_registry.derive import Derivation
from metric_registry.explain import explain
from metric_registry.load import SourceFile
from metric_registry.plan import (
    SEMANTIC_FIELDS,
    Plan,
    PlanError,
    ResolvedDefinition,
    digest,
)

EXAMPLE = b"""\
apiVersion: tidemill/v1
kind: Metric
name: kafka.fetch.requests
description: Fetch requests served, by cluster and region
owner: team-brokers
source:
  any_of: [{metric: kafka.request.count}, {metric: io.confluent.kafka.server/request_count}]
  where: {type: Fetch, error: [false, 7]}
  unit: "{request}"
space: {keep: [tenant, region, cluster_id]}
time: {granularities: [1h, 10s, 1m, 1d], grace: 15s, corrections: 24h}
aggregate: {over_time: increase, over_space: sum}
publish: {final: true, upsert: false, keep: {10s: 2d, 1h: 400d}}
limits: {series: 100000, beyond: other}
service_level: {freshness: 30s, completeness: 99.9%}
"""


def resolved(text: bytes = EXAMPLE) -> ResolvedDefinition:
    report = check_files([SourceFile("a.yaml", text)])
    assert report.findings == (), report.text()
    return report.definitions[0]


def other(**changes: object) -> ResolvedDefinition:
    return replace(resolved(), **changes)  # type: ignore[arg-type]


def test_everything_is_explicit_in_the_resolved_form() -> None:
    day = 86_400
    assert resolved() == ResolvedDefinition(
        name="kafka.fetch.requests",
        version="0733fe7f79c23e00",
        sources=("io.confluent.kafka.server/request_count", "kafka.request.count"),
        where=(("error", ("7", "false")), ("type", ("Fetch",))),
        source_unit="{request}",
        read_unit="{request}",
        unit="{request}",
        keep=("cluster_id", "region"),
        over_time="increase",
        over_space="sum",
        granularities=(10, 60, 3600, day),
        grace_ns=15 * 10**9,
        corrections_ns=day * 10**9,
        series_limit=100_000,
        beyond="other",
        publish_final=True,
        publish_upsert=False,
        publish_temporality="delta",
        publish_late="drop",
        publish_expire_after=((10, 5), (60, 5), (3600, 5), (day, 5)),
        retention=((10, 2 * day), (60, 14 * day), (3600, 400 * day), (day, 5 * 365 * day)),
    )
    assert resolved().group_by == ("cluster_id", "region", "tenant")
    assert resolved().instrument == "sum"
    assert resolved().finest == 10


def test_plans_of_the_release_before_instruments_are_read_and_have_the_hash_that_they_had() -> None:
    plan = compile_plan([resolved()])
    assert b"instrument" not in plan.to_json()
    later = ("source_instrument", "patterns", "attributes")
    assert plan.hash == digest(
        [{k: v for k, v in asdict(resolved()).items() if k not in later}], 32
    )
    assert Plan.from_json(plan.to_json()) == plan
    shaped = compile_plan(
        [other(over_time="", over_space="", over_points="count", source_instrument="histogram")]
    )
    assert Plan.from_json(shaped.to_json()).definitions[0].source_instrument == "histogram"
    assert shaped.hash != plan.hash


def test_every_field_is_semantic_or_known_not_to_be() -> None:
    not_semantic = {"version", "publish_final", "publish_upsert", "retention"}
    not_semantic |= {"read_unit", "publish_temporality", "publish_late", "publish_expire_after"}
    not_semantic |= {"pane"}  # follows from the granularities and the zone
    names = {field.name for field in fields(ResolvedDefinition)}
    assert names == {*SEMANTIC_FIELDS, "zone_rules"} | not_semantic


@pytest.mark.parametrize(
    ("over_time", "over_space", "unit", "is_sum"),
    [
        ("avg", "sum", "By", False),
        ("count", "sum", "{point}", True),
        ("count", "avg", "{point}", False),
        ("last", "count", "{stream}", False),
        ("sum", "sum", "By", True),
        ("sum", "max", "By", False),
    ],
)
def test_counting_changes_the_published_unit(
    over_time: str, over_space: str, unit: str, is_sum: bool
) -> None:
    text = EXAMPLE.decode().replace('"{request}"', "By")
    text = text.replace("increase, over_space: sum", f"{over_time}, over_space: {over_space}")
    one = resolved(text.encode())
    assert (one.source_unit, one.unit, one.instrument == "sum") == ("By", unit, is_sum)


@pytest.mark.parametrize(
    ("metric", "attributes", "matched"),
    [
        ("kafka.request.count", {"type": "Fetch", "error": "false"}, True),
        ("kafka.request.count", {"type": "Fetch", "error": "7", "more": "x"}, True),
        ("kafka.request.count", {"type": "Fetch", "error": "true"}, False),
        ("kafka.request.count", {"type": "Fetch"}, False),
        ("kafka.request.count", {}, False),
        ("kafka.fetch.requests", {"type": "Fetch", "error": "7"}, False),
    ],
)
def test_a_stream_matches_by_name_then_by_each_attribute(
    metric: str, attributes: dict[str, str], matched: bool
) -> None:
    plan = compile_plan([resolved()])
    assert plan.matches(metric, attributes.get) == ((0,) if matched else ())
    assert resolved().matches(attributes.get) == matched or metric == "kafka.fetch.requests"


def test_a_stream_matches_several_definitions_in_order() -> None:
    plan = compile_plan(
        [
            other(name="c", where=()),
            other(name="b", where=(("type", ("Produce",)),)),
            other(name="a", sources=("kafka.request.count",), where=()),
        ]
    )
    assert plan.matches("kafka.request.count", {"type": "Fetch"}.get) == (0, 2)
    assert plan.candidates("kafka.request.count") == (0, 1, 2)
    assert plan.candidates("io.confluent.kafka.server/request_count") == (1, 2)
    assert plan.metrics == {"kafka.request.count", "io.confluent.kafka.server/request_count"}


def test_definitions_with_the_same_finest_window_share_a_pane() -> None:
    plan = compile_plan(
        [
            other(name="a", granularities=(60, 3600)),
            other(name="b", granularities=(10, 60)),
            other(name="c", granularities=(60, 86_400)),
        ]
    )
    told = [(pane.seconds, pane.definitions, pane.granularities) for pane in plan.panes]
    assert told == [(10, (1,), (10, 60)), (60, (0, 2), (60, 3600, 86_400))]


def test_a_plan_is_stored_and_read_back() -> None:
    plan = compile_plan([resolved(), other(name="b")])
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.hash == plan.hash
    assert again.panes == plan.panes
    assert again.matches("kafka.request.count", {"type": "Fetch", "error": "7"}.get) == (0, 1)


def test_an_empty_plan_matches_nothing_and_is_stored() -> None:
    plan = compile_plan([])
    assert plan.matches("a", {}.get) == ()
    assert Plan.from_json(plan.to_json()) == plan
    assert explain(plan).text().startswith(f"plan {plan.hash}: 0 definitions")


def test_a_damaged_plan_is_refused() -> None:
    data = compile_plan([resolved()]).to_json()
    with pytest.raises(PlanError, match="damaged"):
        Plan.from_json(data.replace(b'"grace_ns":15', b'"grace_ns":16'))
    with pytest.raises(PlanError, match="not a plan"):
        Plan.from_json(data[:-1])
    with pytest.raises(PlanError, match="format 5"):
        Plan.from_json(data.replace(b'"format":4', b'"format":5'))


def test_two_definitions_of_one_name_are_not_compiled() -> None:
    with pytest.raises(CompileError, match=r"kafka\.fetch\.requests"):
        compile_plan([resolved(), other(unit="By")])


@pytest.mark.parametrize(
    ("written", "expected"),
    [("0", (0, 0, 0, 0)), ("7", (7, 7, 7, 7)), ("90s", (9, 2, 1, 1)), ("0s", (0, 0, 0, 0))],
)
def test_expiry_is_a_number_of_windows_or_a_time_rounded_up_to_windows(
    written: str, expected: tuple[int, ...]
) -> None:
    one = resolved(EXAMPLE.replace(b"upsert: false", f"expire_after: {written}".encode()))
    assert tuple(windows for _, windows in one.publish_expire_after) == expected


@pytest.mark.parametrize(
    "field", ["temporality: cumulative", "late: carry", "expire_after: 2", "expire_after: 1m"]
)
def test_how_the_final_topic_is_written_changes_the_plan_and_not_the_version(field: str) -> None:
    one = resolved(EXAMPLE.replace(b"upsert: false", field.encode()))
    assert one.version == resolved().version
    assert compile_plan([one]).hash != compile_plan([resolved()]).hash
    assert Plan.from_json(compile_plan([one]).to_json()).definitions == (one,)


def test_publication_changes_the_plan_and_not_the_version() -> None:
    text = EXAMPLE.decode().replace("upsert: false", "upsert: true")
    changed = resolved(text.encode())
    assert changed.version == resolved().version
    assert compile_plan([changed]).hash != compile_plan([resolved()]).hash


def test_coherence_is_what_the_routing_key_lets_be_known() -> None:
    plan = compile_plan(
        [
            other(name="a", keep=("resource.host.name", "state")),
            other(name="b", keep=("host.name",)),
            other(name="c", keep=("state",)),
        ]
    )
    assert [one.coherence for one in explain(plan).definitions] == ["partials"] * 3
    routed = explain(plan, ["tenant", "host.name"])
    assert [one.coherence for one in routed.definitions] == ["coherent", "conventional", "partials"]
    assert [one.free_key for one in routed.definitions] == [None, None, ()]
    assert routed.common_key == ()
    assert {one.coherence for one in explain(plan, []).definitions} == {"coherent"}


def test_what_is_made_of_an_attribute_tells_its_place_only_if_it_is_a_name_of_it() -> None:
    def told(*sources: str, **steps: Any) -> str:
        made = Derivation(name="host", sources=sources, **steps)
        plan = compile_plan([other(keep=("host",), attributes=(made,))])
        assert "`host` is" in explain(plan).text()
        return explain(plan, ["host"]).definitions[0].coherence

    assert told("host") == told("resource.host").replace("coherent", "conventional")
    assert told("name") == told("host", "name") == told("host", lower=True) == "partials"


def test_patterns_are_read_with_names_and_stored_where_they_are_used() -> None:
    one = other(name="a", sources=("n",), where=(), patterns=("m.*", "*.x"))
    plan = Plan.from_json(compile_plan([one, other(name="b", where=())]).to_json())
    assert [plan.candidates(name) for name in ("n", "m.a", "a.x", "m", "a.x.y")] == [
        (0,), (0,), (0,), (), (),
    ]  # fmt: skip
    assert "1 source metric" not in explain(plan).text()
    assert "3 source metrics and 2 patterns" in explain(plan).text()


def test_an_attribute_that_nobody_asks_for_changes_no_version() -> None:
    text = EXAMPLE.decode()
    text = text.replace("  unit:", "  attributes: {host: [host.name]}\n  unit:")
    (unused,) = check_files([SourceFile("a.yaml", text.encode())]).definitions
    assert unused == resolved()
    kept = text.replace("[tenant,", "[host, tenant,")
    renamed = kept.replace("[host.name]", "[hostname]")
    versions = {resolved().version, *(resolved(t.encode()).version for t in (kept, renamed))}
    assert len(versions) == 3


def test_the_common_key_makes_every_definition_free() -> None:
    plan = compile_plan(
        [
            other(name="a", keep=("cloud.region", "host.name", "state")),
            other(name="b", keep=("cloud.region", "service.name")),
        ]
    )
    told = explain(plan)
    assert told.common_key == ("cloud.region",)
    assert {one.free_key for one in told.definitions} == {
        ("cloud.region", "host.name"),
        ("cloud.region", "service.name"),
    }
    free = explain(plan, told.common_key)
    assert {one.coherence for one in free.definitions} == {"conventional"}
    assert "Key the raw topic by `tenant`, `cloud.region`" in told.text()
    assert json.loads(json.dumps(told.to_dict()))["common_key"] == ["cloud.region"]
