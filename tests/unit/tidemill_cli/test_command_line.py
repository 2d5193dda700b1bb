"""The command line says what it can do, and fails with one line and the right code."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemill.commands.catalogue import COMMANDS
from tidemill.commands.output import table
from tidemill.main import main

SUBCOMMANDS = (
    *("topic list", "topic repartition", "topic epochs"),
    *(
        "registry check",
        "registry test",
        "registry explain",
        "registry schema",
        "registry aggregates",
        "registry reference",
        "registry apply",
        "registry rollback",
        "registry history",
        "registry compare",
        "registry live-check",
        "registry docs",
        "registry lookup",
    ),
)
EVERY = [entry.name for entry in COMMANDS] + list(SUBCOMMANDS)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path) -> Iterator[None]:
    """A folder without a deployment."""
    with contextlib.chdir(tmp_path):
        yield


def run(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`tidemill WORDS` as a process of its own, in a folder without settings."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMILL")}
    return subprocess.run(
        [sys.executable, "-m", "tidemill", *words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_help_answers_at_once_and_names_every_command(tmp_path: Path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = run("--help", folder=tmp_path)
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    assert done.returncode == 0
    assert used < 1.0, "something heavy is imported before it is needed"
    for entry in COMMANDS:
        assert re.search(rf"\b{entry.name}\b", done.stdout)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from tidemill.main import main; main(['--help']); heavy = "
        "{'numpy', 'numba', 'aiokafka', 'faust', 'pydantic'}; print(sorted(heavy & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize("command", EVERY)
def test_every_help_has_an_example(command: str, capfd: pytest.CaptureFixture[str]):
    assert main([*command.split(), "--help"]) == 0
    said = capfd.readouterr().out
    assert re.search(r"(Example: |settings: )tidemill ", said), said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("qery host.cpu.seconds", "did you mean `tidemill query`?"),
        ("zzz", "see: tidemill --help"),
        ("query", "tidemill query --help"),
        ("query host.cpu.seconds --since yesterday", "write it like 10s, 5m or 2d"),
        ("query host.cpu.seconds --resolution 7s", "10s, 1m, 1h, 1d"),
        ("query host.cpu.seconds --where mode", "write LABEL=VALUE"),
        ("up --workers many", "tidemill up --help"),
        ("up --workers 0", "at least one"),
        ("worker --number=-1", "give 0 or more"),
        ("why host.cpu.seconds --settings nowhere.json", "`tidemill up` writes one"),
        ("topic lst", "tidemill topic --help"),
        ("topic repartition", "say what changes: --partitions, or --by for another key"),
        ("topic repartition --by host.name --by-tenant", "say one of --by, --by-tenant and"),
        ("topic repartition --partitions 0", "must be 1 or more"),
        ("topic repartition --partitions 2 --at noon", "write it as 2026-12-01T00:00:00Z"),
    ],
)
def test_a_usage_error_is_one_line_with_the_next_step(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
):
    assert main(words.split()) == 2
    line = capsys.readouterr().err
    assert line.startswith("tidemill: ")
    assert line.count("\n") == 1
    assert said in line


@pytest.mark.parametrize(
    "words",
    [
        "query host.cpu.seconds",
        "why host.cpu.seconds",
        "topic list",
        "topic list -o json",
        "topic epochs",
        "topic repartition --partitions 2",
    ],
)
def test_a_stack_that_is_away_is_exit_code_four(words: str, tmp_path: Path):
    settings = tmp_path / "settings.json"
    away = {"bootstrap": "127.0.0.1:9", "store_url": "http://127.0.0.1:9", "worker_port": 9}
    settings.write_text(json.dumps(away))
    done = run(*words.split(), "--settings", str(settings), folder=tmp_path)
    assert done.returncode == 4, done
    assert "tidemill up" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unknown_definition_is_told_with_its_neighbours(capsys: pytest.CaptureFixture[str]):
    assert main(["why", "host.cpu.second"]) == 1
    assert "host.cpu.seconds" in capsys.readouterr().err


def test_settings_that_do_not_parse_say_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "settings.json"
    file.write_text('{"workers": "two"}')
    assert main(["why", "host.cpu.seconds", "--settings", str(file)]) == 2
    assert "$.workers" in capsys.readouterr().err


def test_init_gives_up_on_a_log_that_is_away(tmp_path: Path):
    words = ["--data", "d", "--bootstrap", "127.0.0.1:9", "--timeout", "0.5"]
    done = run("init", *words, folder=tmp_path)
    assert done.returncode == 5
    assert "did not answer within" in done.stderr
    first = json.loads((tmp_path / "d" / "settings.json").read_text())
    run("init", *words, folder=tmp_path)
    assert json.loads((tmp_path / "d" / "settings.json").read_text())["key"] == first["key"]


def test_registry_check_and_its_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["registry", "check"]) == 0
    (tmp_path / "bad.yaml").write_text("kind: Metric\n")
    assert main(["registry", "check", str(tmp_path), "-o", "json"]) == 1
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["errors"] > 0
    assert main(["registry", "explain", str(tmp_path)]) == 1


def test_registry_schema_is_json(capsys: pytest.CaptureFixture[str]):
    assert main(["registry", "schema"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "properties" in told["$defs"]["MetricDefinition"]


def test_version_in_every_form(capsys: pytest.CaptureFixture[str]):
    assert main(["version"]) == 0
    assert "tidemill" in capsys.readouterr().out
    assert main(["version", "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert main(["version", "-o", "jsonl"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == rows


def test_tables_align_numbers_to_the_right():
    rows = [{"name": "a", "value": 1.5}, {"name": "long", "value": 12345678.0}]
    assert table(rows, ("name", "value")) == "\n".join(
        ["name       value", "a            1.5", "long  12,345,678"]
    )


def test_a_reader_that_goes_away_is_no_traceback():
    script = f"{sys.executable} -m tidemill registry schema | head -1"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr
