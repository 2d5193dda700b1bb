"""`tidemill registry statistics`, and what `explain` makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metric_registry.planner.statistics import Statistics
from tidemill.main import main

ROOT = Path(__file__).parents[3]
SCRAPE = ROOT / "tests/data/node_exporter/e2e-output.txt"
EXAMPLE = ROOT / "tests/unit/encodings/otlp_example.json"
DEFINITION = """\
apiVersion: tidemill/v1
kind: Metric
name: cpu.seconds
description: Processor time by mode
owner: nobody
source: {metric: node_cpu_seconds_total, unit: s}
space: {keep: [mode]}
time: {granularities: [1m], grace: 2s, corrections: 1h}
aggregate: {over_time: increase, over_space: sum}
"""


def run(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    code = main(["registry", *map(str, args)])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_scrape_is_counted_and_costs_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "traffic.statistics.json"
    code, out, err = run(capsys, "statistics", SCRAPE, "--to", file)
    assert (code, out) == (0, "")
    counted = Statistics.from_json(file.read_bytes())
    assert f"statistics {counted.hash}\n" in err
    assert f"registry explain --statistics {file}" in err
    cpu = counted.metrics["node_cpu_seconds_total"]
    assert (cpu.streams, cpu.attributes["mode"].distinct) == (64, 8)
    assert cpu.points_per_second == 0  # one scrape does not say how often they come

    (tmp_path / "cpu.yaml").write_text(DEFINITION)
    code, out, _ = run(
        capsys, "explain", tmp_path / "cpu.yaml", "--statistics", file, "--partitions", "8"
    )
    assert code == 0
    assert f"estimated from statistics {counted.hash}" in out
    assert "over 8 partitions" in out
    assert "reads 64 streams; how often they have points the statistics do not say" in out
    assert "1m: 8 groups, 0.133 rows a second out" in out
    code, out, _ = run(capsys, "explain", tmp_path / "cpu.yaml", "--statistics", file, "-o", "json")
    estimate = json.loads(out)["estimate"]
    assert (code, estimate["statistics"], estimate["partitions"]) == (0, counted.hash, 4)
    assert estimate["definitions"][0]["windows"][0]["groups"] == 8


def test_the_same_traffic_gives_the_same_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "traffic.json"
    assert run(capsys, "statistics", EXAMPLE, "--to", file)[0] == 0
    before = file.read_bytes()
    code, _, err = run(capsys, "statistics", EXAMPLE, "--to", file)
    assert (code, file.read_bytes()) == (0, before)
    assert "as before" in err
    code, out, _ = run(capsys, "statistics", EXAMPLE)
    assert out.encode() == before
    code, _, err = run(capsys, "statistics", SCRAPE, "--to", file)
    assert (code, "in place of" in err, "(4 gone)" in err or "4 gone" in err) == (0, True, True)


def test_what_cannot_be_used_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    code, _, err = run(capsys, "statistics", EXAMPLE, "--to", other)
    assert (code, other.read_text()) == (2, "mine")
    assert "no file of statistics that is whole: name a new file" in err
    (tmp_path / "cpu.yaml").write_text(DEFINITION)
    missing = tmp_path / "missing.json"
    for file, told in (
        (missing, f"make it with `tidemill registry statistics --to {missing}`"),
        (other, "not a file of statistics"),
    ):
        code, _, err = run(capsys, "explain", tmp_path / "cpu.yaml", "--statistics", file)
        assert (code, told in err.replace("\n", " ")) == (2, True), err
    code, _, err = run(capsys, "explain", tmp_path / "cpu.yaml", "--partitions", "0")
    assert (code, "--partitions is 1 or more" in err) == (2, True)
    nothing = tmp_path / "nothing.json"
    nothing.write_text('{"resourceMetrics": []}\n')
    code, _, err = run(capsys, "statistics", nothing)
    assert (code, "is there any traffic yet?" in err) == (1, True)
