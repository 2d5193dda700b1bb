"""60 real faults: two worker processes, a broker process, orders that never stop.

    python tests/crash/run.py --faults 60 --seed 1

Workers die by kill -9, hang past their session and come back, lose or find damaged their RocksDB;
the broker dies in the middle of a transaction, which is looked up before and after. Each time the
output has to go on, of every partition. At the end everything that a read_committed reader sees,
and the state on the disks, is compared with an oracle that reads the same input and shares no code:
each order exactly once, to the byte. Exits with 0 only if all of it is equal.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from crash.faults import World, schedule
from crash.oracle import Expected, Said, complaints, compute
from crash.orders import PARTITIONS, TOPICS, topology
from crash.processes import Broker, Worker, wait_until
from crash.traffic import START_NS, STEP_NS, Traffic, create, read, send_all

from streams.operators.running import RunningMerge
from streams.state.rocks import RocksStore

RATE = 150.0
SIZE_NS = 10 * 10**9
LONGEST_S = 90.0


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--keep", type=Path, help="keep data and logs in this folder")
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that dies is no news
    folder = given.keep or Path(tempfile.mkdtemp(prefix="tidemill-crash-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{given.faults} faults, --seed {given.seed}, in {folder}", flush=True)
    broker = Broker(folder)
    workers = [Worker(name, folder, broker) for name in ("one", "two")]
    try:
        said = crash(World(broker, workers, random.Random(given.seed)), given.faults, given.seed)
    except BaseException:
        print(f"data and logs are in {folder}")
        raise
    finally:
        for process in (*workers, broker):
            process.kill()
    for line in said:
        print(line)
    if said:
        print(f"data and logs are in {folder}; again: --faults {given.faults} --seed {given.seed}")
    elif given.keep is None:
        shutil.rmtree(folder)
    return int(bool(said))


def crash(world: World, faults: int, seed: int) -> list[str]:
    """Start all, let the faults come, compare; what is wrong."""
    broker, workers = world.broker, world.workers
    broker.start()
    create(broker.address, TOPICS)
    for worker in workers:
        worker.start()
    traffic = Traffic(broker.address, PARTITIONS, seed, RATE)
    traffic.start()
    wait_until("output", lambda: traffic.went_on(0))
    wait_until("both have tasks", lambda: all(worker.running() for worker in workers))
    took: dict[str, list[float]] = defaultdict(list)
    for number, name in enumerate(schedule(faults, world.rng), 1):
        last, began = traffic.sent, time.monotonic()
        what = world.run(name)
        wait_until(f"output after: {name}", lambda at=last: traffic.went_on(at), LONGEST_S)
        spent = time.monotonic() - began
        took[name].append(spent)
        print(f"{number}/{faults} {name}: {what}; all went on after {spent:.1f} s", flush=True)
        assert all(worker.alive for worker in workers), "a worker gave up; see its log"
        time.sleep(world.rng.uniform(0.2, 2.0))
    traffic.stop_sending()
    said = verdict(world, traffic, took)
    if not said:
        said = once_more(world, traffic)
    return said


def verdict(world: World, traffic: Traffic, took: dict[str, list[float]]) -> list[str]:
    """After the last order: close the windows, wait, compare, print the table."""
    close_windows(world.broker.address, traffic.sent + 1_000)
    said, expected = compare(world.broker.address, traffic)
    print(f"\n{'fault':<36}{'times':>7}{'median s':>10}{'longest s':>11}")
    for name, seconds in sorted(took.items()):
        middle, longest = statistics.median(seconds), max(seconds)
        print(f"{name:<36}{len(seconds):>7}{middle:>10.1f}{longest:>11.1f}")
    if not said:
        count = sum(len(part) for part in expected.seen)
        print(
            f"{count:,} orders, each counted exactly once: {len(expected.totals)} totals and "
            f"{len(expected.windows):,} windows equal to the oracle's to the byte"
        )
    return said


def close_windows(address: str, number: int) -> None:
    """An order in each partition, far behind the others."""
    row = {
        "id": number,
        "shop": "shop-0",
        "amount": 1,
        "at": START_NS + number * STEP_NS + 60 * 10**9,
    }
    rows = [row | {"id": number + p} for p in range(PARTITIONS)]
    send_all(address, [(p, json.dumps(row).encode()) for p, row in enumerate(rows)])


def compare(address: str, traffic: Traffic) -> tuple[list[str], Expected]:
    """Wait until all of the input came out, and hold it against the oracle."""
    orders = read(address, "orders", PARTITIONS)
    said: list[str] = []
    for number, (partition, offset) in traffic.acknowledged.items():
        found = orders[partition][offset].value if offset < len(orders[partition]) else b"{}"
        if json.loads(found).get("id") != number:
            said.append(f"order {number} was acknowledged and is not at {partition}/{offset}")
    expected = compute([[m.value for m in part] for part in orders], SIZE_NS)
    wanted = len(expected.windows), sum(len(part) for part in expected.seen)

    def came() -> bool:
        return (len(pairs(address, "tens")), len(pairs(address, "seen"))) >= wanted

    try:
        wait_until("everything came out", came, LONGEST_S)
        wait_until("totals", lambda: not complaints_of(address, expected), 20)
    except AssertionError as late:
        said.append(str(late))
    return said + complaints_of(address, expected), expected


def pairs(address: str, topic: str) -> list[Said]:
    return [(m.key, m.value) for part in read(address, topic, TOPICS[topic]) for m in part]


def complaints_of(address: str, expected: Expected) -> list[str]:
    """What is wrong with what a reader sees now."""
    topics = (read(address, topic, TOPICS[topic]) for topic in ("seen", "totals", "tens"))
    return complaints(expected, *([[(m.key, m.value) for m in p] for p in t] for t in topics))


def once_more(world: World, traffic: Traffic) -> list[str]:
    """The state is right, too: one worker goes on from its disk, the other from the changelogs."""
    second = world.workers[1]
    wait_until("all tasks run", world.at_work)
    for worker in world.workers:
        worker.end()
    second.forget()
    for worker in world.workers:
        worker.start()
    wait_until("all tasks run again", world.at_work)
    close_windows(world.broker.address, traffic.sent + 9_000)
    said, expected = compare(world.broker.address, traffic)
    for worker in world.workers:
        worker.end()
    found = stored_totals(world.workers)
    if found != expected.totals:
        said.append(f"the stores hold {found}, expected {expected.totals}")
    if not said:
        print("the stores of both workers, one of them restored, hold the oracle's totals")
    return said


def stored_totals(workers: list[Worker]) -> dict[bytes, tuple[int, int]]:
    """(orders, revenue) of each shop in the newest store of each task, read from RocksDB."""
    plan = topology()
    (sub,) = [each for each in plan.subs if each.name == "shop-totals"]
    found: dict[bytes, tuple[int, int]] = {}
    for partition in range(2):
        newest, blocks = -1, []
        for worker in workers:
            path = worker.state / sub.name / sub.topic / str(partition)
            if not path.exists():
                continue
            store = RocksStore(path)
            at = store.checkpoint()
            if at is not None and at.changelog_offset > newest:
                newest, blocks = at.changelog_offset, list(store.blocks())
            store.close()
        task = plan.factory(sub)(sub.topic, partition)
        task.restore(blocks)
        (stage,) = [each for each in task.stages if isinstance(each, RunningMerge)]
        rows = stage.rows()
        shops = [bytes(shop) for shop in rows["shop"].texts]
        numbers = zip(
            rows["orders"].numbers.tolist(), rows["revenue"].numbers.tolist(), strict=True
        )
        found |= dict(zip(shops, numbers, strict=True))
    return found


if __name__ == "__main__":
    sys.exit(main())
