"""100,000 crash schedules over a log in memory, on all cores.

    python tests/crash/schedules.py --schedules 100000 --jobs 2
    python tests/crash/schedules.py --first 4711 --schedules 1      # one again, by its seed

A schedule is a seed. Of ten, six are histories of one task, two of a task with a standby, two of
two workers that share partitions (`tests/simulation/crash_*world.py`). Each ends with outputs, dead
letters and state compared with plain loops over the same log. At the end it is counted what they
met: every point of the commit protocol at which a process can die, and every other fault; one that
no schedule met is a failure too. Exits with 1 after the first schedule that fails, with its seed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from streams.testing import POINTS
from tests.simulation.crash_coverage import ONE_TASK, TWO_WORKERS, WITH_STANDBY, missing
from tests.simulation.crash_shared_world import Shared
from tests.simulation.crash_standby_world import Pair
from tests.simulation.crash_world import Simulation

KINDS = {
    "one task": (Simulation, ONE_TASK),
    "task and standby": (Pair, WITH_STANDBY),
    "two workers": (Shared, TWO_WORKERS),
}
TURNS = ("one task",) * 6 + ("task and standby",) * 2 + ("two workers",) * 2
CHUNK = 200
ENOUGH = 5_000
"""Schedules of a kind from which on each of its faults has to have come."""
TELL_SECONDS = 10.0


def kind_of(seed: int) -> str:
    return TURNS[seed % len(TURNS)]


@dataclass(frozen=True, slots=True)
class Done:
    """A piece of the seeds. `failed`: the seed that did not come out right, and its traceback."""

    met: dict[str, Counter[str]]
    count: Counter[str]
    cpu: dict[str, float]
    failed: tuple[int, str] | None


def run(seeds: range) -> Done:
    """The schedules of these seeds, in a process of the pool."""
    met = {kind: Counter[str]() for kind in KINDS}
    count, cpu = Counter[str](), dict.fromkeys(KINDS, 0.0)
    for seed in seeds:
        kind = kind_of(seed)
        world, _ = KINDS[kind]
        began = time.process_time()
        try:
            world(seed, met=met[kind]).run()
        except Exception:
            return Done(met, count, cpu, (seed, traceback.format_exc()))
        cpu[kind] += time.process_time() - began
        count[kind] += 1
    return Done(met, count, cpu, None)


def pieces(first: int, schedules: int) -> Iterator[range]:
    for start in range(first, first + schedules, CHUNK):
        yield range(start, min(start + CHUNK, first + schedules))


class Account:
    """What all pieces said together."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.met = {kind: Counter[str]() for kind in KINDS}
        self.count: Counter[str] = Counter()
        self.cpu = dict.fromkeys(KINDS, 0.0)
        self.began = self.told = time.monotonic()

    def add(self, done: Done) -> None:
        for kind in KINDS:
            self.met[kind] += done.met[kind]
            self.cpu[kind] += done.cpu[kind]
        self.count += done.count
        now = time.monotonic()
        if now - self.told >= TELL_SECONDS:
            self.told = now
            total, spent = self.count.total(), now - self.began
            left = spent / total * (self.wanted - total)
            print(f"{total:,} of {self.wanted:,} schedules, {left:.0f} s to go", flush=True)

    def report(self) -> int:
        """Print the table; the exit code."""
        names = [kind for kind in KINDS if self.count[kind]]
        print(f"\n{'':<42}" + "".join(f"{name:>18}" for name in names))
        rows = [f"crash {point}" for point in POINTS]
        rows += sorted({n for met in self.met.values() for n, v in met.items() if v} - {*rows})
        for row in rows:
            print(f"{row:<42}" + "".join(f"{self.met[name][row]:>18,}" for name in names))
        print(f"{'schedules':<42}" + "".join(f"{self.count[name]:>18,}" for name in names))
        each = [self.cpu[name] / self.count[name] * 1e3 for name in names]
        print(f"{'CPU ms a schedule':<42}" + "".join(f"{ms:>18.1f}" for ms in each))
        never = {
            name: missing(self.met[name], KINDS[name][1])
            for name in names
            if self.count[name] >= ENOUGH
        }
        for name, faults in never.items():
            if faults:
                print(f"no schedule of {name} met: {', '.join(faults)}")
        crashes = sum(v for met in self.met.values() for n, v in met.items() if n[:6] == "crash ")
        seconds = time.monotonic() - self.began
        print(
            f"{self.count.total():,} schedules with {crashes:,} crashes at {len(POINTS)} points of "
            f"the protocol in {seconds:.0f} s: outputs, letters and state equal to runs without"
        )
        return int(any(never.values()))


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--schedules", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    print(f"schedules {given.first:,} to {given.first + given.schedules - 1:,}, {given.jobs} jobs")
    account = Account(given.schedules)
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        for done in pool.imap_unordered(run, pieces(given.first, given.schedules)):
            account.add(done)
            if done.failed is not None:
                seed, text = done.failed
                print(f"{text}\nschedule {seed} ({kind_of(seed)}) failed. To see it again:")
                print(f"  python tests/crash/schedules.py --first {seed} --schedules 1 --jobs 1")
                return 1
    return account.report()


if __name__ == "__main__":
    sys.exit(main())
