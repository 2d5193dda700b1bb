"""Real worker processes on a real broker process: killed, stopped, hung, and the broker with them.

The topology counts records by key. Exactly once shows in what a read_committed reader sees: every
record once, and the counts of each key without a gap or a repeat.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

from tests.ports import free_port

WORKER = Path(__file__).with_name("worker_counting.py")
ROOT = Path(__file__).parents[2]
PARTITIONS = 4


def wait_until(what: str, done: Any, seconds: float = 30.0) -> Any:
    """Poll until `done()` is true; its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := done():
            return result
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


class Broker:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "broker", "--data", str(self.folder / "broker")]
        command += ["--port", str(self.port), "--metrics-port", "-1"]
        log = (self.folder / "broker.log").open("ab")
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        wait_until("the broker listens", self._listens)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def run(self, work: Any) -> Any:
        return asyncio.run(work(self.address))

    def create(self, **topics: int) -> None:
        async def create(address: str) -> None:
            admin = AIOKafkaAdminClient(bootstrap_servers=address)
            await admin.start()
            await admin.create_topics([NewTopic(n, count, 1) for n, count in topics.items()])
            await admin.close()

        self.run(create)

    def grow(self, topic: str, partitions: int) -> None:
        async def grow(address: str) -> None:
            admin = AIOKafkaAdminClient(bootstrap_servers=address)
            await admin.start()
            await admin.create_partitions({topic: NewPartitions(partitions)})
            await admin.close()

        self.run(grow)

    def produce(self, first: int, count: int, topic: str = "numbers", *, at_once: int = 0) -> None:
        """Records with the numbers first to first + count - 1; some at a time, or all."""

        async def produce(address: str) -> None:
            producer = AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True)
            await producer.start()
            for begin in range(first, first + count, at_once or count):
                sent = [
                    await producer.send(topic, b"%d" % n, b"k%d" % (n % 7), n % 7 % PARTITIONS)
                    for n in range(begin, min(begin + (at_once or count), first + count))
                ]
                await asyncio.gather(*sent)
            await producer.stop()

        self.run(produce)

    def read(self, topic: str) -> list[Any]:
        """Everything committed in a topic."""

        async def read(address: str) -> list[Any]:
            consumer = AIOKafkaConsumer(
                topic,
                bootstrap_servers=address,
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
            )
            await consumer.start()
            found: list[Any] = []
            ends = await consumer.end_offsets(consumer.assignment())
            while any([await consumer.position(at) < end for at, end in ends.items()]):
                for messages in (await consumer.getmany(timeout_ms=200)).values():
                    found += messages
            await consumer.stop()
            return found

        return self.run(read)


class Worker:
    """One worker process with a state folder and a web port of its own."""

    def __init__(self, broker: Broker, name: str, **given: Any) -> None:
        self.name = name
        self.folder = broker.folder
        self.port = free_port()
        self.settings = self.folder / f"{name}.json"
        worker = {
            "app": "test",
            "bootstrap_servers": broker.address,
            "state_dir": str(self.folder / f"state-{name}"),
            "web_port": self.port,
            "session_timeout_ms": 3_000,
            "heartbeat_interval_ms": 500,
        }
        given = {"topics": ["numbers"]} | given
        given["worker"] = worker | given.get("worker", {})
        given["task"] = {"commit_interval_ms": 100, "snapshot_interval_ms": 700} | given.get(
            "task", {}
        )
        self.settings.write_text(json.dumps(given))
        self.log = self.folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        *,
        faust: bool = False,
        agent: Path | None = None,
        busy: Path | None = None,
        looks_back: bool = False,
    ) -> None:
        environment = os.environ | ({} if busy is None else {"COUNTING_BUSY": str(busy)})
        if looks_back:
            environment |= {"COUNTING_LOOKS_BACK": "yes"}
        command = [sys.executable, str(WORKER), str(self.settings)]
        if faust:
            environment |= {"COUNTING_SETTINGS": str(self.settings), "PYTHONPATH": str(ROOT)}
            if agent is not None:
                environment["COUNTING_AGENT"] = str(agent)
            module = "tests.conformance.worker_counting"
            command = [sys.executable, "-m", "faust", "-A", module, "worker", "-l", "info"]
            command += ["--web-port", str(self.port)]
        log = self.log.open("ab")
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = 15.0) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def stats(self, page: str = "tasks") -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/stats/{page}"
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(url, timeout=2) as r:
            return json.load(r).get("counting", {})
        return {}

    def copies(self) -> set[str]:
        """Standbys that are caught up."""
        found = self.stats("standbys").items()
        return {task for task, s in found if s["state"] == "following" and s["lag"] == 0}

    def running(self) -> set[str]:
        return {task for task, s in self.stats().items() if s["state"] == "running"}


@pytest.fixture
def broker(tmp_path) -> Iterator[Broker]:
    made = Broker(tmp_path)
    made.start()
    made.create(numbers=PARTITIONS, counted=2, progress=1, **{"telemetry.dead-letter": 1})
    yield made
    made.kill()


@pytest.fixture
def workers(broker) -> Iterator[list[Worker]]:
    made: list[Worker] = []
    yield made
    for worker in made:
        if worker.process is not None and worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait(10)


def counted(broker: Broker, topic: str = "counted") -> dict[int, list[int]]:
    """Record id -> the counts that were emitted for it."""
    found: dict[int, list[int]] = defaultdict(list)
    for message in broker.read(topic):
        identity, count = message.value.split()
        found[int(identity)].append(int(count))
    return found


def all_counted(broker: Broker, total: int, seconds: float = 40.0) -> None:
    """Wait for `total` records, then check them to the last count."""
    found = wait_until(
        f"{total} records counted", lambda: len(f := counted(broker)) >= total and f, seconds
    )
    assert sorted(found) == list(range(total))
    by_key: dict[int, list[int]] = defaultdict(list)
    for identity in sorted(found):
        assert len(found[identity]) == 1, f"record {identity} was counted {found[identity]}"
        by_key[identity % 7].append(found[identity][0])
    for counts in by_key.values():
        assert sorted(counts) == list(range(1, len(counts) + 1))


def all_tasks() -> set[str]:
    return {f"numbers/{n}" for n in range(PARTITIONS)}


def test_two_workers_share_the_partitions_and_a_killed_ones_move(broker, workers):
    one, two = Worker(broker, "one"), Worker(broker, "two")
    workers += [one, two]
    one.start()
    two.start()
    wait_until(
        "both have tasks",
        lambda: (
            one.running()
            and two.running()
            and one.running() | two.running() == all_tasks()
            and not one.running() & two.running()
        ),
    )
    broker.produce(0, 500)
    wait_until("some were counted", lambda: len(counted(broker)) > 0)
    broker.produce(500, 500)
    two.signal(signal.SIGKILL)
    two.wait()
    broker.produce(1_000, 500)
    all_counted(broker, 1_500)
    wait_until("one has all tasks", lambda: one.running() == all_tasks())
    one.signal(signal.SIGTERM)
    started = time.monotonic()
    assert one.wait() == 0
    assert time.monotonic() - started < 10
    assert "LeaveGroup request succeeded" in one.log.read_text()


def test_a_killed_workers_tasks_go_on_from_their_copies(broker, workers):
    with_copies = {"standby_replicas": 1}
    one, two = (Worker(broker, name, worker=with_copies) for name in ("one", "two"))
    workers += [one, two]
    one.start()
    two.start()
    wait_until(
        "each follows what the other runs",
        lambda: (
            len(theirs := two.running()) == 2
            and len(mine := one.running()) == 2
            and one.copies() == theirs
            and two.copies() == mine
        ),
    )
    for first in range(0, 2_000, 500):
        broker.produce(first, 500)
        all_counted(broker, first + 500)
    wait_until(
        "one has copies of what was committed",
        lambda: min(copy["offset"] for copy in one.stats("standbys").values()) > 0,
    )
    copies = one.stats("standbys")
    two.signal(signal.SIGKILL)
    two.wait()
    broker.produce(2_000, 500)
    wait_until("one has all tasks", lambda: one.running() == all_tasks())
    stats = one.stats()
    for task, copy in copies.items():  # the copy is read on from where it was, no more
        assert stats[task]["restore"]["start"] >= copy["offset"] > 0
    assert one.stats("standbys") == {}
    all_counted(broker, 2_500)
    two.start()
    wait_until("they share", lambda: len(one.running()) == 2 and len(two.running()) == 2)
    wait_until("with copies", lambda: one.copies() | two.copies() == all_tasks())
    broker.produce(2_500, 500)
    all_counted(broker, 3_000)
    for worker in (one, two):
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0


def test_what_was_fetched_while_the_buffer_filled_up_is_not_lost(broker, workers):
    """Records that a processor does not take go back to the buffer while more are on the way."""
    broker.produce(0, 400)
    worker = Worker(broker, "one", task={"batch_records": 8, "buffer_records": 8})
    workers.append(worker)
    worker.start(looks_back=True)
    wait_until("it began", lambda: len(counted(broker)) > 0)
    broker.produce(400, 400, at_once=2)
    all_counted(broker, 800)


def test_a_restart_goes_on_from_the_disk_or_without_one_from_the_changelog(broker, workers):
    one = Worker(broker, "one")
    workers.append(one)
    for first, disk in ((0, "new"), (300, "kept"), (600, "damaged"), (900, "lost")):
        if disk == "damaged":
            for table in (broker.folder / "state-one").rglob("MANIFEST-*"):
                table.write_bytes(b"damaged")
        if disk == "lost":
            shutil.rmtree(broker.folder / "state-one")
        one.start()
        broker.produce(first, 300)
        all_counted(broker, first + 300)
        one.signal(signal.SIGKILL)
        one.wait()


def test_a_worker_that_hangs_past_its_session_is_fenced_and_joins_anew(broker, workers):
    one, two = Worker(broker, "one"), Worker(broker, "two")
    workers += [one, two]
    one.start()
    wait_until("one has all tasks", lambda: one.running() == all_tasks())
    broker.produce(0, 300)
    one.signal(signal.SIGSTOP)
    broker.produce(300, 300)
    two.start()
    wait_until("two took over", lambda: two.running() == all_tasks())
    broker.produce(600, 300)
    one.signal(signal.SIGCONT)
    wait_until(
        "they share again",
        lambda: (
            len(one.running()) == len(two.running()) == 2
            and one.running() | two.running() == all_tasks()
        ),
    )
    broker.produce(900, 300)
    all_counted(broker, 1_200)


def test_a_task_too_busy_for_a_rebalance_goes_back_to_its_last_commit(broker, workers):
    limits = {"handover_ms": 500, "drain_ms": 500}
    one, two = Worker(broker, "one", worker=limits), Worker(broker, "two", worker=limits)
    workers += [one, two]
    free = broker.folder / "free"
    one.start(busy=free)
    wait_until("one has all tasks", lambda: one.running() == all_tasks())
    broker.produce(0, 400)
    wait_until("they were counted", lambda: len(counted(broker)) == 400)
    broker.produce(400, 400)
    two.start()
    gave_up = "is too busy for a rebalance: back to its last commit"
    wait_until("one gave a task up", lambda: gave_up in one.log.read_text())
    free.touch()
    wait_until("they share", lambda: one.running() | two.running() == all_tasks())
    all_counted(broker, 800)
    assert one.process is not None
    assert one.process.poll() is None


def test_a_broker_killed_and_back_loses_nothing_and_does_not_flood_the_log(broker, workers):
    one = Worker(broker, "one")
    workers.append(one)
    one.start()
    wait_until("one has all tasks", lambda: one.running() == all_tasks())
    broker.produce(0, 1_000)
    broker.kill()
    lines = len(one.log.read_text().splitlines())
    wait_until("the worker noticed", lambda: "does not answer" in one.log.read_text())
    broker.start()
    broker.produce(1_000, 500)
    all_counted(broker, 1_500, 60)
    assert len(one.log.read_text().splitlines()) - lines < 300
    assert one.process is not None
    assert one.process.poll() is None


def test_faust_runs_the_same_worker_and_its_agents_read_what_is_committed(broker, workers):
    one = Worker(broker, "one")
    workers.append(one)
    seen = broker.folder / "seen"

    async def abort(address: str) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=address, transactional_id="other")
        await producer.start()
        await producer.begin_transaction()
        await producer.send_and_wait("counted", b"aborted 0", b"x")
        await producer.abort_transaction()
        await producer.stop()

    broker.run(abort)
    one.start(faust=True, agent=seen)
    wait_until("one has all tasks", lambda: one.running() == all_tasks())
    broker.produce(0, 50)
    all_counted(broker, 50)
    wait_until(
        "the agent saw them", lambda: seen.exists() and len(seen.read_text().splitlines()) >= 50
    )
    assert "aborted" not in seen.read_text()
    one.signal(signal.SIGTERM)
    assert one.wait() == 0


def test_a_topic_that_appears_later_gets_tasks_and_poison_goes_to_the_dead_letters(broker, workers):
    one = Worker(broker, "one", topics=[], pattern=r"numbers|history\..*")
    workers.append(one)
    one.start()
    wait_until("the first tasks run", lambda: one.running() == all_tasks())
    broker.create(**{"history.a": 2})
    wait_until("the new tasks run", lambda: {"history.a/0", "history.a/1"} <= one.running())

    async def poison(address: str) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=address)
        await producer.start()
        for value in (b"0", b"poison", b"1"):
            await producer.send_and_wait("history.a", value, b"k", 1)
        await producer.stop()

    broker.run(poison)
    wait_until("the rest is counted", lambda: sorted(counted(broker)) == [0, 1])
    wait_until(
        "the empty partition counts as idle",
        lambda: b"idle history.a/0" in {message.key for message in broker.read("progress")},
    )
    (letter,) = broker.read("telemetry.dead-letter")
    assert letter.key == b"history.a/1/1"
    assert letter.value == b"poison"
    assert dict(letter.headers)["reason"] == b"RuntimeError: this record is poison"


def test_without_a_log_the_worker_waits_then_gives_up_with_an_error(tmp_path, workers_alone):
    nowhere = Broker(tmp_path)
    one = Worker(nowhere, "one", task={"give_up_after_ms": 2_000})
    workers_alone.append(one)
    one.start()
    assert one.wait(40) == 1
    text = one.log.read_text()
    assert f"no log at {nowhere.address}" in text
    assert "Start the broker" in text
    assert len(text.splitlines()) < 200


@pytest.fixture
def workers_alone() -> Iterator[list[Worker]]:
    made: list[Worker] = []
    yield made
    for worker in made:
        if worker.process is not None and worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait(10)


def test_workers_stop_when_somebody_adds_partitions_to_a_topic_whose_number_counts(broker, workers):
    one = Worker(broker, "one", partitions=PARTITIONS)
    two = Worker(broker, "two", partitions=PARTITIONS)
    workers += [one, two]
    one.start()
    two.start()
    wait_until("they share", lambda: one.running() | two.running() == all_tasks())
    broker.produce(0, 300)
    all_counted(broker, 300)
    broker.grow("numbers", PARTITIONS + 1)
    for worker in workers:
        assert worker.wait(30) != 0
        said = worker.log.read_text()
        assert "topic numbers has 5 partitions and counting was set up for 4" in said
    assert len(counted(broker)) == 300
