"""A real worker that writes at least once: killed, it repeats what it wrote, and loses nothing."""

import signal

from tests.conformance.test_worker_processes import (
    Worker,
    all_tasks,
    broker,  # noqa: F401
    counted,
    wait_until,
    workers,  # noqa: F401
)

SLOW = 80.0  # seconds: a worker may have to compile its kernels first
RARELY = {"commit_interval_ms": 100, "snapshot_interval_ms": 120_000}


def worker_of(broker, name, workers):  # noqa: F811
    made = Worker(broker, name, worker={"guarantee": "at_least_once"}, task=RARELY)
    workers.append(made)
    made.start()
    return made


def ended(worker):
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_killed_worker_repeats_what_it_wrote_and_loses_and_counts_nothing_twice(broker, workers):  # noqa: F811
    one = worker_of(broker, "one", workers)
    broker.produce(0, 500)
    wait_until("outputs are seen before any position", lambda: len(counted(broker)) == 500, SLOW)
    assert broker.read("test-counting-changelog") == []
    one.signal(signal.SIGKILL)
    one.wait()
    two = worker_of(broker, "two", workers)
    broker.produce(500, 500)
    found = wait_until("all are counted", lambda: len(f := counted(broker)) == 1_000 and f, SLOW)
    assert all(len(set(counts)) == 1 for counts in found.values())  # repeats say the same
    by_key = {key: sorted(found[n][0] for n in range(key, 1_000, 7)) for key in range(7)}
    assert all(counts == list(range(1, len(counts) + 1)) for counts in by_key.values())
    repeated = sum(len(counts) - 1 for counts in found.values())
    assert repeated == 500
    ended(two)
    assert len(broker.read("test-counting-changelog")) > 0
    three = worker_of(broker, "three", workers)
    wait_until("it has all tasks", lambda: three.running() == all_tasks(), SLOW)
    broker.produce(1_000, 7)
    found = wait_until(
        "the last are counted", lambda: len(f := counted(broker)) == 1_007 and f, SLOW
    )
    assert sum(len(counts) - 1 for counts in found.values()) == repeated  # an end in order: none
    ended(three)
