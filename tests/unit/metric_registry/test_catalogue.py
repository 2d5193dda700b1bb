"""Every code of the catalogue is what its example gives, and nothing is what its repair gives."""

from __future__ import annotations

import re

import pytest

from metric_registry.catalogue import CATALOGUE
from metric_registry.check import Report, check_files
from metric_registry.load import SourceFile

GOOD = {
    "apiVersion": "apiVersion: tidemill/v1",
    "kind": "kind: Metric",
    "name": "name: served.requests",
    "description": "description: Requests served",
    "owner": "owner: team-brokers",
    "source": 'source: {metric: requests, unit: "{request}"}',
    "space": "space: {keep: [region]}",
    "time": "time: {granularities: [1m], grace: 15s, corrections: 1h}",
    "aggregate": "aggregate: {over_time: increase, over_space: sum}",
    "publish": "publish: {final: true}",
    "limits": "limits: {series: 1000, beyond: other}",
    "service_level": "service_level: {freshness: 5m, completeness: 99.9%}",
}
WITHOUT_EXAMPLE = {"TM001", "TM002", "TM003", "TM004", "TM010", "TM501", "TM502", "TM503"}
WITHOUT_EXAMPLE |= {"TM505", "TM508", "TM509", "TM510", "TM511"}
WITHOUT_EXAMPLE |= {"TM411", "TM517", "TM518", "TM519", "TM520", "TM521", "TM522"}  # of a table
WITHOUT_EXAMPLE |= {"TM512", "TM513", "TM514"}  # of several documents
WITHOUT_EXAMPLE |= {code for code in CATALOGUE if code.startswith("TM6")}  # of tests
WITHOUT_EXAMPLE |= {code for code in CATALOGUE if code.startswith("TM7")}  # of live data
WITHOUT_EXAMPLE |= {code for code in CATALOGUE if code.startswith("TM8")}  # test_derived.py
LEVELS = {"TM226": 3, "TM227": 2, "TM228": 2}
"""Definitions that a repair comes to."""
EXAMPLES = sorted(set(CATALOGUE) - WITHOUT_EXAMPLE)


def definition(fragment: str) -> str:
    """A good definition in which a fragment's sections stand in place of its own."""
    sections = dict(GOOD)
    fragments: dict[str, list[str]] = {}
    for part in re.split(r"\n(?=\S)", fragment):
        fragments.setdefault(part.split(":")[0], []).append(part)
    for name, parts in fragments.items():
        sections[name] = "\n".join(parts)
    return "\n".join(sections.values()) + "\n"


def checked(text: str) -> Report:
    return check_files([SourceFile("example.yaml", text.encode())])


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_example_of_a_code_makes_one_finding_and_that_is_it(code: str) -> None:
    example = CATALOGUE[code].example
    report = checked(example if code == "TM008" else definition(example))
    assert [finding.code for finding in report.findings] == [code], report.text()
    assert report.findings[0].help, "a finding says what to do"
    assert bool(report.entries) == (CATALOGUE[code].severity == "warning")


@pytest.mark.parametrize("code", [code for code in EXAMPLES if CATALOGUE[code].fix])
def test_the_repair_of_a_code_makes_no_finding(code: str) -> None:
    report = checked(definition(CATALOGUE[code].fix))
    assert report.findings == (), report.text()
    assert len(report.entries) == LEVELS.get(code, 1)


@pytest.mark.parametrize("code", EXAMPLES)
def test_a_replacement_put_in_place_ends_the_finding(code: str) -> None:
    text = CATALOGUE[code].example if code == "TM008" else definition(CATALOGUE[code].example)
    finding = checked(text).findings[0]
    if finding.replacement is None:
        return
    lines = text.split("\n")
    line, start = lines[finding.line - 1], finding.column - 1
    lines[finding.line - 1] = line[:start] + finding.replacement + line[start + finding.length :]
    assert checked("\n".join(lines)).findings == (), "\n".join(lines)


def test_every_code_is_explained() -> None:
    for code, entry in CATALOGUE.items():
        assert entry.code == code
        assert entry.severity in ("error", "warning", "information")
        assert entry.title, code
        assert entry.explanation.endswith("."), code
        assert code in entry.text()


def test_a_good_definition_has_no_finding() -> None:
    assert checked("\n".join(GOOD.values())).findings == ()
