"""One file a mistake: the definitions above the line, what the check says of them below it.

`=== PATH` begins another file of the case, and `=== --environment NAME` chooses an environment.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from registry_cases import CASES, files_of, parts

from metric_registry.catalogue import CATALOGUE
from metric_registry.check import Report, check_files
from metric_registry.load import SourceFile
from metric_registry.rules import Settings


def checked(text: str) -> Report:
    files, environment = files_of(text)
    given = [SourceFile(path, content.encode()) for path, content in files.items()]
    return check_files(given, Settings(environment=environment))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_mistake_is_told_with_its_place_and_the_way_out(case: Path) -> None:
    text, said = parts(case)
    assert checked(text).text() + "\n" == said


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_place_and_code_do_not_depend_on_line_ends(case: Path) -> None:
    text, said = parts(case)
    assert checked(text.replace("\n", "\r\n")).text() + "\n" == said


def test_every_code_that_a_text_can_cause_has_a_case() -> None:
    elsewhere = {"TM001", "TM002", "TM004", "TM010", "TM503"}  # test_load.py, test_check.py
    elsewhere |= {"TM411"}  # test_lookups.py
    elsewhere |= {code for code in CATALOGUE if code.startswith("TM6")}  # test_cases.py
    elsewhere |= {code for code in CATALOGUE if code.startswith("TM7")}  # test_live_rules.py
    assert {case.stem[:5] for case in CASES if case.stem.startswith("TM")} == (
        set(CATALOGUE) - elsewhere | {"TM001"}
    )


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.stem.startswith("TM")], ids=lambda case: case.stem
)
def test_a_case_is_about_its_code(case: Path) -> None:
    report = checked(parts(case)[0])
    assert case.stem[:5] in {finding.code for finding in report.findings}
    for finding in report.findings:
        line = files_of(parts(case)[0])[0][finding.file].split("\n")[finding.line - 1]
        assert 1 <= finding.column <= len(line) + 1
        assert finding.column - 1 + finding.length <= len(line) + 1
