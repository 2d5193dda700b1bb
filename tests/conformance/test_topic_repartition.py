"""`tidemill topic repartition` before a real broker: what it announces, refuses, and leaves behind.

The change itself, with edges and workers, is run by `tests/real/repartition.py`.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidemill.main import main

DEFINITION = """
apiVersion: tidemill/v1
kind: Metric
name: {name}
description: Of a change
owner: tests
source: {{metric: requests, unit: "1"}}
space: {{keep: []}}
time: {{granularities: [{sizes}], zone: {zone}, grace: 2s, corrections: 1h}}
aggregate: {{over_time: increase, over_space: sum}}
"""


def write(folder: Path, name: str, sizes: str, zone: str = "UTC") -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(DEFINITION.format(name=name, sizes=sizes, zone=zone))


def test_a_change_is_announced_once_and_definitions_that_come_later_wait_for_it(
    broker_process: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data, files = tmp_path / "data", tmp_path / "definitions"
    write(files, "served", "10s, 1d", "Europe/Berlin")
    data.mkdir()
    settings = data / "settings.json"
    settings.write_text('{"starter_definitions": false, "worker_port": 9}')
    init = ["init", "--data", str(data), "--bootstrap", broker_process, "--definitions", str(files)]
    assert main([*init, "--partitions", "2"]) == 0
    change = ["topic", "repartition", "--settings", str(settings), "-o", "json"]

    def said(*words: str, code: int) -> str:
        capsys.readouterr()
        assert main([*change, *words]) == code
        told = capsys.readouterr()
        assert told.err.count("\n") == (1 if code else 0)
        return told.err if code else told.out

    assert "too soon, or already past" in said(
        "--partitions", "3", "--at", "2026-01-01T00:00:00+01:00", code=1
    )
    within = said("--partitions", "3", "--at", "2031-07-01T00:00:00Z", code=1)
    assert "the next time at which all end is 2031-07-01T22:00:00Z" in within  # days of Berlin
    assert "has 2 partitions already" in said("--partitions", "2", code=1)
    (would,) = json.loads(said("--partitions", "3", "--dry-run", code=0))
    assert would["announced"] == "no"
    at = ("--at", "2031-07-01T22:00:00Z")
    (decided,) = json.loads(said("--partitions", "3", *at, code=0))
    expected = {"topic": "telemetry.raw.e2", "partitions": 3, "key": "tenant and resource"}
    also = {"before": "telemetry.raw (2)", "announced": "yes"}
    assert decided == {"from": at[1], **expected, **also}

    capsys.readouterr()
    assert main(["topic", "epochs", "--settings", str(settings), "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed[1] == {**expected, "since": at[1]}

    write(files, "later", "1d")  # days of UTC, of which one holds that time
    write(files, "sooner", "10s")
    assert main([*init, "--partitions", "2"]) == 0
    sentences = capsys.readouterr().out
    assert re.search(
        r"definition later: it counts from 2031-07-01T22:00:00Z on, when telemetry.raw.e2 begins; "
        r"it has windows that do not end at that time",
        sentences,
    )
    found = re.search(r"definition sooner: it counts from (\S+) on\n", sentences)
    assert found is not None
    assert datetime.fromisoformat(found[1]) < datetime(2031, 1, 1, tzinfo=UTC)
    main(["doctor", "--settings", str(settings)])
    told = capsys.readouterr().out
    assert "announced: 3 partitions from 2031-07-01T22:00:00Z on" in told
    assert "not published" not in told
