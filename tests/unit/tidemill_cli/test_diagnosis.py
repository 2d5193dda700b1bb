"""`doctor` finds what is wrong with a machine, and says what to do about it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from tidemill.diagnosis import machine, stack
from tidemill.diagnosis.finding import Finding
from tidemill.main import main
from tidemill.settings import Settings


def levels(findings: list[Finding]) -> dict[str, str]:
    return {finding.name: finding.level for finding in findings}


def nowhere(folder: Path, **changed: object) -> Settings:
    """Settings of a stack that does not run."""
    ports = {"broker_port": 9, "broker_metrics_port": 9, "edge_port": 9, "worker_port": 9}
    places = {"bootstrap": "127.0.0.1:9", "store_url": "http://127.0.0.1:9"}
    return Settings(**{"data": str(folder), **ports, **places, **changed})


def test_this_machine_is_well(tmp_path: Path):
    settings = nowhere(tmp_path)
    found = [finding for check in machine.CHECKS for finding in check(settings)]
    assert {"python", "packages", "names", "data", "disk", "fsync", "clock"} <= levels(found).keys()
    assert all(f.level != "fail" for f in found), found
    assert all(f.advice for f in found if f.level != "ok")


def test_a_data_folder_of_another_version_is_found(tmp_path: Path):
    (tmp_path / "VERSION").write_text("9\n")
    (found, *_) = machine.data_folder(nowhere(tmp_path))
    assert found.level == "fail"
    assert "data version 9" in found.text
    assert "--data OTHER" in found.advice


def test_a_clock_that_was_set_back_is_found(tmp_path: Path):
    settings = nowhere(tmp_path)
    settings.save()
    later = time.time() + 3600
    os.utime(settings.file, (later, later))
    (found,) = machine.clock(settings)
    assert found.level == "fail"
    assert "set back" in found.text


def test_a_stack_that_does_not_run_is_nothing_wrong(tmp_path: Path):
    async def all_of_it() -> list[Finding]:
        return [finding async for finding in stack.findings(nowhere(tmp_path))]

    found = asyncio.run(all_of_it())
    assert levels(found) == {"definitions": "ok", "stack": "ok"}


def test_a_stranger_on_a_port_and_missing_processes_are_told_apart(tmp_path: Path):
    async def with_stranger() -> list[Finding]:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = nowhere(tmp_path, edge_port=port)
        try:
            return [finding async for finding in stack.findings(settings)]
        finally:
            server.close()

    found = {finding.name: finding for finding in asyncio.run(with_stranger())}
    assert found["edge"].level == "fail"
    assert "does not answer as ours" in found["edge"].text
    assert "nothing listens" in found["broker"].text
    assert "logs/broker.log" in found["broker"].advice


def test_definitions_with_mistakes_are_found(tmp_path: Path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("kind: Metric\n")

    async def first() -> Finding:
        return await anext(stack.findings(nowhere(tmp_path, definitions=(str(bad),))))

    assert asyncio.run(first()).level == "fail"


def test_doctor_exits_one_when_something_will_not_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    settings = nowhere(tmp_path / "data")
    file = settings.save()
    assert main(["doctor", "--settings", str(file), "-o", "json"]) == 0
    capsys.readouterr()
    (tmp_path / "data" / "VERSION").write_text("9\n")
    assert main(["doctor", "--settings", str(file), "-o", "json"]) == 1
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["data"]["level"] == "fail"
