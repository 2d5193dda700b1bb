"""Plants each fault in a copy of the packages and runs the tests that must catch it there.

    tests/planted/run.py [NAME ...] [--jobs 2] [--write-page]

Prints a table; exits with 1 if a fault is not caught, is broken, or a test fails without it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from planted.faults import HERE, PACKAGES, ROOT, BrokenPlantError, Fault, complaint, load, table

from streams.kernels import compile as kernels

COPIED = (*PACKAGES, "tests/oracle", "tests/planted", "tests/property", "tests/simulation",
          "tests/unit")  # fmt: skip
SINGLE = ("pyproject.toml", "tests/conftest.py")
TIMEOUT = 600
MARKS = ("<!-- the list, from here -->\n", "<!-- to here -->\n")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one fault, or (fault None) of one node id without any."""

    fault: Fault | None
    node: str
    complaint: str | None
    seconds: float


def plant(folder: Path, fault: Fault | None) -> Path:
    """A copy of the packages and their tests under the folder, with the fault in it.

    Compiled bytecode comes along, so that only what is changed is compiled again; likewise the
    cache of kernels, whose entries are named by what they were made from.
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


def seed_kernels(folder: Path) -> None:
    """Make the folder a home whose cache of kernels holds what this user's does."""
    home = folder / ".cache" / "tidemill" / "kernels"
    home.mkdir(mode=0o700, parents=True)
    warm = kernels.cache_directory()
    for entry in warm.glob("*.kernel") if warm.is_dir() else ():
        try:
            os.link(entry, home / entry.name)  # entries are replaced whole, never written to
        except OSError:
            shutil.copy2(entry, home / entry.name)


def run(node: str, fault: Fault | None = None) -> Verdict:
    """Run one node id over a copy with the fault, in a process of its own."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tidemill-planted-") as name:
        folder = Path(name).resolve()
        try:
            copy = plant(folder, fault)
        except BrokenPlantError as error:
            return Verdict(fault, node, str(error), 0.0)
        seed_kernels(folder)
        found = _pytest(folder, copy, node, fault)
    return Verdict(fault, node, found, time.monotonic() - started)


def _pytest(folder: Path, copy: Path, node: str, fault: Fault | None) -> str | None:
    report = folder / "report.json"
    environment = {
        **os.environ,
        "HOME": str(folder),
        "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'tests'}",
        "PLANTED_REPORT": str(report),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "planted.outcomes"]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0", node]
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, timeout=TIMEOUT, text=True
        )
    except subprocess.TimeoutExpired:
        return f"hangs: nothing after {TIMEOUT} s"
    if not report.exists():
        return f"pytest ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"
    return complaint(json.loads(report.read_text()), copy, fault)


def run_all(faults: Iterable[Fault], jobs: int) -> list[Verdict]:
    """Every node id with each of its faults, and once without; prints as it goes."""
    chosen = list(faults)
    nodes = dict.fromkeys(node for fault in chosen for node in fault.caught_by)
    work: list[tuple[str, Fault | None]] = [(node, None) for node in nodes]
    work += [(node, fault) for fault in chosen for node in fault.caught_by]
    verdicts: list[Verdict] = []
    with ThreadPoolExecutor(jobs) as pool:
        for verdict in pool.map(lambda each: run(*each), work):
            verdicts.append(verdict)
            print(_line(verdict), flush=True)
    return verdicts


def _line(verdict: Verdict) -> str:
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
    verdicts = run_all(chosen, given.jobs)
    wrong = [verdict for verdict in verdicts if verdict.complaint]
    caught = {verdict.fault.name for verdict in verdicts if verdict.fault}
    caught -= {verdict.fault.name for verdict in wrong if verdict.fault}
    print(f"\n{len(caught)} of {len(chosen)} faults are caught; {len(wrong)} complaints")
    for verdict in wrong:
        print(_line(verdict))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
