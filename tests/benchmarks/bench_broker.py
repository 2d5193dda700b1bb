"""CPU a request of the broker beside a raw sink, fetch, group commit: one run, one table.

    python tests/benchmarks/bench_broker.py [--seconds 0.7] [--repeats 5] [--quick]

The sink is the ceiling: asyncio's BufferedProtocol on uvloop, frame, crc32c, pwrite, canned reply;
once with a write an answer, once (like the broker) with one write for all answers of a read event.
All run as processes of their own, driven by the same closed-loop client with pre-encoded requests
(4 connections, 5 in flight); their CPU time is read from /proc. Medians of interleaved repeats.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop
from crc32c import crc32c

from broker.records.build import build_batch

TICKS = os.sysconf("SC_CLK_TCK")
CONNECTIONS, IN_FLIGHT = 4, 5


# --- the sink -----------------------------------------------------------------------------------


class Sink(asyncio.BufferedProtocol):
    """Frame, checksum, append, canned reply; nothing that a broker must do besides."""

    shared = bytearray(256 << 10)
    file = -1
    position = 0
    corked = True

    def __init__(self) -> None:
        self.big: bytearray | None = None
        self.size = self.filled = self.kept = 0
        self.pool: dict[int, bytearray] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.rest = b""

    def get_buffer(self, sizehint: int) -> memoryview:
        if self.big is not None:
            return memoryview(self.big)[self.filled : self.size]
        self.shared[: len(self.rest)] = self.rest
        return memoryview(self.shared)[len(self.rest) :]

    def buffer_updated(self, nbytes: int) -> None:
        out: list[bytes] = []
        if self.big is not None:
            self.filled += nbytes
            if self.filled == self.size:
                self.take(memoryview(self.big)[: self.size], out)
                self.pool[len(self.big)] = self.big
                self.big = None
        else:
            end = len(self.rest) + nbytes
            view, at = memoryview(self.shared)[:end], 0
            while end - at >= 4:
                size = int.from_bytes(view[at : at + 4], "big")
                if end - at - 4 < size:
                    rounded = 1 << (size - 1).bit_length()
                    self.big = self.pool.pop(rounded, None) or bytearray(rounded)
                    self.size, self.filled = size, end - at - 4
                    self.big[: self.filled] = view[at + 4 :]
                    at = end
                    break
                self.take(view[at + 4 : at + 4 + size], out)
                at += 4 + size
            self.rest = bytes(view[at:])
        if out:
            self.transport.write(b"".join(out))

    def take(self, frame: memoryview, out: list[bytes]) -> None:
        batch = frame[BATCH_AT:]
        crc32c(batch[21:])
        os.pwrite(Sink.file, batch, Sink.position)
        Sink.position += len(batch)
        answer = b"\0\0\0\x30" + frame[4:8] + bytes(44)
        if Sink.corked:
            out.append(answer)
        else:
            self.transport.write(answer)


async def serve_sink(path: str, corked: bool) -> None:
    Sink.corked = corked
    Sink.file = os.open(path, os.O_RDWR | os.O_CREAT)
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(f"broker ready on 127.0.0.1:{server.sockets[0].getsockname()[1]} ", flush=True)
    await server.serve_forever()


# --- requests -----------------------------------------------------------------------------------

HEADER = struct.Struct(">hhih")
TOPIC = b"bench"
BATCH_AT = 8 + 2 + 5 + 2 + 2 + 4 + 4 + 2 + len(TOPIC) + 4 + 4 + 4


def framed(key: int, version: int, body: bytes, correlation: int = 1) -> bytes:
    head = HEADER.pack(key, version, correlation, 5) + b"bench"
    return struct.pack(">i", len(head) + len(body)) + head + body


def produce(size: int, partition: int = 0) -> bytes:
    value = os.urandom(max(1, size - 61 - 15))
    batch = bytes(build_batch([(None, value)], int(time.time() * 1000)))
    body = struct.pack(">hhii", -1, -1, 5000, 1) + struct.pack(">h", len(TOPIC)) + TOPIC
    return framed(0, 8, body + struct.pack(">iii", 1, partition, len(batch)) + batch)


def produce_many(size: int, partitions: int) -> bytes:
    batch = bytes(build_batch([(None, os.urandom(size - 76))], int(time.time() * 1000)))
    body = struct.pack(">hhii", -1, -1, 5000, 1) + struct.pack(">h", len(TOPIC)) + TOPIC
    body += struct.pack(">i", partitions)
    for index in range(partitions):
        body += struct.pack(">ii", index, len(batch)) + batch
    return framed(0, 8, body)


def fetch(offset: int, most: int) -> bytes:
    body = struct.pack(">iiiib", -1, 500, 1, 1 << 26, 0) + struct.pack(">iii", 0, -1, 1)
    body += struct.pack(">h", len(TOPIC)) + TOPIC
    body += struct.pack(">iiiqqi", 1, 0, -1, offset, -1, most) + struct.pack(">ih", 0, 0)
    return framed(1, 11, body)


# --- driving ------------------------------------------------------------------------------------


class Loader(asyncio.Protocol):
    """Keeps `IN_FLIGHT` requests on one connection until told to stop."""

    def __init__(self, request: bytes, in_flight: int) -> None:
        self.request, self.in_flight = request, in_flight
        self.done, self.received, self.left = 0, 0, 0
        self.head = b""
        self.running = True
        self.times: list[float] = []
        self.sent_at: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        for _ in range(self.in_flight):
            self.send()

    def send(self) -> None:
        self.sent_at.append(time.perf_counter())
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        finished, at = 0, 0
        while at < len(data):
            if self.left:
                step = min(self.left, len(data) - at)
                self.left -= step
                at += step
                if self.left == 0:
                    finished += 1
            else:
                need = 4 - len(self.head)
                self.head += data[at : at + need]
                at += need
                if len(self.head) == 4:
                    self.left = int.from_bytes(self.head, "big")
                    self.head = b""
        now = time.perf_counter()
        for _ in range(finished):
            self.times.append(now - self.sent_at.pop(0))
            self.done += 1
            if self.running:
                self.send()


@dataclass
class Result:
    requests: float
    cpu_us: float
    mb: float
    p50: float
    p99: float

    @property
    def ms_per_mb(self) -> float:
        return self.cpu_us / 1000 / (self.mb / self.requests) if self.mb else 0.0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def drive(
    port: int, pid: int, request: bytes, seconds: float, connections: int, in_flight: int
) -> Result:
    loop = asyncio.get_running_loop()
    loaders = [
        (await loop.create_connection(lambda: Loader(request, in_flight), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(0.1)
    before, cpu = sum(item.done for item in loaders), cpu_seconds(pid)
    received, started = sum(item.received for item in loaders), time.perf_counter()
    for item in loaders:
        item.times.clear()
    await asyncio.sleep(seconds)
    elapsed, cpu = time.perf_counter() - started, cpu_seconds(pid) - cpu
    done = sum(item.done for item in loaders) - before
    got = sum(item.received for item in loaders) - received
    for item in loaders:
        item.running = False
        item.transport.close()
    times = sorted(value for item in loaders for value in item.times)
    moved = (max(got, done * len(request))) / 1e6
    return Result(
        done / elapsed,
        cpu / max(done, 1) * 1e6,
        moved / elapsed,
        times[len(times) // 2] * 1000,
        times[int(len(times) * 0.99)] * 1000,
    )


class Server:
    """A sink or a broker as a process, with the topic made."""

    def __init__(self, folder: Path, fsync: str | None, partitions: int = 1) -> None:
        if fsync is None:
            command = [sys.executable, __file__, "--sink", str(folder / "sink")]
        elif fsync == "uncorked":
            command = [sys.executable, __file__, "--sink", str(folder / "sink"), "--uncorked"]
        else:
            command = [sys.executable, "-m", "broker", "--data", str(folder / "data")]
            command += ["--port", "0", "--metrics-port", "-1", "--fsync", fsync]
            command += ["--max-message-bytes", "20000000", "--retention-bytes", "300000000"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().split()[3].rsplit(":", 1)[1])
        self.partitions = partitions

    async def prepare(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        body = struct.pack(">ih", 1, len(TOPIC)) + TOPIC
        body += struct.pack(">ihiii?", self.partitions, 1, 0, 0, 5000, False)
        writer.write(framed(19, 2, body))
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        await reader.readexactly(size)
        writer.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


async def measure(
    fsync: str | None,
    request: bytes,
    seconds: float,
    *,
    connections: int = CONNECTIONS,
    in_flight: int = IN_FLIGHT,
    partitions: int = 1,
    fill: list[bytes] | None = None,
) -> Result:
    folder = Path(tempfile.mkdtemp(prefix="bench-broker-"))
    server = Server(folder, fsync, partitions)
    try:
        if fsync not in (None, "uncorked"):
            await server.prepare()
        for item in fill or []:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(item)
            await reader.readexactly(4)
            writer.close()
        return await drive(
            server.port, server.process.pid, request, seconds, connections, in_flight
        )
    finally:
        server.close()
        shutil.rmtree(folder)


def median(results: list[Result]) -> Result:
    columns = zip(*[(r.requests, r.cpu_us, r.mb, r.p50, r.p99) for r in results], strict=True)
    return Result(*(statistics.median(column) for column in columns))


def show(name: str, result: Result, results: list[Result]) -> None:
    low, high = min(r.cpu_us for r in results), max(r.cpu_us for r in results)
    print(
        f"{name:34} {result.requests:8.0f} req/s {result.mb:7.1f} MB/s  "
        f"CPU {result.cpu_us:7.1f} us/req [{low:.1f}-{high:.1f}] {result.ms_per_mb:7.3f} ms/MB  "
        f"p50 {result.p50:6.2f} p99 {result.p99:6.2f} ms",
        flush=True,
    )


async def main(seconds: float, repeats: int, quick: bool) -> None:
    sizes = [1024, 16384] if quick else [200, 1024, 16384, 131072, 1048576]
    for size in sizes:
        request = produce(size)
        rows: dict[str, list[Result]] = {"sink": [], "sink, corked": [], "broker": []}
        for _ in range(repeats):
            rows["sink"].append(await measure("uncorked", request, seconds))
            rows["sink, corked"].append(await measure(None, request, seconds))
            rows["broker"].append(await measure("none", request, seconds))
        found = {name: median(results) for name, results in rows.items()}
        for name, results in rows.items():
            show(f"produce {size} {name}", found[name], results)
        broker = found["broker"].cpu_us
        print(
            f"{'':34} CPU of the broker: {broker / found['sink'].cpu_us:.2f} times the sink, "
            f"{broker / found['sink, corked'].cpu_us:.2f} times the corked sink"
        )
    for size in [16384] if quick else [16384, 131072, 1048576]:
        results = [
            await measure(
                "none",
                fetch(0, size),
                seconds,
                in_flight=1,
                fill=[produce(16384) for _ in range(max(2, size // 16384 + 1))],
            )
            for _ in range(repeats)
        ]
        show(f"fetch {size}", median(results), results)
    for policy in ("none", "interval", "group"):
        for connections in (1, 16):
            results = [
                await measure(policy, produce(16384), seconds, connections=connections, in_flight=1)
                for _ in range(repeats)
            ]
            show(f"fsync={policy} 16384 x{connections} conns", median(results), results)
    for policy in ("none", "group"):
        results = [
            await measure(
                policy,
                produce_many(1024, 16),
                seconds,
                connections=16,
                in_flight=1,
                partitions=16,
            )
            for _ in range(repeats)
        ]
        show(f"fsync={policy} 16 partitions x 1024", median(results), results)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sink", help=argparse.SUPPRESS)
    parser.add_argument("--uncorked", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.sink:
        uvloop.run(serve_sink(given.sink, not given.uncorked))
    else:
        uvloop.run(main(given.seconds, given.repeats, given.quick))
