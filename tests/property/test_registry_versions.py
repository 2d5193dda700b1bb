"""A definition's version follows its meaning and nothing else; a plan follows its definitions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.durations import DurationError, parse, render
from metric_registry.load import SourceFile
from metric_registry.plan import Plan, ResolvedDefinition

BASE: dict[str, Any] = {
    "apiVersion": "tidemill/v1",
    "kind": "Metric",
    "name": "kafka.fetch.requests",
    "description": "Fetch requests served",
    "owner": "team-brokers",
    "source": {
        "any_of": [{"metric": "a.count"}, {"metric": "b.count"}],
        "where": {"type": ["Fetch", "Read"], "listener": "public"},
        "unit": "{request}",
    },
    "space": {"keep": ["tenant", "cluster_id", "region"]},
    "time": {"granularities": ["10s", "1m", "1h"], "grace": "15s", "corrections": "24h"},
    "aggregate": {"over_time": "increase", "over_space": "sum"},
    "publish": {"final": True, "upsert": False, "keep": {"10s": "2d", "1m": "14d"}},
    "limits": {"series": 100000, "beyond": "other"},
    "service_level": {"freshness": "30s", "completeness": "99.9%"},
}
UNORDERED = {"any_of", "type", "keep", "granularities"}


def resolved(text: str) -> ResolvedDefinition:
    report = check_files([SourceFile("a.yaml", text.encode())])
    assert report.errors == (), report.text()
    return report.definitions[0]


def shuffled(value: Any, draw: Callable[..., Any], key: str = "") -> Any:
    if isinstance(value, dict):
        keys = draw(st.permutations(list(value)))
        return {name: shuffled(value[name], draw, name) for name in keys}
    if isinstance(value, list) and key in UNORDERED:
        return [shuffled(item, draw) for item in draw(st.permutations(value))]
    return value


def written(value: Any, draw: Callable[..., Any], indent: int = 0) -> str:
    """The same data in one of YAML's many ways, with comments."""
    if not isinstance(value, dict) or (indent and draw(st.booleans())):
        return json.dumps(value)
    pad = " " * indent
    lines = []
    for name, item in value.items():
        comment = draw(st.sampled_from(["", "  # why", "\n# aside", "\n\n"]))
        nested = isinstance(item, dict)
        text = written(item, draw, indent + 2)
        block = nested and text.startswith("\n")
        lines.append(f"{pad}{name}:{'' if block else ' '}{text}{'' if block else comment}")
    return ("\n" if indent else "") + "\n".join(lines)


REFERENCE = resolved(json.dumps(BASE))

PATHS_WITHOUT_MEANING: list[tuple[tuple[str, ...], list[Any]]] = [
    (("owner",), ["team-x", "somebody"]),
    (("description",), ["Another text", "é: —"]),
    (("service_level",), [{}, {"freshness": "2m"}, {"completeness": "50%"}]),
    (("publish",), [{}, {"upsert": True}, {"keep": {"10s": "9d"}}]),
]
PATHS_WITH_MEANING: list[tuple[tuple[str, ...], list[Any]]] = [
    (("name",), ["other", "kafka.fetch.requests2"]),
    (("source", "any_of"), [[{"metric": "a.count"}], [{"metric": "a.count"}, {"metric": "c"}]]),
    (("source", "where"), [{}, {"type": "Fetch", "listener": "public"}, {"type": "Fetch"}]),
    (("source", "unit"), ["1", "By"]),
    (("space", "keep"), [[], ["region"], ["cluster_id", "region", "host.name"]]),
    (("time", "granularities"), [["10s"], ["10s", "1m"], ["5s", "1m", "1h"], ["10s", "1m", "2h"]]),
    (("time", "grace"), ["16s", "0s", "14999ms"]),
    (("time", "corrections"), ["1h", "0s", "25h"]),
    (("aggregate", "over_time"), ["sum", "avg", "min", "max", "last", "count"]),
    (("aggregate", "over_space"), ["avg", "min", "max", "last", "count"]),
    (("limits", "series"), [99999, 1]),
]
SAME_MEANING: list[tuple[tuple[str, ...], list[Any]]] = [
    (("time", "grace"), ["15000ms"]),
    (("time", "corrections"), ["1d", "1440m"]),
    (("time", "granularities"), [["60m", "60s", "10s"]]),
    (("space", "keep"), [["cluster_id", "region"]]),
    (("aggregate",), [{"over_time": "increase"}]),
    (("limits",), [{}, {"series": 100000}]),
]


def changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    if len(path) == 1:
        return {**BASE, path[0]: value}
    definition = {**BASE, path[0]: {**BASE[path[0]], path[1]: value}}
    return definition | ({"publish": {}} if path[1] == "granularities" else {})


def changes(table: list[tuple[tuple[str, ...], list[Any]]]) -> list[dict[str, Any]]:
    return [changed(path, value) for path, values in table for value in values]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_order_and_style_and_comments_change_nothing(data: st.DataObject) -> None:
    text = written(shuffled(BASE, data.draw), data.draw)
    assert resolved(text) == REFERENCE, text


@given(st.sampled_from(changes(PATHS_WITHOUT_MEANING)), st.data())
@settings(max_examples=40, deadline=None)
def test_what_means_nothing_for_the_numbers_keeps_the_version(
    definition: dict[str, Any], data: st.DataObject
) -> None:
    assert resolved(json.dumps(shuffled(definition, data.draw))).version == REFERENCE.version


def test_the_same_in_other_words_is_the_same_definition() -> None:
    for definition in changes(SAME_MEANING):
        assert resolved(json.dumps(definition)) == REFERENCE


def test_each_change_of_meaning_gives_a_version_of_its_own() -> None:
    definitions = changes(PATHS_WITH_MEANING)
    versions = [resolved(json.dumps(definition)).version for definition in definitions]
    assert len({REFERENCE.version, *versions}) == len(definitions) + 1


def test_the_version_is_the_one_it_always_was() -> None:
    """Versions are stored in tables and topics: a change of this text is a new release of all."""
    assert REFERENCE.version == "a3115d75f635e861"


@given(st.permutations(range(8)), st.lists(st.integers(0, 7), max_size=7))
@settings(max_examples=50, deadline=None)
def test_a_plan_is_the_same_for_every_order_and_split_into_files(
    order: list[int], cuts: list[int]
) -> None:
    texts = [json.dumps(changed(("name",), f"n{n}") | {"owner": f"o{n}"}) for n in range(8)]
    straight = SourceFile("all.yaml", "\n---\n".join(texts).encode())
    bounds = [0, *sorted(set(cuts) - {0}), 8]
    files = [
        SourceFile(f"{low}.yaml", "\n---\n".join(texts[n] for n in order[low:high]).encode())
        for low, high in pairwise(bounds)
    ]
    one = compile_plan(check_files([straight]).definitions)
    other = compile_plan(check_files(files).definitions)
    assert one.to_json() == other.to_json()
    assert Plan.from_json(one.to_json()) == other


@given(st.integers(0, 86_400_000 * 365))
def test_a_duration_is_read_as_it_was_written(milliseconds: int) -> None:
    assert parse(render(milliseconds * 10**6)) == milliseconds * 10**6


@given(st.text(max_size=12))
def test_what_is_no_duration_is_said_to_be_none(text: str) -> None:
    if re.fullmatch("[0-9]+(ms|[smhdwy])", text):
        return
    with pytest.raises(DurationError) as raised:
        parse(text)
    assert not raised.value.better or parse(raised.value.better) >= 0


LINES = [
    *(f"{name}: {json.dumps(value)}" for name, value in BASE.items()),
    *("source: {metric: [1]}", "time: 5", "space: {keep: {a: b}}", "where:", "  - a: b", "- c"),
    *("aggregate: {over_time: 3, over_space: [sum]}", "publish: {keep: {1: 2, a: 3d}}"),
    *(
        "limits: {series: 99999999999999999999999}",
        "name: null",
        "a: &a [*a]",
        "? [x]",
        "%Q",
        "...",
    ),
    *("---", "\t", "'", '"', "source: {metric: a, where: {b: .nan, c: null}, unit: ''}", "\x01"),
    *("limits: {series: -0}", "service_level: {freshness: 1, completeness: 1e9%}", "\udcff", "{"),
]


@given(st.lists(st.sampled_from(LINES), max_size=16))
@settings(max_examples=400, deadline=None)
def test_a_check_of_anything_ends_in_a_report(lines: list[str]) -> None:
    data = "\n".join(lines).encode("utf-8", "surrogateescape")
    report = check_files([SourceFile("a.yaml", data)])
    assert report.text()
    assert json.loads(report.json())["errors"] == len(report.errors)
    for finding in report.findings:
        assert finding.line >= 1
        assert finding.column >= 1


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_check_of_bytes_ends_in_a_report(data: bytes) -> None:
    assert check_files([SourceFile("a.yaml", data)]).findings
