"""What several conformance tests start."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))  # `oracle` lives beside the tests, outside the product
DEADLINE = 60.0


@pytest.fixture(scope="module")
def broker_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a broker process that ends with the module's tests."""
    data = tmp_path_factory.mktemp("broker")
    words = ("--data", str(data), "--port", "0", "--metrics-port", "-1")
    with subprocess.Popen(
        [sys.executable, "-m", "broker", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        output = b""
        until = time.monotonic() + DEADLINE
        while (found := re.search(rb"ready on [^:]+:(\d+)", output)) is None:
            assert time.monotonic() < until, output
            if select.select([process.stdout], [], [], 0.1)[0]:
                output += os.read(process.stdout.fileno(), 65536)
        yield f"127.0.0.1:{int(found[1])}"
        process.kill()
