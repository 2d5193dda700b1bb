"""What a deployment says of changes of partitions, and what they mean for definitions that come."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from metric_registry.plan import ResolvedDefinition
from streams.event_time.windows import LATEST
from tidemill.epochs import findings, remember, remembered
from tidemill.settings import Settings
from tidemill.wiring import (
    DEPLOYED,
    LEAD_NS,
    DefinitionsError,
    changes_of,
    decide,
    deployment,
    load_plan,
    write_down,
)
from topologies.deployment import Deployment
from topologies.epochs import LIVE, Epochs, Listed
from topologies.joining import counts_from

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
T = 20_000 * DAY + 3600 * SECOND
KNOWN = Epochs((Listed(f"{LIVE}.e2", 3, T),))
DEFINITION = """
apiVersion: tidemill/v1
kind: Metric
name: {}
description: One
owner: tests
source: {{metric: load, unit: "1"}}
space: {{keep: []}}
time: {{granularities: [{}], grace: 2s, corrections: 1h}}
aggregate: {{over_time: sum, over_space: sum}}
"""


def definition(name: str, sizes: str) -> ResolvedDefinition:
    report = check_files([SourceFile("d.yaml", DEFINITION.format(name, sizes).encode())])
    assert not report.errors, report.text()
    return report.definitions[0]


def deploy(settings: Settings, now: int) -> list[str]:
    """What is said of the definitions as they are, which are in force from then on."""
    epochs = remembered(settings)
    decided = decide(settings, now, epochs)
    write_down(settings, decided.after)
    return changes_of(decided, epochs)


def test_a_definition_counts_from_a_change_on_that_lies_within_its_windows():
    assert counts_from(definition("m", "10s, 1h"), T - DAY, KNOWN) == T - DAY
    assert counts_from(definition("m", "10s, 1d"), T - DAY, KNOWN) == T
    assert counts_from(definition("m", "10s, 1d"), T + 1, KNOWN) == T + 1
    later = Epochs((*KNOWN.later, Listed(f"{LIVE}.e3", 4, T + SECOND)))
    assert counts_from(definition("m", "10s, 1d"), T - DAY, later) == T + SECOND
    assert counts_from(definition("m", "1h/5m"), T - DAY, KNOWN) == T - DAY  # overlap anyway


def test_what_a_folder_knows_of_epochs_decides_since_when_definitions_count(tmp_path: Path):
    files = tmp_path / "definitions"
    files.mkdir()
    (files / "a.yaml").write_text(DEFINITION.format("first", "10s, 1d"))
    settings = Settings(
        data=str(tmp_path / "data"), definitions=(str(files),), starter_definitions=False
    )
    assert remembered(settings) == Epochs()
    assert deploy(settings, T - DAY) == []
    remember(settings, KNOWN)
    assert remembered(settings) == KNOWN
    (files / "b.yaml").write_text(DEFINITION.format("hours", "10s, 1h"))
    (files / "c.yaml").write_text(DEFINITION.format("days", "10s, 1d").replace("load", "busy"))
    hours, days = sorted(deploy(settings, T - 7200 * SECOND), reverse=True)
    assert "hours: it counts from 2024-10-03T23:00:20Z on" in hours
    assert "days: it counts from 2024-10-04T01:00:00Z on, when telemetry.raw.e2 begins" in days
    written = (settings.folder / DEPLOYED).read_text()
    since = json.loads(written)["since"]
    assert sorted(since.values()) == [T - 7200 * SECOND + LEAD_NS, T]
    assert deploy(settings, T + DAY) == []
    assert (settings.folder / DEPLOYED).read_text() == written


def test_a_definition_that_changes_or_goes_keeps_the_windows_that_began_before(tmp_path: Path):
    files = tmp_path / "definitions"
    files.mkdir()
    (files / "a.yaml").write_text(DEFINITION.format("first", "10s"))
    (files / "b.yaml").write_text(DEFINITION.format("second", "10s, 1h"))
    settings = Settings(
        data=str(tmp_path / "data"), definitions=(str(files),), starter_definitions=False
    )
    assert deploy(settings, T) == []
    (files / "a.yaml").write_text(DEFINITION.format("first", "10s, 1m"))
    (files / "b.yaml").unlink()
    first, second = deploy(settings, T)
    counts = T + LEAD_NS
    assert re.match(r"first changes from version \w{16} to \w{16}: windows that begin at ", first)
    assert "second goes: its last windows begin before 2024-10-04T01:" in second
    deployed = deployment(settings)
    assert [one.name for one in deployed.plan.definitions] == ["first", "first", "second"]
    assert [one.name for one in deployed.current] == ["first"]
    assert {deployed.spans(d.version)[-1][1] for d in deployed.plan.definitions} == {
        counts, LATEST,
    }  # fmt: skip
    assert deploy(settings, T + 2 * DAY) == []  # the records of its last windows may still be read
    assert len(deployment(settings).plan.definitions) == 3
    assert deploy(settings, T + 3 * DAY) == []
    assert deployment(settings).plan.definitions == deployed.current


def test_what_an_earlier_program_wrote_of_definitions_is_read(tmp_path: Path):
    files = tmp_path / "definitions"
    files.mkdir()
    (files / "a.yaml").write_text(DEFINITION.format("first", "10s"))
    settings = Settings(
        data=str(tmp_path / "data"), definitions=(str(files),), starter_definitions=False
    )
    (one,) = load_plan(settings).definitions
    settings.folder.mkdir(parents=True)
    file = settings.folder / DEPLOYED
    for since in (0, T):
        file.write_text(json.dumps({one.version: since, "0" * 16: T}))
        assert deployment(settings) == Deployment(
            compile_plan([one]), {one.version: since} if since else {}
        )
    (files / "b.yaml").write_text(DEFINITION.format("second", "10s"))
    assert len(deploy(settings, T)) == 1
    assert deployment(settings).since[one.version] == T
    file.write_text("{")
    with pytest.raises(DefinitionsError, match=DEPLOYED):
        deployment(settings)


def task(over: bool) -> dict[str, Any]:
    panes = [{"over": True}, {"over": over}]
    return {"state": "running", "position": 0, "processor": {"panes": panes}}


def told(now: int, tasks: dict[str, Any], one: ResolvedDefinition, since: int) -> list[str]:
    found = findings(KNOWN, tasks, {one.version: since}, [one], 2, now)
    return [f"{each.level} {each.text}" for each in found]


def test_each_change_is_announced_then_under_way_then_finished():
    one = definition("m", "10s, 1h")
    assert told(T - 1, {}, one, 0) == ["ok announced: 3 partitions from 2024-10-04T01:00:00Z on"]
    tasks = {f"{LIVE}/0": task(True), f"{LIVE}/1": task(False)}
    (under_way,) = told(T, tasks, one, 0)
    assert under_way.startswith(f"ok under way: {LIVE}/1 may still get late points")
    (unheard,) = told(T, {f"{LIVE}/0": task(True)}, one, 0)
    assert f"under way: {LIVE}/1" in unheard
    loading = {"state": "restoring", "position": 0, "processor": {}}
    (unloaded,) = told(T, {f"{LIVE}/0": task(True), f"{LIVE}/1": loading}, one, 0)
    assert f"under way: {LIVE}/1" in unloaded
    (finished,) = told(T, {f"{LIVE}/{n}": task(True) for n in range(2)}, one, 0)
    assert "finished since 2024-10-04T01:00:00Z; nothing of telemetry.raw can change" in finished


def test_windows_that_lie_in_two_topics_are_warned_of():
    one = definition("m", "10s, 1d")
    warned = told(T - 1, {}, one, T - DAY)[1]
    assert warned.startswith("warn m has windows that begin before 2024-10-04T01:00:00Z")
    assert told(T - 1, {}, one, T)[1:] == []
