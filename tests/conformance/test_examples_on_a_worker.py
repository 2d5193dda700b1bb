"""An example on a real worker process and a real broker process, killed in the middle."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

sys.path.insert(0, str(Path(__file__).resolve().parent))

from test_worker_processes import ROOT, Broker, wait_until

from tests.ports import free_port

LINES = ["to be or not to be", "that is the question", "the rest is silence"]


class WordCount:
    """The word count as its documentation starts it."""

    def __init__(self, broker):
        self.broker = broker
        self.port = free_port()
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "examples.word_count", "--bootstrap", self.broker.address]
        command += ["--web-port", str(self.port), "--state", str(self.broker.folder / "state")]
        log = (self.broker.folder / "worker.log").open("ab")
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def counts(self):
        found = {}
        for message in self.broker.read("counts"):
            row = json.loads(message.value)
            assert message.key == row["word"].encode()
            assert row["count"] > found.get(row["word"], 0), "counts only rise: nothing came twice"
            found[row["word"]] = row["count"]
        return found


@pytest.fixture
def word_count(tmp_path):
    broker = Broker(tmp_path)
    broker.start()
    made = WordCount(broker)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait(10)
    broker.kill()


def produce(broker, times):
    async def send(address):
        producer = AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True)
        await producer.start()
        sent = []
        for _ in range(times):
            for at, line in enumerate(LINES):
                sent.append(await producer.send("lines", line.encode(), partition=at % 2))
        await asyncio.gather(*sent)
        await producer.stop()

    broker.run(send)


def test_the_word_count_on_a_worker_that_is_killed_counts_every_word_once(word_count):
    broker = word_count.broker
    broker.create(lines=2, counts=2)
    once = Counter(" ".join(LINES).split())
    word_count.start()
    produce(broker, 50)
    wait_until("some are counted", word_count.counts, 60)
    produce(broker, 50)
    word_count.process.kill()
    word_count.process.wait(10)
    word_count.start()
    produce(broker, 20)
    want = {word: 120 * count for word, count in once.items()}
    wait_until("all are counted", lambda: word_count.counts() == want, 60)
    word_count.process.send_signal(signal.SIGTERM)
    assert word_count.process.wait(20) == 0
