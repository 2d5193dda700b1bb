"""`tidemill registry diff` holds files, git revisions and what is in force against each other."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from metric_registry.check import check
from metric_registry.compile import compile_plan
from tests.conformance import conftest
from tidemill.main import main
from tidemill.settings import ENVIRONMENT, Settings
from tidemill.topics import create_topics
from topologies.decisions import TOPIC, Decision
from topologies.deployment import Deployment, changed
from topologies.epochs import ONE_EPOCH

DEFINITION = """
apiVersion: tidemill/v1
kind: Metric
name: {name}
description: Requests
source: {{metric: requests, unit: "{{request}}"}}
space: {{keep: [{keep}]}}
time: {{granularities: [10s, 1m]}}
aggregate: {{over_time: increase}}
"""
broker_process = conftest.broker_process
DEFAULTS = "apiVersion: tidemill/v1\nkind: Defaults\nowner: team\n"


@pytest.fixture(autouse=True)
def _nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)


def write(path: Path, name: str = "m", keep: str = "host", more: str = "owner: team") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(DEFINITION.format(name=name, keep=keep) + more + "\n")
    return path


def git(repository: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=repository, capture_output=True, check=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits: `host` was kept, and is no more; the owner stands in a folder above."""
    home = tmp_path / "work"
    home.mkdir()
    git(home, "init", "-q", "-b", "main")
    (home / "_defaults.yaml").write_text(DEFAULTS)
    write(home / "definitions" / "m.yaml", more="")
    (home / "definitions" / "m.test.yaml").write_text("kind: Test\n")
    git(home, "add", ".")
    git(home, "commit", "-q", "-m", "first")
    write(home / "definitions" / "m.yaml", keep="", more="")
    git(home, "commit", "-q", "-a", "-m", "second")
    return home


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code = main(["registry", "diff", *words, "-o", "json"])
    output = capsys.readouterr()
    assert (code, output.err) == (0, "")
    return json.loads(output.out)


def kinds(found: dict[str, Any]) -> dict[str, str]:
    return {change["name"]: change["kind"] for change in found["changes"]}


def failure(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    code = main(["registry", "diff", *words])
    output = capsys.readouterr()
    assert (code, output.out) == (2, "")
    return output.err


# ---------------------------------------------------------------- files


def test_two_files_are_held_against_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    old = str(write(tmp_path / "old" / "m.yaml"))
    new = str(write(tmp_path / "new" / "m.yaml", keep="host, region"))
    (change,) = told(capsys, old, new)["changes"]
    assert (change["kind"], change["verdict"]) == ("changed", "breaking")
    assert [field["field"] for field in change["fields"]] == ["space.keep"]
    assert [one["gained"] for one in change["outcomes"]] == [["region"], ["region"]]
    assert main(["registry", "diff", old, new]) == 0
    text = capsys.readouterr().out
    assert "space.keep: [host] -> [host, region]" in text
    assert text.endswith("1 definition differs (1 breaking readers); 0 definitions the same\n")


def test_exit_codes_are_those_of_git_diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    old = str(write(tmp_path / "old.yaml"))
    other = str(write(tmp_path / "new.yaml", keep=""))
    assert main(["registry", "diff", old, other, "--exit-code"]) == 1
    assert main(["registry", "diff", old, other]) == 0
    owner = str(write(tmp_path / "owner.yaml", more="owner: sre"))
    capsys.readouterr()
    assert main(["registry", "diff", old, owner, "--exit-code"]) == 0
    assert capsys.readouterr().out == "nothing differs: 1 definition the same\n"


def test_definitions_with_mistakes_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    good = str(write(tmp_path / "good.yaml"))
    bad = write(tmp_path / "bad.yaml", more="ownr: team")
    said = failure(capsys, good, str(bad), "--exit-code")
    assert f"{bad}:10:1: error" in said


def test_what_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    good = str(write(tmp_path / "good.yaml"))
    assert "missing.yaml" in failure(capsys, good, "missing.yaml")


def test_of_another_environment_what_it_says_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    dev = "owner: team\nenvironments: {dev: {time: {grace: 2s}}}"
    old = str(write(tmp_path / "a.yaml", more="owner: team\nenvironments: {dev: {}}"))
    new = str(write(tmp_path / "b.yaml", more=dev))
    assert told(capsys, old, new)["changes"] == []
    (change,) = told(capsys, old, new, "--environment", "dev")["changes"]
    assert [field["field"] for field in change["fields"]] == ["time.grace"]


# ---------------------------------------------------------------- git


def test_a_revision_is_read_with_its_defaults_and_without_tests(
    repository: Path, capsys: pytest.CaptureFixture[str]
):
    folder = str(repository / "definitions")
    (change,) = told(capsys, "git:HEAD~1", folder)["changes"]
    assert [field["field"] for field in change["fields"]] == ["space.keep"]
    assert told(capsys, "git:HEAD", folder)["changes"] == []
    back = told(capsys, folder, "git:main~1")
    assert [one["gained"] for one in back["changes"][0]["outcomes"]] == [["host"], ["host"]]


def test_a_file_alone_and_the_whole_repository_have_revisions_too(
    repository: Path, capsys: pytest.CaptureFixture[str]
):
    for path in (repository / "definitions" / "m.yaml", repository):
        assert kinds(told(capsys, "git:HEAD~1", str(path))) == {"m": "changed"}


def test_what_a_file_includes_is_that_of_its_revision(
    repository: Path, capsys: pytest.CaptureFixture[str]
):
    shared = repository / "shared" / "counters.yaml"
    shared.parent.mkdir()
    body = "apiVersion: tidemill/v1\nkind: Defaults\nname: counters\ntime: {grace: %s}\n"
    shared.write_text(body % "2s")
    taken = "extends: counters\ninclude: ../shared/counters.yaml"
    file = write(repository / "definitions" / "m.yaml", more=taken)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "third")
    shared.write_text(body % "3s")
    (change,) = told(capsys, "git:HEAD", str(file))["changes"]
    assert [(f["field"], f["before"], f["after"]) for f in change["fields"]] == [
        ("time.grace", "2s", "3s")
    ]


def test_what_is_gone_from_the_work_tree_is_found_in_its_revision(
    repository: Path, tmp_path: Path, broker_process: str, capsys: pytest.CaptureFixture[str]
):
    git(repository, "rm", "-q", "-r", "definitions")
    settings = Settings(
        data=str(tmp_path / ".tidemill"),
        bootstrap=broker_process,
        definitions=(str(repository / "definitions"),),
        starter_definitions=False,
    )
    settings.save()
    running(settings, write(tmp_path / "else.yaml", name="else"))
    assert kinds(told(capsys, "git:HEAD", "running")) == {"m": "gone", "else": "new"}


def test_files_of_other_names_links_and_nothing_above_the_repository_count(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (repository / "definitions" / "notes.txt").write_text("no definition")
    (repository / "definitions" / "link.yaml").symlink_to("../more/n.yaml")
    write(repository / "more" / "n.yaml", name="n", more="")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "third")
    folder = str(repository / "definitions")
    assert told(capsys, "git:HEAD", folder)["same"] == 2
    (tmp_path / "_defaults.yaml").write_text(
        "apiVersion: tidemill/v1\nkind: Defaults\ntime: {grace: 1s}\n"
    )
    found = told(capsys, "git:HEAD", folder)  # the work tree takes it, a revision has none
    assert {f["field"] for c in found["changes"] for f in c["fields"]} == {"time.grace"}


@pytest.mark.parametrize("revision", ["nowhere", "", "--all", "HEAD:definitions", "HEAD~7"])
def test_a_revision_that_is_none_is_told(
    repository: Path, capsys: pytest.CaptureFixture[str], revision: str
):
    said = failure(capsys, f"git:{revision}", str(repository))
    assert f"git:{revision}: " in said
    assert "no such revision" in said
    assert len(said.splitlines()) == 1


def test_a_folder_that_a_revision_lacks_is_told(
    repository: Path, capsys: pytest.CaptureFixture[str]
):
    write(repository / "later" / "n.yaml", name="n")
    said = failure(capsys, "git:HEAD", str(repository / "later"))
    assert "`later` is not in that revision" in said
    assert "git log -- later" in said


def test_a_folder_without_definitions_then_is_told(
    repository: Path, capsys: pytest.CaptureFixture[str]
):
    (repository / "docs").mkdir()
    (repository / "docs" / "a.txt").write_text("text")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "third")
    write(repository / "docs" / "n.yaml", name="n")
    said = failure(capsys, "git:HEAD", str(repository / "docs"))
    assert "git:HEAD:docs" in said


def test_mistakes_of_a_revision_are_told_by_its_own_paths(
    repository: Path, capsys: pytest.CaptureFixture[str]
):
    write(repository / "definitions" / "m.yaml", more="ownr: team")
    git(repository, "commit", "-q", "-a", "-m", "bad")
    folder = str(write(repository / "definitions" / "m.yaml").parent)
    assert "git:HEAD:definitions/m.yaml:10:1: error" in failure(capsys, "git:HEAD", folder)


def test_what_is_in_no_repository_and_no_git_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    alone = str(write(tmp_path / "alone" / "m.yaml"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "in no git repository" in failure(capsys, "git:HEAD", alone)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git is not installed" in failure(capsys, "git:HEAD", alone)


def test_without_definitions_of_its_own_a_deployment_has_no_revisions(
    capsys: pytest.CaptureFixture[str],
):
    said = failure(capsys, "git:HEAD")
    assert "name their folder" in said


# ---------------------------------------------------------------- what is in force


def running(settings: Settings, *files: Path) -> Deployment:
    """These definitions are in force."""
    report = check(files)
    assert not report.errors, report.text()
    deployed = Deployment(compile_plan(report.definitions), decided=time.time_ns())
    decided(settings, Decision("start", deployed).to_json(), deployed.decided)
    return deployed


def decided(settings: Settings, value: bytes, when: int) -> None:
    """A decision on the log."""
    asyncio.run(create_topics(settings))
    producer = Producer({"bootstrap.servers": settings.bootstrap})
    producer.produce(TOPIC, value, str(when).encode())
    assert producer.flush(30) == 0


@pytest.fixture
def settings(tmp_path: Path, broker_process: str) -> Settings:
    made = Settings(
        data=str(tmp_path / ".tidemill"),
        bootstrap=broker_process,
        definitions=(str(tmp_path / "definitions"),),
        starter_definitions=False,
        raw_retention_hours=1,
    )
    made.save()
    return made


def test_before_anything_runs_that_is_told(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
):
    asyncio.run(create_topics(settings))
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    admin.delete_topics([TOPIC])[TOPIC].result(30)
    asyncio.run(create_topics(settings))
    write(tmp_path / "definitions" / "m.yaml")
    said = failure(capsys, "running")
    assert "nothing runs yet" in said
    assert "tidemill up" in said


def test_what_is_in_force_is_held_against_the_definitions_of_the_deployment(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
):
    file = write(tmp_path / "definitions" / "m.yaml")
    running(settings, file)
    assert told(capsys, "running")["changes"] == []
    write(file, keep="region", more="owner: team\npublish: {keep: {10s: 9d}}")
    found = told(capsys, "running")
    (change,) = found["changes"]
    assert (change["kind"], change["verdict"]) == ("changed", "breaking")
    assert [one["windows_in_log"] for one in change["backfills"]] == [360, 60]
    assert found["kept"] == [{"resolution": 10, "before": 2, "after": 9}]
    assert kinds(told(capsys, str(file), "running")) == {"m": "changed"}


def test_what_has_been_replaced_is_in_force_no_more(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
):
    file = write(tmp_path / "definitions" / "m.yaml")
    before = running(settings, file)
    plan = compile_plan(check([write(file, keep="region")]).definitions)
    after = replace(changed(before, plan, 10**18, ONE_EPOCH), decided=before.decided + 1)
    assert len(after.plan.definitions) == 2
    decided(settings, Decision("apply", after).to_json(), after.decided)
    assert told(capsys, "running") == {"changes": [], "kept": [], "same": 1, "consumers": []}


def test_the_starter_definitions_are_on_both_sides_or_on_none(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
):
    starter = replace(settings, starter_definitions=True)
    starter.save()
    shipped = Path(__file__).resolve().parents[3] / "metric_registry" / "definitions"
    file = write(tmp_path / "definitions" / "m.yaml")
    running(starter, shipped, file)
    n = str(write(tmp_path / "n.yaml", name="n", keep="region"))
    assert kinds(told(capsys, "running", n)) == {"m": "gone", "n": "new"}
    assert kinds(told(capsys, n)) == {"m": "new", "n": "gone"}
    assert told(capsys, n, str(file))["same"] == 0


def test_what_is_in_force_and_cannot_be_read_is_told(
    settings: Settings, capsys: pytest.CaptureFixture[str]
):
    now = time.time_ns()
    decided(settings, b"{", now)
    assert "another version of this program" in failure(capsys, "running")
    decided(settings, Decision("start", Deployment(compile_plan([]))).to_json(), now)
    replace(settings, bootstrap="127.0.0.1:9").save()
    assert main(["registry", "diff", "running"]) == 4
    assert "no log answers at 127.0.0.1:9" in capsys.readouterr().err
