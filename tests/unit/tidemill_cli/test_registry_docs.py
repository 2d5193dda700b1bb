"""`tidemill registry docs`: the folder that it writes, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidemill.main import main

DEFINITION = """\
apiVersion: tidemill/v1
kind: Metric
name: served
description: Requests served
owner: me
source: {metric: requests, unit: s}
space: {keep: [route]}
time: {granularities: [10s]}
aggregate: {over_time: increase}
"""
TEST = """\
apiVersion: tidemill/v1
kind: Test
metric: served
name: requests are counted
streams: {one: {metric: requests, instrument: sum, temporality: cumulative}}
input: [{send: {one: {1s: 0, 5s: 7}}}]
expect: {10s: [{end: 10s, value: 7}]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "defs").mkdir()
    (tmp_path / "defs/served.yaml").write_text(DEFINITION)
    (tmp_path / "defs/served.test.yaml").write_text(TEST)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    code = main(["registry", "docs", *map(str, args)])
    said = capsys.readouterr()
    return code, said.out, said.err


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_pages_are_written_and_name_the_tests(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, folder / "defs", "--out", folder / "out")
    assert (code, out) == (0, f"4 pages of 1 definition: {folder}/out/index.html\n")
    (page,) = (folder / "out/definitions").iterdir()
    assert "requests are counted" in page.read_text()
    assert "served.test.yaml:4" in page.read_text()


def test_a_second_run_changes_nothing_and_takes_away_what_is_gone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, folder / "defs", "--out", folder / "out")
    first = contents(folder / "out")
    run(capsys, folder / "defs", "--out", folder / "out")
    assert contents(folder / "out") == first
    (folder / "defs/served.yaml").write_text(DEFINITION.replace("served", "handled"))
    (folder / "defs/served.test.yaml").unlink()
    run(capsys, folder / "defs", "--out", folder / "out")
    names = [path.name for path in (folder / "out/definitions").iterdir()]
    assert [name.partition("-")[0] for name in names] == ["handled"]


def test_a_folder_of_somebody_elses_is_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "site/definitions").mkdir(parents=True)
    (folder / "site/definitions/mine.html").write_text("mine")
    code, out, err = run(capsys, folder / "defs", "--out", folder / "site")
    assert (code, out) == (2, "")
    assert "name another folder with --out" in err
    assert contents(folder / "site") == {"definitions/mine.html": b"mine"}
    code, _, err = run(capsys, folder / "defs", "--out", folder / "defs/served.yaml")
    assert (code, "name another folder" in err) == (2, True)


def test_an_empty_folder_may_be_written_to(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "out").mkdir()
    assert run(capsys, folder / "defs", "--out", folder / "out")[0] == 0


def test_definitions_with_mistakes_have_no_pages(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "defs/served.yaml").write_text(DEFINITION.replace("increase", "increas"))
    code, out, err = run(capsys, folder / "defs", "--out", folder / "out")
    assert (code, out, "TM104" in err) == (1, "", True)
    assert not (folder / "out").exists()


def test_tests_with_mistakes_are_told_and_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "defs/served.test.yaml").write_text(TEST.replace("end: 10s", "end: 11s"))
    code, _, err = run(capsys, folder / "defs", "--out", folder / "out")
    assert (code, "1 error in tests" in err) == (0, True)
