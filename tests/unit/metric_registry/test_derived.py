"""Derived definitions: what is wrong with them, what they come to, and what is told of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from metric_registry.catalogue import CATALOGUE
from metric_registry.check import Report, check_files
from metric_registry.compile import compile_plan
from metric_registry.derived.schema import schema
from metric_registry.differences.compare import differences
from metric_registry.differences.report import text
from metric_registry.explain import explain
from metric_registry.load import SourceFile
from metric_registry.pages.catalogue import catalogue, derived_page_of, page_of
from metric_registry.pages.site import site
from metric_registry.plan import Plan
from metric_registry.show import show_derived

HEAD = "apiVersion: tidemill/v1\nkind: Metric\ndescription: d\nowner: o\n"
COUNTS = "time: {granularities: [10s, 1h]}\naggregate: {over_time: increase}\n"
INPUTS = {
    "http.errors": ("{request}", "[route]", COUNTS),
    "http.requests": ("{request}", "[route, status]", COUNTS),
    "http.daily": ("{request}", "[route]", COUNTS.replace("10s, 1h", "1w")),
    "http.active": ("{request}", "[route, host]",
                    COUNTS.replace("over_time: increase", "over_time: avg, over_space: sum")),
    "http.p99": ("s", "[route]", COUNTS.replace("over_time: increase", "over_points: p99")),
    "http.latency": ("s", "[route]", COUNTS.replace(
        "over_time: increase", "over_points: {explicit_histogram: [0.1, 0.5, 1]}")),
    "http.sketch": ("s", "[route]", COUNTS.replace(
        "over_time: increase", "over_points: exponential_histogram")),
    "http.requests.utc": ("{request}", "[]", COUNTS.replace("10s, 1h", "1h, 1d")),
    "http.requests.berlin": ("{request}", "[]", COUNTS.replace(
        "[10s, 1h]", "[1h, 1d], zone: Europe/Berlin")),
}  # fmt: skip
DERIVED = {
    "apiVersion": "apiVersion: tidemill/v1",
    "kind": "kind: Derived",
    "name": "name: http.error_ratio",
    "description": "description: d",
    "owner": "owner: o",
    "unit": "",
    "derive": "derive: {ratio: {of: http.errors, by: http.requests}}",
}
SLOW = (
    HEAD.replace("Metric", "Derived")
    + "name: http.slow_share\nderive: {share: {of: http.latency, at_most: 1}}\n"
)


def inputs() -> str:
    return "---\n".join(
        f'{HEAD}name: {name}\nsource: {{metric: "of.{name}", unit: "{unit}"}}\n'
        f"space: {{keep: {keep}}}\n{rest}"
        for name, (unit, keep, rest) in INPUTS.items()
    )


def checked(*fragments: str, others: str = "") -> Report:
    sections = dict(DERIVED)
    for fragment in fragments:
        sections[fragment.partition(":")[0]] = fragment
    derived = "\n".join(sections.values())
    documents = "\n---\n".join([inputs(), SLOW, *filter(None, [others]), derived])
    return check_files([SourceFile("d.yaml", documents.encode())])


def resolved(*fragments: str) -> Any:
    report = checked(*fragments)
    assert not report.findings, report.text()
    return next(one for one in report.derived if one.name == "http.error_ratio")


CODES = sorted(code for code in CATALOGUE if code.startswith("TM8"))


@pytest.mark.parametrize("code", CODES)
def test_the_example_of_a_code_makes_one_finding_and_that_is_it(code: str) -> None:
    report = checked(CATALOGUE[code].example)
    assert [finding.code for finding in report.findings] == [code], report.text()
    assert report.findings[0].help
    names = {one.name for one in report.derived}
    assert ("http.error_ratio" in names) == (CATALOGUE[code].severity == "warning")
    assert "http.slow_share" in names, "a mistake does not hide the next one"


@pytest.mark.parametrize("code", CODES)
def test_the_repair_of_a_code_makes_no_finding(code: str) -> None:
    assert checked(CATALOGUE[code].fix).findings == ()


@pytest.mark.parametrize(
    ("fragments", "code"),
    [
        (("name: http.errors",), "TM501"),
        (("name: http.slow_share",), "TM501"),
        (("name: of.http.errors",), "TM504"),
        (("name: HTTP.Errors",), "TM513"),
        (("name: rollups",), "TM114"),
        ((f"name: {'a.' * 60}b",), "TM115"),
        (("owner: ''",), "TM111"),
        (("description: ''",), "TM112"),
        (("name: x", "derive: {share: {of: http.latency, at_most: 1}}"), "TM502"),
        (("derive: {quantile: {of: http.latency, q: 99}}",), "TM103"),
        (("derive: {quantile: {of: http.latency, q: '0.9'}}",), "TM103"),
        (("derive: {quantile: {of: http.latency}}",), "TM102"),
        (("derive: {ratio: {off: http.errors, by: http.requests}}",), "TM101"),
        (("derive: {sum: {of: [http.errors]}}",), "TM108"),
        (("derive: {}",), "TM802"),
        (("derive: {ratio: {of: http.error_ratio, by: http.requests}}",), "TM803"),
        (("derive: {ratio: {of: http.latency, by: http.requests}}",), "TM805"),
        (("derive: {share: {of: http.sketch, at_most: 1}}",), "TM808"),
        (("derive: {sum: {of: [http.errors, http.p99]}}",), "TM812"),
        (("unit: nonsense",), "TM812"),
    ],
)
def test_what_is_wrong_is_told(fragments: tuple[str, ...], code: str) -> None:
    report = checked(*fragments)
    assert code in {finding.code for finding in report.findings}, report.text()


def test_a_mistake_of_an_input_is_told_once() -> None:
    broken = f"{HEAD}name: http.broken\nsource: {{metric: x, unit: s}}\n{COUNTS}"
    report = checked("derive: {ratio: {of: http.errors, by: http.broken}}", others=broken)
    assert [finding.code for finding in report.findings] == ["TM102"]
    assert "http.error_ratio" not in {one.name for one in report.derived}


def test_a_finding_stands_where_the_name_does() -> None:
    report = checked("derive: {ratio: {of: http.error, by: http.requests}}")
    (finding,) = report.findings
    assert finding.source[finding.column - 1 :].startswith("http.error,")
    assert finding.replacement == "http.errors"


def test_the_owner_is_that_of_the_folder() -> None:
    files = [
        SourceFile("d/_defaults.yaml", b"apiVersion: tidemill/v1\nkind: Defaults\nowner: all\n"),
        SourceFile("d/in.yaml", inputs().replace("owner: o\n", "").encode()),
        SourceFile("d/out.yaml", SLOW.replace("owner: o\n", "").encode()),
    ]
    report = check_files(files)
    assert not report.findings, report.text()
    (entry,) = report.derived_entries
    assert entry.model.owner == "all"
    (owner,) = [one for one in show_derived(entry).values if one.field == "owner"]
    assert (owner.value, owner.way) == ("all", "by the folder's defaults")


def test_units_follow_and_are_converted_exactly() -> None:
    ratio = resolved()
    assert (ratio.unit, ratio.inputs[0].p, ratio.inputs[0].q) == ("1", 1, 1)
    share = resolved("unit: '%'", "derive: {share: {of: http.latency, at_most: 0.5}}")
    assert (share.unit, share.inputs[0].p, share.inputs[0].q) == ("%", 100, 1)
    quantile = resolved("unit: ms", "derive: {quantile: {of: http.latency, q: 0.5}}")
    assert (quantile.inputs[0].p, quantile.inputs[0].q) == (1000, 1)
    minutes = resolved("unit: min", "derive: {mean: {of: http.latency}}")
    assert (minutes.inputs[0].p, minutes.inputs[0].q) == (1, 60)


def test_what_keeps_more_is_added_up() -> None:
    one = resolved()
    assert one.keep == ("route",)
    assert [given.summed for given in one.inputs] == [False, True]
    one = resolved("space: {keep: []}")
    assert [given.summed for given in one.inputs] == [True, True]


@pytest.mark.parametrize(
    "other",
    [
        ("derive: {ratio: {of: http.requests, by: http.errors}}",),
        ("derive: {ratio: {of: http.errors, by: http.requests, absent: zero}}",),
        ("unit: '%'",),
        ("space: {keep: []}",),
        ("name: x",),
    ],
)
def test_a_version_follows_what_it_means(other: tuple[str, ...]) -> None:
    assert resolved().version == resolved("description: another").version
    assert resolved().version == resolved("owner: another").version
    report = checked(*other)
    versions = {one.version for one in report.derived if one.name != "http.slow_share"}
    assert resolved().version not in versions


def test_a_version_follows_the_inputs() -> None:
    before = inputs()
    report = check_files([SourceFile("d.yaml", f"{before}---\n{SLOW}".encode())])
    changed = before.replace("[0.1, 0.5, 1]", "[0.1, 0.5, 1, 2]")
    after = check_files([SourceFile("d.yaml", f"{changed}---\n{SLOW}".encode())])
    assert report.derived[0].version != after.derived[0].version
    found = differences(
        report.definitions, after.definitions, derived=(report.derived, after.derived)
    )
    (change,) = found.derived
    assert change.inputs == ("http.latency",)
    assert "http.slow_share, derived: version" in text(found)


def test_a_plan_without_derived_definitions_keeps_its_bytes() -> None:
    report = checked()
    without = compile_plan(report.definitions)
    assert b"derived" not in without.to_json()
    assert Plan.from_json(without.to_json()) == without
    plan = compile_plan(report.definitions, derived=report.derived)
    assert plan.hash != without.hash
    assert Plan.from_json(plan.to_json()) == plan
    other = compile_plan(report.definitions, derived=reversed(report.derived))
    assert other.to_json() == plan.to_json()
    damaged = plan.to_json().replace(b'"absent":"none"', b'"absent":"zero"', 1)
    with pytest.raises(ValueError, match="damaged"):
        Plan.from_json(damaged)


def test_it_is_told_that_it_costs_a_query() -> None:
    report = checked()
    said = explain(compile_plan(report.definitions, derived=report.derived)).text()
    assert "http.errors / http.requests, in 1, by [route, tenant]; windows of 10s, 1h" in said
    assert "nothing is kept or sent: it costs the query that asks for it" in said


def test_a_difference_says_what_becomes_of_the_view() -> None:
    report = checked()
    (one,) = [each for each in report.derived if each.name == "http.error_ratio"]
    others = [each for each in report.derived if each is not one]
    for before, after, words, verdict in (
        ([], [one], "new, version", "compatible"),
        ([one], [], "it is taken away", "breaking"),
        ([one], [replace(one, absent="zero", version="v")], "absent: none -> zero", "numbers"),
        ([one], [replace(one, unit="%", version="v")], "unit: 1 -> %", "breaking"),
    ):
        found = differences((), (), derived=([*before, *others], [*after, *others]))
        assert words in text(found)
        assert [change.verdict for change in found.derived] == [verdict]
    assert not differences((), (), derived=([one], [one]))


def test_pages_lead_from_inputs_to_what_is_derived_and_back() -> None:
    report = checked()
    known = catalogue(report.entries, derived=report.derived_entries)
    pages = site(known)
    entry = next(e for e in report.derived_entries if e.resolved.name == "http.error_ratio")
    page = pages[derived_page_of(entry)].decode()
    source = next(e for e in report.entries if e.resolved.name == "http.errors")
    target = page_of(source).partition("/")[2]
    assert target in page
    assert "http.errors / http.requests" in page
    assert derived_page_of(entry).partition("/")[2] in pages[page_of(source)].decode()
    assert derived_page_of(entry) in pages["index.html"].decode()


def test_an_editor_with_the_schema_knows_derived_definitions() -> None:
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema())
    good = {"apiVersion": "tidemill/v1", "kind": "Derived", "name": "x"}
    assert not list(validator.iter_errors(good | {"derive": {"mean": {"of": "a"}}}))
    for wrong in ({}, {"mean": {"of": "a"}, "share": {"of": "a", "at_most": 1}}, {"ratio": {}}):
        assert list(validator.iter_errors(good | {"derive": wrong})), json.dumps(wrong)
