"""Two workers of version 1 are replaced by version 2, one after another, while orders come in.

    python tests/crash/upgrade.py --seed 1

Prints what the tool says beforehand, then does it. What both versions have (`seen`, `totals`,
`tens`) has to be what the oracle computes of all orders: no gap, nothing counted twice. The changed
window (`halves`) has to be right from the first one that began behind the take-over, the ended one
(`slow`) in what it has published. Exits with 0 only if all of it is.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from crash.oracle import counts, dumped
from crash.orders import PARTITIONS, TOPICS, topology
from crash.processes import Broker, Worker, wait_until
from crash.run import RATE, close_windows, compare, pairs
from crash.traffic import START_NS, STEP_NS, Traffic, create, read

from streams.topology.manifest import differences, manifest

SECOND = 10**9
OLD, NEW = PARTITIONS + 2 + 2 + 2, PARTITIONS + 2 + 2 + 2 + 2
"""Tasks of each version."""


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="tidemill-upgrade-"))
    print(f"--seed {given.seed}, in {folder}", flush=True)
    for each in differences(manifest(topology(1)), manifest(topology(2))):
        print(f"  {each.what} {each.name}: {each.outcome} {each.reason}".rstrip())
    broker = Broker(folder)
    workers = [Worker(name, folder, broker) for name in ("one", "two")]
    try:
        said = replace(broker, workers, given.seed)
    finally:
        for process in (*workers, broker):
            process.kill()
    for line in said:
        print(line)
    if said:
        print(f"data and logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return int(bool(said))


def replace(broker: Broker, workers: list[Worker], seed: int) -> list[str]:
    """Run, replace, run on, compare; what is wrong."""
    broker.start()
    create(broker.address, TOPICS)
    for worker in workers:
        worker.start()
    traffic = Traffic(broker.address, PARTITIONS, seed, RATE)
    traffic.start()
    wait_until("all at work", lambda: at_work(workers, OLD))
    pass_orders(traffic, 2_500)
    for number, worker in enumerate(workers):
        began, last = time.monotonic(), traffic.sent
        worker.end()
        worker.command += ["--version", "2"]
        worker.start()
        wait_until("it has tasks", worker.running)
        tasks = OLD + 4 if number == 0 else NEW  # what is new begins, what ended is still there
        wait_until("all at work", lambda many=tasks: at_work(workers, many))
        wait_until("output", lambda at=last: traffic.went_on(at))
        print(f"{worker.name} replaced; all went on after {time.monotonic() - began:.1f} s")
        pass_orders(traffic, 600)
    begun = START_NS + traffic.sent * STEP_NS
    pass_orders(traffic, 4_000)
    traffic.stop_sending()
    close_windows(broker.address, traffic.sent + 1_000)
    said, expected = compare(broker.address, traffic)
    said += of_windows(broker.address, "slow", 60 * SECOND, None)
    said += of_windows(broker.address, "halves", 30 * SECOND, begun)
    for worker in workers:
        worker.end()
    if not said:
        count = sum(len(part) for part in expected.seen)
        print(
            f"{count:,} orders over two versions, each counted once: {len(expected.totals)} totals "
            f"and {len(expected.windows):,} windows equal to the oracle's to the byte"
        )
    return said


def at_work(workers: list[Worker], tasks: int) -> bool:
    """Whether so many tasks run, each in one place."""
    running = [worker.running() for worker in workers]
    return sum(map(len, running)) == len(set().union(*running)) == tasks


def pass_orders(traffic: Traffic, count: int) -> None:
    """Let so many come in."""
    until = traffic.sent + count
    wait_until("orders", lambda: traffic.sent >= until, 120)


def of_windows(address: str, topic: str, size_ns: int, begun: int | None) -> list[str]:
    """The windows of an operator that one version has: right, once, and whole from `begun` on."""
    orders = [[m.value for m in part] for part in read(address, "orders", PARTITIONS)]
    expected = counts(orders, size_ns)

    def wrong() -> list[str]:
        rows = pairs(address, topic)
        said: list[str] = []
        if len({(key, json.loads(value)["window_end"]) for key, value in rows}) != len(rows):
            said.append(f"{topic}: a window came twice")
        found = set(rows)
        for (shop, end), count in expected.items():
            row = {"shop": shop, "window_start": end - size_ns, "window_end": end}
            pair = shop.encode(), dumped(row | {"orders": count})
            if begun is not None and end - size_ns >= begun and pair not in found:
                said.append(f"{topic}: {pair} is missing")
            found.discard(pair)
        if begun is None and found:
            said.append(f"{topic}: not expected {sorted(found)[:3]}")
        return said

    try:
        wait_until(topic, lambda: not wrong(), 30)
    except AssertionError:
        return wrong()
    print(f"{topic}: {len(pairs(address, topic))} windows, right and once")
    return []


if __name__ == "__main__":
    sys.exit(main())
