"""Plants each fault in a copy of the packages and runs the tests that must catch it there.

    tests/planted/run.py [NAME ...] [--jobs 2] [--faults-only] [--write-page]

Prints a table; exits with 1 if a fault is not caught, is broken, or a test fails without it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from planted.faults import HERE, PACKAGES, ROOT, BrokenPlantError, Fault, complaint, load, table

COPIED = (*PACKAGES, "docs", "examples", "tests/aggregates", "tests/conformance", "tests/oracle",
          "tests/planted", "tests/property", "tests/simulation", "tests/temporality",
          "tests/unit")  # fmt: skip
SINGLE = ("pyproject.toml", "tests/conftest.py", "tests/ports.py", "tests/registry_cases.py")
HEAVY = ("duckdb", "hypothesis", "numba.core.compiler", "numba.core.registry", "pytest",
         "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")  # fmt: skip
"""Loaded once and shared by every run: of others, none of it is planted in."""
TIMEOUT = 900
MARKS = ("<!-- the list, from here -->\n", "<!-- to here -->\n")
Work = tuple[str, Fault | None]
"""A node id, and the fault to run it with (None: with none)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a run."""

    fault: Fault | None
    node: str
    complaint: str | None
    seconds: float


def plant(folder: Path, fault: Fault | None) -> Path:
    """A copy of the packages and their tests under the folder, with the fault in it.

    Compiled bytecode comes along, so that only what is changed is compiled again.
    """
    copy = folder / "copy"
    for name in COPIED:
        shutil.copytree(ROOT / name, copy / name)
    for name in SINGLE:
        shutil.copy2(ROOT / name, copy / name)
    for edit in fault.edits if fault else ():
        path = copy / edit.file
        path.write_text(edit.apply(path.read_text()))
        for old in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            old.unlink()
    return copy


def warm_kernels() -> Path:
    """Where this user's compiled kernels are; asked of another process, to load nothing here."""
    asked = "from streams.kernels.compile import cache_directory; print(cache_directory())"
    return Path(subprocess.check_output([sys.executable, "-c", asked], text=True).strip())


def seed_kernels(folder: Path, warm: Path) -> None:
    """Make the folder a home whose cache of kernels holds what this user's does.

    Entries are named by what they were made from, so only kernels that the fault changes are
    compiled again; they are replaced whole and never written to, so a link is a copy.
    """
    home = folder / ".cache" / "tidemill" / "kernels"
    home.mkdir(mode=0o700, parents=True)
    for entry in warm.glob("*.kernel") if warm.is_dir() else ():
        try:
            os.link(entry, home / entry.name)
        except OSError:
            shutil.copy2(entry, home / entry.name)


class Run:
    """One node id over a copy with a fault, in a process of its own."""

    def __init__(self, work: Work, warm: Path) -> None:
        self.node, self.fault = work
        self._started = time.monotonic()
        self._held = tempfile.TemporaryDirectory(prefix="tidemill-planted-")
        self._folder = Path(self._held.name).resolve()
        self._broken: str | None = None
        self.pid = 0
        try:
            self._copy = plant(self._folder, self.fault)
        except BrokenPlantError as error:
            self._broken = str(error)
            return
        seed_kernels(self._folder, warm)
        self.pid = os.fork()
        if self.pid == 0:
            _become_pytest(self._folder, self._copy, self.node)

    def ended(self) -> bool:
        """Whether there is a verdict; one that takes too long is killed."""
        if self.pid == 0:
            return True
        if time.monotonic() - self._started > TIMEOUT:
            os.kill(self.pid, signal.SIGKILL)
            self._broken = f"hangs: nothing after {TIMEOUT} s"
        return os.waitpid(self.pid, os.WNOHANG)[0] != 0

    def verdict(self) -> Verdict:
        """What came of it; call when it has ended."""
        found = self._broken or self._judged()
        self._held.cleanup()
        return Verdict(self.fault, self.node, found, time.monotonic() - self._started)

    def _judged(self) -> str | None:
        report = self._folder / "report.json"
        if report.exists():
            return complaint(json.loads(report.read_text()), self._copy, self.fault)
        said = (self._folder / "output").read_text(errors="replace")
        return f"pytest ended without a report: {said[-500:]}"


def _become_pytest(folder: Path, copy: Path, node: str) -> None:
    """Run the node id and exit; nothing of the packages is loaded so far."""
    try:
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(copy)
        os.environ["HOME"] = str(folder)
        os.environ["PLANTED_REPORT"] = str(folder / "report.json")
        os.environ["PYTHONPATH"] = str(copy)
        for name in [name for name in sys.modules if name.partition(".")[0] == "planted"]:
            del sys.modules[name]
        kept = [each for each in sys.path if not Path(each).is_relative_to(ROOT / "tests")]
        sys.path[:] = [str(copy), str(copy / "tests"), *kept]
        importlib.invalidate_caches()
        options = ["-q", "-x", "-p", "planted.outcomes", "-p", "no:cacheprovider"]
        importlib.import_module("pytest").main([*options, "--hypothesis-seed=0", node])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def run_all(work: list[Work], jobs: int) -> Iterator[Verdict]:
    """Do the work, so many at a time; verdicts as they come."""
    for name in HEAVY:
        importlib.import_module(name)
    warm = warm_kernels()
    waiting, running = deque(work), list[Run]()
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(Run(waiting.popleft(), warm))
        for each in [run for run in running if run.ended()]:
            running.remove(each)
            yield each.verdict()
        time.sleep(0.05)


def work_of(faults: list[Fault], *, faults_only: bool) -> list[Work]:
    """Every node id of these faults with its fault, and before that once without any."""
    nodes = dict.fromkeys(node for fault in faults for node in fault.caught_by)
    clean: list[Work] = [] if faults_only else [(node, None) for node in nodes]
    return [*clean, *((node, fault) for fault in faults for node in fault.caught_by)]


def line(verdict: Verdict) -> str:
    """A verdict as a row for people."""
    name = verdict.fault.name if verdict.fault else "(no fault)"
    where = ", ".join(verdict.fault.files) if verdict.fault else ""
    said = verdict.complaint or ("caught" if verdict.fault else "passes")
    test = verdict.node.partition("::")[2]
    return f"{said:8} {verdict.seconds:6.1f} s  {name:44} {where:42} {test}"


def write_page() -> None:
    """Put the list into README.md, between its marks."""
    page = HERE / "README.md"
    before, _, rest = page.read_text().partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    page.write_text(f"{before}{MARKS[0]}\n{table(load())}\n{MARKS[1]}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="faults to plant; none: all")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--faults-only", action="store_true", help="no runs without a fault")
    parser.add_argument("--write-page", action="store_true", help="write the table of README.md")
    given = parser.parse_args()
    if given.write_page:
        write_page()
        return 0
    known = load()
    unknown = set(given.names) - {fault.name for fault in known}
    if unknown:
        parser.error(f"no fault is named {', '.join(sorted(unknown))}")
    chosen = [fault for fault in known if not given.names or fault.name in given.names]
    wrong: list[Verdict] = []
    for verdict in run_all(work_of(chosen, faults_only=given.faults_only), given.jobs):
        print(line(verdict), flush=True)
        wrong += [verdict] if verdict.complaint else []
    missed = {verdict.fault.name for verdict in wrong if verdict.fault}
    print(f"\n{len(chosen) - len(missed)} of {len(chosen)} faults are caught")
    for verdict in wrong:
        print(line(verdict))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
