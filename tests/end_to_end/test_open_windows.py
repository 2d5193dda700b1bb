"""What open windows hold, asked of a running stack, against the oracle over the log's records."""

from __future__ import annotations

import json
import struct
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import definitions, kafka_log, windows
from oracle import log as oracle_log
from oracle.histograms import Histogram, mark, of_json
from oracle.log import LIVE, Record
from oracle.oracle import compute

ROOT = Path(__file__).parents[2]
PASSING = ("away", "settling", "restoring", "joining", "nowhere")
AFTER = b'{"time":%d}' % (4_000_000_000 * 10**9)
Up = Any  # of conftest.py


def ask(port: int, metric: str, **asked: str) -> dict[str, Any]:
    """The answer of the worker there, or its error."""
    url = f"http://127.0.0.1:{port}/windows/{metric}?{urlencode(asked)}"
    try:
        with urllib.request.urlopen(url, timeout=40) as answer:
            return json.load(answer)
    except HTTPError as refusal:
        return {"retry": refusal.headers.get("Retry-After"), **json.load(refusal)}
    except OSError:
        return {"error": "away"}


def wanted(up: Any, definition: definitions.Definition, size: str, answer: Any) -> dict[Any, Any]:
    """What open windows hold of the records before the positions of an answer."""
    log = kafka_log.read(f"127.0.0.1:{up.broker}", [LIVE])
    before: dict[tuple[str, int], list[Record]] = {}
    for (topic, partition), records in log.items():
        position = answer["position"][f"{topic}/{partition}"]
        mine = [record for record in records if record.offset < position]
        before[topic, partition] = [*mine, Record(position, {"control": b"idle"}, AFTER)]
    first = compute(oracle_log.read(before), [definition]).first
    closed = answer["closed_until"] or 0
    return {
        (key.window_end, key.labels): (mark(cell[LIVE].value), cell[LIVE].points)
        for key, cell in first.items()
        if key.size == windows.parse(size, "UTC") and key.window_end > closed
    }


def said(answer: Any) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for row in answer["rows"]:
        assert row["open"]
        value: int | Histogram
        if "histogram" in row:
            value = of_json(row["histogram"])
        else:
            (value,) = struct.unpack("<Q", struct.pack("<d", float(row["value"])))
        found[row["window_end"], tuple(sorted(row["labels"].items()))] = value, row["points"]
    return found


ASKED = [
    ("host.cpu.utilization", "10s"),
    ("host.cpu.utilization", "1m"),
    ("host.cpu.seconds", "1m"),
    ("host.cpu.utilization.peak", "1h"),
]


def check(up: Up, definition: definitions.Definition, size: str) -> None:
    def holds() -> dict[str, Any] | None:
        found = ask(up.worker, definition.name, granularity=size, limit="1000", wait_ms="10000")
        assert found.get("error") in (None, *PASSING), found
        return found if found.get("rows") else None

    answer = up.wait(holds, f"open {size} window of {definition.name}")
    assert said(answer) == wanted(up, definition, size, answer)


def test_what_open_windows_hold_is_what_the_log_says(up: Up):
    every = definitions.load(ROOT / "metric_registry" / "definitions")
    by_name = {definition.name: definition for definition in every}
    for name, size in ASKED * 2:
        check(up, by_name[name], size)
    (shape,) = (
        definitions.parse(document)
        for document in yaml.safe_load_all((up.folder / "definitions" / "happy.yaml").read_text())
        if document["name"] == "shape.processors"
    )
    check(up, shape, "1m")


def test_the_command_shows_them(up: Up):
    up.wait(lambda: ask(up.worker, "host.cpu.processors").get("rows"), "open window")
    rows = up.wait(lambda: up.json("query", "host.cpu.processors", "--open")["rows"], "its row")
    assert rows[0]["labels"].keys() == {"host.name", "tenant"}
    assert rows[0]["value"] >= 1
    assert rows[0]["open"] is True
    up.wait(lambda: "seals" in up.tidemill("query", "shape.processors", "--open"), "table")
    assert "p99" in up.tidemill("query", "shape.processors", "--open", "--quantile", "0.99")
    assert up.tidemill("query", "cloudwatch.cpu.mean", "--open") == ""
    up.tidemill("query", "host.cpu.processors", "--open", "--since", "5m", code=2)
    up.tidemill("query", "host.cpu.processors", "--open", "--where", "host=x", code=1)
