"""A definition's next version runs beside the one in force, is compared with it, and takes over."""

from __future__ import annotations

import json
from typing import Any

Up = Any  # of conftest.py
TRIED = """apiVersion: tidemill/v1
kind: Metric
name: tried
description: How often the share of time was measured
owner: me
source: {{metric: system.cpu.utilization, unit: "1"}}
space: {{keep: [{}]}}
time: {{granularities: [10s, 1m], grace: 2s, corrections: 1h}}
aggregate: {{over_points: count}}
"""


def test_a_candidate_counts_the_same_points_and_nobody_but_the_store_hears_of_it(own_up: Up):
    up = own_up
    file = up.folder / "definitions" / "tried.yaml"
    file.parent.mkdir()
    file.write_text(TRIED.format("cpu.mode"))
    up.start()
    up.wait(lambda: up.counted("tried"), "window of the first version")
    file.write_text(TRIED.format("host.name"))
    assert "beside it, in the store alone" in up.tidemill("registry", "apply", "--candidate")
    assert "nothing changes" in up.tidemill("registry", "apply", "--candidate")
    assert up.tidemill("registry", "compare", "tried.candidate")

    def compared() -> dict[str, Any]:
        told = up.tidemill("registry", "compare", "--settled", "3", "--output", "json")
        (one,) = json.loads(told)
        found: dict[str, Any] = one["windows"]["10s"]
        assert one["over"] == ["cpu.mode", "host.name"]
        return found if found["windows"] > 1 else {}

    found = up.wait(compared, "two windows of both", 120)
    assert found["same"], found
    assert found["both"] == found["windows"]
    assert found["candidate"]["points"] == found["in_force"]["points"] > 0
    up.counts_all_once(after=0, rollup="tried")
    rows = up.json("query", "tried.candidate")
    assert {row["rollup"] for row in rows} == {"tried.candidate"}

    applied = up.tidemill("registry", "apply")
    assert "the candidate of tried ends" in applied
    assert "tried changes from version" in applied
    versions = "SELECT count(DISTINCT version) FROM tidemill.rollups WHERE rollup = 'tried'"
    up.wait(lambda: up.rows(versions) == [(2,)], "window of the version that was tried", 120)
    names = {name for name, *_ in up.published()}
    assert "tried" in names
    assert not any(name.endswith(".candidate") for name in names)
    assert up.tidemill("registry", "compare", code=1) == ""
