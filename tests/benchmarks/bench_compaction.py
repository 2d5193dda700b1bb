"""Produce latency while a log is compacted, beside the same without; and what compaction costs.

    python tests/benchmarks/bench_compaction.py [--share 0.25] [--value-bytes 100] [--rounds 3]

A broker process of its own, group commit. Each round: small produce requests to one topic while
nothing is cleaned, then while 100 MB of another topic (100,000 keys) are, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable

from broker.records.build import build_batch

LOADED_BYTES = 100 << 20
BATCH_BYTES = 100_000
KEYS = 100_000
PAUSE_SECONDS = 0.004
QUIET_SECONDS = 10.0


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, key: int, version: int, body: bytes) -> bytes:
        head = struct.pack(">hhih", key, version, 1, 4) + b"test"
        self.writer.write(struct.pack(">i", len(head) + len(body)) + head + body)
        (size,) = struct.unpack(">i", await self.reader.readexactly(4))
        return await self.reader.readexactly(size)

    async def create(self, name: str, configs: dict[str, str]) -> None:
        body = struct.pack(">i", 1) + text(name) + struct.pack(">ihii", 1, 1, 0, len(configs))
        for key, value in configs.items():
            body += text(key) + text(value)
        await self.ask(19, 2, body + struct.pack(">i?", 5000, False))

    async def compact(self, topic: str) -> None:
        config = text("cleanup.policy") + b"\0" + text("compact")
        body = struct.pack(">ib", 1, 2) + text(topic) + struct.pack(">i", 1) + config
        await self.ask(44, 0, body + b"\0")

    async def produce(self, topic: str, batch: bytes) -> None:
        body = struct.pack(">hhii", -1, -1, 1000, 1) + text(topic)
        answer = await self.ask(0, 8, body + struct.pack(">iii", 1, 0, len(batch)) + batch)
        (error,) = struct.unpack_from(">h", answer, 18 + len(topic))
        assert error == 0, error


def text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def metrics(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        lines = page.read().decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name.removeprefix("tidemill_broker_"): float(value) for name, value in pairs}


async def latencies(client: Client, over: Callable[[], bool]) -> list[float]:
    """Milliseconds that a produce request of 1 KB takes, until `over()`."""
    batch = bytes(build_batch([(b"k", b"x" * 1000)], 1000))
    took: list[float] = []
    while not over():
        began = time.perf_counter()
        await client.produce("small", batch)
        took.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(PAUSE_SECONDS)
    return sorted(took)


def shown(took: list[float]) -> str:
    parts = [took[int(len(took) * part)] for part in (0.5, 0.9, 0.99)]
    return " ".join(f"{part:7.2f}" for part in parts) + f"  ({len(took)})"


async def load(client: Client, topic: str, value_bytes: int, chance: random.Random) -> None:
    total, count = 0, max(1, BATCH_BYTES // (value_bytes + 20))
    while total < LOADED_BYTES:
        keys = [b"key-%d" % chance.randrange(KEYS) for _ in range(count)]
        batch = build_batch([(key, os.urandom(value_bytes)) for key in keys], 1000)
        await client.produce(topic, bytes(batch))
        total += len(batch)


async def one_round(client: Client, port: int, topic: str, value_bytes: int) -> None:
    await client.create(topic, {"retention.ms": "-1", "segment.bytes": str(16 << 20)})
    end = time.monotonic() + QUIET_SECONDS
    quiet = await latencies(client, lambda: time.monotonic() > end)
    await load(client, topic, value_bytes, random.Random(topic))
    await client.compact(topic)
    before, seen = metrics(port), [0.0]
    began = time.perf_counter()
    now = before

    def over() -> bool:
        nonlocal now
        if time.monotonic() - seen[0] > 1:
            seen[0], now = time.monotonic(), metrics(port)
        return now["cleanings_total"] > before["cleanings_total"]

    busy = await latencies(client, over)
    took = time.perf_counter() - began
    cpu, read, removed = (
        now[name] - before[name]
        for name in (
            "cleaner_cpu_seconds_total",
            "cleaner_read_bytes_total",
            "cleaner_removed_records_total",
        )
    )
    print(f"quiet     p50 p90 p99 ms {shown(quiet)}")
    print(f"cleaning  p50 p90 p99 ms {shown(busy)}")
    print(
        f"          {cpu:.1f} CPU s in {took:.0f} s, {read / 1e6:.0f} MB read, {removed:.0f} "
        f"records removed; {cpu / LOADED_BYTES * 1e9:.1f} CPU ms a MB of log",
        flush=True,
    )


async def all_rounds(port: int, metrics_port: int, value_bytes: int, rounds: int) -> None:
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    await client.create("small", {})
    for number in range(rounds):
        await one_round(client, metrics_port, f"large-{number}", value_bytes)


def main(share: float, value_bytes: int, rounds: int) -> None:
    data = tempfile.mkdtemp()
    command = [sys.executable, "-m", "broker", "--data", data, "--port", "0"]
    command += ["--metrics-port", "0", "--cleaner-interval", "300", "--cleaner-share", str(share)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as broker:
        assert broker.stdout is not None
        words = broker.stdout.readline().split()
        port, metrics_port = (int(words[at].rsplit(":", 1)[1]) for at in (3, 6))
        try:
            asyncio.run(all_rounds(port, metrics_port, value_bytes, rounds))
        finally:
            broker.terminate()
    shutil.rmtree(data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    main(given.share, given.value_bytes, given.rounds)
