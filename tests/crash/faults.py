"""The faults, and which of them come when: a seeded schedule."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crash.orders import PARTITIONS, SESSION_MS, TOPICS
from crash.processes import Broker, Worker, wait_until
from crash.traffic import open_transactions

ALL_TASKS = PARTITIONS + 2 + 2 + 2
"""Of both workers: those of the orders, of the totals and of two sizes of windows."""
WATCHED = {topic: n for topic, n in TOPICS.items() if topic != "orders"}
WATCHED |= {"shop-totals-repartition": 2, "shop-tens-repartition": 2}
WATCHED |= {"shop-shop-orders-changelog": PARTITIONS}
WATCHED |= {"shop-shop-totals-changelog": 2, "shop-shop-tens-changelog": 2}
"""What only the workers write to."""
IN_60 = {
    "kill a worker": 12,
    "kill both workers": 6,
    "hang a worker past its session": 12,
    "kill the broker in a transaction": 12,
    "damage RocksDB files": 10,
    "delete RocksDB files": 8,
}
NEED_ALL = {"hang a worker past its session", "kill the broker in a transaction"}


def schedule(faults: int, rng: random.Random) -> list[str]:
    """So many faults in random order, in the shares of 60."""
    names = [name for name, count in IN_60.items() for _ in range(count)]
    chosen: list[str] = []
    while len(chosen) < faults:
        chosen += rng.sample(names, len(names))
    return chosen[:faults]


@dataclass
class World:
    """What faults are done to."""

    broker: Broker
    workers: list[Worker]
    rng: random.Random

    def run(self, name: str) -> str:
        """Do it, and start what it ended; in words what was done.

        Most of the time all is at work when it comes; else the last fault is not yet got over.
        """
        if name in NEED_ALL or self.rng.random() < 0.6:
            wait_until("all at work", self.at_work)
        return FAULTS[name](self)

    def at_work(self) -> bool:
        """Whether each worker has tasks, and each task runs once."""
        running = [worker.running() for worker in self.workers]
        once = sum(map(len, running)) == len(set().union(*running)) == ALL_TASKS
        return once and all(running)

    def kill_one(self) -> str:
        worker = self.rng.choice(self.workers)
        held = len(worker.running())
        worker.kill()
        self._pause()
        worker.start()
        return f"{worker.name} died with {held} tasks"

    def kill_both(self) -> str:
        for worker in self.workers:
            worker.kill()
        self._pause()
        for worker in self.workers:
            worker.start()
        return "both died"

    def hang(self) -> str:
        """Stopped until the other has everything; then it wakes up as a zombie."""
        worker = self.rng.choice(self.workers)
        (other,) = [each for each in self.workers if each is not worker]
        before, lines = worker.running(), len(_lines(worker))
        stopped = time.monotonic()
        worker.stop()
        time.sleep(SESSION_MS / 1000)
        wait_until("the other took over", lambda: len(other.running()) == ALL_TASKS)
        assert worker.stands_still, f"{worker.name} was to hang, and somebody woke it"
        spent = time.monotonic() - stopped
        worker.signal(signal.SIGCONT)
        wait_until("they share again", self.at_work)
        fenced = sum("joining anew" in line for line in _lines(worker)[lines:])
        return f"{worker.name} hung {spent:.1f} s with {len(before)} tasks, {fenced} found fenced"

    def kill_broker(self) -> str:
        """While a transaction is open: the workers are stopped in the middle of one, then it is
        looked up, then the broker is killed; it is open still when the broker is back."""
        found, tries = self._stopped_in_a_transaction()
        self.broker.kill()
        self._pause()
        self.broker.start()
        after = open_transactions(self.broker.address, WATCHED)
        for worker in self.workers:
            worker.signal(signal.SIGCONT)
        assert set(found) == set(after), f"open before: {found}, and after: {after}"
        where = ", ".join(f"{at} from {low} to {high}" for at, (low, high) in found.items())
        return f"open in {where} (after {tries} tries)"

    def _stopped_in_a_transaction(self) -> tuple[dict[str, tuple[int, int]], int]:
        for tries in range(1, 400):
            wait_until("somebody works", lambda: any(w.running() for w in self.workers))
            time.sleep(self.rng.uniform(0.0, 0.25))
            for worker in self.workers:
                worker.stop()
            if found := open_transactions(self.broker.address, WATCHED):
                return found, tries
            for worker in self.workers:
                worker.signal(signal.SIGCONT)
        raise AssertionError("never met a transaction")

    def damage(self) -> str:
        """Bits flip in, or the end is missing of, some files of a worker that is down."""
        worker = self._down()
        files = [f for store in worker.stores() for f in store.iterdir() if f.stat().st_size]
        hurt = self.rng.sample(files, min(len(files), self.rng.randint(1, 6)))
        for file in hurt:
            data = bytearray(file.read_bytes())
            if self.rng.random() < 0.3:
                del data[self.rng.randrange(len(data)) :]
            else:
                for _ in range(self.rng.randint(1, 20)):
                    data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
            file.write_bytes(data)
        worker.start()
        kinds = sorted({_kind(file) for file in hurt})
        return f"{len(hurt)} of {len(files)} files of {worker.name} ({', '.join(kinds)})"

    def delete(self) -> str:
        """A worker that is down loses its whole disk, a task's folder, or single files."""
        worker = self._down()
        stores = worker.stores()
        how = self.rng.choice(["everything", "stores", "files"])
        if how == "everything" or not stores:
            worker.forget()
        else:
            for store in self.rng.sample(stores, self.rng.randint(1, len(stores))):
                if how == "stores":
                    shutil.rmtree(store)
                    continue
                files = [f for f in store.iterdir() if f.is_file()]
                for file in self.rng.sample(files, self.rng.randint(1, len(files))):
                    file.unlink()
        worker.start()
        return f"{how} of {worker.name} ({len(stores)} stores)"

    def _down(self) -> Worker:
        """A worker that ended, in order (its memory is on the disk) or not."""
        worker = self.rng.choice(self.workers)
        if self.rng.random() < 0.7:
            wait_until(f"{worker.name} is at work", worker.running)
            worker.end()
        else:
            worker.kill()
        return worker

    def _pause(self) -> None:
        time.sleep(self.rng.choice([0.0, 0.0, 0.5, 4.0]))


FAULTS: dict[str, Callable[[World], str]] = {
    "kill a worker": World.kill_one,
    "kill both workers": World.kill_both,
    "hang a worker past its session": World.hang,
    "kill the broker in a transaction": World.kill_broker,
    "damage RocksDB files": World.damage,
    "delete RocksDB files": World.delete,
}


def _kind(file: Path) -> str:
    return file.suffix[1:] or file.name.partition("-")[0]


def _lines(worker: Worker) -> list[str]:
    return worker.log.read_text(errors="replace").splitlines()
