"""`tidemill check-otlp` reads every form of file, and says what it found by its exit code."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import cramjam
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tidemill.main import main

ROOT = Path(__file__).parents[3]
SECOND = 1_000_000_000


def requests(*values: float, start: int = 1) -> list[ExportMetricsServiceRequest]:
    """A cumulative counter, one point a request, ten seconds apart."""
    made = []
    for number, value in enumerate(values, 1):
        request = ExportMetricsServiceRequest()
        scope = request.resource_metrics.add().scope_metrics.add()
        metric = scope.metrics.add(name="requests", unit="1")
        metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
        metric.sum.data_points.add(
            start_time_unix_nano=start * SECOND,
            time_unix_nano=(start + 10 * number) * SECOND,
            as_double=value,
        )
        made.append(request)
    return made


GOOD = requests(1, 2, 3)
BAD = requests(1, 5, 3)


def as_json(request: ExportMetricsServiceRequest) -> bytes:
    return json.dumps(MessageToDict(request)).encode()


def json_lines(all_of: list[ExportMetricsServiceRequest]) -> bytes:
    return b"".join(as_json(request) + b"\n" for request in all_of)


def sized(all_of: list[ExportMetricsServiceRequest]) -> bytes:
    bodies = [request.SerializeToString() for request in all_of]
    return b"".join(struct.pack(">I", len(body)) + body for body in bodies)


def sized_zstd(all_of: list[ExportMetricsServiceRequest]) -> bytes:
    bodies = [bytes(cramjam.zstd.compress(r.SerializeToString())) for r in all_of]
    return b"".join(struct.pack(">I", len(body)) + body for body in bodies)


def delimited(all_of: list[ExportMetricsServiceRequest]) -> bytes:
    bodies = [request.SerializeToString() for request in all_of]
    return b"".join(bytes([len(body)]) + body for body in bodies)


def delimited_zstd(all_of: list[ExportMetricsServiceRequest]) -> bytes:
    return bytes(cramjam.zstd.compress(delimited(all_of)))


FORMS = [json_lines, sized, sized_zstd, delimited, delimited_zstd]


@pytest.mark.parametrize("write", FORMS, ids=lambda write: write.__name__)
def test_files_of_every_form_are_read_without_being_told_which(
    write: Callable[[list[ExportMetricsServiceRequest]], bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "good").write_bytes(write(GOOD))
    (tmp_path / "bad").write_bytes(write(BAD))
    assert main(["check-otlp", str(tmp_path / "good")]) == 0
    assert "3 requests, 3 points: 0 violations, 0 warnings, 0 notes" in capsys.readouterr().err
    assert main(["check-otlp", str(tmp_path / "bad"), "-o", "json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["code"], found["severity"]) == ("decrease-without-reset", "violation")
    assert found["where"].startswith(str(tmp_path / "bad"))


def test_many_files_are_one_stream_each_a_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    files = [tmp_path / f"{number}.binpb" for number in range(3)]
    for file, request in zip(files, BAD, strict=True):
        file.write_bytes(request.SerializeToString())
    assert main(["check-otlp", *map(str, files)]) == 1
    said = capsys.readouterr()
    assert "decrease-without-reset" in said.out.splitlines()[1]
    assert "2.binpb" in said.out
    assert "after losing state" in said.err


def test_a_json_document_over_many_lines_is_one_request(tmp_path: Path):
    file = tmp_path / "pretty.json"
    file.write_text(json.dumps(MessageToDict(GOOD[0]), indent=2))
    assert main(["check-otlp", str(file)]) == 0


def test_a_line_that_is_no_otlp_is_a_violation_and_the_rest_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(as_json(GOOD[0]) + b'\n{"resourceMetrics": 7}\n' + as_json(GOOD[1]) + b"\n")
    assert main(["check-otlp", str(file), "-o", "jsonl"]) == 1
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["code"], found["where"]) == ("undecodable-request", f"{file}:2")
    assert "2 points" in said.err


def test_warnings_count_under_strict_and_notes_never(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "file"
    file.write_bytes(json_lines([*GOOD, *requests(1, 2, start=60)]))
    assert main(["check-otlp", str(file), "--strict"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["check-otlp", str(file), "--strict", "--notes", "-o", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["code"] == "reset"
    file.write_bytes(json_lines([GOOD[0], GOOD[0]]))
    assert main(["check-otlp", str(file)]) == 0
    assert main(["check-otlp", str(file), "--strict"]) == 3
    assert "repeated-request" in capsys.readouterr().out


def test_a_flood_is_cut_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "file"
    file.write_bytes(json_lines(requests(*range(50, 0, -1))))
    assert main(["check-otlp", str(file), "--limit", "3", "-o", "jsonl"]) == 1
    said = capsys.readouterr()
    assert said.out.count("\n") == 3
    assert "the first 3 of 49; see all with --limit 0" in said.err
    assert main(["check-otlp", str(file), "--limit", "0", "-o", "jsonl"]) == 1
    assert capsys.readouterr().out.count("\n") == 49


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "name files, or a topic with --topic"),
        ("file --topic metrics", "name files, or a topic with --topic"),
        ("--topic metrics", "say where to stop: --until-end, or --records N"),
        ("--topic metrics --until-end --records 5", "say where to stop"),
        ("nowhere.binpb", "is the path right?"),
        ("text", "say which with --format"),
        ("text --format sized", "ends within a request"),
    ],
)
def test_what_cannot_be_read_is_a_usage_error(
    words: str,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "text").write_text("no metrics\n")
    with contextlib.chdir(tmp_path):
        assert main(["check-otlp", *words.split()]) == 2
    assert said in capsys.readouterr().err


def test_a_broker_that_is_away_is_exit_code_four(capsys: pytest.CaptureFixture[str]):
    words = "check-otlp --topic metrics --until-end --bootstrap-servers 127.0.0.1:9"
    assert main(words.split()) == 4
    assert "tidemill up" in capsys.readouterr().err


def test_this_hosts_recording_breaks_no_rule():
    assert main(["check-otlp", str(ROOT / "tests/data/host_10m.otlp.zst"), "--strict"]) == 0
