"""`tidemill registry preview`: what definitions would make of traffic, against plain counting."""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tidemill.main import main

SECOND = 10**9
START = 1_800_000_000
DEFINITIONS = """\
apiVersion: tidemill/v1
kind: Metric
name: served
description: Requests served
owner: me
source: {metric: requests, unit: "1"}
space: {keep: [route]}
time: {granularities: [10s, 1m], grace: 5s, corrections: 1h}
aggregate: {over_time: increase}
---
apiVersion: tidemill/v1
kind: Metric
name: took
description: Seconds
owner: me
source: {metric: duration, unit: s}
space: {keep: []}
time: {granularities: [10s], grace: 5s}
aggregate: {over_time: avg, over_space: avg}
"""


def counter(route: str, time: int, value: int, start: int = START + 1) -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="requests")
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
    point = metric.sum.data_points.add(
        start_time_unix_nano=start * SECOND, time_unix_nano=time * SECOND, as_int=value
    )
    point.attributes.add(key="route").value.string_value = route
    return request.SerializeToString()


def gauge(name: str, unit: str, time: int, value: float) -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=name, unit=unit)
    metric.gauge.data_points.add(time_unix_nano=time * SECOND, as_double=value)
    return request.SerializeToString()


def traffic(folder: Path, requests: list[bytes]) -> Path:
    sized = b"".join(struct.pack(">I", len(each)) + each for each in requests)
    (folder / "traffic.bin").write_bytes(sized)
    return folder / "traffic.bin"


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    (tmp_path / "served.yaml").write_text(DEFINITIONS)
    return tmp_path / "served.yaml"


def run(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    code = main(["registry", "preview", *map(str, args)])
    told = capsys.readouterr()
    return code, told.out, told.err


def told(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, dict[str, Any]]:
    code, out, _ = run(capsys, *args, "-o", "json")
    return code, json.loads(out)


def test_rows_and_groups_and_points_are_those_of_plain_counting(
    tmp_path: Path, definitions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests: list[bytes] = []
    added: dict[tuple[int, str], int] = defaultdict(int)
    for number in range(1, 31):
        for route, each in (("/a", 3), ("/b", 1)):
            time = START + 2 * number
            requests.append(counter(route, time, each * number))
            added[-(-time // 10) * 10, route] += each
    file = traffic(tmp_path, requests)
    code, found = told(capsys, definitions, "--from", file, "--name", "served", "--rows", "100")
    assert code == 0
    assert (found["requests"], found["points"], found["streams"]) == (60, 60, 2)
    assert found["lost"] == {}
    (served,) = found["definitions"]
    fine, coarse = served["granularities"]
    assert (fine["windows"], fine["groups"], fine["rows"]) == (6, 2, len(added))
    assert fine["rows_a_day"] == 2 * 8640
    assert (coarse["windows"], coarse["groups"], coarse["rows_a_day"]) == (1, 2, 2 * 1440)
    assert (served["points"], served["late_points"], served["corrected_rows"]) == (60, 0, 0)
    assert len(served["sample"]) == len(added)
    for row in served["sample"]:
        end = int(datetime.fromisoformat(row["window_end"]).timestamp())
        assert row["value"] == added.pop((end, row["labels"]["route"]))


def test_late_points_resets_and_refusals_are_told(
    tmp_path: Path, definitions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = [
        counter("/a", START + 1, 5),
        counter("/a", START + 11, 9),
        counter("/a", START + 21, 2),  # it fell
        counter("/a", START + 40, 3),
        counter("/a", START + 19, 10),  # late
        counter("/a", START + 40, 3),  # a repeat
        gauge("duration", "By", START + 40, 1.0),
    ]
    code, found = told(capsys, definitions, "--from", traffic(tmp_path, requests))
    served, took = found["definitions"]
    assert code == 1, "one makes no row"
    assert found["lost"] == {"repeats": 1}
    assert (served["late_points"], served["corrected_rows"]) == (1, 1), "from 9 or 10 it fell"
    assert served["granularities"][0]["rows_a_day"] == 8640
    assert served["resets"] == {"decreased": 1, "unknown-start": 1}
    assert not took["sample"]
    assert any("unit" in why for why in took["refused"])


def test_one_file_makes_nothing_late_of_another(
    tmp_path: Path, definitions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old").mkdir()
    new = traffic(tmp_path, [counter("/a", START + 86_400, 5), counter("/a", START + 86_410, 9)])
    old = traffic(tmp_path / "old", [counter("/b", START + 11, 5), counter("/b", START + 21, 9)])
    _, found = told(capsys, definitions, "--from", new, "--from", old, "--name", "served")
    (served,) = found["definitions"]
    assert (served["late_points"], found["lost"]) == (0, {})


def test_people_read_the_same(
    tmp_path: Path, definitions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = [counter("/a", START + number, number) for number in range(1, 21)]
    code, out, _ = run(capsys, definitions, "--from", traffic(tmp_path, requests))
    assert code == 1
    assert "20 requests: 20 points of 1 stream\n" in out
    assert "served reads requests\n  10s: 2 windows, 1 group, 2 rows; at most 8,640 rows" in out
    assert "took reads duration\n  no row:" in out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--name", "other"], "no definition is named other"),
        (["--since", "soon"], "--since"),
        (["--bootstrap-servers", "127.0.0.1:9"], "tidemill up"),
        (["--from", "nowhere.bin"], "is the path right?"),
    ],
)
def test_mistakes_are_told_with_the_way_out(
    definitions: Path, capsys: pytest.CaptureFixture[str], args: list[str], said: str
) -> None:
    code, out, err = run(capsys, definitions, *args)
    assert code not in (0, 1) or "--bootstrap-servers" in args
    assert code
    assert (out, said in err) == ("", True)
