"""Damaged bytes through every decoder beside its reference: `make fuzz`.

A subject a process, which must end well. Messages come in batches; a batch is a function of the
seed, the subject and its number, so a failure names what makes it again:

    python tests/fuzz/run.py --subjects tables --seed 5 --first 17 --mutations 500
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

SUBJECTS = {
    "otlp-scanner": "otlp.Scanning",
    "otlp-recurring": "otlp.Recalling",
    "otlp-cut": "otlp.Cutting",
    "otlp-histograms": "histograms.HistogramPoints",
    "otlp-json": "json_bodies.OtlpBodies",
    "json-rows": "json_bodies.Rows",
    "csv-lines": "codecs.CsvLines",
    "csv-rows": "text_files.CsvRows",
    "definitions": "text_files.Definitions",
    "edge-bodies": "compression.EdgeBodies",
    "store-bodies": "compression.StoreBodies",
    "kafka-requests": "kafka_requests.Requests",
    "record-batches": "record_batches.Batches",
    "fetched-batches": "record_batches.FetchedBatches",
    "record-codecs": "compression.RecordCodecs",
    "tables": "tables.Tables",
    "aggregate-states": "states.AggregateStates",
    "series-blocks": "states.SeriesBlocks",
    "hll-sketches": "states.Sketches",
    "task-records": "tasks.PreaggregateRecords",
    "task-blocks": "tasks.PreaggregateBlocks",
    "partials": "tasks.Partials",
}
SHARES = {"task-blocks": 0.05, "task-records": 0.1, "definitions": 0.1}
"""Of those that take a millisecond a message so many times fewer."""
BATCH = 500
MEMORY = 1 << 30
"""Bytes of address space that a subject may take beyond what it has after its first batch."""
GROWTH_MIB = 256
"""And that it may have held at its peak."""
HANG_SECONDS = 250


def subject_of(name: str) -> Any:
    module, _, kind = SUBJECTS[name].partition(".")
    return getattr(importlib.import_module(f"tests.fuzz.subjects.{module}"), kind)()


def batch_of(name: str, corpus: list[bytes], seed: int, number: int) -> list[bytes]:
    """The messages of a batch."""
    from tests.fuzz.mutations import mutated

    rng = random.Random(f"{seed}/{name}/{number}")
    return [mutated(rng, corpus) for _ in range(BATCH)]


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def bounded() -> None:
    """From now on at most MEMORY more of address space: what needs more fails."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))


def told_of(name: str, done: int, accepted: int, seconds: float, grown: float) -> str:
    return f"{name:<20} {done:>9} {accepted:>9} {seconds:>7.1f} {grown:>9.0f}"


def run_subject(name: str, seed: int, first: int, mutations: int) -> int:
    """One subject, in this process; 1: it failed, and the output says how."""
    subject = subject_of(name)
    corpus = subject.corpus()
    outcome = subject.check(corpus)
    if outcome.differences:
        print("the corpus itself differs:", *outcome.differences[:3], sep="\n  ")
        return 1
    bounded()
    begun, before = time.process_time(), peak_mib()
    done = accepted = 0
    for number in range(first, first + -(-mutations // BATCH)):
        print(f"{name}: batch {number} of seed {seed}", file=sys.stderr, flush=True)
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        outcome = subject.check(batch_of(name, corpus, seed, number))
        faulthandler.cancel_dump_traceback_later()
        done += BATCH
        accepted += outcome.accepted
        if outcome.differences:
            print(f"batch {number} of seed {seed} differs:", *outcome.differences[:3], sep="\n  ")
            return 1
    grown = peak_mib() - before
    seconds = time.process_time() - begun
    print(told_of(name, done, accepted, seconds, grown), flush=True)
    if grown > GROWTH_MIB:
        print(f"it took {grown:.0f} MiB; {GROWTH_MIB} is the most")
    return int(grown > GROWTH_MIB)


def run_all(names: list[str], seed: int, first: int, mutations: int) -> int:
    """Each subject in a process of its own; 1 if one of them failed."""
    failed = 0
    for name in names:
        share = max(BATCH, int(mutations * SHARES.get(name, 1)))
        arguments = ["--here", "--subjects", name, "--seed", str(seed), "--first", str(first)]
        command = [sys.executable, __file__, *arguments, "--mutations", str(share)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(done.stdout, end="", flush=True)
        if done.returncode != 0:
            failed = 1
            said = done.stderr.splitlines()
            batches = [line for line in said if f"{name}: batch" in line]
            print(f"{name}: FAILED, exit {done.returncode}, in", *batches[-1:], flush=True)
            print(*[line for line in said if line not in batches][-30:], sep="\n  ", flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=1_000_000, help="a decoder")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="number of the first batch")
    parser.add_argument("--subjects", default=",".join(SUBJECTS))
    parser.add_argument("--here", action="store_true", help="all of them in this process")
    given = parser.parse_args()
    names = given.subjects.split(",")
    if given.here:
        how = (given.seed, given.first, given.mutations)
        return max(run_subject(name, *how) for name in names)
    print(f"seed {given.seed}; {given.mutations} damaged messages a decoder")
    print(f"{'decoder':<20} {'messages':>9} {'accepted':>9} {'CPU s':>7} {'peak MiB':>9}")
    return run_all(names, given.seed, given.first, given.mutations)


if __name__ == "__main__":
    sys.exit(main())
