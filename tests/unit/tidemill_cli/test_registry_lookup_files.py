"""Lookups on the command line: shown, tested, held against a git revision, refused if too much."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from metric_registry.check import check
from metric_registry.compile import compile_plan
from tidemill import announcing
from tidemill.main import main
from tidemill.wiring import DefinitionsError
from topologies.decisions import Decision
from topologies.deployment import Deployment

DEFINITIONS = """apiVersion: tidemill/v1
kind: Lookup
name: clusters
description: Who clusters are for
owner: team
file: clusters.csv
key: cluster_id
---
apiVersion: tidemill/v1
kind: Metric
name: load.mean
description: Mean load of the hosts
owner: team
source:
  metric: load
  unit: "1"
  attributes:
    customer: {from: cluster_id, lookup: clusters, default: unknown}
space: {keep: [customer]}
time: {granularities: [10s], grace: 2s, corrections: 1m}
aggregate: {over_time: sum, over_space: sum}
"""
TEST = """apiVersion: tidemill/v1
kind: Test
metric: load.mean
name: clusters fall to their customers
streams:
  a: {metric: load, resource: {cluster_id: c1}}
  b: {metric: load, resource: {cluster_id: c2}}
  c: {metric: load, resource: {cluster_id: c3}}
  d: {metric: load, resource: {host: h}}
input:
  - send: {a: {1s: 1}, b: {1s: 2}, c: {1s: 4}, d: {1s: 8}}
expect:
  10s:
    - {end: 10s, labels: {customer: acme}, value: 3}
    - {end: 10s, labels: {customer: unknown}, value: 12}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.yaml").write_text(DEFINITIONS)
    (tmp_path / "d.test.yaml").write_text(TEST)
    (tmp_path / "clusters.csv").write_text("cluster_id,customer\nc1,acme\nc2,acme\n")
    return tmp_path


def test_streams_fall_where_the_table_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["registry", "test", "d.yaml"]) == 0, capsys.readouterr().out
    (folder / "clusters.csv").write_text("cluster_id,customer\nc1,acme\nc2,globex\n")
    assert main(["registry", "test", "d.yaml"]) == 1


def test_what_is_looked_up_is_shown_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["registry", "show", "load.mean", "d.yaml"]) == 0
    said = capsys.readouterr().out
    assert "by `clusters.customer`, a table of 2 keys, else `unknown`  d.yaml:18" in said


def test_a_table_of_a_git_revision_is_the_one_that_it_had(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        who = ["-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run(["git", *who, *words], cwd=folder, check=True)
    assert main(["registry", "diff", "git:HEAD", "d.yaml", "--exit-code"]) == 0
    capsys.readouterr()
    (folder / "clusters.csv").write_text("cluster_id,customer\nc1,acme\nc2,globex\nc3,x\n")
    assert main(["registry", "diff", "git:HEAD", "d.yaml", "--exit-code"]) == 1
    said = capsys.readouterr().out
    assert "1 key added (c3: x), 1 key changed (c2: acme -> globex)" in said
    assert "(groups may come and go, other numbers)" in said


def test_more_than_tasks_can_pass_on_is_refused_before_anything_is_told(folder: Path) -> None:
    """Versions that leave keep their tables: of many changes in a row there are as many."""
    (definition,) = check([folder]).definitions
    leaving = []
    for number in range(12):
        rows = "".join(f"cluster-{n:06},customer {n + number}\n" for n in range(20_000))
        (folder / "clusters.csv").write_text(f"cluster_id,customer\n{rows}")
        leaving += check([folder]).definitions
    fits = Decision("apply", Deployment(compile_plan([definition], leaving[:4])))
    assert announcing.that_fits(fits) is fits
    assert announcing.that_fits(None) is None
    too_much = replace(fits, deployed=Deployment(compile_plan([definition], leaving)))
    with pytest.raises(DefinitionsError, match="13 tables of lookups"):
        announcing.that_fits(too_much)
