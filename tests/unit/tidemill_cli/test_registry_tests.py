"""`tidemill registry test`: tests of definitions are run by the product's own topology.

Whatever is changed in what a test expects is told; what inputs become is what the rules of
docs/what-a-number-means.md say.
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from metric_registry.cases.comparing import Found, compare
from metric_registry.cases.reading import Case, read_cases
from metric_registry.check import check, check_files
from metric_registry.load import SourceFile, read_tests
from metric_registry.rules import Settings
from tidemill.case_runs import published, run
from tidemill.main import main

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "metric_registry" / "definitions"
DEFINITIONS = """
apiVersion: tidemill/v1
kind: Defaults
name: plain
description: What they have in common
owner: team
space: {keep: [region]}
time: {granularities: [10s, 1m], grace: 2s, corrections: 1m}
environments: {slow: {time: {grace: 8s}}}
---
apiVersion: tidemill/v1
kind: Metric
name: served.requests
description: Requests served
extends: plain
source: {metric: requests, unit: "{request}"}
aggregate: {over_time: increase, over_space: sum}
---
apiVersion: tidemill/v1
kind: Metric
name: load.mean
description: Mean load
extends: plain
source: {metric: load, unit: "1"}
aggregate: {over_time: avg, over_space: avg}
---
apiVersion: tidemill/v1
kind: Metric
name: latency.buckets
description: Latencies
extends: plain
source: {metric: latency, unit: ms, instrument: histogram}
aggregate: {over_points: {explicit_histogram: [10, 50]}}
---
apiVersion: tidemill/v1
kind: Metric
name: size.buckets
description: Sizes
extends: plain
source: {metric: size, unit: By, instrument: exponential_histogram}
aggregate: {over_points: exponential_histogram}
"""
COUNTER = "instrument: sum, temporality: cumulative, resource: {region: eu, host: a}"
EU = "labels: {region: eu}"


@cache
def definitions(environment: str = "") -> dict[str, Any]:
    files = [SourceFile("d.yaml", DEFINITIONS.encode())]
    report = check_files(files, Settings(environment=environment))
    assert not report.errors, report.text()
    return {one.name: one for one in report.definitions}


def case(metric: str, rest: str, environment: str = "") -> Case:
    text = f"apiVersion: tidemill/v1\nkind: Test\nmetric: {metric}\nname: a test\n{rest}"
    files = [SourceFile("d.test.yaml", text.encode())]
    found = read_cases(files, definitions(environment), Settings())
    assert not found.findings, "\n".join(one.render() for one in found.findings)
    return found.cases[0]


def passes(metric: str, rest: str, environment: str = "") -> None:
    outcome = run(case(metric, rest, environment))
    assert outcome.passed, outcome.text()


@cache
def shipped() -> list[tuple[Case, list[Found]]]:
    by_name = {one.name: one for one in check([SHIPPED]).definitions}
    found = read_cases(read_tests([SHIPPED]), by_name, Settings())
    assert not found.findings
    return [(each, published(each)[0]) for each in found.cases]


def test_the_tests_of_the_starter_definitions_pass():
    assert len(shipped()) >= 6
    for each, rows in shipped():
        assert compare(each, rows) == [], each.document.name


def changed(each: Case, data: dict[str, Any]) -> Case:
    text = yaml.safe_dump(data, sort_keys=False)
    by_name = {each.definition.name: each.definition}
    files = [SourceFile("d.test.yaml", text.encode())]
    found = read_cases(files, by_name, Settings())
    assert not found.errors, "\n".join(one.render() for one in found.errors)
    return found.cases[0]


def nudge(row: dict[str, Any], up: bool) -> None:
    row["value"] = math.nextafter(float(row["value"]), math.inf if up else -math.inf)


def more_points(row: dict[str, Any], up: bool) -> None:
    row["points"] = row.get("points", 40) + (1 if up else 2)


def other_window(row: dict[str, Any], up: bool) -> None:
    row["end"] = "40d" if up else "80d"


def other_group(row: dict[str, Any], up: bool) -> None:
    name = min(row["labels"])
    row["labels"] = row["labels"] | {name: "elsewhere"} if up else {}


def later_revision(row: dict[str, Any], up: bool) -> None:
    row["revision"] = 7 if up else 9


def taken_away(row: dict[str, Any], up: bool) -> None:
    row.pop("value")
    row.pop("points", None)
    row.pop("late", None)
    row["deleted"] = True


def more_late(row: dict[str, Any], up: bool) -> None:
    row["late"] = 5 if up else 6


CHANGES = (nudge, more_points, other_window, other_group, later_revision, taken_away, more_late)


@given(st.data())
def test_whatever_is_changed_in_what_is_expected_is_told_at_its_row(data: st.DataObject):
    """To the least bit of a value: one row of a test that passes is made wrong."""
    each, rows = data.draw(st.sampled_from(shipped()))
    document: dict[str, Any] = yaml.safe_load(yaml_of(each))
    size = data.draw(st.sampled_from(sorted(document["expect"])))
    at = data.draw(st.integers(0, len(document["expect"][size]) - 1))
    change = data.draw(st.sampled_from(CHANGES))
    change(document["expect"][size][at], data.draw(st.booleans()))
    told = compare(changed(each, document), rows)
    assert ("expect", size, at) in {one.path for one in told}, change.__name__


@given(st.data())
def test_a_row_that_is_not_listed_is_told(data: st.DataObject):
    each, rows = data.draw(st.sampled_from([one for one in shipped() if latest_only(one[0])]))
    document: dict[str, Any] = yaml.safe_load(yaml_of(each))
    size = data.draw(st.sampled_from(sorted(document["expect"])))
    at = data.draw(st.integers(0, len(document["expect"][size]) - 1))
    del document["expect"][size][at]
    told = compare(changed(each, document), rows)
    assert [(one.kind, one.path) for one in told] == [("unexpected", ("expect", size))]


def latest_only(each: Case) -> bool:
    return all(row.revision is None for rows in each.document.expect.values() for row in rows)


def yaml_of(each: Case) -> str:
    documents = Path(each.file).read_text().split("\n---\n")
    return next(text for text in documents if f"name: {each.document.name}" in text)


def test_the_test_of_the_readme_passes():
    page = (ROOT / "metric_registry" / "README.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (example,) = (one for one in blocks if "kind: Test" in one)
    report = check_files([SourceFile("kafka.yaml", blocks[0].encode())])
    by_name = {one.name: one for one in report.definitions}
    files = [SourceFile("kafka.test.yaml", example.encode())]
    found = read_cases(files, by_name, Settings())
    assert found.findings == ()
    outcome = run(found.cases[0])
    assert outcome.passed, outcome.text()


def test_what_comes_after_the_watermark_is_late_and_makes_a_second_revision():
    passes(
        "served.requests",
        f"""
streams: {{a: {{metric: requests, {COUNTER}}}}}
input:
  - send: {{a: {{0s: 10, 5s: 12}}}}
  - watermark: 12s
  - send: {{a: {{9s: 13}}}}
expect:
  10s:
    - {{end: 10s, {EU}, value: 2, revision: 1, points: 1, late: 0}}
    - {{end: 10s, {EU}, value: 3, revision: 2, points: 2, late: 1}}
""",
    )


def test_an_environment_changes_how_long_is_waited():
    rest = f"""
streams: {{a: {{metric: requests, {COUNTER}}}}}
input:
  - send: {{a: {{0s: 10, 5s: 12}}}}
  - watermark: 12s
  - send: {{a: {{9s: 13}}}}
expect: {{10s: [{{end: 10s, {EU}, value: 3, revision: 1, late: 0}}]}}
"""
    passes("served.requests", rest, "slow")
    assert [one.kind for one in run(case("served.requests", rest)).differences] == ["differs"]


def test_what_one_resource_sends_makes_nothing_late_of_another_one():
    passes(
        "load.mean",
        """
streams:
  a: {metric: load, resource: {region: eu, host: a}}
  b: {metric: load, resource: {region: eu, host: b}}
input: [{send: {a: {5s: 1, 55s: 9}}}, {send: {b: {6s: 4}}}]
expect: {10s: [{end: 10s, labels: {region: eu}, value: 2.5, revision: 1},
               {end: 1m, labels: {region: eu}, value: 9}]}
""",
    )


def test_a_later_request_of_the_same_resource_is_late_when_its_window_was_sealed():
    passes(
        "load.mean",
        """
streams:
  a: {metric: load, resource: {region: eu}}
input: [{send: {a: {5s: 1, 12s: 9}}}, {send: {a: {6s: 4}}}]
expect: {10s: [{end: 10s, labels: {region: eu}, value: 1, revision: 1},
               {end: 10s, labels: {region: eu}, value: 2.5, revision: 2, late: 1},
               {end: 20s, labels: {region: eu}, value: 9}]}
""",
    )


def test_windows_stay_open_where_time_does_not_go_on():
    rest = """
streams: {a: {metric: load, resource: {region: eu}}}
input: [{send: {a: {5s: 1, 11s: 2}}}]
"""
    passes("load.mean", rest + "close: false\nexpect: {10s: []}\n")
    found = run(case("load.mean", rest + "expect: {10s: []}\n"))
    assert [one.kind for one in found.differences] == ["unexpected", "unexpected"]


def test_starts_restarts_and_points_of_nothing():
    passes(
        "served.requests",
        f"""
streams: {{a: {{metric: requests, {COUNTER}, start: 1s}}}}
input: [{{send: {{a: {{3s: 7, 6s: null, 8s: {{value: 9, start: 7s}}}}}}}}]
expect: {{10s: [{{end: 10s, {EU}, value: 16, points: 2}}]}}
""",
    )


def test_tenants_are_apart_and_the_default_one_is_left_out():
    passes(
        "load.mean",
        """
streams:
  a: {metric: load, resource: {region: eu}}
  b: {metric: load, resource: {region: eu}, tenant: acme}
input: [{send: {a: {5s: 1}, b: {5s: 3}}}]
expect: {1m: [{end: 1m, labels: {region: eu}, value: 1},
              {end: 1m, labels: {region: eu, tenant: acme}, value: 3}]}
""",
    )


def test_histograms_are_compared_as_far_as_they_are_stated():
    rest = """
streams:
  a: {{metric: latency, instrument: histogram, temporality: delta, resource: {{region: eu}}}}
input: [{{send: {{a: {{2s: {{explicit_bounds: [10, 50], bucket_counts: [1, 2, 0], sum: 60}},
                    4s: {{explicit_bounds: [10, 50], bucket_counts: [0, 0, 3], sum: 300}}}}}}}}]
expect: {{10s: [{{end: 10s, labels: {{region: eu}}, histogram: {expected}}}]}}
"""
    passes("latency.buckets", rest.format(expected="{bucket_counts: [1, 2, 3], sum: 360}"))
    passes("latency.buckets", rest.format(expected="{count: 6, explicit_bounds: [10, 50]}"))
    wrong = run(case("latency.buckets", rest.format(expected="{count: 6, sum: 361}")))
    (one,) = wrong.differences
    assert one.details == (("histogram.sum", "361", "360.0"),)


def test_exponential_histograms_are_merged():
    passes(
        "size.buckets",
        """
streams:
  a: {metric: size, instrument: exponential_histogram, temporality: delta, resource: {region: eu}}
input:
  - send: {a: {2s: {scale: 0, zero_count: 1, positive: {bucket_counts: [1, 2]}, sum: 5, min: 0},
               3s: {scale: 0, positive: {offset: 1, bucket_counts: [4]}, sum: 10}}}
expect: {10s: [{end: 10s, labels: {region: eu},
                histogram: {count: 8, sum: 15, scale: 0, zero_count: 1,
                            positive: {offset: 0, bucket_counts: [1, 6]}}}]}
""",
    )


def note(metric: str, rest: str) -> tuple[str, ...]:
    outcome = run(case(metric, rest))
    assert not outcome.passed
    return outcome.notes


def test_a_failed_test_says_what_became_of_points_that_do_not_count():
    of = "streams: {a: {metric: load, resource: {region: eu}}}\nexpect: {10s: []}\ninput:\n"
    told = note("load.mean", of + "  - send: {a: {5s: 1, 5m: 2}}\n    received: 6s\n")
    assert told == ("1 point: each was more than two minutes ahead of its receipt, and rejected",)
    told = note("load.mean", of + "  - send: {a: {5m: 1}}\n  - send: {a: {5s: 1}}\n")
    assert told == ("1 point: each came later than `corrections` and counts nowhere",)
    told = note("load.mean", of + "  - send: {a: {5s: 1}}\n  - send: {a: {5s: 1}}\n")
    assert told == ("1 request: each was sent before, and counts once",)
    of = "streams: {a: {metric: requests, resource: {region: eu}}}\n"
    expected = f"expect: {{10s: [{{end: 10s, {EU}, value: 1}}]}}\n"
    (told,) = note("served.requests", of + "input: [{send: {a: {5s: 1}}}]\n" + expected)
    assert told.startswith("`served.requests` cannot count a stream: ")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "d.yaml").write_text(DEFINITIONS)
    return tmp_path


GOOD = """apiVersion: tidemill/v1
kind: Test
metric: load.mean
name: the mean
streams: {a: {metric: load, resource: {region: eu}}}
input: [{send: {a: {5s: 1, 6s: 2}}}]
expect: {10s: [{end: 10s, labels: {region: eu}, value: 1.5}]}
"""


def test_exit_codes_and_what_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]):
    words = ["registry", "test", str(folder)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"there are no tests in `{folder}`: write one into a file `NAME.test.yaml`" in said

    file = folder / "d.test.yaml"
    file.write_text(GOOD)
    assert main(words) == 0
    assert capsys.readouterr().out == (
        "1 test in 1 file: 0 failed, 1 passed. 1 of 4 definitions has a test.\n"
    )
    assert main([*words, "--strict"]) == 3
    assert (
        "Without a test: latency.buckets, served.requests, size.buckets" in capsys.readouterr().out
    )

    file.write_bytes(GOOD.replace("1.5", "1.25").replace("\n", "\r\n").encode())
    assert main([*words[:2], str(file)]) == 1
    said = capsys.readouterr().out
    assert f"{file}:4: failed: load.mean: the mean\n  {file}:7: differs 10s to 10s" in said
    assert "value  expected 1.25\n           found    1.5\n" in said

    assert main([*words, "-o", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["failed"], told["passed"], told["findings"]) == (1, 0, [])
    (test,) = told["tests"]
    assert test["differences"][0]["details"] == [
        {"field": "value", "expected": "1.25", "found": "1.5"}
    ]
    assert (test["line"], test["differences"][0]["line"]) == (4, 7)

    file.write_text(GOOD.replace("load.mean", "load.men"))
    assert main(words) == 1
    assert "error TM601" in capsys.readouterr().out


def test_the_first_test_that_is_proposed_is_one_that_runs(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    main(["registry", "test", str(folder)])
    _, _, test = capsys.readouterr().out.partition("\n\n")
    (folder / "first.test.yaml").write_text(test)
    assert main(["registry", "test", str(folder)]) == 1
    assert ": failed: served.requests: what it shows" in capsys.readouterr().out


def test_tests_are_not_run_on_definitions_with_mistakes(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "d.yaml").write_text(DEFINITIONS.replace("over_time: avg", "over_time: mean"))
    (folder / "d.test.yaml").write_text(GOOD)
    assert main(["registry", "test", str(folder)]) == 1
    assert "error TM104" in capsys.readouterr().err


def test_an_environment_is_chosen_for_tests(folder: Path, capsys: pytest.CaptureFixture[str]):
    late = GOOD.replace("input: [", "input: [{send: {a: {4s: 0}}}, {watermark: 12s}, ")
    (folder / "d.test.yaml").write_text(late.replace("value: 1.5", "value: 1, revision: 1"))
    assert main(["registry", "test", str(folder)]) == 1
    assert main(["registry", "test", str(folder), "--environment", "slow"]) == 0
