"""What a deployment says of changes of partitions, and what they mean for definitions that come."""

from __future__ import annotations

from typing import Any

from metric_registry.check import check_files
from metric_registry.load import SourceFile
from metric_registry.plan import ResolvedDefinition
from tidemill.epochs import findings
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


def test_a_definition_counts_from_a_change_on_that_lies_within_its_windows():
    assert counts_from(definition("m", "10s, 1h"), T - DAY, KNOWN) == T - DAY
    assert counts_from(definition("m", "10s, 1d"), T - DAY, KNOWN) == T
    assert counts_from(definition("m", "10s, 1d"), T + 1, KNOWN) == T + 1
    later = Epochs((*KNOWN.later, Listed(f"{LIVE}.e3", 4, T + SECOND)))
    assert counts_from(definition("m", "10s, 1d"), T - DAY, later) == T + SECOND
    assert counts_from(definition("m", "1h/5m"), T - DAY, KNOWN) == T - DAY  # overlap anyway


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
