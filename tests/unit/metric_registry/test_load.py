"""Files and directories of definitions, on a real disk."""

from __future__ import annotations

import os
from pathlib import Path

from metric_registry.check import check
from metric_registry.load import Reader, read

GOOD = Path(__file__).parents[3] / "metric_registry" / "definitions" / "host.yaml"


def codes(*paths: Path) -> list[str]:
    return [finding.code for finding in check(paths).findings]


def test_a_directory_is_read_to_the_bottom_in_order_of_its_paths(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/z.yml", "a/a.yaml", ".hidden.yaml", ".git/x.yaml", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a: b")
    found = [os.path.relpath(file.path, tmp_path) for file in read([tmp_path])]
    assert found == ["a/a.yaml", "a/z.yml", "b.yaml"]


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: b")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "a.yaml")
    assert len(read([tmp_path / "a.yaml", tmp_path, str(tmp_path / "a.yaml")])) == 1


def test_a_path_that_does_not_exist_is_a_finding(tmp_path: Path) -> None:
    (finding,) = check([tmp_path / "none.yaml"]).findings
    assert finding.code == "TM001"
    assert "No such file" in finding.message


def test_a_loop_of_links_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to(tmp_path / "b.yaml")
    (tmp_path / "b.yaml").symlink_to(tmp_path / "a.yaml")
    assert codes(tmp_path / "a.yaml") == ["TM001"]


def test_a_directory_without_definitions_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a: b")
    assert codes(tmp_path) == ["TM004"]


def test_an_empty_file_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("")
    assert codes(tmp_path) == ["TM003"]


def test_one_bad_file_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "b.yaml").write_bytes(GOOD.read_bytes())
    report = check([tmp_path])
    assert [finding.code for finding in report.findings] == ["TM002"]
    assert len(report.definitions) == 15
    assert report.text().endswith("1 error, 0 warnings; 15 definitions in 2 files without errors.")


def test_above_the_top_no_defaults_are_read(tmp_path: Path) -> None:
    for folder in ("", "top", "top/inner"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "_defaults.yaml").write_text("a: b")
    file = tmp_path / "top" / "inner" / "m.yaml"
    file.write_text("a: b")
    found = {
        os.path.relpath(one.path, tmp_path) for one in Reader(top=tmp_path / "top").read([file])
    }
    assert found == {"top/_defaults.yaml", "top/inner/_defaults.yaml", "top/inner/m.yaml"}
    assert len(read([file])) >= 4
