"""The benchmark of the pipeline names the stages of the code as it is."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_stages_of_the_pipeline_are_measured_by_the_names_they_have() -> None:
    bench = ["tests/benchmarks/bench_pipeline.py", "--profile", "A", "--no-processes"]
    size = ["--points", "40000", "--series", "2000", "--runs", "1"]
    done = subprocess.run(
        [sys.executable, *bench, *size],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "one process, whole" in done.stdout
