"""The whole pipeline: OTLP on the log (zstd) to sealed rollups in the store.

    .venv/bin/python tests/benchmarks/bench_pipeline.py [--profile A|B|both] [--points N]
        [--series N] [--runs N] [--workers N] [--quick] [--no-processes] [--flames FOLDER]

Profile A: 10 definitions, 3.9 of which match a point, 100,000 series every 10 s, windows of 60 s.
Profile B: 1,000,000 series every 15 s, windows of 60 s, each series a group: four points a row.
First the stages in one process, beside the ceiling (NumPy's sum of the same bytes), then the real
processes. CPU nanoseconds are thread or process time; medians of the runs, and their range. What
happens once a stream (the first two rounds) is told apart.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

from pipeline_stack import StackRun, run_stack
from pipeline_stages import PARTITIONS, Run, Stages, ceiling, fetches, run_in_process
from pipeline_stages import watch_pipeline as watch
from pipeline_traffic import FLEET, SCRAPES, SECOND, Profile, Traffic

from streams.kernels.compile import warm
from streams.worker import process

QUICK_SHARE = 10


def spread(values: list[float], digits: int = 0) -> str:
    """Median and range."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):10,.{digits}f}  ({low:,.{digits}f} to {high:,.{digits}f})"


def start_of(profile: Profile) -> int:
    """A minute's begin so that the traffic ends a little before now, unix ns."""
    ago = profile.rounds * profile.interval + 300
    return (time.time_ns() // SECOND - ago) // 60 * 60 * SECOND


def in_process(profile: Profile, runs: int) -> int:
    """Print the cost of every stage; returns how many rows come out."""
    stages = Stages()
    watch(stages)
    traffic = Traffic(profile, start_of(profile))
    log = fetches(traffic)
    size = sum(sum(each.sizes) for each in log)
    sums = [ceiling(size, profile.points) for _ in range(max(3, runs))]
    base = statistics.median(sums)
    print(f"  {'ceiling: sum of ' + format(size / profile.points, '.0f') + ' bytes':30}"
          f"{spread(sums, 1)} ns a point")  # fmt: skip
    measured = [run_in_process(profile, log, stages) for _ in range(runs)]
    cold_points = 2 * profile.series
    points = profile.points - cold_points
    rows = measured[0][1].rows - measured[0][0].rows
    _print_stages([rest for _, rest in measured], points, rows, base)
    new = [cold.stages["learn"] + cold.stages["resolve"] for cold, _ in measured]
    print(f"  {'a new series':30}{spread([s / profile.series * 1e9 for s in new])} ns a series")
    return measured[0][1].rows


def _print_stages(runs: list[Run], points: int, rows: int, base: float) -> None:
    totals = [run.seconds / points * 1e9 for run in runs]
    print(f"  {'one process, whole':30}{spread(totals, 1)} ns a point "
          f"{statistics.median(totals) / base:6.1f} x {rows:12,} rows")  # fmt: skip
    merged = sum((run.stages for run in runs), Counter[str]())
    for stage, _ in merged.most_common():
        taken = [run.stages[stage] / points * 1e9 for run in runs]
        middle = statistics.median(taken)
        print(f"    {stage:28}{spread(taken, 1)} ns a point {middle / base:6.1f} x "
              f"{middle * points / rows:10,.0f} ns a row")  # fmt: skip
    sizes = runs[0].bytes_out
    told = ", ".join(f"{name} {size / runs[0].rows:.0f}" for name, size in sizes.items())
    print(f"    bytes a row: {told}")


def processes(
    profile: Profile, rows: int, runs: int, workers: int, flames: Path | None = None
) -> None:
    """Print what the real processes take. flames: Where to draw the first worker of each run."""
    found: list[StackRun] = []
    for number in range(runs):
        path = flames and flames / f"profile-{profile.name}-{number}.svg"
        folder = Path(tempfile.mkdtemp(prefix="tidemill-bench-"))
        try:
            records = Traffic(profile, start_of(profile)).records(PARTITIONS)
            run = asyncio.run(run_stack(folder, profile, records, rows, workers, PARTITIONS, path))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if run.stored != rows:
            raise SystemExit(f"{run.stored} rows in the store, {rows} came out of one process")
        found.append(run)
    steady = [run.steady for run in found]
    print(f"  processes ({workers} workers), without the first two rounds")
    rate = [each.points / each.seconds for each in steady]
    print(f"    {'wall':28}{spread(rate)} points/s")
    print(f"    {'wall':28}{spread([each.rows / each.seconds for each in steady])} rows/s")
    for name in steady[0].cpu:
        used = [each.cpu[name] / each.points * 1e9 for each in steady]
        print(f"    {name:28}{spread(used)} CPU ns a point   {found[0].memory[name] >> 20} MiB")
    sums = [sum(each.cpu.values()) / each.points * 1e9 for each in steady]
    print(f"    {'all processes':28}{spread(sums)} CPU ns a point")
    print(f"    {'two cores, all theirs':28}{spread([2e9 / each for each in sums])} points/s")
    for name, shares in (
        ("the machine's cores: idle", [each.idle for each in steady]),
        ("taken by other guests", [each.stolen for each in steady]),
    ):
        print(f"    {name:28}{spread([100 * share for share in shares], 1)} %")
    cold = [run.cold.seconds for run in found]
    print(f"    {'first two rounds':28}{spread(cold, 1)} s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", choices=("A", "B", "both"), default="both")
    parser.add_argument("--points", type=int, default=0, help="about as many (whole rounds)")
    parser.add_argument("--series", type=int, default=0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a tenth of the series, one run")
    parser.add_argument("--no-processes", action="store_true", help="the stages only")
    parser.add_argument("--flames", type=Path, help="flame graphs, by py-spy, in this folder")
    given = parser.parse_args()
    if given.flames is not None:
        if shutil.which("py-spy") is None:
            parser.error("py-spy is not installed; `make bench-flames` installs it")
        given.flames.mkdir(parents=True, exist_ok=True)
    process.prepare()  # as workers do
    warm()
    for profile in (FLEET, SCRAPES):
        if given.profile not in (profile.name, "both"):
            continue
        series = given.series or profile.series // (QUICK_SHARE if given.quick else 1)
        chosen = profile.of(given.points or profile.rounds * series, series)
        print(f"profile {chosen.name}: {chosen.points:,} points, {series:,} series every "
              f"{chosen.interval} s, windows of {chosen.window} s")  # fmt: skip
        runs = 1 if given.quick else given.runs
        rows = in_process(chosen, runs)
        if not given.no_processes:
            processes(chosen, rows, runs, given.workers, given.flames)


if __name__ == "__main__":
    main()
