"""Levels of a hierarchy: metrics of their own to each command, computed from the streams."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from live_traffic import given, good

from metric_registry.check import Report, check_files
from metric_registry.load import SourceFile
from metric_registry.pages.catalogue import catalogue, page_of
from metric_registry.pages.site import site
from tidemill.main import main

LOAD = """apiVersion: tidemill/v1
kind: Metric
name: load.mean
description: Mean load of the hosts
owner: team
source: {metric: load, unit: "1"}
space:
  keep: [os]
  hierarchy:
    - cluster
    - region
    - {by: all, name: load.everywhere}
time: {granularities: [10s], grace: 2s, corrections: 1m}
aggregate: {over_time: avg, over_space: avg}
"""
SERVED = """apiVersion: tidemill/v1
kind: Metric
name: served
description: Requests served
owner: team
source: {metric: requests, unit: s}
space: {keep: [], hierarchy: [route, rack, all]}
time: {granularities: [10s, 1m], grace: 5s}
aggregate: {over_time: increase}
"""
SENT = """
streams:
  a1: {metric: load, resource: {region: eu, cluster: a, os: linux, host: h1}}
  a2: {metric: load, resource: {region: eu, cluster: a, os: linux, host: h2}}
  b1: {metric: load, resource: {region: eu, cluster: b, os: linux, host: h3}}
  c1: {metric: load, resource: {region: us, cluster: c, os: linux, host: h4}}
input:
  - send: {a1: {1s: 1}, a2: {1s: 3}, b1: {1s: 8}, c1: {1s: 0.5}}
"""
EXPECTED = {
    "load.mean": [
        ("{cluster: a, region: eu, os: linux}", 2),
        ("{cluster: b, region: eu, os: linux}", 8),
        ("{cluster: c, region: us, os: linux}", 0.5),
    ],
    "load.mean.by_region": [("{region: eu, os: linux}", 4), ("{region: us, os: linux}", 0.5)],
    "load.everywhere": [("{os: linux}", 3.125)],
}


def report() -> Report:
    found = check_files([SourceFile("load.yaml", LOAD.encode())])
    assert not found.findings, found.text()
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "load.yaml").write_text(LOAD)
    return tmp_path


def test_a_level_is_of_the_streams_and_not_of_the_level_below(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mean of three streams, not of two clusters' means: 4, not 5."""
    tests = [
        f"apiVersion: tidemill/v1\nkind: Test\nmetric: {name}\nname: each stream weighs the same"
        + SENT
        + "expect:\n  10s:\n"
        + "".join(
            f"    - {{end: 10s, labels: {labels}, value: {value}}}\n" for labels, value in rows
        )
        for name, rows in EXPECTED.items()
    ]
    (folder / "load.test.yaml").write_text("---\n".join(tests))
    code = main(["registry", "test", "load.yaml", "--strict"])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "3 tests" in said
    (folder / "load.test.yaml").write_text("---\n".join(tests).replace("value: 4}", "value: 5}"))
    assert main(["registry", "test", "load.yaml"]) == 1


def test_each_level_is_shown_with_its_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["registry", "show", "load.mean.by_region", "load.yaml"]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    shown = {words[1]: [each.strip() for each in words[2:] if each] for words in lines if words[1:]}
    assert shown["space.keep"] == ["[os, region]", "load.yaml:8"]
    assert shown["space.hierarchy"] == [
        "level region of cluster < region < all", "load.yaml:9"
    ]  # fmt: skip


def test_taking_a_definition_apart_is_no_change_of_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, end = LOAD.index("  keep:"), LOAD.index("time:")
    plain = LOAD[:start] + "  keep: [os, cluster, region]\n" + LOAD[end:]
    (folder / "before.yaml").write_text(plain)
    assert main(["registry", "diff", "before.yaml", "load.yaml"]) == 0
    said = capsys.readouterr().out
    assert "2 definitions differ (2 compatible); 1 definition the same" in said
    assert "load.everywhere: new" in said
    assert "load.mean.by_region: new" in said


def test_a_page_of_a_level_leads_to_the_others() -> None:
    entries = report().entries
    pages = {path: text.decode() for path, text in site(catalogue(entries)).items()}
    finest, shown, coarsest = (page_of(entry) for entry in entries)
    for other, by in ((finest, "cluster"), (coarsest, "all")):
        assert f'<a href="../{other}">{by}</a>' in pages[shown]
    assert "<strong>region</strong>" in pages[shown]


def test_live_data_is_told_once_for_all_levels(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a level claims, the finest one claims as well."""
    (folder / "served.yaml").write_text(SERVED)
    requests = [one.request for one in given(good())]
    sized = b"".join(struct.pack(">I", len(each)) + each for each in requests)
    (folder / "traffic.bin").write_bytes(sized)
    assert main(["registry", "live-check", "served.yaml", "--from", "traffic.bin"]) == 0
    said = capsys.readouterr().out
    assert "served.yaml:7:38: warning TM709: `served` keeps `rack`" in said
    assert said.count("TM709") == 1
    assert "1 definition held against" in said
