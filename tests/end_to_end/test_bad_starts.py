"""What keeps `tidemill up` from starting is said once, on one line, with the next step."""

from __future__ import annotations

import fcntl
import socket
import subprocess
from typing import Any

Up = Any  # of conftest.py


def refusal(up: Up, *more: str) -> str:
    """What is said by a start that fails at once."""
    done = subprocess.run(
        [*up.command, *more],
        cwd=up.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert not list(up.data.glob("logs/*")), "no process may have been started"
    return done.stderr


def test_a_port_in_use_is_named_with_the_flag_that_chooses_another(own_up: Up):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", own_up.edge))
        taken.listen()
        said = refusal(own_up)
    assert f"port {own_up.edge} for the edge is in use" in said
    assert "tidemill up --edge-port N" in said
    assert said.count("\n") == 1


def test_data_of_another_version_is_left_alone(own_up: Up):
    own_up.data.mkdir()
    (own_up.data / "VERSION").write_text("7\n")
    said = refusal(own_up)
    assert "data version 7" in said
    assert "tidemill up --data OTHER" in said
    assert said.count("\n") == 1
    assert sorted(path.name for path in own_up.data.iterdir()) == ["VERSION"]


def test_a_data_folder_that_another_stack_holds_is_left_alone(own_up: Up):
    own_up.data.mkdir()
    with (own_up.data / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        said = refusal(own_up)
    assert "another `tidemill up` runs on .tidemill" in said
    assert "--data OTHER" in said
    assert not (own_up.data / "settings.json").exists()


def test_a_definition_with_a_mistake_is_shown_with_its_line(own_up: Up):
    folder = own_up.folder / "definitions"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "apiVersion: tidemill/v1\nkind: Metric\nname: my.requests\n"
        "source: {metric: my.request.count}\ntime: {granularities: [10s]}\n"
        "aggregate: {over_time: increaze, over_space: sum}\n"
    )
    said = refusal(own_up)
    assert "mine.yaml:6:" in said
    assert "increase" in said


def test_definitions_that_are_not_there_are_missed(own_up: Up):
    said = refusal(own_up, "--definitions", "nowhere.yaml")
    assert "nowhere.yaml" in said
    assert "No such file" in said


def test_a_file_of_aggregates_that_fails_is_shown_with_its_line(own_up: Up):
    said = refusal(own_up, "--aggregates", "nowhere.py")
    assert "nowhere.py: there is no such file of aggregates" in said
    (own_up.folder / "aggregates").mkdir()
    (own_up.folder / "aggregates" / "mine.py").write_text("import numpy\n\nnumpy.median_of\n")
    said = refusal(own_up)
    assert "aggregates/mine.py:3: cannot be imported: AttributeError" in said
    assert said.count("\n") == 1


def test_too_few_workers_are_a_usage_error(own_up: Up):
    done = subprocess.run(
        [*own_up.command, "--workers", "0"], cwd=own_up.folder, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
