"""Defaults, included files and environments, on a real disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from metric_registry.check import Report, check
from metric_registry.rules import Settings
from metric_registry.show import show

DEFAULTS = """\
apiVersion: tidemill/v1
kind: Defaults
owner: team-brokers
time: {granularities: [10s, 1m], grace: 15s, corrections: 1h}
publish: {keep: {10s: 9d, 1h: 400d}}
environments:
  dev: {time: {grace: 2s}}
"""
COUNTERS = """\
apiVersion: tidemill/v1
kind: Defaults
name: counters
aggregate: {over_time: increase}
limits: {series: 50000}
"""
METRIC = """\
apiVersion: tidemill/v1
kind: Metric
name: served.requests
description: Requests served
extends: counters
include: ../shared/counters.yaml
source: {metric: requests, unit: "{request}"}
space: {keep: [region]}
time: {grace: 20s}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, text in (
        ("team/_defaults.yaml", DEFAULTS),
        ("shared/counters.yaml", COUNTERS),
        ("team/brokers/served.yaml", METRIC.replace("../shared", "../../shared")),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def versions(*paths: Path, environment: str = "") -> list[str]:
    report = check(paths, Settings(environment=environment))
    assert report.findings == (), report.text()
    return [one.version for one in report.definitions]


def test_a_file_alone_is_what_it_is_in_its_folder_and_in_the_whole(folder: Path) -> None:
    alone = versions(folder / "team" / "brokers" / "served.yaml")
    assert alone == versions(folder / "team" / "brokers") == versions(folder)
    assert len(alone) == 1


def test_a_path_by_way_of_a_link_or_of_dots_changes_nothing(folder: Path, tmp_path: Path) -> None:
    alone = versions(folder / "team" / "brokers" / "served.yaml")
    assert versions(folder / "shared" / ".." / "team" / "brokers" / "served.yaml") == alone
    os.symlink(folder / "team", tmp_path / "link")
    assert versions(tmp_path / "link" / "brokers" / "served.yaml") == alone


def test_files_that_include_each_other_are_read_once(folder: Path) -> None:
    shared = folder / "shared" / "counters.yaml"
    shared.write_text(COUNTERS + "include: [../team/brokers/served.yaml, counters.yaml]\n")
    assert len(versions(shared)) == 1
    assert check([shared]).files == 3


def test_an_environment_overrides_what_the_definition_states(folder: Path) -> None:
    plain, dev = (
        check([folder], Settings(environment=name)).definitions[0] for name in ("", "dev")
    )
    assert (plain.grace_ns, dev.grace_ns) == (20 * 10**9, 2 * 10**9)
    assert plain.version != dev.version


def test_an_included_file_that_is_not_there_is_told_where_it_is_named(folder: Path) -> None:
    (folder / "shared" / "counters.yaml").unlink()
    (finding,) = check([folder / "team"]).findings
    assert (finding.code, finding.line, finding.column) == ("TM001", 6, 10)
    assert "No such file" in finding.message


def test_where_each_value_comes_from_is_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    report: Report = check(["team/brokers/served.yaml"], Settings(environment="dev"))
    shown = show(report.entries[0])
    assert f"{shown.name} {shown.version}" == shown.text().split("\n")[0]
    by_field = {one.field: (one.value, one.origin) for one in shown.values}
    team, mine, shared = "team/_defaults.yaml", "team/brokers/served.yaml", "shared/counters.yaml"
    assert by_field == {
        "owner": ("team-brokers", f"{team}:3, the defaults of `team/`"),
        "source.metric": ("requests", f"{mine}:7"),
        "source.unit": ("{request}", f"{mine}:7"),
        "unit": ("{request}", "by default"),
        "space.keep": ("[region]", f"{mine}:8"),
        "time.granularities": ("[10s, 1m]", f"{team}:4, the defaults of `team/`"),
        "time.zone": ("UTC", "by default"),
        "time.grace": ("2s", f"{team}:7, the environment `dev` of the defaults of `team/`"),
        "time.corrections": ("1h", f"{team}:4, the defaults of `team/`"),
        "aggregate.over_time": ("increase", f"{shared}:4, `extends: counters`"),
        "aggregate.over_space": ("sum", "by default"),
        "publish.final": ("true", "by default"),
        "publish.upsert": ("false", "by default"),
        "publish.temporality": ("delta", "by default"),
        "publish.late": ("drop", "by default"),
        "publish.expire_after": ("5 of 10s, 5 of 1m", "by default"),
        "publish.keep.10s": ("9d", f"{team}:5, the defaults of `team/`"),
        "publish.keep.1m": ("14d", "by default"),
        "limits.series": ("50,000", f"{shared}:5, `extends: counters`"),
        "limits.beyond": ("other", "by default"),
    }


def codes(*paths: Path) -> list[str]:
    return [finding.code for finding in check(paths).findings]


def test_defaults_of_a_folder_are_of_no_use_only_where_what_lies_below_was_looked_for(
    folder: Path,
) -> None:
    other = folder / "other.yaml"
    other.write_text(METRIC.replace("../shared", "shared") + "owner: team-a\n")
    other.write_text(other.read_text().replace("time: {", "time: {granularities: [1m], "))
    (folder / "team" / "brokers" / "served.yaml").unlink()
    assert codes(other, folder / "team" / "_defaults.yaml") == []
    assert codes(other, folder / "team") == ["TM511"]
    assert codes(folder) == ["TM511"]


def test_an_include_is_of_use_to_those_who_include_the_one_that_says_it(folder: Path) -> None:
    index = folder / "shared" / "all.yaml"
    index.write_text(METRIC.replace("../shared/counters.yaml", "counters.yaml"))
    text = index.read_text().replace("served", "all").replace("extends: counters\n", "")
    index.write_text(text + "aggregate: {over_time: increase}\nowner: a\nunit: '{request}'\n")
    index.write_text(index.read_text().replace("time: {", "time: {granularities: [1m], "))
    served = folder / "team" / "brokers" / "served.yaml"
    served.write_text(served.read_text().replace("counters.yaml", "all.yaml"))
    assert codes(index) == ["TM514"]
    assert codes(served) == []
    assert codes(folder) == []
