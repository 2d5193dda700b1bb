"""Tests of definitions are read, and their mistakes are told with their place and the way out.

One file a mistake under `faulty_tests/`: the test above the line, what is said of it below it.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from registry_cases import parts

from metric_registry.cases.comparing import Difference, Found, compare, equal
from metric_registry.cases.reading import Cases, read_cases
from metric_registry.cases.report import Outcome
from metric_registry.cases.times import render, stamp
from metric_registry.catalogue import CATALOGUE
from metric_registry.check import check, check_files
from metric_registry.load import SourceFile, read_tests
from metric_registry.rules import Settings

FAULTY = sorted((Path(__file__).parent / "faulty_tests").glob("*.txt"))
SECOND = 10**9
DEFINITION = """
apiVersion: tidemill/v1
kind: Metric
name: served.requests
description: Requests served
owner: team-brokers
source: {metric: requests, where: {type: Fetch}, unit: "{request}"}
space: {keep: [region]}
time: {granularities: [10s, 1m], grace: 2s, corrections: 1m}
aggregate: {over_time: increase, over_space: sum}
"""
DEFINITIONS = {
    one.name: one for one in check_files([SourceFile("d.yaml", DEFINITION.encode())]).definitions
}
HEAD = """apiVersion: tidemill/v1
kind: Test
metric: served.requests
name: three
streams: {a: {metric: requests, instrument: sum, temporality: delta, attributes: {type: Fetch}}}
input: [{send: {a: {1s: 3}}}]
"""


def read(text: str) -> Cases:
    return read_cases([SourceFile("d.test.yaml", text.encode())], DEFINITIONS, Settings())


def said(text: str) -> str:
    found = read(text)
    return "\n\n".join([*(one.render() for one in found.findings), f"{len(found.cases)} to run"])


@pytest.mark.parametrize("case", FAULTY, ids=lambda case: case.stem)
def test_a_mistake_in_a_test_is_told_with_its_place_and_the_way_out(case: Path) -> None:
    text, expected = parts(case)
    assert said(text) + "\n" == expected


@pytest.mark.parametrize("case", FAULTY, ids=lambda case: case.stem)
def test_line_ends_do_not_move_a_mistake_in_a_test(case: Path) -> None:
    text, expected = parts(case)
    assert said(text.replace("\n", "\r\n")) + "\n" == expected


@pytest.mark.parametrize("case", FAULTY, ids=lambda case: case.stem)
def test_a_faulty_test_is_about_its_code_and_says_what_to_do(case: Path) -> None:
    found = read(parts(case)[0]).findings
    assert case.stem[:5] in {one.code for one in found}
    assert all(one.help for one in found)


def test_every_code_of_tests_has_a_faulty_test() -> None:
    wanted = {code for code in CATALOGUE if code.startswith("TM6")}
    assert {case.stem[:5] for case in FAULTY} >= wanted


def row(value: float = 3.0, *, end: int = 10, revision: int = 1, deleted: bool = False) -> Found:
    start = stamp("2026-01-01T00:00:00Z") or 0
    labels = {"region": "eu", "tenant": "default"}
    return Found(10, start + end * SECOND, labels, value, 1, 0, revision, deleted)


def differences(expect: str, *found: Found) -> list[Difference]:
    (case,) = read(f"{HEAD}expect:\n  10s: {expect}\n").cases
    return compare(case, found)


def test_rows_are_compared_one_by_one() -> None:
    expect = "[{end: 10s, labels: {region: eu}, value: 3}]"
    assert differences(expect, row()) == []
    (wrong,) = differences(expect, row(3.0000000000000004))
    assert (wrong.kind, wrong.row) == ("differs", "10s to 10s {region: eu}")
    assert wrong.details == (("value", "3", "3.0000000000000004"),)
    missing, more = differences(expect, row(end=20))
    assert (missing.kind, more.kind) == ("missing", "unexpected")
    assert more.row == "10s to 20s {region: eu}: 3.0, points 1, late 0, revision 1"


def test_a_row_is_its_latest_revision_or_the_one_that_is_asked_for() -> None:
    both = row(), row(5.0, revision=2)
    assert differences("[{end: 10s, labels: {region: eu}, value: 5}]", *both) == []
    first, second = (f"{{end: 10s, labels: {{region: eu}}, value: {v}, revision: {r}}}"
                     for v, r in ((3, 1), (5, 2)))  # fmt: skip
    assert differences(f"[{first}, {second}]", *both) == []
    (wrong,) = differences("[{end: 10s, labels: {region: eu}, value: 5, revision: 3}]", *both)
    assert wrong.details == (("revision", "3", "1, 2"),)


def test_a_row_that_was_taken_away_is_not_there() -> None:
    gone = row(), row(revision=2, deleted=True)
    assert differences("[]", *gone) == []
    assert differences("[{end: 10s, labels: {region: eu}, deleted: true}]", *gone) == []
    (wrong,) = differences("[{end: 10s, labels: {region: eu}, value: 3}]", *gone)
    assert wrong.details == (("row", "there", "taken away by revision 2"),)
    (other,) = differences("[{end: 10s, labels: {region: eu}, deleted: true}]", row())
    assert other.details == (("row", "taken away", "there"),)


def test_an_empty_list_expects_no_row_and_what_is_left_out_expects_nothing() -> None:
    assert [one.kind for one in differences("[]", row())] == ["unexpected"]
    assert differences("[]", replace(row(), granularity=60)) == []


@pytest.mark.parametrize(
    ("expected", "found"),
    [(0, -0.0), (0.0, -0.0), (2**53 + 1, float(2**53)), (1, math.nan), (math.inf, -math.inf)],
)
def test_numbers_are_compared_to_the_bit(expected: float, found: float) -> None:
    assert not equal(expected, found)


def test_what_is_the_same_number_is_equal() -> None:
    assert equal(3, 3.0)
    assert equal(-0.0, -0.0)
    assert equal(math.nan, math.nan)
    assert equal(math.inf, "Infinity")
    assert equal(100, 101.0, (0.01, True))
    assert not equal(100, 101.5, (0.01, True))
    assert equal(0.3, 0.1 + 0.2, (1e-9, False))
    assert not equal(0.3, 0.1 + 0.2)


def test_a_failed_test_says_row_by_row_what_was_expected_and_found() -> None:
    expect = "expect:\n  10s:\n    - {end: 10s, labels: {region: eu}, value: 3, points: 2}\n"
    (case,) = read(f"{HEAD}{expect}").cases
    outcome = Outcome(case, tuple(compare(case, [row(4.0), row(end=20)])), ("one was late",))
    assert outcome.text() == "\n".join(
        [
            "d.test.yaml:4: failed: served.requests: three",
            "  d.test.yaml:9: differs 10s to 10s {region: eu}",
            "    value   expected 3",
            "            found    4.0",
            "    points  expected 2",
            "            found    1",
            "  d.test.yaml:8: not expected 10s to 20s {region: eu}: 3.0, points 1, late 0,"
            " revision 1",
            "  note: one was late",
        ]
    )


def test_points_of_one_time_that_is_written_in_two_ways_are_two_points() -> None:
    text = HEAD.replace("{1s: 3}", "{60s: 3, 1m: 4}") + "expect: {1m: []}\n"
    (case,) = read(text).cases
    points = (case.document.input[0].send or {})["a"]
    assert [(time.ns, point.value) for time, point in points.items()] == [
        (60 * SECOND, 3),
        (60 * SECOND, 4),
    ]


@pytest.mark.parametrize(
    ("ns", "text"), [(0, "0s"), (90 * SECOND, "1m30s"), (-1_500_000_000, "-1s500ms")]
)
def test_times_are_shown_as_people_write_them(ns: int, text: str) -> None:
    assert render(ns) == text


def test_a_time_of_the_calendar_is_exact() -> None:
    assert stamp("2026-01-01T01:00:00.000001+01:00") == stamp("2026-01-01T00:00:00Z") + 1000  # type: ignore[operator]
    assert stamp("2026-13-01T00:00:00Z") is None


def test_files_of_tests_are_passed_over_by_the_check(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(DEFINITION)
    (tmp_path / "d.test.yaml").write_text(HEAD)
    assert check([tmp_path]).findings == ()
    assert check([tmp_path]).files == 1
    both = [tmp_path / "d.yaml", tmp_path / "d.test.yaml"]
    assert check(both).findings == ()
    assert [one.code for one in check(both[1:]).findings] == ["TM004"]


def test_a_path_names_tests_as_it_names_definitions(tmp_path: Path) -> None:
    for name in ("a.yaml", "a.test.yaml", "b.yaml", "inner/c.test.yml", ".hidden.test.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    def named(*paths: str) -> list[str]:
        found = read_tests([tmp_path / path for path in paths])
        return [Path(file.path).relative_to(tmp_path).as_posix() for file in found]

    assert named("") == ["a.test.yaml", "inner/c.test.yml"]
    assert named("a.yaml", "b.yaml") == ["a.test.yaml"]
    assert named("a.test.yaml", "a.yaml", "") == ["a.test.yaml", "inner/c.test.yml"]
    (missing,) = read_tests([tmp_path / "no.test.yaml"])
    assert missing.failure


@pytest.mark.parametrize(
    ("point", "resource", "reads"),
    [("Fetch", "Produce", True), ("Produce", "Fetch", False), ("", "Fetch", True)],
)
def test_a_stream_is_asked_for_its_own_attributes_first(
    point: str, resource: str, reads: bool
) -> None:
    own = f"{{type: {point}}}" if point else "{}"
    text = HEAD.replace(
        "attributes: {type: Fetch}", f"attributes: {own}, resource: {{type: {resource}}}"
    )
    found = read(text + "expect: {1m: []}\n")
    assert [one.code for one in found.findings] == ([] if reads else ["TM605"])
