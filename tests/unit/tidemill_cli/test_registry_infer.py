"""`tidemill registry infer`: drafts of files of every form, that a check has nothing against."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidemill.main import main

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests/data"
SCRAPE = """\
# HELP http_requests_total Requests served.
# TYPE http_requests_total counter
http_requests_total{method="get",instance="a"} 7 1700000000000
http_requests_total{method="put",instance="a"} 3
# TYPE took_seconds histogram
took_seconds_bucket{le="0.1"} 2
took_seconds_bucket{le="1"} 5
took_seconds_bucket{le="+Inf"} 6
took_seconds_sum 4.5
took_seconds_count 6
# TYPE gc_seconds summary
gc_seconds{quantile="0.5"} 1
gc_seconds_sum 3
gc_seconds_count 2
up 1
"""


def run(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    code = main(["registry", "infer", *map(str, args)])
    told = capsys.readouterr()
    return code, told.out, told.err


def definitions(text: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in yaml.safe_load_all(text) if one}


def strictly_good(folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (folder / "drafts.yaml").write_text(text, encoding="utf-8")
    code = main(["registry", "check", "--strict", str(folder / "drafts.yaml")])
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("files", "drafted"),
    [
        (sorted((DATA / "nab").glob("*.csv")), 6),
        ([DATA / "node_exporter/e2e-output.txt"], 1181),
        ([ROOT / "tests/unit/encodings/otlp_example.json"], 4),
        ([DATA / "dcgm/default-counters.csv"], 25),
    ],
)
def test_drafts_of_real_samples_have_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: list[Path], drafted: int
) -> None:
    code, out, err = run(capsys, *files)
    assert code == 0
    assert len({one["source"]["metric"] for one in definitions(out).values()}) == drafted
    assert f"of {drafted:,} metrics" in err
    strictly_good(tmp_path, capsys, out)


def test_the_draft_of_the_readme_is_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "metric_registry/README.md").read_text()
    (shown,) = [
        block for block in re.findall(r"```yaml\n(.*?)```", page, re.S) if "# node" in block
    ]
    scrape = DATA / "node_exporter/e2e-output.txt"
    assert run(capsys, scrape, "--match", "node_cpu_seconds_total")[1] == shown


def test_a_scrape_becomes_what_the_collector_would_make_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scrape.txt").write_text(SCRAPE)
    code, out, _ = run(capsys, tmp_path / "scrape.txt", "--owner", "team-web")
    made = definitions(out)
    assert code == 0
    assert made["http_requests.increase"] == {
        "apiVersion": "tidemill/v1",
        "kind": "Metric",
        "name": "http_requests.increase",
        "description": "Requests served: how much was added, over all",
        "owner": "team-web",
        "source": {"metric": "http_requests_total", "unit": "{request}"},
        "space": {"keep": ["method"]},
        "time": {"granularities": ["1m", "1h", "1d"]},
        "aggregate": {"over_time": "increase"},
    }
    took = made["took_seconds.histogram"]
    assert took["aggregate"] == {"over_points": {"explicit_histogram": [0.1, 1.0]}}
    assert took["source"] == {"metric": "took_seconds", "unit": "s", "instrument": "histogram"}
    assert made["up.share"]["space"] == {"keep": []}
    assert "# gc_seconds: quantiles of summaries do not add up" in out
    strictly_good(tmp_path, capsys, out)


def fleet(path: Path) -> Path:
    """A scrape a minute of 3 hosts with 8 GPUs, as dcgm-exporter's fleet export writes it."""
    head = ["timestamp", "metric_name", "gpu_id", "device", "uuid", "modelName", "Hostname"]
    head += ["container", "pod", "namespace", "value", "labels_raw"]
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(head)
    for minute in range(3):
        for gpu in range(24):
            where = [gpu % 8, f"nvidia{gpu % 8}", f"GPU-{gpu:032x}", "H100", f"node-{gpu // 8}"]
            raw = f'gpu="{gpu % 8}",modelName="H100"'
            values = {
                "DCGM_FI_DEV_GPU_UTIL": 50 + gpu,
                "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": 1e9 + minute,
                "DCGM_FI_DEV_FB_USED": 9223372036854775794 if gpu == 5 else 2.0**31,
            }
            for name, value in values.items():
                at = f"2026-01-01T00:0{minute}:00Z"
                rows.writerow([at, name, *where, "", "", "", value, raw])
    path.write_text(text.getvalue())
    return path


def test_a_gpu_fleet_is_rolled_up_by_host_with_the_units_of_the_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = fleet(tmp_path / "fleet.csv")
    code, out, err = run(capsys, samples, DATA / "dcgm/default-counters.csv", "--match", "*_DEV_*")
    assert code == 0
    made = definitions(out)
    use = made["DCGM_FI_DEV_GPU_UTIL.mean"]
    assert use["source"]["unit"] == "%"
    assert use["space"] == {"keep": ["Hostname", "modelName"]}
    assert use["time"]["granularities"] == ["1m", "1h", "1d"]
    energy = made["DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION.increase"]
    assert energy["source"]["unit"] == "mJ"
    assert "72 samples are DCGM's blank" in err
    assert "24 streams, 72 points, every 60 s, values from 50 to 73" in out
    assert "uuid       24 values" in out
    assert not [name for name in made if "_PROF_" in name]
    strictly_good(tmp_path, capsys, out)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("some.csv", "timestamp,value\n1,2\n", "does not say what it holds"),
        ("some.txt", "} no such thing {{{\n", "is in no form that is known here"),
        ("some.bin", "\0\0\0\1", "request"),
    ],
)
def test_what_is_no_traffic_is_refused_with_what_would_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    code, _, err = run(capsys, tmp_path / name)
    assert code != 0
    assert said in err
    assert "Traceback" not in err


def test_rows_that_hold_no_sample_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "timestamp,metric_name,value,host\n1700000000,m,1,a\nlately,m,2,a\n1700000060,m,x,a\n"
    (tmp_path / "some.csv").write_text(rows)
    code, out, err = run(capsys, tmp_path / "some.csv")
    assert code == 0
    assert "2 rows hold no sample; the first:" in err
    assert "some.csv:3" in err
    assert "1 stream, 1 point" in out


def test_nothing_to_draft_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    code, out, err = run(capsys, tmp_path / "empty.txt")
    assert (code, out) == (1, "")
    assert "is empty" in err
    assert "nothing was found" in err


def test_a_file_that_is_there_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scrape.txt").write_text(SCRAPE)
    to = tmp_path / "drafts.yaml"
    assert run(capsys, tmp_path / "scrape.txt", "--to", to)[0] == 0
    before = to.read_text()
    code, _, err = run(capsys, tmp_path / "scrape.txt", "--to", to)
    assert code == 2
    assert "is there already" in err
    assert to.read_text() == before


def test_without_a_log_the_way_out_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--bootstrap-servers", "127.0.0.1:9")
    assert code not in (0, 2)
    assert "tidemill up" in err


def test_lines_of_json_that_are_no_requests_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = json.loads((ROOT / "tests/unit/encodings/otlp_example.json").read_text())
    lines = [json.dumps(example), '{"resourceMetrics": 5}']
    (tmp_path / "lines.json").write_text("\n".join(lines) + "\n")
    code, out, err = run(capsys, tmp_path / "lines.json")
    assert code == 0
    assert "my.gauge.total" in definitions(out)
    assert "lines.json:2 is no request" in err
