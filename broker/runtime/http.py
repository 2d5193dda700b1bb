"""`/metrics` (Prometheus text) and `/health` over HTTP/1.1, one request a connection."""

from __future__ import annotations

import asyncio
import contextlib
import json

from broker.runtime.node import Node

_LIMIT = 16 << 10
_PATIENCE_SECONDS = 5


async def serve_http(node: Node, host: str, port: int) -> asyncio.Server:
    """Listen; OSError if the port is taken."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError
        ):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_answer(node, head))
                await writer.drain()
        writer.close()

    return await asyncio.start_server(client, host, port, limit=_LIMIT)


def _answer(node: Node, head: bytes) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
    if method != b"GET":
        return _response("405 Method Not Allowed", "text/plain", "only GET\n")
    if path == b"/metrics":
        names = {api.key: api.name for api in node.apis}
        text = node.metrics.render(names, node.gauges())
        return _response("200 OK", "text/plain; version=0.0.4", text)
    if path == b"/health":
        bad = [(name, labels) for name, labels, value in node.gauges() if value]
        failed = [labels for name, labels in bad if name == "log_failed"]
        uncleanable = [labels for name, labels in bad if name == "log_uncleanable"]
        healthy = node.ready and not failed
        report = {"healthy": healthy, "failed_logs": failed, "uncleanable_logs": uncleanable}
        body = json.dumps(report) + "\n"
        status = "200 OK" if healthy else "503 Service Unavailable"
        return _response(status, "application/json", body)
    return _response("404 Not Found", "text/plain", "/metrics or /health\n")


def _response(status: str, kind: str, body: str) -> bytes:
    data = body.encode()
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode() + data
