"""All tests that run kernels, with every index checked: `make bounds`.

NUMBA_BOUNDSCHECK=1 compiles each kernel with checks, into a cache of its own. The run fails if a
test fails, or if a kernel of the project was called by none of them.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = (
    "streams", "streams_aggregates", "streams_assignment", "streams_kernels", "streams_standby",
    "streams_state", "streams_task", "streams_topology", "streams_worker", "encodings", "edge",
    "examples", "host", "identity", "load", "oracle", "otlp_check", "sink", "temporality",
    "topologies",
)  # fmt: skip
"""Of tests/unit. Conformance and end-to-end tests start processes, with the same environment."""
OTHERS = ("tests/property", "tests/simulation")
PACKAGES = ("streams", "topologies")


def kernels() -> set[str]:
    """The names of all kernels of the project."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    from streams.kernels.compile import registered

    return {kernel.name for kernel in registered()}


def main() -> int:
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "NUMBA_BOUNDSCHECK": "1",
            "TIDEMILL_KERNELS_USED": folder,
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup"]
        plugins = ["-p", "tests.bounds.used"]
        paths = [f"tests/unit/{name}" for name in TESTS]
        done = subprocess.run(
            [*command, *plugins, *sys.argv[1:], *paths, *OTHERS],
            env=environment, cwd=ROOT, check=False,
        )  # fmt: skip
        used = {name for file in Path(folder).iterdir() for name in file.read_text().split()}
    every = kernels()
    missed = sorted(every - used)
    print(f"{len(every) - len(missed)} of {len(every)} kernels ran with their indexes checked")
    if missed:
        print("no test called", *missed, sep="\n  ")
    return done.returncode or bool(missed)


if __name__ == "__main__":
    sys.exit(main())
