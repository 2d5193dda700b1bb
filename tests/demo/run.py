"""The demo against a running stack: history, a bad day of three hosts, and the comparison.

    python tests/demo/run.py --history "tidemill load ../shared/data/nab" --csv ../shared/data/nab

Loads history with the given command while the replay runs, waits until every window of it is
sealed, recomputes every rollup and compares to the bit. Exit codes as of compare.py.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.compare import Where, report, wait_until_sealed
from demo.replay import replay
from oracle.definitions import load
from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", default="127.0.0.1:4318")
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--clickhouse", default="127.0.0.1:8123")
    parser.add_argument(
        "--definitions", type=Path, default=ROOT / "metric_registry" / "definitions"
    )
    parser.add_argument("--history", help="command that loads the history; it must end by itself")
    parser.add_argument("--csv", type=Path, help="the files it loads")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--timeout", type=float, default=90)
    parser.add_argument("--out", type=Path, default=ROOT / ".tidemill" / "demo")
    given = parser.parse_args()
    console = Console(width=120)
    host, _, port = given.clickhouse.rpartition(":")
    where = Where(given.bootstrap, (host, int(port)), given.definitions, timeout=given.timeout)

    started = time.monotonic()
    history = subprocess.Popen(shlex.split(given.history)) if given.history else None
    console.print(f"replaying ten minutes of three hosts, seed {given.seed}")
    sent = replay(given.edge, given.out, seed=given.seed, seconds=given.seconds)
    console.print(f"{sent['deliveries']} requests: {sent['by_story']}", highlight=False)
    if history is not None and history.wait(timeout=given.timeout) != 0:
        console.print(f"[red]the history was not loaded: {given.history}[/red]")
        return 1
    if sent["unanswered"]:
        console.print(f"[red]{sent['unanswered']} requests were never answered[/red]")
        return 1
    console.print("waiting until every window of the replay is sealed")
    grace = max(definition.grace for definition in load(given.definitions))
    wait_until_sealed(given.bootstrap, int(str(sent["sealed_through"])) + grace, given.timeout)
    code = report(where, given.out / "acknowledged.otlp.zst", given.csv, console)
    console.print(f"the demo took {time.monotonic() - started:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
