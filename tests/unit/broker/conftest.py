"""A broker in this process, and a client that speaks bytes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from kio.index import load_response_schema
from kio.serial import entity_reader

from broker.config import BrokerConfig
from broker.protocol.messages import is_flexible
from broker.records.build import build_batch
from broker.runtime.server import run


class Client:
    """One connection. Bodies are bytes; answers of known kinds are decoded by kio."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.correlation = 0

    def frame(self, key: int, version: int, body: bytes) -> bytes:
        self.correlation += 1
        head = struct.pack(">hhih", key, version, self.correlation, 4) + b"test"
        if key not in (0, 1) and is_flexible(key, version):
            head += b"\0"
        return struct.pack(">i", len(head) + len(body)) + head + body

    async def receive(self) -> tuple[int, bytes]:
        """Correlation id and the rest of the next answer."""
        async with asyncio.timeout(10):
            (size,) = struct.unpack(">i", await self.reader.readexactly(4))
            data = await self.reader.readexactly(size)
        return struct.unpack_from(">i", data)[0], data[4:]

    async def ask(self, key: int, version: int, body: bytes) -> Any:
        """Send one request and decode its answer."""
        self.writer.write(self.frame(key, version, body))
        correlation, data = await self.receive()
        assert correlation == self.correlation
        at = 1 if key not in (0, 1, 18) and is_flexible(key, version) else 0
        message, size = entity_reader(load_response_schema(key, version))(data, at)
        assert at + size == len(data)
        return message

    async def create_topic(self, name: str, partitions: int = 1, **configs: str) -> int:
        body = struct.pack(">ih", 1, len(name)) + name.encode()
        body += struct.pack(">ihii", partitions, 1, 0, len(configs))
        for key, value in configs.items():
            key = key.replace("_", ".")
            body += struct.pack(">h", len(key)) + key.encode()
            body += struct.pack(">h", len(value)) + value.encode()
        answer = await self.ask(19, 2, body + struct.pack(">i?", 5000, False))
        return int(answer.topics[0].error_code)

    @staticmethod
    def produce_body(
        topic: str, partition: int, batch: bytes, *, acks: int = -1, timeout: int = 1000
    ) -> bytes:
        body = struct.pack(">hhii", -1, acks, timeout, 1)
        body += struct.pack(">h", len(topic)) + topic.encode()
        return body + struct.pack(">iii", 1, partition, len(batch)) + batch

    async def produce(self, topic: str, *values: bytes, **settings: Any) -> Any:
        """The result of the only partition."""
        batch = build_batch([(None, value) for value in values], 1000, **settings)
        answer = await self.ask(0, 8, self.produce_body(topic, 0, bytes(batch)))
        return answer.responses[0].partition_responses[0]

    @staticmethod
    def fetch_body(
        topic: str,
        offset: int,
        *,
        wait: int = 0,
        least: int = 1,
        committed: bool = False,
        most: int = 1 << 20,
    ) -> bytes:
        body = struct.pack(">iiiib", -1, wait, least, 1 << 25, committed)
        body += struct.pack(">iiih", 0, -1, 1, len(topic)) + topic.encode()
        return body + struct.pack(">iiiqqi", 1, 0, -1, offset, -1, most) + struct.pack(">ih", 0, 0)

    async def fetch(self, topic: str, offset: int, **settings: Any) -> Any:
        """The result of the only partition."""
        answer = await self.ask(1, 11, self.fetch_body(topic, offset, **settings))
        return answer.responses[0].partitions[0]


class Running:
    """A broker that serves."""

    def __init__(self, port: int, metrics_port: int) -> None:
        self.port, self.metrics_port = port, metrics_port

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self.port))

    async def http(self, path: str) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.metrics_port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        return int(head.split()[1]), body


Serve = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """`async with serve(fsync="none") as broker:` runs a broker on the same data each time."""

    @asynccontextmanager
    async def serving(**settings: Any) -> AsyncIterator[Running]:
        config = BrokerConfig(data=tmp_path / "data", port=0, metrics_port=0, **settings)
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        task = asyncio.create_task(
            run(config, stop=stop, on_ready=lambda *ports: ready.set_result(ports))
        )
        await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        try:
            yield Running(*ready.result())
        finally:
            stop.set()
            async with asyncio.timeout(5):
                await task

    return serving
