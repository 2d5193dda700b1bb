"""What `registry lookup` says before it asks any source."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidemill.main import main

DEFINITION = """apiVersion: tidemill/v1
kind: Lookup
name: {name}
description: Who clusters are for
owner: team
file: {name}.csv
key: cluster_id
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDEMILL_SETTINGS", raising=False)
    for name in ("clusters", "tenants"):
        (tmp_path / f"{name}.yaml").write_text(DEFINITION.format(name=name))
        (tmp_path / f"{name}.csv").write_text("cluster_id,customer\n")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["registry", "lookup", *words]) == 2
    return capsys.readouterr().err


def test_the_source_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--topic or --query" in said(capsys, "clusters", ".")
    both = said(capsys, "clusters", ".", "--topic", "t", "--query", "SELECT 1")
    assert "either --topic or --query, not both" in both


def test_a_name_that_is_none_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = said(capsys, "cluster", ".", "--topic", "t")
    assert "no lookup is named `cluster`: did you mean `clusters`?" in unknown
    assert "there are clusters, tenants" in said(capsys, "zzz", ".", "--topic", "t")
    assert "there is none" in said(capsys, "zzz", "--topic", "t")


def test_two_lookups_of_a_name_are_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "again.yaml").write_text(DEFINITION.format(name="clusters"))
    twice = said(capsys, "clusters", ".", "--topic", "t")
    assert "two lookups are named `clusters`, in ./again.yaml:1 and ./clusters.yaml:1" in twice


@pytest.mark.parametrize("text", [None, "", "customer\n", "cluster_id,customer\nc1,a\nc1,b\n"])
def test_a_file_that_is_no_table_is_put_right_first(
    folder: Path, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its header says the columns, and who compares needs to know what there was."""
    if text is None:
        (folder / "clusters.csv").unlink()
    else:
        (folder / "clusters.csv").write_text(text)
    told = said(capsys, "clusters", ".", "--topic", "t")
    assert "of clusters.csv a header line is enough, which says the columns" in told
    assert "clusters.csv" in told
    assert "error TM" in told
    if text:
        assert (folder / "clusters.csv").read_text() == text


def test_what_else_is_wrong_with_definitions_is_of_no_account(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "wrong.yaml").write_text("kind: Metric\n")
    (folder / "tenants.csv").unlink()
    words = ["clusters", ".", "--topic", "t", "--bootstrap-servers", "127.0.0.1:9"]
    assert main(["registry", "lookup", *words]) == 4
    assert "no log answers" in capsys.readouterr().err
