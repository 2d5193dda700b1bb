"""The broker as a process: starting, stopping, being killed, running out of disk."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

KILLS = int(os.environ.get("TIDEMILL_BROKER_KILLS", "5"))
SEED = int(os.environ.get("TIDEMILL_BROKER_SEED", "1"))


def make_topic(address: str, name: str, partitions: int = 1, **configs: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    config = {key.replace("_", "."): value for key, value in configs.items()}
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(10)


def read_all(address: str, topic: str, partitions: int) -> list[tuple[int, int, bytes]]:
    """(partition, offset, value) of everything that a new reader sees."""
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": "g", "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(topic, index, OFFSET_BEGINNING) for index in range(partitions)])
    found: list[tuple[int, int, bytes]] = []
    ended: set[int] = set()
    deadline = time.monotonic() + 30
    while len(ended) < partitions:
        assert time.monotonic() < deadline
        for message in consumer.consume(1000, 0.2):
            if message.error() is None:
                found.append((message.partition(), message.offset(), message.value()))
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
    consumer.close()
    return found


def run_to_end(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "broker", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_it_says_where_it_listens_and_stops_when_asked(start_broker):
    broker = start_broker()
    assert broker.ready_line.startswith(f"broker ready on 127.0.0.1:{broker.port} ")
    with socket.create_connection(("127.0.0.1", broker.port)):
        assert broker.stop() < 3


def test_an_interrupt_stops_it_while_clients_wait(start_broker):
    broker = start_broker()
    make_topic(broker.address, "t")
    consumer = Consumer(
        {"bootstrap.servers": broker.address, "group.id": "g", "fetch.wait.max.ms": 10_000}
    )
    consumer.assign([TopicPartition("t", 0, 0)])
    consumer.poll(0.3)
    started = time.monotonic()
    broker.process.send_signal(signal.SIGINT)
    assert broker.process.wait(10) == 0
    assert time.monotonic() - started < 3
    consumer.close()


def test_a_port_in_use_is_told_with_the_next_step(start_broker, tmp_path):
    broker = start_broker()
    done = run_to_end("--data", str(tmp_path / "other"), "--port", str(broker.port))
    assert done.returncode == 3
    assert "in use" in done.stderr
    assert "another port" in done.stderr


def test_a_data_folder_belongs_to_one_broker_at_a_time(start_broker):
    broker = start_broker()
    done = run_to_end("--data", str(broker.data), "--port", "0", "--metrics-port", "-1")
    assert done.returncode == 4
    assert f"process {broker.process.pid}" in done.stderr
    broker.kill()
    broker.start()


def test_data_of_another_version_or_of_somebody_else_is_not_touched(tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    (old / "VERSION").write_text("7\n")
    done = run_to_end("--data", str(old), "--port", "0", "--metrics-port", "-1")
    assert done.returncode == 4
    assert "version '7'" in done.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    done = run_to_end("--data", str(tmp_path / "mine"), "--port", "0", "--metrics-port", "-1")
    assert done.returncode == 4
    assert "thesis.txt" in done.stderr


def test_wrong_usage_is_told(tmp_path):
    assert run_to_end("--data", str(tmp_path), "--port", "99999").returncode == 2
    assert run_to_end("--port", "0").returncode == 2


@pytest.mark.parametrize("fsync", ["group", "interval", "none"])
def test_nothing_acknowledged_is_lost_or_doubled_by_kill_9(start_broker, fsync):
    chance = random.Random(SEED)
    broker = start_broker("--fsync", fsync, "--segment-bytes", "200000")
    make_topic(broker.address, "t", 3)
    acknowledged: dict[int, list[int]] = {0: [], 1: [], 2: []}
    stopping = threading.Event()
    failed: list[KafkaError] = []

    def produce() -> None:
        producer = Producer(
            {
                "bootstrap.servers": broker.address,
                "enable.idempotence": True,
                "linger.ms": 1,
                "message.timeout.ms": 60_000,
                "reconnect.backoff.max.ms": 200,
                "retry.backoff.ms": 20,
                "retry.backoff.max.ms": 100,
                "log_level": 0,
            }
        )

        def delivered(error: KafkaError | None, message) -> None:
            if error is not None:
                failed.append(error)
            else:
                acknowledged[message.partition()].append(int(message.value().split()[0]))

        number = 0
        while not stopping.is_set():
            producer.produce(
                "t", b"%d " % number + b"x" * 100, partition=number % 3, on_delivery=delivered
            )
            number += 1
            producer.poll(0.01 if len(producer) > 2000 or number % 200 == 0 else 0)
            while len(producer) > 20_000 and not stopping.is_set():
                producer.poll(0.05)
        assert producer.flush(60) == 0

    sender = threading.Thread(target=produce)
    sender.start()
    for _ in range(KILLS if fsync == "group" else 2):
        time.sleep(chance.uniform(0.2, 0.6))
        broker.kill()
        broker.start()
    time.sleep(0.3)
    stopping.set()
    sender.join(90)
    assert failed == []
    broker.kill()
    broker.start()
    stored: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for partition, offset, value in read_all(broker.address, "t", 3):
        assert offset == len(stored[partition])
        stored[partition].append(int(value.split()[0]))
    assert stored == acknowledged, f"seed {SEED}"
    assert min(map(len, stored.values())) > 100


def test_a_full_disk_stops_writes_only_and_loses_nothing(start_broker):
    broker = start_broker("--segment-bytes", "100000000", limit_blocks=400)
    make_topic(broker.address, "t")
    make_topic(broker.address, "u")
    settings = {
        "bootstrap.servers": broker.address,
        "message.timeout.ms": 1500,
        "linger.ms": 0,
        "batch.num.messages": 1,
        "log_level": 0,
    }
    producer = Producer(settings)
    good: list[bytes] = []
    errors: list[KafkaError] = []
    for i in range(60):
        producer.produce(
            "t",
            b"%d " % i + b"x" * 10_000,
            on_delivery=lambda error, message: (
                good.append(message.value()) if error is None else errors.append(error)
            ),
        )
        producer.poll(0.01)
    producer.flush(10)
    assert errors
    assert 0 < len(good) < 60
    assert [value for _, _, value in read_all(broker.address, "t", 1)] == good
    other = Producer(settings)
    results: list[KafkaError | None] = []
    other.produce("u", b"fits", on_delivery=lambda error, _: results.append(error))
    other.flush(10)
    assert results == [None]
    broker.kill()
    broker.limit_blocks = None
    broker.start()
    assert [value for _, _, value in read_all(broker.address, "t", 1)] == good
    later = Producer(settings | {"message.timeout.ms": 10_000})
    later.produce("t", b"room again", on_delivery=lambda error, _: results.append(error))
    later.flush(10)
    assert results == [None, None]
