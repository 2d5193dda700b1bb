"""`check --fix`: what is safe is put right in the text, and nothing else changes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from registry_cases import CASES, files_of, parts

from metric_registry.check import check, check_files
from metric_registry.fix import SAFE, fix
from metric_registry.load import SourceFile, read, write
from metric_registry.rules import Settings

LAYOUT = """\
# what brokers serve
apiVersion:   tidemill/v1
kind: Metric
name: served.requests   # as readers know it
description: Requests served
owner: team-brokers

source: {metric: requests, unit: "{request}"}
space: {keep: [region]}
time:
    granularites: [1m]     # one is enough
    grace: 15 s
aggregate: {over_time: total, over_space: sum}
limits: {series: "1,000"}
"""


def fixed(text: bytes | str):
    data = text.encode() if isinstance(text, str) else text
    return fix([SourceFile("a.yaml", data)], Settings())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_comments_and_layout_stay_and_a_second_run_changes_nothing(end: str, mark: bytes) -> None:
    expected = (
        LAYOUT.replace("granularites", "granularities")
        .replace("15 s", "15s")
        .replace("total", "sum")
        .replace('"1,000"', "1000")
    )
    done = fixed(mark + LAYOUT.replace("\n", end).encode())
    (file,) = done.changed
    assert file.data == mark + expected.replace("\n", end).encode()
    assert done.report.findings == (), done.report.text()
    assert len(done.repairs) == 4
    again = fixed(file.data)
    assert (again.changed, again.repairs) == ((), ())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_repair_ends_its_finding_and_brings_no_other(case: Path) -> None:
    """Whatever the mistake: no version changes, and what was no mistake is not touched."""
    files, environment = files_of(parts(case)[0])
    settings = Settings(environment=environment)
    given = [SourceFile(path, text.encode()) for path, text in files.items()]
    before = check_files(given, settings)
    done = fix(given, settings)
    versions = {one.name: one.version for one in done.report.definitions}
    assert {one.name: one.version for one in before.definitions}.items() <= versions.items()
    told = {(one.code, one.message) for one in done.report.findings}
    assert not told & {(one.code, one.message) for one in done.repairs}
    assert {one.code for one in done.repairs} <= SAFE
    assert {one.code for one in done.report.errors} <= {one.code for one in before.errors}
    changed = {file.path: file for file in done.changed}
    again = fix([changed.get(file.path, file) for file in given], settings)
    assert (again.changed, again.repairs) == ((), ())


def test_what_would_change_a_version_is_left_and_said() -> None:
    text = LAYOUT.replace("granularites", "granularities").replace("15 s", "15s")
    text = text.replace("total", "sum").replace('"1,000"', "1000").replace('"{request}"', "bytes")
    done = fixed(text)
    assert done.changed == ()
    ((finding, why),) = done.left
    assert (finding.code, why) == ("TM204", "the version of `served.requests` would change")
    assert "TM204 left as it is" in done.text()


def test_a_field_that_stands_there_already_is_not_written_again() -> None:
    text = LAYOUT.replace("granularites: [1m]", "granularities: [1m]\n    granularites: [5m]")
    done = fixed(text)
    assert b"granularites: [5m]" in done.changed[0].data
    assert [finding.code for finding, _ in done.left] == ["TM101"]


def test_files_are_written_in_place_with_their_rights(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(LAYOUT)
    path.chmod(0o640)
    for file in fix(read([tmp_path]), Settings()).changed:
        write(file)
    assert check([tmp_path]).findings == ()
    assert path.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["a.yaml"]
