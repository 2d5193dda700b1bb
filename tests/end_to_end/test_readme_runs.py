"""The README's Python and commands, run as they stand against a running stack (its ports aside)."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

Up = Any  # of conftest.py
README = (Path(__file__).parents[2] / "README.md").read_text()


def block(language: str, word: str) -> str:
    """The one block of a language that mentions a word."""
    found = [
        text
        for kind, text in re.findall(r"^```(\w+)\n(.*?)^```", README, re.M | re.S)
        if kind == language and word in text
    ]
    assert len(found) == 1
    return found[0]


def run_python(up: Up, text: str) -> list[str]:
    """Lines that a block prints."""
    text = text.replace("127.0.0.1:9092", f"127.0.0.1:{up.broker}")
    text = text.replace("port=8123", f"port={up.store}")
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines()


def wait_for_rollups(up: Up) -> None:
    query = "SELECT 1 FROM tidemill.rollups WHERE rollup = 'host.memory.used' LIMIT 1"
    up.wait(lambda: up.rows(query), "rollup of this host's memory")


def test_a_stock_kafka_client_reads_the_final_rollups(up: Up):
    wait_for_rollups(up)
    lines = run_python(up, block("python", "confluent_kafka"))
    assert len(lines) >= 5
    assert all("'tenant': 'default'" in line for line in lines)


def test_a_stock_clickhouse_client_queries_the_table(up: Up):
    wait_for_rollups(up)
    lines = run_python(up, block("python", "clickhouse_connect"))
    assert lines
    assert "host.name" in lines[0]


def test_the_readmes_queries_answer(up: Up):
    wait_for_rollups(up)
    asked = re.findall(r"^\$ (tidemill .*)$", block("console", "tidemill query"), re.M)
    assert len(asked) == 2
    for line in asked:
        answer = up.wait(lambda line=line: up.tidemill(*shlex.split(line)[1:]), f"answer to {line}")
        assert "host" in answer


def test_a_definition_of_ones_own_counts(up: Up):
    """Its file is in the stack's folder before the first start (see `up`)."""
    wait_for_rollups(up)
    rows = up.wait(lambda: up.json("query", "busy.cpu.seconds"), "window of the definition")
    assert rows[-1]["unit"] == "s"
    assert rows[-1]["labels"].keys() == {"host.name", "tenant"}
