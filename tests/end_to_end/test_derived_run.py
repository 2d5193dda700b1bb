"""A derived definition on a running stack: its view comes, follows, and goes."""

from __future__ import annotations

from typing import Any

Up = Any  # of conftest.py
INPUT = """apiVersion: tidemill/v1
kind: Metric
name: {name}
description: How often the share of time was measured
owner: me
source: {{metric: system.cpu.utilization, unit: "1"{where}}}
space: {{keep: [{keep}]}}
time: {{granularities: [10s, 1m], grace: 2s, corrections: 1h}}
aggregate: {{over_points: count}}
"""
DERIVED = """---
apiVersion: tidemill/v1
kind: Derived
name: idle.share
description: Share of the measurements that are of idle time
owner: me
unit: "{unit}"
derive: {{ratio: {{of: idle.count, by: every.count}}}}
"""


def definitions(unit: str = "") -> str:
    inputs = [
        INPUT.format(name="idle.count", where=", where: {cpu.mode: idle}", keep="host.name"),
        INPUT.format(name="every.count", where="", keep="host.name, cpu.mode"),
    ]
    return "---\n".join(inputs) + (DERIVED.format(unit=unit) if unit else "")


def test_a_view_comes_with_apply_changes_and_is_taken_back(own_up: Up) -> None:
    up = own_up
    file = up.folder / "definitions" / "derived.yaml"
    file.parent.mkdir()
    file.write_text(definitions())
    up.start()
    up.wait(lambda: up.counted("idle.count"), "window of an input")
    file.write_text(definitions("1"))
    assert "new derived definition idle.share" in up.tidemill("registry", "apply")
    views = "SELECT name FROM system.tables WHERE database = 'tidemill' AND name = 'idle.share'"
    up.wait(lambda: up.rows(views), "view")
    rows = up.wait(lambda: up.json("query", "idle.share"), "row")
    held = "SELECT sum(value) FROM tidemill.rollups WHERE rollup = '{}' AND window_end = '{}' "
    held += "AND granularity = '10s'"
    for row in rows:
        assert 0 < row["value"] < 1
        assert row["value"] == row["inputs"]["idle.count"] / row["inputs"]["every.count"]
        for name, number in row["inputs"].items():
            assert up.rows(held.format(name, row["window_end"].rstrip("Z"))) == [(number,)]
    assert up.tidemill("query", "idle.share", "--open", code=2) == ""

    file.write_text(definitions("%"))
    assert "its view computes all rows by it" in up.tidemill("registry", "apply")
    percent = "SELECT count(), countIf(value > 1) FROM tidemill.`idle.share` WHERE unit = '%'"
    up.wait(lambda: up.rows(percent)[0][0], "row in percent")
    assert up.rows(percent)[0][0] == up.rows(percent)[0][1]
    assert "changes from version" in up.tidemill("registry", "rollback")
    up.wait(lambda: up.rows(percent)[0][0] == 0, "view as it was before")
    file.write_text(definitions())
    assert "goes with its view" in up.tidemill("registry", "apply", "--delete")
    up.wait(lambda: not up.rows(views), "view that is gone")
    names = {name for name, *_ in up.published()}
    assert "idle.count" in names
    assert "idle.share" not in names
