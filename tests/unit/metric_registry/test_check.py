"""What a report holds, and how several files are checked together."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from metric_registry.check import Settings, check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile

TEXT = """\
apiVersion: tidemill/v1
kind: Metric
name: {name}
description: Requests served
owner: team-brokers
source: {{metric: {metric}, unit: "{{request}}"}}
space: {{keep: [region]}}
time: {{granularities: [1m]}}
aggregate: {{over_time: increase}}
"""


def file(path: str, name: str = "served", metric: str = "requests") -> SourceFile:
    return SourceFile(path, TEXT.format(name=name, metric=metric).encode())


def test_a_name_defined_in_two_files_points_at_the_second_and_names_the_first() -> None:
    report = check_files([file("a.yaml"), file("b.yaml", metric="replies")])
    (finding,) = report.findings
    assert (finding.code, finding.file, finding.line, finding.column) == ("TM501", "b.yaml", 3, 7)
    assert "a.yaml:3" in finding.message
    assert [entry.file for entry in report.entries] == ["a.yaml"]


def test_one_number_under_two_names_is_a_warning_and_both_are_kept() -> None:
    report = check_files([file("a.yaml"), file("b.yaml", name="billed")])
    assert [finding.code for finding in report.findings] == ["TM502"]
    assert report.errors == ()
    assert len(report.definitions) == 2


def test_a_rollup_with_the_name_of_another_files_source_is_refused() -> None:
    report = check_files([file("a.yaml", name="x"), file("b.yaml", name="y", metric="x")])
    assert [(finding.code, finding.file) for finding in report.findings] == [("TM504", "a.yaml")]


def test_more_definitions_than_a_plan_holds_are_refused() -> None:
    files = [file(f"{n}.yaml", name=f"n{n}", metric=f"m{n}") for n in range(3)]
    report = check_files(files, Settings(most_definitions=2))
    assert [(finding.code, finding.file) for finding in report.findings] == [("TM503", "2.yaml")]


def test_corrections_are_held_against_the_raw_retention_that_is_given() -> None:
    text = TEXT.format(name="a", metric="b").replace("[1m]", "[1m], corrections: 2h")
    settings = Settings(raw_retention_ns=3600 * 10**9)
    report = check_files([SourceFile("a.yaml", text.encode())], settings)
    assert [(finding.code, finding.column) for finding in report.findings] == [("TM306", 42)]
    assert check_files([SourceFile("a.yaml", text.encode())]).findings == ()


def test_a_file_that_is_not_utf8_is_told_with_the_place_of_the_byte() -> None:
    data = "# é\nname: a".encode() + b"\xff"
    (finding,) = check_files([SourceFile("a.yaml", data)]).findings
    assert (finding.code, finding.line, finding.column) == ("TM002", 2, 8)


def test_a_byte_order_mark_changes_nothing() -> None:
    good = file("a.yaml")
    marked = replace(good, data=b"\xef\xbb\xbf" + good.data)
    assert check_files([marked]).definitions == check_files([good]).definitions


def test_a_file_beyond_the_limit_is_refused_unread() -> None:
    (finding,) = check_files([SourceFile("a.yaml", b"x" * 11)], Settings(largest_file=10)).findings
    assert finding.code == "TM010"


def test_a_control_character_is_told_with_its_place() -> None:
    text = "name: a\nowner: a\x00b\n"
    (finding,) = check_files([SourceFile("a.yaml", text.encode())]).findings
    assert (finding.code, finding.line, finding.column) == ("TM005", 2, 9)


def test_nesting_without_end_is_refused_and_not_followed() -> None:
    for text in ("[" * 100_000, "a: " + "{b: " * 200, "- " * 5_000):
        report = check_files([SourceFile("a.yaml", text.encode())])
        assert {finding.code for finding in report.findings} <= {"TM005", "TM009"}
        assert report.errors


def test_aliases_that_multiply_are_refused_and_not_followed() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (finding,) = check_files([SourceFile("a.yaml", "\n".join(lines).encode())]).findings
    assert finding.code == "TM009"


def test_anchors_are_followed_within_a_document() -> None:
    text = TEXT.format(name="a", metric="b")
    text = text.replace("Requests served", "&text Requests").replace("team-brokers", "*text")
    (entry,) = check_files([SourceFile("a.yaml", text.encode())]).entries
    assert entry.model.owner == "Requests"


def test_the_json_form_says_what_the_text_says() -> None:
    broken = file("b.yaml", name="two words")
    report = check_files([file("a.yaml"), broken])
    told = json.loads(report.json())
    assert (told["files"], told["errors"], told["warnings"]) == (2, 1, 0)
    assert told["findings"] == [
        {
            "code": "TM106",
            "severity": "error",
            "title": "impossible name",
            "message": "`two words` cannot be the name of a metric",
            "file": "b.yaml",
            "line": 3,
            "column": 7,
            "length": 9,
            "help": "a name begins with a letter and goes on with letters, digits, `_`, `.`, `-`, "
            "`/`: write `two_words`",
            "replacement": "two_words",
            "way": "",
        }
    ]
    (definition,) = told["definitions"]
    assert (definition["name"], definition["file"], definition["line"]) == ("served", "a.yaml", 3)


MISSPELLED = [
    *("kind", "name", "description", "owner", "source", "metric", "unit", "space", "keep"),
    *("granularities", "aggregate", "over_time", "publish", "final", "limits", "series"),
]


@pytest.mark.parametrize("field", MISSPELLED)
def test_a_misspelled_field_is_told_with_its_place_and_its_name(field: str) -> None:
    text = TEXT.format(name="a", metric="b") + "publish: {final: true}\nlimits: {series: 5}\n"
    typo = field[:2] + field[3:]
    faulty = re.sub(rf"\b{field}:", f"{typo}:", text)
    (line,) = [line for line in faulty.split("\n") if f"{typo}:" in line]
    (finding,) = (
        one
        for one in check_files([SourceFile("a.yaml", faulty.encode())]).findings
        if one.severity == "error"
    )
    assert (finding.code, finding.replacement) == ("TM101", field)
    assert (finding.source, finding.column) == (line, line.index(f"{typo}:") + 1)
    assert faulty.split("\n")[finding.line - 1] == line


def test_the_order_of_files_changes_no_plan() -> None:
    files = [file(f"{n}.yaml", name=f"n{n}", metric=f"m{n % 3}") for n in range(9)]
    one = compile_plan(check_files(files).definitions)
    other = compile_plan(check_files(files[::-1]).definitions)
    assert one.to_json() == other.to_json()
